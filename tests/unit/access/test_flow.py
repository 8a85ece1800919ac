"""The flow rule as a pure function: its truth table, and what must hold for every rule and every session."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access import engine, flow
from access.flow import Flowed, Verdict, judge, labels_of, replay
from access.flows.types import FlowAsk
from access.types import (
    APPROVAL,
    FLOW,
    NO_LABELS,
    READS,
    FlowLabel,
    FlowMode,
    FlowRule,
    FlowScope,
    PolicyMode,
    Principal,
    Request,
    ServerPolicy,
    SideEffect,
    ToolLabels,
    ToolRule,
    Trust,
)
from core import clock

UNTRUSTED, PRIVATE, OUT = FlowLabel
LABELS = st.frozensets(st.sampled_from(FlowLabel))
RULES = st.builds(
    FlowRule,
    mode=st.sampled_from(FlowMode),
    forbidden=st.lists(st.frozensets(st.sampled_from(FlowLabel), min_size=1), max_size=4).map(tuple),
)
# From what lets most through to what lets least through.
RANK = {
    Verdict.ALLOW: 0,
    Verdict.EXEMPT: 1,
    Verdict.OBSERVED: 1,
    Verdict.APPROVED: 1,
    Verdict.ESCALATE: 2,
    Verdict.STOP: 3,
}


class TestJudging:
    def test_the_call_that_completes_the_combination_is_the_one_that_waits(self):
        rule = FlowRule()

        assert judge(rule, NO_LABELS, frozenset({UNTRUSTED})) is Verdict.ALLOW
        assert judge(rule, frozenset({UNTRUSTED}), frozenset({PRIVATE})) is Verdict.ALLOW
        assert judge(rule, frozenset({UNTRUSTED, PRIVATE}), frozenset({OUT})) is Verdict.ESCALATE
        assert judge(rule, NO_LABELS, frozenset(FlowLabel)) is Verdict.ESCALATE, "one tool can be enough"

    def test_a_call_that_has_no_part_in_the_combination_goes_on(self):
        rule = FlowRule(mode=FlowMode.STOP, forbidden=(frozenset({PRIVATE, OUT}),))

        assert judge(rule, frozenset({PRIVATE, OUT}), frozenset({UNTRUSTED})) is Verdict.ALLOW
        assert judge(rule, frozenset({PRIVATE, OUT}), NO_LABELS) is Verdict.ALLOW

    @pytest.mark.parametrize(
        ("mode", "verdict"),
        [
            (FlowMode.OFF, Verdict.ALLOW),
            (FlowMode.OBSERVE, Verdict.OBSERVED),
            (FlowMode.ESCALATE, Verdict.ESCALATE),
            (FlowMode.STOP, Verdict.STOP),
        ],
    )
    def test_the_mode_says_what_happens(self, mode, verdict):
        assert judge(FlowRule(mode=mode), frozenset({UNTRUSTED, PRIVATE}), frozenset({OUT})) is verdict

    def test_a_persons_approval_counts_where_one_is_asked_for_and_nowhere_else(self):
        touched, labels = frozenset({UNTRUSTED, PRIVATE}), frozenset({OUT})

        assert judge(FlowRule(), touched, labels, approved=True) is Verdict.APPROVED
        assert judge(FlowRule(mode=FlowMode.STOP), touched, labels, approved=True) is Verdict.STOP

    @given(RULES, LABELS, LABELS, LABELS, st.booleans(), st.booleans())
    def test_touching_more_never_allows_more(self, rule, touched, more, labels, exempt, approved):
        before = judge(rule, touched, labels, exempt=exempt, approved=approved)
        after = judge(rule, touched | more, labels, exempt=exempt, approved=approved)

        assert RANK[after] >= RANK[before]

    @given(RULES, LABELS, LABELS, LABELS)
    def test_a_tool_with_more_labels_is_never_allowed_more(self, rule, touched, labels, more):
        assert RANK[judge(rule, touched, labels | more)] >= RANK[judge(rule, touched, labels)]

    @given(RULES, LABELS, LABELS, st.frozensets(st.sampled_from(FlowLabel), min_size=1))
    def test_forbidding_more_never_allows_more(self, rule, touched, labels, another):
        stricter = FlowRule(mode=rule.mode, forbidden=(*rule.forbidden, another))

        assert RANK[judge(stricter, touched, labels)] >= RANK[judge(rule, touched, labels)]

    @given(RULES, st.lists(LABELS, max_size=6))
    def test_a_session_that_stops_never_holds_a_forbidden_combination(self, rule, calls):
        rule = FlowRule(mode=FlowMode.STOP, forbidden=rule.forbidden)
        touched = NO_LABELS
        for labels in calls:
            if judge(rule, touched, labels).passes:
                touched |= labels

        assert not any(each <= touched for each in rule.forbidden)

    def test_in_whatever_order_the_last_of_the_three_is_stopped(self):
        rule = FlowRule(mode=FlowMode.STOP)
        for order in permutations(FlowLabel):
            now = clock.now()
            calls = [Flowed("one", now, frozenset({label})) for label in order]

            assert replay(rule, calls) == [Verdict.ALLOW, Verdict.ALLOW, Verdict.STOP]


class TestReplaying:
    def test_sessions_are_apart_and_end_when_nothing_labelled_is_called_for_a_while(self):
        rule, now = FlowRule(mode=FlowMode.STOP, window_s=60), clock.now()
        calls = [
            Flowed("a", now, frozenset({UNTRUSTED})),
            Flowed("a", now, frozenset({PRIVATE})),
            Flowed("b", now, frozenset({OUT})),
            Flowed("a", now + timedelta(seconds=59), frozenset({OUT})),
            Flowed("a", now + timedelta(seconds=60), frozenset({OUT})),
        ]

        assert replay(rule, calls) == [Verdict.ALLOW] * 3 + [Verdict.STOP, Verdict.ALLOW]


class TestLabels:
    RULE = FlowRule()

    def test_what_nobody_labelled_touches_nothing_unless_suggestions_count(self):
        suggested = frozenset({OUT})

        assert labels_of(self.RULE, None, suggested, "d1", None) == NO_LABELS
        assert labels_of(FlowRule(counts_suggested=True), None, suggested, "d1", None) == suggested
        assert labels_of(FlowRule(counts_suggested=True), NO_LABELS, suggested, "d1", None) == NO_LABELS

    def test_the_organisations_word_counts_alone_while_it_is_about_this_definition(self):
        own = ToolLabels(frozenset({PRIVATE}), "d1")

        assert labels_of(self.RULE, frozenset({OUT}), NO_LABELS, "d1", own) == {PRIVATE}
        assert labels_of(self.RULE, frozenset({OUT}), NO_LABELS, "d2", own) == {PRIVATE, OUT}

    def test_labels_that_no_combination_names_are_not_looked_at(self):
        policy = policy_with(labels=frozenset(FlowLabel))

        assert flow.flowing(policy, FlowRule(forbidden=(frozenset({PRIVATE, OUT}),)), {}) == {"send": {PRIVATE, OUT}}
        assert flow.flowing(policy, FlowRule(mode=FlowMode.OFF), {}) == {}
        assert flow.flowing(policy_with(labels=None), FlowRule(), {}) == {}

    def test_words_are_in_one_order(self):
        assert flow.words(["private_data", "untrusted_input"]) == "untrusted input and private data"
        assert flow.words(FlowLabel) == "untrusted input, private data and external output"


def policy_with(labels, reads=None):
    tool = ToolRule("send", Trust.LOW, SideEffect.WRITE, digest="d1", labels=labels)
    return ServerPolicy(uuid4(), PolicyMode.OBSERVE, Trust.LOW, {"send": tool}, reads=reads)


class TestTheDecision:
    def decide(self, policy, method, tool=""):
        return engine.explain(policy, (), (), Principal(key_id="k"), Request(method, tool), clock.now())

    def flowing(self, labels, reads=None, **changes):
        policy = policy_with(labels, reads)
        return ServerPolicy(
            policy.server_id,
            policy.mode,
            policy.required_trust,
            {"send": ToolRule("send", Trust.LOW, SideEffect.WRITE, labels=labels, **changes)},
            flows=flow.flowing(policy, FlowRule(), {}),
        )

    def test_a_labelled_tool_is_held_against_its_session(self):
        decision = self.decide(self.flowing(frozenset({OUT})), "tools/call", "send")

        assert decision.obligations == (FLOW,)
        assert decision.steps[-1].rule == "The session keeps apart what must not meet"

    def test_a_tool_without_labels_is_not(self):
        assert self.decide(self.flowing(NO_LABELS), "tools/call", "send").obligations == ()

    def test_both_obligations_stand_together(self):
        decision = self.decide(self.flowing(frozenset({OUT}), needs_approval=True), "tools/call", "send")

        assert decision.obligations == (FLOW, APPROVAL)

    @pytest.mark.parametrize(
        ("method", "obliged"),
        [("resources/read", True), ("prompts/get", True), ("resources/list", False), ("tools/list", False)],
    )
    def test_content_of_a_server_counts_as_its_resources_and_prompts(self, method, obliged):
        policy = self.flowing(NO_LABELS, reads=frozenset({UNTRUSTED}))

        assert policy.flows == {READS: {UNTRUSTED}}
        assert self.decide(policy, method).obligations == ((FLOW,) if obliged else ())

    def test_a_refused_call_has_no_obligation(self):
        assert self.decide(self.flowing(frozenset({OUT})), "tools/call", "other").obligations == ()


class TestSessions:
    def ask(self, **changes):
        values = {
            "tenant_id": uuid4(), "call_id": uuid4(), "api_key_id": KEY, "on_behalf": "", "agent": "", "server_slug": "s",
            "agent_session_id": None, "protocol_session": "", "tool": "t", "labels": NO_LABELS, "rule": FlowRule(),
        }  # fmt: skip
        return FlowAsk(**(values | changes))

    def test_by_the_caller_no_name_of_a_session_makes_another_one(self):
        plain = self.ask().scope()

        assert self.ask(protocol_session="p", agent_session_id=uuid4()).scope() == plain
        assert self.ask(api_key_id=uuid4()).scope() != plain
        assert self.ask(on_behalf="~someone").scope() != plain

    def test_by_session_what_has_none_is_the_caller(self):
        rule = FlowRule(scope=FlowScope.SESSION)

        assert self.ask(rule=rule).kind == "caller"
        assert self.ask(rule=rule, protocol_session="p").kind == "protocol"
        assert self.ask(rule=rule, protocol_session="p", agent_session_id=uuid4()).kind == "agent"
        assert self.ask(rule=rule, protocol_session="p").scope() != self.ask(rule=rule, protocol_session="q").scope()


KEY = uuid4()
