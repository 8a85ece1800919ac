"""Access as files by the API, the commands and the page: the same plans, the same refusals."""

from __future__ import annotations

import json
import re
from io import StringIO
from typing import Any

import pytest
import yaml
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client

from access.models import Grant
from access.services import grants
from access.services.grants import Subject
from audit.models import AuditEvent
from tenants.choices import Scope
from tenants.context import tenant_scope
from tenants.services import api_keys
from tests.integration.access.test_filing import grant, policy, session

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_given")]
PAGE = "/o/acme/access/files/"


@pytest.fixture
def key(cast) -> str:
    return api_keys.issue(tenant=cast.acme, name="ops", scopes=[Scope.ADMIN], actor=cast.alice).text


def text_of(*documents: dict[str, Any]) -> str:
    return yaml.safe_dump_all(documents)


def post(key: str, path: str, body: Any, kind: str = "application/json") -> Any:
    data = body if isinstance(body, str) else json.dumps(body)
    return Client().post(f"/api/v1/access/{path}", data, content_type=kind, headers={"Authorization": f"Bearer {key}"})


def names(cast) -> set[str]:
    with tenant_scope(cast.acme):
        return set(Grant.objects.filter(revoked_at=None).values_list("name", flat=True))


class TestAPI:
    def test_files_are_planned_applied_and_come_back(self, cast, key):
        body = {"files": [{"name": "access.yaml", "content": text_of(grant(), session())}]}
        made = post(key, "plan/", body).json()
        assert made["counts"] == {"create": 2}
        assert names(cast) == set()

        done = post(key, "apply/", body | {"digest": made["digest"]})
        assert done.status_code == 200
        assert names(cast) == {"ops"}
        assert post(key, "plan/", body).json()["counts"] == {"unchanged": 2}
        headers = {"Authorization": f"Bearer {key}"}
        text = Client().get("/api/v1/access/export/", headers=headers).content.decode()
        again = post(key, "plan/?prune=true", text, "application/yaml").json()
        assert set(again["counts"]) == {"unchanged"}

    def test_a_body_of_yaml_is_taken_as_it_is(self, cast, key):
        text = text_of(grant("a"))
        digest = post(key, "plan/", text, "application/yaml").json()["digest"]

        assert post(key, f"apply/?digest={digest}", text, "application/yaml").status_code == 200
        assert names(cast) == {"a"}

    def test_a_stale_digest_is_a_conflict_and_changes_nothing(self, cast, key):
        body = {"files": [{"name": "access.yaml", "content": text_of(grant())}]}
        answer = post(key, "apply/", body | {"digest": "sha256:0"})

        assert (answer.status_code, answer.json()["code"]) == (409, "access.plan_stale")
        assert names(cast) == set()

    @pytest.mark.parametrize(
        "body",
        [[], {"files": "x"}, {"files": [{"name": "a"}]}, {"files": [{"name": "a", "content": 1}], "prune": 7}, "{"],
    )
    def test_odd_bodies_are_refused(self, key, body):
        assert post(key, "plan/", body).status_code == 400

    def test_what_cannot_be_taken_is_listed_with_file_and_field(self, key):
        body = {"files": [{"name": "k8s.yaml", "content": "kind: Service\napiVersion: v1\n"}]}
        made = post(key, "plan/", body).json()

        assert made["problems"][0]["file"] == "k8s.yaml"
        assert "'Service' is not taken" in made["problems"][0]["reason"]
        assert post(key, "apply/", body | {"digest": made["digest"]}).status_code == 400

    def test_a_key_without_the_scope_may_not(self, cast):
        reader = api_keys.issue(tenant=cast.acme, name="r", scopes=[Scope.CATALOG_READ], actor=cast.alice).text

        assert post(reader, "plan/", {"files": []}).status_code == 403


