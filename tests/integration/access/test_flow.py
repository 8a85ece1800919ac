"""The flow rule at real gateways, real servers and a real Postgres: labels, sessions, parallel calls, what is away."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest

from access.approvals import deciding
from access.flows import rules, state
from access.flows.rules import Terms
from access.models import CallApproval, FlowSession
from access.services.connect import connect
from audit import services as audit
from audit.models import AuditEvent
from calls.models import Call
from catalog.services import labelling
from core import clock
from core.errors import ForbiddenError, InvalidError, NotFoundError
from gateway.services.entries import ModelLoader
from marketplace.gateway_config import build_config
from tenants.choices import Role, Scope
from tenants.context import PLATFORM, platform_scope, tenant_scope, viewer
from tenants.models import Membership
from tests.support.cast import cast_of_its_own, make_person, make_server
from tests.support.gateways import running_gateway, serving
from tests.support.processes import wait_until
from tests.support.sdk_servers import build

UNTRUSTED, PRIVATE, OUT = "untrusted_input", "private_data", "external_output"
OPERATOR = audit.Party("user", "olga", "olga@platform.example")
TOOLS = [
    {"name": name, "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}} for name in ("echo", "add")
]


class Scene:
    """An organisation with three servers (mail, files, chat), a key of its agent, and two gateways."""

    def __init__(self, cast, carol, servers, key, bases):
        self.cast, self.carol, self.servers, self.key, self.bases = cast, carol, servers, key, bases

    @property
    def org(self):
        return self.cast.acme

    def invoke(self, which, gateway=0, key=None, tool="echo", **arguments):
        return httpx.post(
            f"{self.bases[gateway]}/v1/invoke",
            json={"server": self.servers[which].slug, "tool": tool, "arguments": arguments or {"text": "x"}},
            headers={"authorization": f"Bearer {key or self.key}"},
            timeout=30,
        )

    def rule(self, **terms):
        with tenant_scope(self.org):
            rules.change(tenant=self.org, wanted=Terms(**terms), actor=self.cast.alice)

    def label(self, which, *labels, tool="echo"):
        with tenant_scope(self.org):
            rules.label(tenant=self.org, server=self.servers[which], wanted={tool: list(labels)}, actor=self.cast.alice)

    def heard(self):
        """Until both gateways know of what was changed last."""
        with platform_scope():
            self.org.refresh_from_db()
        wanted = self.org.revision
        for gateway in range(2):
            wait_until(lambda gateway=gateway: self.revision(gateway) >= wanted, 10)

    def revision(self, gateway):
        answer = self.invoke("mail", gateway, tool="add", a=1, b=1)
        assert answer.status_code == 200, answer.text
        return self.call(answer).policy_revision

    def call(self, answer):
        with tenant_scope(self.org):
            return Call.objects.get(pk=answer.headers["x-marketplace-call-id"])

    def sessions(self):
        with tenant_scope(self.org):
            return list(FlowSession.objects.order_by("created_at"))


@pytest.fixture(scope="module")
def sdk_port():
    with serving(build().streamable_http_app()) as port:
        yield port


@pytest.fixture
def scene(durable_db, settings, sdk_port):
    cast = cast_of_its_own()
    with platform_scope():
        carol = make_person("Carol", f"carol-{uuid4().hex[:12]}@own.example")
        Membership.objects.create(tenant=cast.acme, user=carol, role=Role.ADMIN)
    settings.REDIS_URL = os.environ["REDIS_URL"]
    settings.EGRESS_ALLOW = [f"127.0.0.1:{sdk_port}"]
    url, mark = f"http://127.0.0.1:{sdk_port}/mcp", uuid4().hex[:8]
    with viewer(PLATFORM):
        servers = {
            which: make_server(cast.acme, f"{which}{mark}", which.title(), visibility="org", url=url, tools=TOOLS)
            for which in ("mail", "files", "chat")
        }
    with tenant_scope(cast.acme):
        key = connect(
            tenant=cast.acme,
            name="agent",
            scopes=[Scope.INVOKE],
            servers=list(servers.values()),
            actor=cast.alice,
            agent="clerk",
        )
    with ExitStack() as stack:
        bases = [stack.enter_context(running_gateway(build_config(), ModelLoader())) for _ in range(2)]
        found = Scene(cast, carol, servers, key.text, bases)
        found.label("mail", UNTRUSTED)
        found.label("files", PRIVATE)
        found.label("chat", OUT)
        yield found


def test_the_call_that_completes_the_combination_is_stopped_at_any_process_and_touches_nothing(scene):
    scene.rule(mode="stop")
    scene.heard()

    assert scene.invoke("mail", 0).status_code == 200
    assert scene.invoke("files", 1).status_code == 200
    refused = scene.invoke("chat", 0)

    told = refused.json()
    assert (refused.status_code, told["reason"], told["code"]) == (403, "flow_forbidden", "access.flow_forbidden")
    assert (told["touched"], told["labels"]) == ([PRIVATE, UNTRUSTED], [OUT])
    call = scene.call(refused)
    assert (call.allowed, call.reason, call.billable, call.attempts) == (False, "flow_forbidden", False, 0)
    [session] = scene.sessions()
    assert set(session.touched) == {UNTRUSTED, PRIVATE}
    assert session.touched[PRIVATE]["server"] == scene.servers["files"].slug
    assert scene.invoke("chat", 1, tool="add", a=1, b=2).status_code == 200, "a tool without labels goes on"
    assert scene.invoke("files", 1).status_code == 200, "what adds nothing that is forbidden goes on"
    assert scene.invoke("chat", 1).status_code == 403


def test_of_two_parallel_calls_that_would_complete_it_together_one_passes(scene):
    scene.rule(mode="stop")
    scene.heard()
    assert scene.invoke("mail").status_code == 200

    with ThreadPoolExecutor(16) as pool:
        wanted = [("files" if number % 2 else "chat", number // 2 % 2) for number in range(32)]
        answers = list(pool.map(lambda each: (each[0], scene.invoke(*each).status_code), wanted))

    passed = {which for which, status in answers if status == 200}
    assert len(passed) == 1, "private data or external output, and never both"
    assert Counter(status for _, status in answers) == {200: 16, 403: 16}


def test_a_person_approves_the_single_call_knowing_what_meets(scene):
    scene.rule(mode="escalate")
    scene.heard()
    scene.invoke("mail")
    scene.invoke("files")

    waiting = scene.invoke("chat", text="numbers")

    told = waiting.json()
    assert (told["reason"], told["flow"]) == ("approval_required", sorted([UNTRUSTED, PRIVATE, OUT]))
    with tenant_scope(scene.org):
        row = CallApproval.objects.get(pk=told["approval_id"])
        assert row.flow == sorted([UNTRUSTED, PRIVATE, OUT])
    with platform_scope():
        member = Membership.objects.select_related("tenant", "user").get(tenant=scene.org, user=scene.carol)
    with tenant_scope(scene.org):
        deciding.approve(member=member, approval_id=row.pk, binding=row.binding)
    passed = scene.invoke("chat", 1, text="numbers")

    assert passed.status_code == 200, passed.text
    assert scene.call(passed).approval_id == row.pk
    assert scene.invoke("chat", text="numbers").status_code == 403, "an approval is good once"
    assert scene.invoke("mail", 1, text="again").json()["reason"] == "approval_required", "the session holds all three"


def test_an_observing_rule_lets_it_pass_and_marks_it(scene):
    scene.rule(mode="observe")
    scene.heard()
    scene.invoke("mail")
    scene.invoke("files")

    passed = scene.invoke("chat")

    assert passed.status_code == 200
    call = scene.call(passed)
    assert (call.allowed, call.reason) == (True, "flow_observed")


def test_another_key_has_a_session_of_its_own_and_a_session_can_be_begun_afresh(scene):
    scene.rule(mode="stop")
    with tenant_scope(scene.org):
        other = connect(
            tenant=scene.org,
            name="other",
            scopes=[Scope.INVOKE],
            servers=[scene.servers["chat"]],
            actor=scene.cast.alice,
            agent="other",
        )
    scene.heard()
    scene.invoke("mail")
    scene.invoke("files")
    assert scene.invoke("chat").status_code == 403
    assert scene.invoke("chat", key=other.text).status_code == 200

    [session] = [each for each in scene.sessions() if PRIVATE in each.touched]
    with tenant_scope(scene.org):
        rules.forget(session_id=session.pk, actor=scene.cast.alice)

    assert scene.invoke("chat").status_code == 200
    with tenant_scope(scene.org):
        assert AuditEvent.objects.filter(action="access:flow:session_forgotten", target_id=str(session.pk)).exists()
        with pytest.raises(NotFoundError):
            rules.forget(session_id=uuid4(), actor=scene.cast.alice)


def test_an_exempt_agent_passes_and_its_session_remembers(scene):
    scene.rule(mode="stop", exempt_agents=("clerk",))
    scene.heard()
    for which in ("mail", "files", "chat"):
        assert scene.invoke(which).status_code == 200
    assert set(scene.sessions()[0].touched) == {UNTRUSTED, PRIVATE, OUT}

    scene.rule(mode="stop")
    scene.heard()
    assert scene.invoke("chat").status_code == 403, "what it touched while it was exempt counts"


def test_what_the_provider_confirms_holds_until_the_organisation_says_otherwise(scene):
    scene.rule(mode="stop", forbidden=((OUT,),))
    with tenant_scope(scene.org):
        rules.label(tenant=scene.org, server=scene.servers["chat"], wanted={"echo": None}, actor=scene.cast.alice)
    scene.heard()
    assert scene.invoke("chat").status_code == 200
    with tenant_scope(scene.org):
        labelling.confirm(
            server_id=scene.servers["chat"].pk,
            owner_id=scene.org.pk,
            wanted={"echo": [OUT]},
            actor=audit.Party("user", str(scene.cast.alice.pk), scene.cast.alice.email),
        )
    wait_until(lambda: scene.invoke("chat").status_code == 403, 10)

    scene.label("chat")
    wait_until(lambda: scene.invoke("chat").status_code == 200, 10)


def test_suggestions_count_where_the_organisation_wants_them(scene):
    with tenant_scope(scene.org):
        rules.label(tenant=scene.org, server=scene.servers["chat"], wanted={"echo": None}, actor=scene.cast.alice)
    with viewer(PLATFORM):
        mark = uuid4().hex[:8]
        server = make_server(
            scene.org,
            f"send{mark}",
            "Send",
            visibility="org",
            url=scene.servers["chat"].url,
            tools=[{**TOOLS[0], "annotations": {"openWorldHint": True, "readOnlyHint": True}}],
        )
    scene.servers["send"] = server
    with tenant_scope(scene.org):
        key = connect(tenant=scene.org, name="s", scopes=[Scope.INVOKE], servers=[server], actor=scene.cast.alice)
    scene.rule(mode="stop", forbidden=((UNTRUSTED,),))
    scene.heard()
    assert scene.invoke("send", key=key.text).status_code == 200

    scene.rule(mode="stop", forbidden=((UNTRUSTED,),), unlabelled="suggested")
    wait_until(lambda: scene.invoke("send", key=key.text).status_code == 403, 10)


def test_without_postgres_no_labelled_call_passes_and_others_do(scene, monkeypatch):
    scene.rule(mode="stop")
    scene.heard()
    assert scene.invoke("mail", tool="add", a=1, b=2).status_code == 200

    def away(self, ask):
        raise ConnectionError("the database is away")

    monkeypatch.setattr(ModelLoader, "take_flow", away)
    refused = scene.invoke("files")

    assert (refused.status_code, refused.json()["reason"]) == (503, "policy_unavailable")
    assert scene.invoke("files", tool="add", a=1, b=2).status_code == 200


def test_a_session_ends_when_nothing_labelled_was_called_for_the_window(scene):
    scene.rule(mode="stop", window_s=60)
    scene.heard()
    scene.invoke("mail")
    scene.invoke("files")
    assert scene.invoke("chat", 1).status_code == 403
    with tenant_scope(scene.org):
        FlowSession.objects.update(ends_at=clock.now())

    assert scene.invoke("chat", 1).status_code == 200
    assert set(scene.sessions()[0].touched) == {OUT}
    with tenant_scope(scene.org):
        FlowSession.objects.update(ends_at=clock.now() - 2 * state.KEPT)
        assert state.clear_over() == 1


class TestTheServices:
    def test_a_rule_is_checked(self, cast):
        with tenant_scope(cast.acme):
            for wrong in (
                {"mode": "perhaps"},
                {"forbidden": (("rumours",),)},
                {"forbidden": ((),)},
                {"window_s": 5},
                {"exempt_grants": ("noslash",)},
                {"exempt_agents": ("x" * 300,)},
            ):
                with pytest.raises(InvalidError):
                    rules.change(tenant=cast.acme, wanted=Terms(**wrong), actor=cast.alice)

    def test_the_same_again_changes_nothing_and_is_not_audited(self, cast):
        with tenant_scope(cast.acme):
            assert rules.change(tenant=cast.acme, wanted=Terms(mode="stop"), actor=cast.alice)
            assert not rules.change(tenant=cast.acme, wanted=Terms(mode="stop"), actor=cast.alice)
            assert AuditEvent.objects.filter(action="access:flow:rule_changed").count() == 1
            assert rules.compile_rule().mode == "stop"

    def test_only_tools_and_labels_that_there_are(self, cast):
        with tenant_scope(cast.acme):
            for wanted in ({"no_such_tool": [OUT]}, {"": ["rumours"]}):
                with pytest.raises(InvalidError):
                    rules.label(tenant=cast.acme, server=cast.payments, wanted=wanted, actor=cast.alice)

    def test_a_provider_does_not_change_what_operators_said(self, cast):
        tool = cast.payments.current_version.tools.first().name
        with viewer(PLATFORM):
            labelling.confirm(server_id=cast.payments.pk, owner_id=None, wanted={tool: [OUT]}, actor=OPERATOR)
            with pytest.raises(ForbiddenError):
                labelling.confirm(
                    server_id=cast.payments.pk,
                    owner_id=cast.payments.owner_tenant_id,
                    wanted={tool: []},
                    actor=OPERATOR,
                )
            with pytest.raises(NotFoundError):
                labelling.confirm(server_id=cast.payments.pk, owner_id=uuid4(), wanted={tool: []}, actor=OPERATOR)

    def test_what_sessions_touched_is_the_organisations_alone(self, cast):
        with tenant_scope(cast.acme):
            FlowSession.objects.create(
                scope="s",
                kind="caller",
                api_key_id=uuid4(),
                began_at=clock.now(),
                last_at=clock.now(),
                ends_at=clock.now() + timedelta(hours=1),
            )
        with tenant_scope(cast.globex):
            assert not FlowSession.objects.exists()
