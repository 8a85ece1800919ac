"""A person approves a single call: from the refusal to the one call that passes, at real gateways and real servers."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from uuid import uuid4

import httpx
import httpx2
import pytest
from django.db import IntegrityError, connection, transaction
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult

from access.approvals import deciding, guards
from access.models import ApprovalState, CallApproval
from access.services.connect import connect
from access.services.grants import Subject, give
from audit.models import AuditEvent
from calls.models import Call
from core import clock
from gateway.services.entries import ModelLoader
from marketplace.gateway_config import build_config
from notifications.models import Notification
from tenants.choices import Role, Scope
from tenants.context import PLATFORM, platform_scope, tenant_scope, viewer
from tenants.models import Membership
from tests.integration.access.conftest import browser_of
from tests.support.cast import cast_of_its_own, make_person, make_server
from tests.support.gateways import running_gateway, serving
from tests.support.new_servers import NewServer
from tests.support.sdk_servers import build

TOOLS = [
    {"name": name, "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}} for name in ("echo", "add")
]


class Scene:
    """An organisation with a guarded tool, a key of alice's agent, and two gateways."""

    def __init__(self, cast, carol, server, key, bases):
        self.cast, self.carol, self.server, self.key, self.bases = cast, carol, server, key, bases

    @property
    def org(self):
        return self.cast.acme

    def invoke(self, tool="echo", gateway=0, **arguments):
        return httpx.post(
            f"{self.bases[gateway]}/v1/invoke",
            json={"server": self.server.slug, "tool": tool, "arguments": arguments},
            headers={"authorization": f"Bearer {self.key}"},
            timeout=30,
        )

    def rows(self):
        with tenant_scope(self.org):
            return list(CallApproval.objects.order_by("created_at"))

    def call(self, response_or_id):
        call_id = response_or_id if isinstance(response_or_id, str) else response_or_id.headers["x-marketplace-call-id"]
        with tenant_scope(self.org):
            return Call.objects.get(pk=call_id)

    def member(self, user):
        with platform_scope():
            return Membership.objects.select_related("tenant", "user").get(tenant=self.org, user=user)

    def approve(self, row, user=None):
        with tenant_scope(self.org):
            return deciding.approve(member=self.member(user or self.carol), approval_id=row.pk, binding=row.binding)

    def reject(self, row, comment="Too much"):
        with tenant_scope(self.org):
            return deciding.reject(
                member=self.member(self.carol), approval_id=row.pk, binding=row.binding, comment=comment
            )

    def waiting(self, tool="echo", **arguments):
        """A call that waits, once gateways have heard that it has to."""
        for _ in range(100):
            answer = self.invoke(tool, **arguments)
            if answer.status_code == 403:
                return answer
            time.sleep(0.1)
        raise AssertionError(answer.text)


@pytest.fixture(scope="module")
def sdk_port():
    with serving(build().streamable_http_app()) as port:
        yield port


@pytest.fixture
def scene(durable_db, settings, sdk_port):
    cast, name = cast_of_its_own(), f"guarded{uuid4().hex[:8]}"
    with platform_scope():
        carol = make_person("Carol", f"carol-{uuid4().hex[:12]}@own.example")
        Membership.objects.create(tenant=cast.acme, user=carol, role=Role.ADMIN)
    settings.REDIS_URL = os.environ["REDIS_URL"]
    settings.EGRESS_ALLOW = [f"127.0.0.1:{sdk_port}"]
    with viewer(PLATFORM):
        server = make_server(
            cast.acme, name, "Guarded", visibility="org", url=f"http://127.0.0.1:{sdk_port}/mcp", tools=TOOLS
        )
    with tenant_scope(cast.acme):
        key = connect(
            tenant=cast.acme, name=name, scopes=[Scope.INVOKE], servers=[server], actor=cast.alice, agent="clerk"
        )
        guards.set_approvals(tenant=cast.acme, server=server, tools=["echo"], actor=cast.alice)
    with ExitStack() as stack:
        bases = [stack.enter_context(running_gateway(build_config(), ModelLoader())) for _ in range(2)]
        yield Scene(cast, carol, server, key.text, bases)