class TestCommands:
    def run(self, command: str, *arguments: Any, **options: Any) -> str:
        out = StringIO()
        call_command(command, *arguments, organisation="acme", stdout=out, **options)
        return out.getvalue()

    def test_a_plan_is_printed_and_applied_by_its_digest(self, cast, tmp_path):
        (tmp_path / "grants").mkdir()
        (tmp_path / "grants" / "a.yaml").write_text(text_of(grant("a")))
        (tmp_path / "b.yml").write_text(text_of(grant("b", allowedSideEffects=None)))
        said = self.run("access_plan", tmp_path)
        assert "+ create grant acme/a" in said
        assert "allowedSideEffects: [read]" in said
        digest = re.search(r"digest (\S+)", said)
        assert digest is not None

        self.run("access_apply", tmp_path, digest=digest[1], actor="alice@acme.example")
        assert names(cast) == {"a", "b"}
        with tenant_scope(cast.acme):
            assert AuditEvent.objects.get(action="access:files:applied").actor_label == "alice@acme.example"
        self.run("access_export", out=tmp_path / "all.yaml")
        assert "name: a" in (tmp_path / "all.yaml").read_text()

    @pytest.mark.parametrize("options", [{}, {"digest": "sha256:0", "yes": True}, {"digest": "sha256:0"}], ids=str)
    def test_nothing_is_applied_unseen_unless_that_is_said(self, cast, tmp_path, options):
        (tmp_path / "a.yaml").write_text(text_of(grant("a")))
        with pytest.raises(CommandError):
            self.run("access_apply", tmp_path, **options)

        assert names(cast) == set()
        self.run("access_apply", tmp_path, yes=True)
        assert names(cast) == {"a"}

    def test_a_plan_with_problems_fails(self, tmp_path):
        (tmp_path / "a.yaml").write_text("kind: Service\n")
        with pytest.raises(CommandError, match="nothing is applied"):
            self.run("access_plan", tmp_path)


class TestPage:
    def upload(self, browser: Client, *documents: dict[str, Any], **more: str) -> str:
        file = SimpleUploadedFile("access.yaml", text_of(*documents).encode())
        return browser.post(PAGE, {"upload": [file], **more}).content.decode()

    def hidden(self, page: str) -> dict[str, Any]:
        from html import unescape

        digest = re.search(r'name="digest" value="([^"]+)"', page)
        assert digest is not None
        texts = re.findall(r'<textarea name="text"[^>]*>\n(.*?)</textarea>', page, re.DOTALL)
        return {
            "digest": digest[1],
            "name": re.findall(r'name="name" value="([^"]+)"', page),
            "text": [unescape(text).replace("\n", "\r\n") for text in texts],  # as browsers send it
        }

    def test_files_are_looked_at_and_then_applied(self, cast, alice):
        page = self.upload(alice, grant(), policy(mode="observe"))
        assert "What would change" in page
        assert names(cast) == set()

        answer = alice.post(PAGE, self.hidden(page), follow=True).content.decode()
        assert "Applied: 2 changes" in answer
        assert names(cast) == {"ops"}
        export = alice.get(f"{PAGE}export.yaml")
        assert "attachment" in export["Content-Disposition"]
        assert b"name: ops" in export.content

    def test_a_plan_that_is_no_longer_true_is_shown_anew(self, cast, alice):
        sent = self.hidden(self.upload(alice, grant()))
        with tenant_scope(cast.acme):
            grants.give(tenant=cast.acme, server=cast.payments, subject=Subject(agent="x"), actor=None, name="ops")
        page = alice.post(PAGE, sent).content.decode()

        assert "This is the plan of this moment" in page
        assert "Replace" in page
        with tenant_scope(cast.acme):
            assert Grant.objects.get(name="ops", revoked_at=None).subject_agent == "x"

    def test_problems_and_lints_are_shown_and_texts_of_strangers_are_no_markup(self, alice):
        page = self.upload(alice, grant(serverRef={"name": "<b>x"}), grant("b", allowedSideEffects=None))

        assert "These files cannot be applied" in page
        assert "Add `allowedSideEffects: [read]`" in page.replace("&#x60;", "`")
        assert "<b>x" not in page

    def test_a_member_may_not(self, bob):
        assert bob.get(PAGE).status_code == 403
        assert bob.post(PAGE, {}).status_code == 403
