from __future__ import annotations

import pytest

from access import engine
from access.types import Reason, Request
from tests.unit.access.test_engine import ALICE, NOW, POLICY, REACHED, make_grant

REFUSALS = [reason for reason in Reason if reason not in {Reason.ALLOWED, Reason.OBSERVED}]


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