def test_a_guarded_call_waits_passes_once_when_approved_and_waits_again(scene):
    refused = scene.waiting(text="hello")

    told = refused.json()
    assert (told["reason"], told["approval_state"]) == ("approval_required", "waiting")
    assert refused.headers["retry-after"]
    [row] = scene.rows()
    assert told["approve_url"].endswith(f"/o/{scene.org.slug}/access/approvals/{row.pk}/")
    call = scene.call(refused)
    assert (call.allowed, call.reason, call.billable, call.approval_id) == (False, "approval_required", False, row.pk)
    assert scene.invoke(text="hello").json()["approval_id"] == str(row.pk), "asking again asks nobody again"
    assert scene.invoke("add", a=1, b=2).status_code == 200, "other tools go on"

    scene.approve(row)
    other = scene.invoke(text="other")
    assert (other.status_code, other.json()["approval_id"] != str(row.pk)) == (403, True), "other arguments wait"
    passed = scene.invoke(text="hello", gateway=1)

    assert passed.json()["result"]["content"][0]["text"] == "hello"
    call = scene.call(passed)
    assert (call.allowed, call.reason, call.approval_id) == (True, "allowed", row.pk)
    assert scene.rows()[0].used_call_id == call.pk
    assert scene.invoke(text="hello").status_code == 403, "an approval is good once"


def test_of_fifty_equal_calls_at_two_gateways_one_passes(scene):
    scene.waiting(text="once")
    scene.approve(scene.rows()[0])

    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda number: scene.invoke(text="once", gateway=number % 2), range(50)))

    assert Counter(answer.status_code for answer in answers) == {200: 1, 403: 49}
    assert Counter(row.state for row in scene.rows()) == {ApprovalState.USED: 1, ApprovalState.WAITING: 1}


def test_a_rejected_call_is_refused_with_the_reason_until_its_time_is_over(scene):
    scene.waiting(text="no")
    row = scene.rows()[0]
    scene.reject(row, "Not on a Friday")

    told = scene.invoke(text="no").json()
    assert (told["reason"], "Not on a Friday" in json.dumps(told)) == ("approval_rejected", True)
    assert len(scene.rows()) == 1
    with tenant_scope(scene.org):
        CallApproval.objects.filter(pk=row.pk).update(expires_at=clock.now())
    assert scene.invoke(text="no").json()["reason"] == "approval_required"
    assert len(scene.rows()) == 2


def test_an_approval_that_was_not_used_in_time_is_worth_nothing(scene):
    scene.waiting(text="late")
    row = scene.approve(scene.rows()[0])
    with tenant_scope(scene.org):
        CallApproval.objects.filter(pk=row.pk).update(expires_at=clock.now())

    assert scene.invoke(text="late").status_code == 403
    assert [each.state for each in scene.rows()] == [ApprovalState.EXPIRED, ApprovalState.WAITING]


def test_another_key_needs_an_approval_of_its_own(scene):
    scene.waiting(text="mine")
    scene.approve(scene.rows()[0])
    with tenant_scope(scene.org):
        other = connect(
            tenant=scene.org, name="other", scopes=[Scope.INVOKE], servers=[scene.server], actor=scene.cast.alice
        )
    scene.key = other.text
    assert scene.waiting(text="mine").json()["approval_id"] != str(scene.rows()[0].pk)


def test_a_grants_tool_rule_asks_for_it_as_well(scene):
    with tenant_scope(scene.org):
        give(
            tenant=scene.org,
            server=scene.server,
            subject=Subject.of("agent", "clerk"),
            actor=scene.cast.alice,
            side_effects=["read"],
            max_trust="high",
            tool_rules=[{"name": "add", "approval": True}],
        )
    refused = scene.waiting("add", a=1, b=2)
    assert refused.json()["reason"] == "approval_required"
    scene.approve(scene.rows()[0])
    assert scene.invoke("add", a=1, b=2).status_code == 200


# ---------------------------------------------------------------------------------------------------------- official clients


def with_client(scene, mode, act, elicit=None):
    async def run():
        async with httpx2.AsyncClient(headers={"authorization": f"Bearer {scene.key}"}, timeout=60) as http:
            transport = streamable_http_client(f"{scene.bases[0]}/mcp/{scene.server.slug}", http_client=http)
            async with Client(transport, mode=mode, elicitation_callback=elicit) as client:
                return await act(client)

    return asyncio.run(run())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_that_shows_nothing_gets_an_error_with_the_page_and_the_same_call_passes_later(scene, mode):
    scene.waiting(text="warm")

    async def act(client):
        with pytest.raises(MCPError) as caught:
            await client.call_tool("echo", {"text": mode})
        await asyncio.to_thread(approve_the_one_with, scene, mode)
        return caught.value.error, await client.call_tool("echo", {"text": mode})

    error, result = with_client(scene, mode, act)
    assert (error.code, error.data["reason"]) == (40320, "approval_required")
    assert error.data["approve_url"].startswith("http")
    assert error.data["retry_after_s"] > 0
    assert result.content[0].text == mode


def test_a_client_that_can_elicit_shows_where_to_approve_and_its_call_ends_with_the_result(scene):
    scene.waiting(text="warm")
    shown = []

    async def elicit(context, params):
        shown.append(params)
        # The person decides while the client waits for the answer.
        threading.Timer(1.0, approve_the_one_with, (scene, "asked")).start()
        return ElicitResult(action="accept", content={})

    result = with_client(scene, "auto", lambda client: client.call_tool("echo", {"text": "asked"}), elicit)

    assert result.content[0].text == "asked"
    [params] = shown
    assert f"/o/{scene.org.slug}/access/approvals/" in (getattr(params, "url", "") or params.message)
    with tenant_scope(scene.org):
        calls = list(Call.objects.filter(tool="echo", interface="mcp").order_by("call_id"))
    assert [(call.reason, call.allowed) for call in calls] == [("approval_required", False), ("allowed", True)]


def test_a_user_that_declines_ends_the_call_with_the_error(scene):
    scene.waiting(text="warm")

    async def elicit(context, params):
        return ElicitResult(action="decline")

    async def act(client):
        with pytest.raises(MCPError) as caught:
            await client.call_tool("echo", {"text": "declined"})
        return caught.value.error

    assert with_client(scene, "auto", act, elicit).data["reason"] == "approval_required"


def approve_the_one_with(scene, words):
    """In a thread of its own."""
    try:
        scene.approve(next(row for row in scene.rows() if words in _words(scene, row)))
    finally:
        connection.close()


def _words(scene, row) -> str:
    member = scene.member(scene.carol)
    with tenant_scope(scene.org):
        return (deciding.arguments_of(member, row) or b"").decode()


def test_what_the_server_asks_in_between_belongs_to_the_approved_call(scene, settings):
    """A question of the server's own: its answer passes once, and neither another state nor a second answer does."""
    name = f"asks{uuid4().hex[:8]}"
    with serving(NewServer()) as port:
        settings.EGRESS_ALLOW = [f"127.0.0.1:{port}"]
        tools = [{"name": "ask", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}]
        with viewer(PLATFORM):
            server = make_server(
                scene.org, name, "Asks", visibility="org", url=f"http://127.0.0.1:{port}/mcp", tools=tools
            )
        with tenant_scope(scene.org):
            subject = Subject.of("agent", "clerk")
            give(
                tenant=scene.org,
                server=server,
                subject=subject,
                actor=scene.cast.alice,
                side_effects=["read"],
                max_trust="high",
            )
            other = connect(
                tenant=scene.org,
                name=name,
                scopes=[Scope.INVOKE],
                servers=[server],
                actor=scene.cast.alice,
                agent="clerk",
            )
            guards.set_approvals(tenant=scene.org, server=server, tools=["ask"], actor=scene.cast.alice)
        with running_gateway(build_config(), ModelLoader()) as base:

            def ask(**more):
                meta = {
                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
                    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
                }
                params = {"name": "ask", "arguments": {}, "_meta": meta, **more}
                headers = {
                    "authorization": f"Bearer {other.text}",
                    "accept": "application/json, text/event-stream",
                    "mcp-protocol-version": "2026-07-28",
                    "mcp-method": "tools/call",
                    "mcp-name": "ask",
                }
                message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
                return httpx.post(f"{base}/mcp/{name}", json=message, headers=headers, timeout=30).json()["result"]

            waiting = ask()
            assert waiting["requestState"].startswith("a1.")
            [row] = [each for each in scene.rows() if each.tool == "ask"]
            scene.approve(row)
            answers = {"approval": {"action": "accept", "content": {}}}
            asked = ask(requestState=waiting["requestState"], inputResponses=answers)
            assert (asked["resultType"], set(asked["inputRequests"])) == (
                "input_required",
                {"a", "b"} & set(asked["inputRequests"]),
            )
            responses = {key: {"action": "accept", "content": {"copies": 2}} for key in asked["inputRequests"]}
            forged = ask(requestState="s:forged", inputResponses=responses)
            assert forged["requestState"].startswith("a1."), "it waits for an approval of its own"
            done = ask(requestState=asked["requestState"], inputResponses=responses)
            assert done.get("resultType", "complete") == "complete", done
            assert ask(requestState=asked["requestState"], inputResponses=responses)["requestState"].startswith("a1.")


# ---------------------------------------------------------------------------------------------------------------- four eyes


