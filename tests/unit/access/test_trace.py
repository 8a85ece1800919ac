from __future__ import annotations

import pytest
from hypothesis import given

from access import engine
from access.types import PolicyMode, Reason, Request, SideEffect, Trust
from tests.unit.access.test_engine import (
    ALICE,
    ANY_REQUEST,
    CALLERS,
    GRANT_LISTS,
    NOW,
    POLICIES,
    POLICY,
    REACHED,
    make_grant,
    rules,
)

ALLOWS = {Reason.ALLOWED, Reason.OBSERVED, Reason.FLOW_OBSERVED}
REFUSALS = [reason for reason in Reason if reason not in ALLOWS]


class TestTrace:
    @pytest.mark.parametrize("reason", REFUSALS)
    def test_a_refusal_has_one_failed_step_and_nothing_ran_after_it(self, reason):
        outcomes = [step.outcome for step in engine.trace(reason)]
        failed = outcomes.index("failed")

        assert set(outcomes[:failed]) <= {"passed"}
        assert set(outcomes[failed + 1 :]) <= {"skipped"}

    def test_an_allowed_request_passed_every_step(self):
        assert {step.outcome for step in engine.trace(Reason.ALLOWED)} == {"passed"}

    def test_an_observed_request_did_not_pass_the_steps_that_were_not_asked(self):
        outcomes = {step.rule: step.outcome for step in engine.trace(Reason.OBSERVED)}

        assert outcomes["The tool is known"] == "passed"
        assert outcomes["A live grant covers the caller"] == "skipped"
        assert outcomes["Grant and session give enough trust"] == "skipped"

    def test_a_reason_that_is_not_known_claims_nothing(self):
        assert {step.outcome for step in engine.trace("of_a_later_version")} == {"skipped"}

    def test_a_stored_reason_reads_like_a_decided_one(self):
        for reason in Reason:
            assert engine.trace(str(reason)) == engine.trace(reason)


class TestExplain:
    def test_it_is_the_decision_with_its_steps(self):
        grants = [make_grant()]
        explained = engine.explain(POLICY, grants, (), ALICE, Request("tools/call", "list"), NOW)

        assert explained.steps == engine.trace(Reason.ALLOWED)
        assert explained.grant_id == REACHED[Reason.ALLOWED].grant_id
        assert explained.allowed

    def test_one_grant_alone_is_no_sum(self):
        assert engine.explain(POLICY, [make_grant()], (), ALICE, Request("tools/call", "list"), NOW).shares == ()

    def test_of_several_grants_it_says_what_each_adds(self):
        """One gives the trust, another one's rule asks for it (requirements C6, Q4); a third has nothing to do with it."""
        giving = make_grant(1, max_trust=Trust.HIGH)
        asking = make_grant(2, max_trust=Trust.LOW, tool_rules=rules("list", trust=Trust.HIGH))
        beside = make_grant(3, side_effects=frozenset({SideEffect.WRITE}))
        explained = engine.explain(POLICY, [beside, asking, giving], (), ALICE, Request("tools/call", "list"), NOW)

        assert [(each.name, each.trust, each.asks) for each in explained.shares] == [
            ("g1", "high", ""),
            ("g2", "low", "high"),
        ]
        assert (explained.allowed, explained.trust_required, explained.trust_admin) == (True, "high", "high")

    @given(POLICIES, GRANT_LISTS, CALLERS, ANY_REQUEST)
    def test_the_shares_add_up_to_the_decision(self, policy, grants, caller, asked):
        explained = engine.explain(policy, grants, (), caller, Request(*asked), NOW)
        if not explained.shares:
            return

        assert max(Trust.parse(each.trust) for each in explained.shares).word == explained.trust_admin
        asks = [Trust.parse(each.asks) for each in explained.shares if each.asks]
        assert Trust.parse(explained.trust_required) >= max(asks, default=Trust.LOW)
        assert policy.mode is PolicyMode.ALLOW_LIST
