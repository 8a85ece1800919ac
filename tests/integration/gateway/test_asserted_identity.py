"""Keys that may say for whom they call: believed at servers that take it, unheard everywhere else, and never passed on."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from access.types import SubjectKind
from gateway.context import CallContext, Caller, session_owner
from gateway.entries import ServerEntry
from gateway.stages import identity
from tests.integration.gateway.conftest import Stage, body_of

CALL = body_of("tools/call", {"name": "echo", "arguments": {}})
ALICE = "019a0000-0000-7000-8000-00000000a11c"


@dataclass
class Scene:
    stage: Stage
    taking: ServerEntry
    plain: ServerEntry
    adapter: str
    usual: str

    def call(self, server: ServerEntry, token: str, **said: str) -> httpx.Response:
        headers = self.stage.modern("tools/call", "echo") | {f"X-MCP-{name}-ID": value for name, value in said.items()}
        headers["authorization"] = f"Bearer {token}"
        return httpx.post(f"{self.stage.base}/mcp/{server.slug}", content=CALL, headers=headers, timeout=10)

    def sent(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.stage.upstream.requests[-1].headers}


@pytest.fixture(scope="module")
def scene(stage: Stage) -> Scene:
    world = stage.world
    taking = world.server("taking", stage.upstream.url("ok"), stage.acme, takes_identity=True)
    plain = world.server("plain", stage.upstream.url("ok"), stage.acme)
    adapter, adapter_key = world.key(stage.acme, asserts=True, agent="adapter")
    usual, usual_key = world.key(stage.acme, agent="usual")
    world.change(stage.acme.tenant_id, people={"alice@acme.example": ALICE}, teams={"core": "team-1"})
    for server in (taking, plain):
        for kind, subject in (
            (SubjectKind.AGENT, "triage"),
            (SubjectKind.USER, ALICE),
            (SubjectKind.TEAM, "team-1"),
            (SubjectKind.USER, "support-lead"),
        ):
            world.grant(stage.acme, server, adapter_key, **({"key": ""} | {str(kind): subject}))
        world.grant(stage.acme, server, usual_key)
    return Scene(stage, taking, plain, adapter, usual)


def reason(response: httpx.Response) -> str:
    return str(response.json()["error"]["data"]["reason"])


@pytest.mark.parametrize(
    "said",
    [
        {"Agent": "triage"},
        {"Human": ALICE},
        {"Human": "Alice@acme.example"},
        {"Human": "support-lead"},
        {"Team": "core"},
    ],
    ids=str,
)
def test_what_such_a_key_says_is_who_calls(scene: Scene, said: dict[str, str]) -> None:
    response = scene.call(scene.taking, scene.adapter, **said)

    assert response.status_code == 200
    row = scene.stage.row(response)
    assert (row["reason"], row["agent"]) == ("allowed", said.get("Agent", ""))
    assert str(row["user_id"] or "") == (ALICE if "lice" in said.get("Human", "") or said.get("Human") == ALICE else "")


def test_a_human_who_is_no_member_is_kept_as_they_are_called_and_never_as_somebody_s_id(scene: Scene) -> None:
    """A text that looks like an id is the id of a member, or none."""
    stranger = "019a0000-0000-7000-8000-0000000c4a7e"
    told = {}
    for human in ("support-lead", "alice@acme.example", ALICE, stranger):
        row = scene.stage.row(scene.call(scene.taking, scene.adapter, Human=human, Agent="triage"))
        told[human] = (str(row["user_id"] or ""), row["asserted_human"])

    assert told == {
        "support-lead": ("", "support-lead"),
        "alice@acme.example": (ALICE, ""),
        ALICE: (ALICE, ""),
        stranger: ("", stranger),
    }
    unheard = scene.stage.row(scene.call(scene.plain, scene.usual, Human="support-lead"))
    assert unheard["asserted_human"] == ""


def test_without_these_headers_it_is_the_key_that_calls(scene: Scene) -> None:
    assert reason(scene.call(scene.taking, scene.adapter)) == "no_matching_grant"


def test_who_is_named_in_part_is_nobody_in_the_rest(scene: Scene) -> None:
    """The key's own agent and maker lend nothing to callers behind it."""
    token, _ = scene.stage.world.key(scene.stage.acme, asserts=True, agent="triage")
    assert scene.call(scene.taking, token).status_code == 200
    assert reason(scene.call(scene.taking, token, Human="somebody")) == "no_matching_grant"


