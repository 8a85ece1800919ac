from __future__ import annotations

import gzip
import json

import pytest

from catalog.models import Server, SourceEntry
from catalog.services import importing
from core import clock
from repositories.adapters import documents, registry
from repositories.choices import RunState
from repositories.errors import SourceInvalidError
from tests.integration.repositories.conftest import add, go_on, read
from tests.support.source_hosts import (
    NAME_LABEL,
    Answer,
    FakeGitHub,
    FakeRegistry,
    Host,
    bundle,
    document,
    running,
)

MCPM = {"fetch": {"name": "fetch", "installations": {"x": {"type": "uvx", "command": "uvx", "args": ["f"]}}}}
CONTEXTFORGE = b"""
catalog_servers:
  - id: asana
    name: Asana
    url: https://mcp.asana.com/sse
    auth_type: OAuth2.1
"""
DOCKER = b"""
version: 2
registry:
  brave:
    title: Brave
    type: server
    image: mcp/brave
    description: Search.
"""
OTHER_FORMATS = [
    ("servers.json", MCPM, "fetch"),
    ("catalog.yml", CONTEXTFORGE, "asana"),
    ("catalog.yaml", DOCKER, "brave"),
]

pytestmark = pytest.mark.usefixtures("platform")


def names(source) -> set[str]:
    return importing.names_of(source.pk)


@pytest.fixture
def open_to(settings):
    """Let sources be read from these hosts, which have private addresses."""

    def allow(*hosts):
        settings.EGRESS_ALLOW = [f"127.0.0.1:{host.port}" for host in hosts]

    return allow


class TestHttpIndex:
    def test_a_list_of_documents_is_read_in_slices_and_an_unchanged_one_is_not_read_again(self, open_to, monkeypatch):
        monkeypatch.setattr(documents, "SLICE", 2)
        listed = [document(f"io.github.sample/list-{n}") for n in range(5)]
        with running(Host({"/index.json": Answer(200, listed, {"etag": '"one"'})})) as host:
            open_to(host)
            run = read(source := add("http", f"{host.url}/index.json"))
            again = read(source)

        assert (run.state, run.created, run.batches, run.total) == (RunState.SUCCESS, 5, 3, 5)
        assert len(names(source)) == 5
        assert again.note == "Nothing has changed since the last reading."
        assert host.asked[-1].headers["if-none-match"] == '"one"'

    def test_a_reading_that_goes_on_skips_what_it_kept_unless_the_document_changed(self, open_to, monkeypatch):
        monkeypatch.setattr(documents, "SLICE", 2)
        listed = [document(f"io.github.sample/list-{n}") for n in range(5)]
        with running(Host({"/index.json": Answer(200, listed)})) as host:
            open_to(host)
            source = add("http", f"{host.url}/index.json")
            run = _begin_and_work_one_step(source)
            host.answers["/index.json"] = Answer(200, [document("io.github.sample/other"), *listed])
            run = go_on(run)

        assert run.state == RunState.SUCCESS
        assert "io.github.sample/other" in names(source)
        assert (run.created, run.unchanged) == (6, 2)

    @pytest.mark.parametrize(("file", "body", "expected"), OTHER_FORMATS)
    def test_other_formats_are_recognised(self, open_to, file, body, expected):
        with running(Host({f"/{file}": Answer(200, body)})) as host:
            open_to(host)
            run = read(source := add("http", f"{host.url}/{file}"))

        assert run.state == RunState.SUCCESS, run.note
        assert names(source) == {expected}

    @pytest.mark.parametrize("body", [b"<html>", b"{", b"[1, 2", b"a: *b", b""])
    def test_what_is_no_listing_fails_with_a_reason(self, open_to, body):
        with running(Host({"/x.json": Answer(200, body)})) as host:
            open_to(host)
            run = read(add("http", f"{host.url}/x.json"))

        assert run.state == RunState.FAILED
        assert "x.json" in run.note

    def test_private_addresses_are_not_asked(self):
        run = read(add("http", "http://127.0.0.1:9/x.json"))

        assert run.state == RunState.FAILED
        assert "cannot be asked" in run.note

    def test_a_redirect_to_a_private_address_is_not_followed(self, open_to):
        with running(Host()) as inside, running(Host()) as host:
            open_to(host)
            host.answers["/x.json"] = Answer(302, b"", {"location": f"{inside.url}/secret.json"})
            run = read(add("http", f"{host.url}/x.json"))

        assert run.state == RunState.FAILED
        assert inside.asked == []

    def test_credentials_do_not_follow_a_redirect_to_another_host(self, open_to):
        with running(Host()) as other, running(Host()) as host:
            open_to(host, other)
            host.answers["/x.json"] = Answer(302, b"", {"location": f"{other.url}/x.json"})
            other.answers["/x.json"] = Answer(200, [document("io.github.sample/moved")])
            secret = {"user": "reader", "password": "hidden"}
            run = read(add("http", f"{host.url}/x.json", auth_type="basic", secret=secret))

        assert run.state == RunState.SUCCESS
        assert host.asked[0].headers["authorization"] == "Basic cmVhZGVyOmhpZGRlbg=="
        assert "authorization" not in other.asked[0].headers

    def test_a_token_is_asked_for_with_client_credentials(self, open_to):
        with running(Host()) as host:
            open_to(host)
            host.answers["/token"] = Answer(200, {"access_token": "given", "token_type": "Bearer"})
            host.answers["/x.json"] = Answer(200, [document("io.github.sample/guarded")])
            secret = {"token_url": f"{host.url}/token", "client_id": "we", "client_secret": "s", "scope": "read"}
            run = read(add("http", f"{host.url}/x.json", auth_type="oauth", secret=secret))

        assert run.state == RunState.SUCCESS
        assert "grant_type=client_credentials" in host.asked[0].headers["body"]
        assert host.asked[1].headers["authorization"] == "Bearer given"

    def test_a_source_that_asks_for_a_long_pause_gets_it(self, open_to):
        with running(Host({"/x.json": Answer(200, [document("io.github.sample/late")])})) as host:
            open_to(host)
            host.first = [Answer(503, {}, {"retry-after": "120"})]
            run = read(source := add("http", f"{host.url}/x.json"))
            assert run.state == RunState.PAUSED
            assert 100 < (run.resume_at - clock.now()).total_seconds() < 130
            with clock.frozen(run.resume_at):
                run = go_on(run)

        assert run.state == RunState.SUCCESS
        assert names(source) == {"io.github.sample/late"}


class TestGitHub:
    def test_releases_and_files_are_read(self, open_to):
        with running(FakeGitHub()) as host:
            open_to(host)
            host.release("v1.0.0", server_json=_json(document("io.github.acme/mail")), notes_txt=b"nothing")
            host.release(
                "v1.1.0", server_json=_json(document("io.github.acme/mail", "1.1.0")), desk_mcpb=bundle("desk")
            )
            host.files = {
                "server.json": _json(document("io.github.acme/files")),
                "manifest.json": b'{"short_name": "a web app"}',
                "README.md": b"# Hello",
                ".mcp/servers.yaml": b"version: v1\nservers:\n  - name: tickets\n    image: ghcr.io/acme/tickets\n",
            }
            run = read(source := add("github", f"{host.url}/acme/servers"))

        assert run.state == RunState.SUCCESS, run.note
        assert run.problems == []
        assert names(source) >= {"io.github.acme/mail", "io.github.acme/files", "desk", "tickets"}
        assert set(SourceEntry.objects.filter(external_id="io.github.acme/mail").values_list("version", flat=True)) == {
            "1.0.0",
            "1.1.0",
        }

    def test_one_folder_of_a_branch_is_read_alone(self, open_to):
        with running(FakeGitHub()) as host:
            open_to(host)
            host.files = {
                "server.json": _json(document("io.github.acme/root")),
                "list/one.json": _json(document("io.github.acme/one")),
                "list/broken.json": b"{",
            }
            run = read(source := add("github", f"{host.url}/acme/servers/tree/main/list"))

        assert run.state == RunState.SUCCESS
        assert names(source) == {"io.github.acme/one"}
        assert [problem["file"] for problem in run.problems] == ["list/broken.json"]
        assert {each.query.get("ref") for each in host.asked} == {"main"}

    def test_assets_elsewhere_are_fetched_without_the_token(self, open_to):
        answers = {"/asset/1": Answer(200, _json(document("io.github.acme/far")))}
        with running(Host(answers)) as far, running(FakeGitHub(token="ghp_secret", elsewhere=far.url)) as host:
            open_to(host, far)
            host.release("v1", server_json=b"")
            host.files = {"README.md": b""}
            url = f"{host.url}/acme/servers"
            run = read(source := add("github", url, auth_type="token", secret={"token": "ghp_secret"}))

        assert run.state == RunState.SUCCESS
        assert names(source) == {"io.github.acme/far"}
        assert all(each.headers["authorization"] == "Bearer ghp_secret" for each in host.asked)
        assert "authorization" not in far.asked[0].headers

    def test_a_repository_that_is_not_there_fails_with_a_reason(self, open_to):
        with running(FakeGitHub(token="other")) as host:
            open_to(host)
            run = read(add("github", f"{host.url}/acme/servers"))

        assert run.state == RunState.FAILED
        assert "no repository acme/servers" in run.note

    def test_an_exhausted_rate_limit_pauses_the_reading(self, open_to):
        reset = str(int(clock.now().timestamp()) + 1800)
        with running(FakeGitHub()) as host:
            open_to(host)
            host.first = [Answer(403, {}, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset})]
            run = read(add("github", f"{host.url}/acme/servers"))

        assert run.state == RunState.PAUSED

    @pytest.mark.parametrize(
        "url", ["https://github.com/acme", "https://github.com/a/b/issues", "ftp://github.com/a/b"]
    )
    def test_other_addresses_are_refused(self, url):
        with pytest.raises(SourceInvalidError):
            add("github", url)