def test_nobody_decides_about_a_call_of_their_own_key_not_even_in_the_database(scene):
    from core.errors import ForbiddenError

    scene.waiting(text="mine")
    [row] = scene.rows()
    with pytest.raises(ForbiddenError):
        scene.approve(row, scene.cast.alice)
    with pytest.raises(ForbiddenError):
        scene.approve(row, scene.cast.bob)
    alone = {"state": "approved", "decided_at": clock.now(), "decided_by_id": scene.cast.alice.pk}
    for change in (
        alone,
        alone | {"barred": []},
        {"state": "approved"},
        {"state": "used", "used_call_id": uuid4()},
        {"binding": "0" * 64},
    ):
        with tenant_scope(scene.org), pytest.raises(IntegrityError), transaction.atomic():
            CallApproval.objects.filter(pk=row.pk).update(**change)
    with tenant_scope(scene.org), pytest.raises(IntegrityError), transaction.atomic():
        row.delete()
    scene.approve(row)
    with tenant_scope(scene.org), pytest.raises(IntegrityError), transaction.atomic():
        CallApproval.objects.filter(pk=row.pk).update(decided_by_id=uuid4())


def test_people_and_programs_are_told_and_the_audit_names_each_step(scene):
    with tenant_scope(scene.org):
        before = set(Notification.objects.values_list("pk", flat=True))
    scene.waiting(text="tell", password="hunter22")
    [row] = scene.rows()
    scene.approve(row)
    with tenant_scope(scene.org):
        told = list(Notification.objects.exclude(pk__in=before).filter(kind="access.call_approval"))
        actions = list(AuditEvent.objects.filter(action__startswith="access:call:").values_list("action", flat=True))
    assert {note.recipient_id for note in told} == {scene.carol.pk}, (
        "not the maker of the key, and no member without the right"
    )
    assert all("hunter22" not in note.body for note in told)
    assert sorted(actions) == ["access:call:approval_requested", "access:call:approved"]


def test_arguments_are_sealed_masked_on_the_page_and_erased_in_time(scene, settings):
    scene.waiting(text="look", password="hunter22")
    [row] = scene.rows()
    assert b"hunter22" not in bytes(row.arguments)
    page = f"/o/{scene.org.slug}/access/approvals/{row.pk}/"
    seen = browser_of(scene.carol).get(page).content.decode()
    assert ("hunter22" in seen, "look" in seen, row.binding in seen) == (False, True, True)
    assert browser_of(scene.cast.bob).get(page).status_code == 404
    assert browser_of(scene.cast.charlie).get(page).status_code == 404
    assert "Somebody else decides" in browser_of(scene.cast.alice).get(page).content.decode()

    browser_of(scene.carol).post(page, {"act": "reject", "binding": row.binding, "comment": "No"})
    settings.APPROVAL_ARGUMENTS_KEPT_H = 0
    with tenant_scope(scene.org):
        deciding.keep()
    [row] = scene.rows()
    assert (row.state, bytes(row.arguments), row.comment) == ("rejected", b"", "No")
    assert "erased" in browser_of(scene.carol).get(page).content.decode()


def test_programs_decide_with_the_same_eyes(scene):
    from tests.integration.access.test_request_api import Caller

    scene.waiting(text="api")
    [row] = scene.rows()
    path = f"/api/v1/call-approvals/{row.pk}/"
    with platform_scope():
        alices, carols = Caller(scene.org, scene.cast.alice), Caller(scene.org, scene.carol)
    assert [each["id"] for each in carols.get("/api/v1/call-approvals/", state="waiting").json()["approvals"]] == [
        str(row.pk)
    ]
    found = carols.get(path).json()
    assert found["arguments"] == {"text": "api"}
    assert alices.post({"act": "approve", "binding": found["binding"]}, path).status_code == 403
    assert carols.post({"act": "approve", "binding": "0" * 64}, path).status_code == 409
    assert carols.post({"act": "reject", "binding": found["binding"]}, path).status_code == 400
    assert carols.post({"act": "approve", "binding": found["binding"]}, path).json()["state"] == "approved"
    assert scene.invoke(text="api").status_code == 200


def test_a_key_cannot_bury_people_in_calls(scene, monkeypatch):
    from access.approvals import asking

    scene.waiting(text="0")
    monkeypatch.setattr(asking, "WAITING_OF_KEY", 1)
    refused = scene.invoke(text="1")
    assert (refused.status_code, refused.json()["reason"]) == (429, "approval_required")
    assert scene.invoke(text="x" * 70_000).status_code == 413
    assert len(scene.rows()) == 1


def test_without_the_database_nothing_that_needs_a_person_passes(scene, monkeypatch):
    scene.waiting(text="away")
    scene.approve(scene.rows()[0])

    def away(*_):
        raise ConnectionError("away")

    monkeypatch.setattr(ModelLoader, "claim_call", away)
    answer = scene.invoke(text="away")
    assert (answer.status_code, answer.json()["reason"]) == (503, "policy_unavailable")
    monkeypatch.undo()
    assert json.loads(scene.invoke(text="away").content)["usage"]["outcome"] == "ok"
