"""Our registry API: what of it is ours. What every registry owes is in `test_registry_client`."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.core.cache import cache

from catalog.choices import SourceKind, Status
from catalog.formats import server_json
from catalog.formats.normal import Entry
from catalog.models import Server
from catalog.registry.documents import OURS
from catalog.services import importing, servers
from core import clock
from core.ids import uuid7
from tenants.choices import Scope
from tenants.context import platform_scope
from tenants.models import Membership
from tenants.services import api_keys, teams
from tests.support import registries

LIST = "/v0.1/servers"
PAYMENTS = "example.market/payments"
VAULT = "example.market/acme.vault"
REMOTE = {"remotes": [{"type": "sse", "url": "https://mail.example/sse"}]}


@pytest.fixture(autouse=True)
def host(settings):
    settings.PUBLIC_URL = "https://market.example"


@pytest.fixture
def asking(client):
    """`asking(tenant)` gives a function that asks with a fresh key of that organisation; without one, as anybody."""

    def prepare(tenant=None, scope=Scope.CATALOG_READ, header="authorization", **options):
        text = api_keys.issue(tenant=tenant, name="t", scopes=[scope], actor=None, **options).text if tenant else ""
        value = f"Bearer {text}" if header == "authorization" else text

        def ask(path=LIST, **query):
            return client.get(path, query, headers={header: value} if tenant else {})

        return ask

    return prepare


def names(answer) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [row["server"]["name"] for row in answer.json()["servers"]]


def take(*rows, **source) -> None:
    entries, problems = server_json.read_all({"servers": list(rows)}, "test")
    assert problems == []
    importing.take(importing.SourceRef(uuid7(), source.pop("name", "src"), SourceKind.HTTP, **source), entries)


class TestWhoSeesWhat:
    def test_anybody_sees_what_is_public_and_a_key_also_what_is_its_organisation_s(self, cast, asking):
        assert names(asking()()) == [PAYMENTS]
        assert names(asking(cast.acme)()) == [PAYMENTS, VAULT]
        assert names(asking(cast.acme, header="x-api-key")()) == [PAYMENTS, VAULT]
        assert names(asking(cast.globex)()) == [PAYMENTS]

    @pytest.mark.parametrize("path", ["versions", "versions/latest", "versions/1.0.0"])
    def test_a_private_server_is_not_there_for_others(self, cast, asking, path):
        where = f"{LIST}/{VAULT}/{path}"

        assert asking(cast.acme)(where).status_code == 200
        for other in (asking(), asking(cast.globex)):
            answer = other(where)
            assert answer.status_code == 404
            assert answer.json() == other(where.replace("vault", "nothing")).json()

    def test_a_source_for_chosen_teams_shows_to_keys_of_those_teams_only(self, cast, asking):
        owner = Membership.objects.select_related("tenant", "user").get(tenant=cast.acme, user=cast.alice)
        team, other = teams.create(actor=owner, name="Chosen"), teams.create(actor=owner, name="Other")
        row = registries.make_row("io.secret/mail", **REMOTE)
        take(row, owner_tenant_id=cast.acme.pk, visibility="group", allowed_teams=(team.pk,))

        for ask, sees in (
            (asking(cast.acme, team=team), True),
            (asking(cast.acme, team=other), False),
            (asking(cast.acme), False),
            (asking(cast.globex), False),
            (asking(), False),
        ):
            for query in ({}, {"search": "secret"}, {"version": "latest"}, {"include_deleted": "true"}):
                assert ("io.secret/mail" in names(ask(**query))) is sees
            assert (ask(f"{LIST}/io.secret/mail/versions").status_code == 200) is sees

    def test_what_was_removed_is_told_to_those_only_who_could_see_it(self, cast, asking):
        row = registries.make_row("io.secret/mail", **REMOTE)
        deleted = registries.FakeRegistry([registries.make_row("io.secret/mail", **REMOTE)])
        deleted.change_status("io.secret/mail", "deleted", at=clock.now())
        source = {"owner_tenant_id": cast.acme.pk, "visibility": "org"}
        reference = importing.SourceRef(uuid7(), "src", SourceKind.HTTP, **source)
        for rows in ([row], deleted.rows):
            importing.take(reference, server_json.read_all({"servers": rows}, "t")[0])

        assert "io.secret/mail" in names(asking(cast.acme)(include_deleted="true"))
        assert "io.secret/mail" not in names(asking(cast.acme)())
        assert "io.secret/mail" not in names(asking(cast.globex)(include_deleted="true"))
        assert "io.secret/mail" not in names(asking()(updated_since="2020-01-01T00:00:00Z"))

    def test_a_public_listing_that_was_never_approved_leaves_no_trace(self, cast, asking):
        with platform_scope():
            Server.objects.filter(pk=cast.payments.pk).update(status=Status.SUBMITTED, approved_at=None)
            assert PAYMENTS not in names(asking()(include_deleted="true"))
            Server.objects.filter(pk=cast.payments.pk).update(status=Status.REMOVED)

        assert PAYMENTS not in names(asking()(include_deleted="true"))

    def test_own_drafts_are_not_offered_for_installation(self, cast, asking):
        with platform_scope():
            Server.objects.filter(pk=cast.vault.pk).update(status=Status.DRAFT)

        assert VAULT not in names(asking(cast.acme)())

    def test_an_organisation_s_own_source_comes_before_the_public_one_of_the_same_name(self, cast, asking):
        take(registries.make_row("io.both/mail", title="Public", **REMOTE))
        take(
            registries.make_row("io.both/mail", title="Ours", **REMOTE), owner_tenant_id=cast.acme.pk, visibility="org"
        )

        for ask, title in ((asking(cast.acme), "Ours"), (asking(cast.globex), "Public"), (asking(), "Public")):
            rows = [row for row in ask().json()["servers"] if row["server"]["name"] == "io.both/mail"]
            assert [row["server"]["title"] for row in rows] == [title]
            assert ask(f"{LIST}/io.both/mail/versions/latest").json()["server"]["title"] == title

    def test_a_source_cannot_speak_in_the_name_of_a_server_that_is_here(self, cast, asking):
        take(registries.make_row(PAYMENTS, title="Impostor", **REMOTE))

        assert names(asking()()) == [PAYMENTS]
        assert asking()(f"{LIST}/{PAYMENTS}/versions/latest").json()["server"]["title"] == "Payments"

    def test_a_key_without_the_scope_or_that_is_wrong_reads_nothing(self, cast, asking, client):
        refused = asking(cast.acme, scope=Scope.INVOKE)()
        wrong = client.get(LIST, headers={"authorization": "Bearer mk_test_x"})

        assert (refused.status_code, wrong.status_code) == (403, 401)
        assert refused.json()["code"] == "tenants.scope_missing"
        assert refused.json()["error"]
        assert wrong.json()["error"]


class TestDocuments:
    def test_a_server_of_ours_is_reached_through_the_gateway_and_not_where_it_answers(self, cast, asking):
        row = asking()(f"{LIST}/{PAYMENTS}/versions/latest").json()
        entry, problems = server_json.read(row)

        assert problems == []
        assert entry is not None
        assert row["server"]["title"] == "Payments"
        assert [remote["url"] for remote in row["server"]["remotes"]] == ["https://market.example/mcp/payments"]
        assert row["server"]["remotes"][0]["headers"][0]["isSecret"] is True
        assert cast.payments.url not in str(row)

    def test_what_only_we_know_stands_under_our_own_key(self, cast, asking):
        ours = asking()(f"{LIST}/{PAYMENTS}/versions/latest").json()["_meta"][OURS]

        assert ours["trust"] == {"required": "low", "badge": "approved", "policyMode": "allow-list"}
        assert (Decimal(ours["price"].pop("amount")), ours["price"]) == (
            Decimal("0.02"),
            {"currency": "USD", "unit": "call"},
        )
        assert ours["counts"]["tools"] == 2
        assert ours["health"]["state"] == "ready"
        assert ours["health"]["checkedAt"].endswith("Z")
        assert ours["gateway"]["ready"] is True
        assert ours["source"] is None

    def test_a_server_that_is_only_known_from_a_source_claims_no_governance(self, cast, asking):
        take(registries.make_row("io.known/mail", **REMOTE), name="elsewhere")
        row = asking()(f"{LIST}/io.known/mail/versions/latest").json()
        ours = row["_meta"][OURS]

        assert row["server"]["remotes"] == REMOTE["remotes"]
        assert ours["source"] == {"name": "elsewhere", "kind": "http", "trust": "community"}
        assert ours["trust"] == {"required": None, "badge": None, "policyMode": None}
        assert (ours["price"], ours["counts"]["tools"], ours["health"]["state"]) == (None, None, "unknown")
        assert ours["gateway"]["ready"] is False

    def test_a_closed_gateway_is_no_remote(self, cast, asking):
        with platform_scope():
            Server.objects.filter(pk=cast.payments.pk).update(gateway_enabled=False)

        assert "remotes" not in asking()(f"{LIST}/{PAYMENTS}/versions/latest").json()["server"]

    def test_an_entry_of_another_format_has_a_name_of_our_namespace(self, cast, asking):
        entry = Entry(name="SQLite", format="docker_server", title="SQLite", description="x " * 200, version="")
        importing.take(importing.SourceRef(uuid7(), "docker", SourceKind.DOCKER), [entry])
        (row,) = [row for row in asking()().json()["servers"] if row["server"]["title"] == "SQLite"]

        assert row["server"]["name"] == "example.market/sqlite"
        assert server_json.read(row)[1] == []
        assert asking()(f"{LIST}/example.market/sqlite/versions/latest").json() == row


class TestChanges:
    def test_a_health_check_is_no_change_of_the_entry_but_other_words_are(self, cast, asking):
        before = clock.now().isoformat()
        with platform_scope():
            servers.record_health(server=cast.payments, health="down")
        assert names(asking()(updated_since=before)) == []

        with platform_scope():
            Server.objects.filter(pk=cast.payments.pk).update(summary="Other words")
        assert names(asking()(updated_since=before)) == [PAYMENTS]

    def test_saving_a_row_that_was_read_before_does_not_turn_the_moment_back(self, cast):
        with platform_scope():
            stale = Server.objects.get(pk=cast.payments.pk)
            Server.objects.filter(pk=cast.payments.pk).update(summary="Other words")
            changed = Server.objects.get(pk=cast.payments.pk).entry_changed_at
            stale.summary = "Other words"
            stale.save()

            assert Server.objects.get(pk=cast.payments.pk).entry_changed_at == changed

    def test_a_page_goes_on_where_the_last_one_ended_although_servers_came_and_went(self, cast, asking):
        take(*[registries.make_row(f"io.many/s{number}", **REMOTE) for number in range(6)])
        first = asking()(limit=3).json()
        with platform_scope():
            Server.objects.filter(registry_name="io.many/s0").update(status=Status.REMOVED)
        take(registries.make_row("io.many/a", **REMOTE))
        second = asking()(limit=100, cursor=first["metadata"]["nextCursor"])

        assert [row["server"]["name"] for row in first["servers"]] == [PAYMENTS, "io.many/s0", "io.many/s1"]
        assert names(second) == [f"io.many/s{number}" for number in range(2, 6)]
        assert "nextCursor" not in second.json()["metadata"]


class TestManners:
    @pytest.mark.parametrize("cursor", ["x", "W10", "WyJhIiwiYiIsImMiLCJkIl0", "eyJhIjoxfQ", "%00", "é", "A" * 5000])
    def test_a_cursor_that_is_none_of_ours_is_refused(self, cast, asking, cursor):
        answer = asking()(cursor=cursor)

        assert answer.status_code == 400
        assert "cursor" in answer.json()["error"]

    @pytest.mark.parametrize("path", ["a%00b/c/versions", "a/b/versions/%00", "x/versions", "//versions"])
    def test_odd_names_are_not_there(self, cast, client, path):
        assert client.get(f"{LIST}/{path}").status_code in (404, 301)

    def test_what_is_public_may_be_kept_and_what_a_key_sees_may_not(self, cast, asking):
        anybody, key = asking()(), asking(cast.acme)()

        assert anybody["Cache-Control"] == "public, max-age=60"
        assert key["Cache-Control"] == "private, no-store"
        assert {"Authorization", "X-API-Key"} <= {part.strip() for part in anybody["Vary"].split(",")}
        assert asking()(limit=0)["Cache-Control"] == "private, no-store"

    def test_a_caller_who_asks_too_often_is_told_when_to_come_back(self, cast, asking, settings):
        settings.API_REQUESTS_PER_MINUTE = 2
        cache.clear()
        key = asking(cast.acme)
        answers = [key() for _ in range(5)]  # at most one minute ends in between

        assert answers[-1].status_code == 429
        assert int(float(answers[-1]["Retry-After"])) <= 60
        assert answers[-1].json()["error"]
        assert asking(cast.globex)().status_code == 200

    def test_it_is_described_in_the_published_document_once(self, cast, client):
        paths = client.get("/api/v1/openapi.json").json()["paths"]
        found = {path for path in paths if path.startswith("/v0")}

        assert found == {
            "/v0.1/servers",
            "/v0.1/servers/{registry_name}/versions",
            "/v0.1/servers/{registry_name}/versions/{registry_version}",
        }
        assert {} in paths["/v0.1/servers"]["get"]["security"]