class TestDocker:
    IMAGES = {
        "acme/mail": {"1.0.0": {NAME_LABEL: "com.acme/mail"}, "1.1.0": {NAME_LABEL: "com.acme/mail"}, "latest": {}},
        "acme/web": {"2.0": {}, "1.0": {NAME_LABEL: "com.acme/web"}},
        "acme/odd": {"1.0": {NAME_LABEL: "no name"}},
    }

    def test_images_whose_label_names_a_server_are_listed(self, open_to):
        with running(FakeRegistry(images=self.IMAGES)) as host:
            open_to(host)
            run = read(source := add("docker", host.url))

        assert run.state == RunState.SUCCESS, run.note
        assert names(source) == {"com.acme/mail"}
        assert [(each["entry"], each["field"]) for each in run.problems] == [("1.0", NAME_LABEL)]
        server = Server.objects.get(registry_name="com.acme/mail")
        assert server.package_types == ["oci"]
        versions = SourceEntry.objects.filter(source_id=source.pk).values_list("version", "is_latest")
        assert set(versions) == {("1.0.0", False), ("1.1.0", True)}

    def test_a_registry_that_wants_tokens_gets_them_by_its_challenge(self, open_to):
        with running(FakeRegistry(images=self.IMAGES, user="reader", password="hidden")) as host:
            open_to(host)
            secret = {"user": "reader", "password": "hidden"}
            run = read(source := add("docker", f"{host.url}/acme/mail", auth_type="basic", secret=secret))

        assert run.state == RunState.SUCCESS, run.note
        assert names(source) == {"com.acme/mail"}

    def test_pages_of_a_registry_are_followed_and_one_broken_image_costs_only_itself(self, open_to):
        images = {f"acme/image-{n:02}": {"1.0": {NAME_LABEL: f"com.acme/image-{n:02}"}} for n in range(12)}
        with running(FakeRegistry(images=images, broken={"acme/image-03"})) as host:
            open_to(host)
            run = read(source := add("docker", host.url))

        assert run.state == RunState.SUCCESS
        assert len(names(source)) == 11
        assert (run.batches, run.certain) == (3, False)


class TestLocalFolder:
    @pytest.fixture
    def folder(self, tmp_path, settings):
        settings.SOURCE_FOLDERS = [str(tmp_path)]
        return tmp_path

    def test_files_of_every_kind_below_an_allowed_folder_are_read(self, folder):
        (folder / "deep").mkdir()
        (folder / "server.json").write_bytes(_json(document("io.github.acme/one")))
        (folder / "deep" / "two.yaml").write_text("name: io.github.acme/two\ndescription: x\nversion: '1'\n")
        lines = b"\n".join(_json(document(f"io.github.acme/line-{n}")) for n in range(3))
        (folder / "lines.jsonl.gz").write_bytes(gzip.compress(lines))
        (folder / "desk.mcpb").write_bytes(bundle("desk"))
        (folder / "notes.txt").write_text("nothing")
        (folder / "broken.json").write_text("{")

        run = read(source := add("local", str(folder)))

        assert run.state == RunState.SUCCESS
        assert len(names(source)) == 6
        assert [problem["file"] for problem in run.problems] == ["broken.json"]

    def test_nothing_outside_is_read(self, folder, tmp_path_factory):
        outside = tmp_path_factory.mktemp("outside")
        (outside / "server.json").write_bytes(_json(document("io.github.acme/outside")))
        (folder / "link.json").symlink_to(outside / "server.json")
        (folder / "linked").symlink_to(outside)

        run = read(source := add("local", str(folder)))

        assert names(source) == set()
        assert run.read == 0
        for path in (outside, folder / "linked", folder / ".." / outside.name, "/etc", "relative", "file:///etc"):
            with pytest.raises(SourceInvalidError, match="not below"):
                add("local", str(path), name="Other")


class TestKinds:
    def test_another_package_adds_a_kind_without_touching_the_core(self, monkeypatch):
        class Fixed:
            kind, label, hint, switch = "fixed", "Fixed", "Anything.", ""
            platform_only = incremental = False
            pause_s = 0

            def check_url(self, url, roots):
                return url

            def read(self, reading):
                from catalog.formats import server_json

                entry, _ = server_json.read(document("io.github.acme/fixed"))
                yield registry.Batch((entry,))

        monkeypatch.setattr(registry, "_adapters", dict(registry._adapters))
        registry.register(Fixed())

        run = read(source := add("fixed", "anywhere"))

        assert run.state == RunState.SUCCESS, run.note
        assert names(source) == {"io.github.acme/fixed"}

    def test_an_unknown_kind_is_refused_with_the_known_ones(self):
        with pytest.raises(SourceInvalidError) as refused:
            add("gopher", "gopher://x")

        assert "official" in refused.value.next_step


def _json(value) -> bytes:
    return json.dumps(value).encode()


def _begin_and_work_one_step(source):
    from repositories.services import sync

    run = sync.begin(source, reason="asked")
    sync.work(run.pk, step_s=0)
    return run
