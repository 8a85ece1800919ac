from __future__ import annotations

import pytest

from access.reasons import trace_rows, words_for
from access.types import Reason


class TestWords:
    @pytest.mark.parametrize("reason", list(Reason))
    def test_every_reason_has_words_without_gaps(self, reason):
        words = words_for(reason, tool="refund", effect="destructive", required="high", effective="low")

        assert words.short
        assert words.why
        assert "{" not in words.why + words.next_step

    def test_a_refusal_that_somebody_can_undo_says_what_to_do(self):
        for reason in Reason:
            words = words_for(reason)
            assert words.next_step or not words.remedy

    def test_the_words_name_what_was_needed_and_what_was_given(self):
        words = words_for(Reason.TRUST_TOO_LOW, required="high", effective="medium")

        assert words.why == "Needs high trust; grant and session give medium."

    def test_a_reason_of_another_version_is_a_refusal_and_not_an_error(self):
        assert words_for("from_the_future").short == "Refused"
        assert words_for("").next_step

    def test_braces_in_a_tool_name_are_only_text(self):
        assert "{effect}" in words_for(Reason.TOOL_UNKNOWN, tool="{effect}").why


class TestTraceRows:
    def test_the_failed_check_decided_and_later_ones_did_not_run(self):
        rows = trace_rows(Reason.SIDE_EFFECT_NOT_ALLOWED, "why")

        assert [row["state"] for row in rows] == ["passed"] * 8 + ["failed", "skipped"]
        assert [row["detail"] for row in rows if row["deciding"]] == ["why"]

    def test_the_last_check_decides_what_is_allowed(self):
        rows = trace_rows(Reason.ALLOWED, "why")

        assert {row["state"] for row in rows} == {"passed"}
        assert [row["deciding"] for row in rows].index(True) == len(rows) - 1

    def test_a_policy_that_only_observes_looks_at_no_grant(self):
        rows = trace_rows(Reason.OBSERVED, "why")

        assert [row["state"] for row in rows] == ["passed"] * 6 + ["skipped"] * 4

    @pytest.mark.parametrize("reason", list(Reason))
    def test_exactly_one_check_decides(self, reason):
        assert sum(row["deciding"] for row in trace_rows(reason, "")) == 1

    def test_an_unknown_reason_has_no_steps(self):
        assert trace_rows("", "why") == []

    def test_a_list_meets_no_check_of_a_tool(self):
        rows = trace_rows(Reason.ALLOWED, "why", "tools/list")

        assert not any("tool's" in row["label"] or "names the tool" in row["label"] for row in rows)
        assert rows[-1]["label"] == "A live grant covers the caller"
        assert rows[-1]["deciding"]

    def test_a_read_is_held_to_the_terms_of_a_grant_but_names_no_tool(self):
        labels = [row["label"] for row in trace_rows(Reason.ALLOWED, "why", "resources/read")]

        assert "The grant names the tool" not in labels
        assert labels[-1] == "Grant and session give enough trust"

    @pytest.mark.parametrize("method", ["tools/list", "resources/read", "initialize", "of/its/own"])
    @pytest.mark.parametrize("reason", list(Reason))
    def test_whatever_the_method_one_check_decides(self, reason, method):
        assert sum(row["deciding"] for row in trace_rows(reason, "", method)) == 1