def test_at_other_servers_nothing_of_it_is_heard(scene: Scene) -> None:
    assert reason(scene.call(scene.plain, scene.adapter, Agent="triage")) == "no_matching_grant"


def test_of_other_keys_nothing_of_it_is_heard(scene: Scene) -> None:
    response = scene.call(scene.taking, scene.usual, Human="support-lead", Agent="triage")

    assert scene.stage.row(response)["agent"] == "usual"


def test_nothing_of_it_reaches_the_server_as_the_client_sent_it(scene: Scene) -> None:
    for server, token in ((scene.taking, scene.adapter), (scene.taking, scene.usual), (scene.plain, scene.usual)):
        assert scene.call(server, token, Human=ALICE, Agent="triage", Team="core").status_code == 200
        assert [name for name in scene.sent() if name.startswith("x-mcp-")] == []


def test_the_server_learns_from_us_for_whom_the_call_is(scene: Scene) -> None:
    assert scene.call(scene.taking, scene.adapter, Human=ALICE, Agent="triage").status_code == 200
    claims = _claims(scene.sent())

    assert (claims["sub"], claims["agent"]) == (f"user:{ALICE}", "triage")


@pytest.mark.parametrize("value", ["x" * 255, "a\tb", "Ren\u00e9"], ids=["long", "tab", "not ascii"])
def test_a_name_that_could_be_read_otherwise_is_refused(scene: Scene, value: str) -> None:
    headers = scene.stage.modern("tools/call", "echo") | {"authorization": f"Bearer {scene.adapter}"}
    raw = [(name.encode(), text.encode()) for name, text in headers.items()] + [(b"X-MCP-Agent-ID", value.encode())]
    response = httpx.post(f"{scene.stage.base}/mcp/taking", content=CALL, headers=raw, timeout=10)

    assert response.status_code == 400


def test_the_same_header_twice_is_refused(scene: Scene) -> None:
    headers = scene.stage.modern("tools/call", "echo") | {"authorization": f"Bearer {scene.adapter}"}
    twice = [*headers.items(), ("X-MCP-Agent-ID", "triage"), ("x-mcp-agent-id", "other")]
    response = httpx.post(f"{scene.stage.base}/mcp/taking", content=CALL, headers=twice, timeout=10)

    assert response.json()["error"]["data"]["code"] == "gateway.header_duplicated"


def test_two_callers_behind_one_key_share_no_session(scene: Scene) -> None:
    """A session that one of them opened is unknown to the other."""
    world = scene.stage.world
    tenant = world.loader.tenants[scene.stage.acme.tenant_id]
    key = next(key for key in tenant.keys.values() if key.asserts)
    caller = Caller(tenant, key)
    owners = set()
    for agent in ("a", "b"):
        call = CallContext("taking", "mcp", None)  # type: ignore[arg-type]
        call.headers = {identity.AGENT: agent.encode()}
        call.server = scene.taking
        call.caller = identity.take(call, caller, scene.taking)
        owners.add(session_owner(call))
        assert call.caller is identity.take(call, caller, scene.taking)

    assert len(owners) == 2


def _claims(headers: dict[str, str]) -> dict[str, Any]:
    token = next(value for name, value in headers.items() if value.count(".") == 2 and len(value) > 100)
    body = token.removeprefix("Bearer ").split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims
