"""MCP Runtime's API: who gets which status, as a table, and that no organisation reaches into another by it.

After the matrix that MCP Runtime publishes (its docs/security/authz-matrix.json): there anon, user-key and admin-key; here also
members by their session, and a key of another organisation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from core import clock
from tenants.choices import Scope
from tenants.services import api_keys
from tests.isolation.conftest import TOKEN, Stage
from tests.isolation.planted import fingerprint

ROLES = ("anon", "call-key", "read-key", "admin-key", "foreign-key", "member", "owner", "operator")
ROOTS = ("/api/runtime", "/api/v1/runtime")
GRANT = {
    "name": "made", "serverRef": {"name": "{slug}"}, "subject": {"agentID": "bot"}, "allowedSideEffects": ["read"],
}  # fmt: skip
SESSION = {"name": "made", "serverRef": {"name": "{slug}"}, "subject": {"agentID": "bot"}, "consentedTrust": "low"}
PUBLISHED = {"name": "made", "spec": {"image": "made"}}  # which says of no address
ADAPTER = {"serverName": "{slug}", "agentID": "bot"}


@dataclass(frozen=True)
class Line:
    """One path and method, and the status for each of ROLES in their order."""

    method: str
    path: str
    statuses: tuple[int, ...]
    body: dict[str, Any] | None = None


READ, THING = (401, 403, 200, 200, 200, 200, 200, 403), (401, 403, 200, 200, 403, 200, 200, 403)
CHANGE, MAKE = (401, 403, 403, 200, 403, 403, 200, 403), (401, 403, 403, 200, 400, 403, 200, 403)
TEAM = (401, 403, 403, 200, 404, 403, 200, 403)
TABLE = (
    Line("get", "servers", READ),
    Line("get", "servers/{namespace}/{slug}", THING),
    Line("post", "servers", (401, 403, 403, 400, 400, 403, 400, 403), PUBLISHED),
    Line("delete", "servers/{namespace}/{slug}", CHANGE),
    Line("get", "tools", READ),
    Line("get", "namespaces", READ),
    Line("get", "namespaces/{namespace}", THING),
    Line("get", "teams", READ),
    Line("get", "teams/{team_slug}", TEAM),
    Line("get", "teams/{team_slug}/members", TEAM),
    Line("put", "teams/{team_slug}/members/{user_id}", (401, 403, 403, 200, 404, 403, 200, 403), {"role": "member"}),
    Line("delete", "teams/{team_slug}/members/{user_id}", (401, 403, 403, 200, 404, 403, 200, 403)),
    Line("post", "teams", (401, 403, 403, 200, 200, 403, 200, 403), {"name": "Made"}),
    Line("get", "grants", READ),
    Line("get", "grants/{namespace}/{grant_name}", THING),
    Line("post", "grants", MAKE, GRANT),
    Line("patch", "grants/{namespace}/{grant_name}", CHANGE, {"disabled": True}),
    Line("post", "grants/{namespace}/{grant_name}/disable", CHANGE),
    Line("post", "grants/{namespace}/{grant_name}/enable", CHANGE),
    Line("delete", "grants/{namespace}/{grant_name}", CHANGE),
    Line("get", "sessions", READ),
    Line("get", "sessions/{namespace}/{session_name}", THING),
    Line("post", "sessions", MAKE, SESSION),
    Line("patch", "sessions/{namespace}/{session_name}", CHANGE, {"revoked": True}),
    Line("post", "sessions/{namespace}/{session_name}/revoke", CHANGE),
    Line("post", "sessions/{namespace}/{session_name}/unrevoke", CHANGE),
    Line("delete", "sessions/{namespace}/{session_name}", CHANGE),
    Line("get", "policy?namespace={namespace}&server={slug}", (401, 403, 403, 200, 403, 403, 200, 403)),
    # Nobody of them but the key itself was granted anything there.
    Line("post", "adapter/sessions", (401, 403, 403, 200, 400, 403, 403, 403), ADAPTER),
)


def ask(stage: Stage, role: str, line: Line, root: str = ROOTS[0]) -> Any:
    values = stage.acme.parameters
    path = f"{root}/{line.path.format(**values)}"
    text = json.dumps(line.body or {}).replace("{slug}", str(values["slug"]))
    client, headers = _client(stage, role)
    sends = {} if line.method == "get" else {"data": text, "content_type": "application/json"}
    return getattr(client, line.method)(path, headers=headers, **sends)


def _client(stage: Stage, role: str) -> tuple[Client, dict[str, str]]:
    sessions = {"member": "bob", "owner": "alice", "operator": "olga", "anon": "anonymous"}
    if role in sessions:
        return stage.browsers[sessions[role]], {"X-CSRFToken": TOKEN}
    scopes = {"call-key": [Scope.INVOKE], "read-key": [Scope.CATALOG_READ]}
    if role in scopes:
        cast = stage.cast
        text = api_keys.issue(tenant=cast.acme, name=role, scopes=scopes[role], actor=cast.alice).text
    else:
        text = {"admin-key": stage.acme.key, "foreign-key": stage.globex.key}[role]
    return Client(raise_request_exception=False), {"Authorization": f"Bearer {text}"}


@pytest.mark.parametrize("line", TABLE, ids=[f"{line.method} {line.path}" for line in TABLE])
def test_each_role_gets_the_status_of_the_table(stage, line):
    found = {}
    for role in ROLES:
        with transaction.atomic():
            found[role] = ask(stage, role, line).status_code
            transaction.set_rollback(True)

    assert found == dict(zip(ROLES, line.statuses, strict=True)), line


@pytest.mark.parametrize("line", [line for line in TABLE if line.method == "get"], ids=lambda line: line.path)
def test_both_roots_answer_alike(stage, line):
    with clock.frozen(clock.now()):
        first, second = (ask(stage, "admin-key", line, root) for root in ROOTS)

    assert first.json() == second.json()


@pytest.mark.parametrize("line", TABLE, ids=[f"{line.method} {line.path}" for line in TABLE])
def test_another_organisation_s_key_sees_and_changes_nothing(stage, line):
    before = fingerprint(stage.cast.acme)
    answer = ask(stage, "foreign-key", line)

    assert stage.acme.word not in answer.content.decode()
    assert fingerprint(stage.cast.acme) == before


def test_a_team_s_server_shows_to_its_team_and_to_whoever_administers(stage):
    line = Line("get", "servers", READ)

    assert stage.acme.team_word not in ask(stage, "member", line).content.decode()
    assert stage.acme.team_word in ask(stage, "owner", line).content.decode()


def test_a_session_changes_nothing_without_the_token_against_forgery(stage):
    before = fingerprint(stage.cast.acme)
    body = json.dumps(GRANT).replace("{slug}", str(stage.acme.parameters["slug"]))
    answer = stage.browsers["alice"].post("/api/runtime/grants", body, content_type="application/json")

    assert answer.status_code == 403
    assert fingerprint(stage.cast.acme) == before


def test_a_person_names_one_of_their_organisations_and_no_other(stage):
    get = stage.browsers["alice"].get

    assert get("/api/runtime/grants?organisation=acme").status_code == 200
    for other in ("globex", "nowhere", "A'%00"):
        assert get(f"/api/runtime/grants?organisation={other}").status_code == 403


def test_errors_are_said_in_the_words_of_both(stage):
    answer = ask(stage, "admin-key", Line("get", "grants/elsewhere/x", THING))

    assert answer.status_code == 403
    assert answer.json()["error"] == "forbidden namespace"
    assert answer.json()["code"] == "access.namespace_forbidden"
