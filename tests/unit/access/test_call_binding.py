"""What an approval of a single call is good for, and what obliges a call to have one."""

from __future__ import annotations

from dataclasses import fields, replace
from uuid import UUID, uuid4

import pytest

from access import document, engine
from access.approvals.types import CallAsk
from access.types import (
    APPROVAL,
    GrantRule,
    PolicyMode,
    Principal,
    Request,
    ServerPolicy,
    SideEffect,
    ToolGuard,
    ToolRule,
    ToolTerm,
    Trust,
)
from core import clock

ASK = CallAsk(
    tenant_id=uuid4(), call_id=uuid4(), api_key_id=uuid4(), on_behalf="", human="", agent="clerk", session="",
    server_id=uuid4(), server_slug="payments", tool="refund", definition="sha256:1", side_effect="destructive",
    trust_required="high", arguments=b'{"amount":1}',
)  # fmt: skip
# What merely describes the call: who is told, how it is shown, which attempt it is.
DESCRIBES = {"call_id", "human", "agent", "server_slug", "side_effect", "trust_required", "round"}


@pytest.mark.parametrize("name", [field.name for field in fields(CallAsk) if field.name not in DESCRIBES])
def test_an_approval_is_bound_to_everything_that_makes_the_call(name):
    value = getattr(ASK, name)
    more = {bytes: b" ", tuple: ("private_data",)}.get(type(value), " ")
    other = uuid4() if isinstance(value, UUID) else value + more
    assert replace(ASK, **{name: other}).binding() != ASK.binding()


@pytest.mark.parametrize("name", sorted(DESCRIBES))
def test_the_same_call_again_is_the_same_whatever_describes_it(name):
    other = uuid4() if name == "call_id" else "other"
    assert replace(ASK, **{name: other}).binding() == ASK.binding()


def test_parts_that_run_into_each_other_are_told_apart():
    assert replace(ASK, tool="refund", session="a").binding() != replace(ASK, tool="a", session="refund").binding()


SERVER = uuid4()
POLICY = ServerPolicy(
    SERVER,
    PolicyMode.ALLOW_LIST,
    Trust.LOW,
    {name: ToolRule(name, Trust.LOW, SideEffect.READ) for name in ("look", "pay")},
)
GRANT = GrantRule(uuid4(), SERVER, Trust.HIGH, frozenset({SideEffect.READ}), name="a", everyone=True)
CALLER = Principal(key_id="k")


def obligations(policy, grants, tool="pay", method="tools/call"):
    decision = engine.decide(policy, grants, (), CALLER, Request(method, tool), clock.now())
    assert decision.allowed
    return decision.obligations


def test_a_guarded_tool_obliges_and_others_do_not():
    guarded = POLICY.guarded({"pay": ToolGuard(needs_approval=True), "gone": ToolGuard(needs_approval=True)})
    assert obligations(guarded, [GRANT]) == (APPROVAL,)
    assert obligations(guarded, [GRANT], "look") == ()
    assert obligations(guarded, [GRANT], method="tasks/get") == (), "a task was approved when it was started"
    assert POLICY.guarded({}) is POLICY


def test_one_grant_that_asks_for_it_is_enough_whatever_others_allow():
    rule = replace(GRANT, name="b", tool_rules={"pay": ToolTerm(needs_approval=True)})
    assert obligations(POLICY, [rule]) == obligations(POLICY, [GRANT, rule]) == obligations(POLICY, [rule, GRANT])
    assert obligations(POLICY, [rule, GRANT]) == (APPROVAL,)
    assert obligations(POLICY, [rule, GRANT], "look") == ()


def test_a_guard_holds_where_no_grant_is_needed():
    watched = replace(POLICY, mode=PolicyMode.OBSERVE).guarded({"pay": ToolGuard(needs_approval=True)})
    assert obligations(watched, []) == (APPROVAL,)
    by_default = replace(POLICY, allows_by_default=True).guarded({"pay": ToolGuard(needs_approval=True)})
    assert obligations(by_default, []) == (APPROVAL,)


def test_the_explanation_names_the_person():
    guarded = POLICY.guarded({"pay": ToolGuard(needs_approval=True)})
    decision = engine.explain(guarded, [GRANT], (), CALLER, Request("tools/call", "pay"), clock.now())
    assert decision.steps[-1].rule == "A person approves the call"
    assert "person approves" in decision.message


def test_a_grant_that_asks_for_a_person_is_not_rendered_wider_than_it_is():
    about = document.About(name="payments", namespace="acme")
    plain = replace(GRANT, everyone=False, agent="clerk")
    asks = replace(plain, name="b", tool_rules={"pay": ToolTerm(needs_approval=True)})
    assert document.render(about, POLICY, [plain, asks], [], clock.now()).left_out == ("b",)
