from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations, product
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from access import engine
from access.types import (
    GrantRule,
    PolicyMode,
    Principal,
    Reason,
    ServerPolicy,
    SideEffect,
    SubjectKind,
    ToolRule,
    Trust,
)
from tests.unit.access import reference

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SERVER, OTHER_SERVER = UUID(int=1), UUID(int=2)
READS = frozenset({SideEffect.READ})
ALL_EFFECTS = frozenset(SideEffect)

TOOLS = {
    "list": ToolRule("list", Trust.LOW, SideEffect.READ),
    "write": ToolRule("write", Trust.MEDIUM, SideEffect.WRITE),
    "refund": ToolRule("refund", Trust.HIGH, SideEffect.DESTRUCTIVE),
    "undeclared": ToolRule("undeclared", Trust.LOW, None),
    "changed": ToolRule("changed", Trust.LOW, SideEffect.READ, quarantined=True),
}
POLICY = ServerPolicy(SERVER, PolicyMode.ALLOW_LIST, Trust.MEDIUM, TOOLS)
OBSERVING = replace(POLICY, mode=PolicyMode.OBSERVE)
ALICE = Principal(key_id="key-1", user_id="alice", agent="bot", team_ids=frozenset({"red"}))
NOBODY = Principal()

REQUESTS = [
    *((method, "") for method in engine.METHOD_RULES if method not in reference.CALL),
    *((method, tool) for method in sorted(reference.CALL) for tool in [*TOOLS, "unknown", ""]),
    ("tools/delete", ""),
    ("", ""),
]


def make_grant(number: int = 10, **changes) -> GrantRule:
    grant = GrantRule(UUID(int=number), SERVER, SubjectKind.USER, "alice", Trust.HIGH, ALL_EFFECTS)
    return replace(grant, **changes)


def decide(grants, method="tools/call", tool="list", *, policy=POLICY, caller=ALICE, now=NOW):
    return engine.decide(policy, grants, caller, method, tool, now)


SUBJECTS = [
    (SubjectKind.USER, "alice"),
    (SubjectKind.KEY, "key-1"),
    (SubjectKind.AGENT, "bot"),
    (SubjectKind.TEAM, "red"),
    (SubjectKind.USER, "bob"),
    (SubjectKind.TEAM, "blue"),
    (SubjectKind.KEY, "alice"),
]
MAYBE_MOMENTS = st.none() | st.sampled_from([NOW - SECOND, NOW, NOW + SECOND])


@st.composite
def grants(draw, *, subjects=SUBJECTS, servers=(SERVER, OTHER_SERVER)) -> GrantRule:
    kind, subject = draw(st.sampled_from(subjects))
    return GrantRule(
        grant_id=UUID(int=draw(st.integers(1, 10**6))),
        server_id=draw(st.sampled_from(servers)),
        subject_kind=kind,
        subject=subject,
        max_trust=draw(st.sampled_from(Trust)),
        side_effects=frozenset(draw(st.sets(st.sampled_from(SideEffect), min_size=1))),
        tools=frozenset(draw(st.sets(st.sampled_from(sorted(TOOLS))))),
        expires_at=draw(MAYBE_MOMENTS),
        revoked_at=draw(st.none() | st.just(NOW - SECOND)),
    )


GRANT_LISTS = st.lists(grants(), max_size=5, unique_by=lambda grant: grant.grant_id)
ANY_REQUEST = st.sampled_from(REQUESTS)
POLICIES = st.sampled_from([POLICY, replace(POLICY, required_trust=Trust.HIGH), OBSERVING])


class TestAgainstTheReference:
    """The table is small and complete; the property beside it goes where the table does not."""

    @pytest.mark.parametrize("policy", [POLICY, OBSERVING], ids=["allow-list", "observe"])
    @pytest.mark.parametrize("caller", [ALICE, Principal(key_id="key-1"), NOBODY], ids=["all", "key", "nobody"])
    def test_every_pair_of_grants_is_decided_alike(self, policy, caller):
        universe = [
            make_grant(
                number,
                server_id=server,
                subject_kind=kind,
                subject=subject,
                max_trust=trust,
                side_effects=effects,
                tools=tools,
                **ended,
            )
            for number, (server, (kind, subject), trust, (effects, tools), ended) in enumerate(
                product(
                    [SERVER, OTHER_SERVER],
                    [(SubjectKind.USER, "alice"), (SubjectKind.KEY, "key-1")],
                    [Trust.LOW, Trust.HIGH],
                    [(READS, frozenset()), (ALL_EFFECTS, frozenset({"list", "undeclared"}))],
                    [{}, {"expires_at": NOW}, {"revoked_at": NOW}],
                )
            )
        ]
        requests = [("initialize", ""), ("resources/read", ""), *REQUESTS[-8:]]
        for held in [(), *combinations(universe, 1), *combinations(universe, 2)]:
            for method, tool in requests:
                decision = decide(held, method, tool, policy=policy, caller=caller)
                wanted = reference.expected(policy, list(held), caller, method, tool, NOW)
                assert (decision.allowed, decision.reason) == wanted, (held, method, tool)

    @given(POLICIES, GRANT_LISTS, ANY_REQUEST)
    def test_any_grants_are_decided_alike(self, policy, held, request):
        decision = decide(held, *request, policy=policy)

        assert (decision.allowed, decision.reason) == reference.expected(policy, held, ALICE, *request, NOW)


class TestDefaultDeny:
    @pytest.mark.parametrize(("method", "tool"), REQUESTS)
    def test_nothing_is_allowed_without_a_grant(self, method, tool):
        assert not decide([], method, tool).allowed

    @pytest.mark.parametrize(("method", "tool"), REQUESTS)
    @pytest.mark.parametrize("policy", [POLICY, OBSERVING], ids=["allow-list", "observe"])
    def test_nothing_is_allowed_to_nobody(self, method, tool, policy):
        assert not decide([make_grant(subject="")], method, tool, policy=policy, caller=NOBODY).allowed

    @given(GRANT_LISTS, st.text())
    def test_no_grant_opens_an_unknown_method(self, held, method):
        assume(method not in engine.METHOD_RULES)

        assert decide(held, method, "").reason == Reason.METHOD_UNKNOWN

    @given(st.lists(grants()), st.text())
    def test_no_grant_opens_an_unknown_tool(self, held, tool):
        assume(tool not in TOOLS)

        assert decide(held, tool=tool).reason == Reason.TOOL_UNKNOWN

    @given(GRANT_LISTS, ANY_REQUEST)
    def test_whatever_is_allowed_names_a_live_grant_of_the_caller_on_the_server(self, held, request):
        usable = {g.grant_id for g in held if reference.is_live(g, NOW) and reference.is_about(g, POLICY, ALICE)}
        decision = decide(held, *request)

        assert not decision.allowed or decision.grant_id in usable

    @given(st.lists(grants(subjects=SUBJECTS[4:]) | grants(servers=[OTHER_SERVER])), ANY_REQUEST)
    def test_grants_of_others_and_on_other_servers_allow_nothing(self, held, request):
        assert not decide(held, *request).allowed


class TestMonotony:
    @given(GRANT_LISTS, grants(subjects=SUBJECTS[4:]) | grants(servers=[OTHER_SERVER]), ANY_REQUEST)
    def test_an_irrelevant_grant_changes_nothing(self, held, irrelevant, request):
        assert decide([*held, irrelevant], *request) == decide(held, *request)

    @given(GRANT_LISTS, grants(), ANY_REQUEST)
    def test_a_further_grant_takes_nothing_away(self, held, further, request):
        assert decide([*held, further], *request).allowed >= decide(held, *request).allowed

    @given(GRANT_LISTS, ANY_REQUEST)
    def test_more_trust_takes_nothing_away(self, held, request):
        raised = [replace(grant, max_trust=Trust.HIGH) for grant in held]

        assert decide(raised, *request).allowed >= decide(held, *request).allowed

    @given(GRANT_LISTS, ANY_REQUEST)
    def test_more_required_trust_opens_nothing(self, held, request):
        strict = replace(
            POLICY,
            required_trust=Trust.HIGH,
            tools={name: replace(tool, required_trust=Trust.HIGH) for name, tool in TOOLS.items()},
        )

        assert decide(held, *request, policy=strict).allowed <= decide(held, *request).allowed

    @given(GRANT_LISTS, ANY_REQUEST)
    def test_revoking_opens_nothing(self, held, request):
        revoked = [replace(grant, revoked_at=NOW) for grant in held]

        assert not decide(revoked, *request).allowed

    @given(GRANT_LISTS, ANY_REQUEST)
    def test_the_order_of_grants_does_not_matter(self, held, request):
        one, other = decide(held, *request), decide(held[::-1], *request)

        assert (one.allowed, one.reason) == (other.allowed, other.reason)


class TestTime:
    @pytest.mark.parametrize(("method", "tool"), REQUESTS)
    def test_a_grant_ends_at_the_moment_of_its_expiry(self, method, tool):
        held = [make_grant(expires_at=NOW)]

        assert not decide(held, method, tool, now=NOW).allowed
        assert decide(held, method, tool, now=NOW - SECOND) == decide([make_grant()], method, tool)

    @pytest.mark.parametrize(("method", "tool"), REQUESTS)
    def test_a_revoked_grant_allows_nothing_even_before_its_expiry(self, method, tool):
        assert not decide([make_grant(revoked_at=NOW - SECOND, expires_at=NOW + SECOND)], method, tool).allowed


REACHED = {
    Reason.ALLOWED: decide([make_grant()]),
    Reason.OBSERVED: decide([], policy=OBSERVING),
    Reason.MISSING_IDENTITY: decide([make_grant()], caller=NOBODY),
    Reason.METHOD_UNKNOWN: decide([make_grant()], "tools/delete"),
    Reason.TOOL_UNKNOWN: decide([make_grant()], tool="unknown"),
    Reason.TOOL_QUARANTINED: decide([make_grant()], tool="changed", policy=OBSERVING),
    Reason.NO_MATCHING_GRANT: decide([make_grant(subject="bob")]),
    Reason.GRANT_EXPIRED: decide([make_grant(expires_at=NOW - SECOND)]),
    Reason.GRANT_REVOKED: decide([make_grant(revoked_at=NOW - SECOND)]),
    Reason.TOOL_NOT_GRANTED: decide([make_grant(tools=frozenset({"write"}))]),
    Reason.TOOL_SIDE_EFFECT_UNKNOWN: decide([make_grant()], tool="undeclared"),
    Reason.SIDE_EFFECT_NOT_ALLOWED: decide([make_grant(side_effects=READS)], tool="refund"),
    Reason.TRUST_TOO_LOW: decide([make_grant(max_trust=Trust.MEDIUM)], tool="refund"),
}
# Given by the stages around the engine: they refuse before there is anything to decide.
OF_THE_GATEWAY = {
    Reason.SCOPE_MISSING,
    Reason.SERVER_UNKNOWN,
    Reason.SERVER_NOT_IN_KEY,
    Reason.SERVER_NOT_READY,
    Reason.REQUEST_INVALID,
    Reason.POLICY_UNAVAILABLE,
    Reason.TOO_MANY_AT_ONCE,
    Reason.RATE_LIMITED,
    Reason.QUOTA_REACHED,
    Reason.CAP_REACHED,
    Reason.LIMITS_UNAVAILABLE,
    Reason.RECORD_UNAVAILABLE,
    Reason.CREDENTIAL_MISSING,
    Reason.ACCOUNT_NOT_CONNECTED,
}


class TestReasons:
    def test_every_reason_has_a_way_to_happen(self):
        assert set(REACHED) | OF_THE_GATEWAY == set(Reason)

    @pytest.mark.parametrize("reason", REACHED)
    def test_it_happens(self, reason):
        assert REACHED[reason].reason == reason
        assert REACHED[reason].allowed == (reason in {Reason.ALLOWED, Reason.OBSERVED})

    @pytest.mark.parametrize("reason", [reason for reason, decision in REACHED.items() if not decision.allowed])
    def test_a_refusal_says_why_and_what_to_do(self, reason):
        assert REACHED[reason].message.endswith(".")
        assert REACHED[reason].next_step.endswith(".")

    def test_a_refusal_for_trust_names_both_levels(self):
        decision = REACHED[Reason.TRUST_TOO_LOW]

        assert (decision.trust_required, decision.trust_effective) == ("high", "medium")
        assert "high" in decision.message
        assert "medium" in decision.message

    def test_the_best_of_several_fitting_grants_decides(self):
        weak, strong = make_grant(10, max_trust=Trust.LOW), make_grant(11, max_trust=Trust.HIGH)

        assert decide([weak, strong], tool="refund").grant_id == strong.grant_id
        assert decide([strong, weak], tool="refund").grant_id == strong.grant_id


class TestMethodRules:
    def test_only_tool_calls_and_tasks_look_at_the_tool(self):
        for method in engine.METHOD_RULES:
            if method in reference.CALL:
                assert decide([make_grant()], method, "unknown").reason == Reason.TOOL_UNKNOWN
            else:
                assert decide([make_grant()], method, "unknown").allowed

    @pytest.mark.parametrize("method", sorted(reference.READ))
    def test_reading_needs_the_trust_of_the_server(self, method):
        assert decide([make_grant(max_trust=Trust.LOW)], method, "").reason == Reason.TRUST_TOO_LOW
        assert decide([make_grant(max_trust=Trust.MEDIUM)], method, "").allowed

    @pytest.mark.parametrize("method", sorted(reference.READ))
    def test_reading_needs_a_grant_that_allows_reading(self, method):
        writes_only = make_grant(side_effects=frozenset({SideEffect.WRITE}))

        assert decide([writes_only], method, "").reason == Reason.SIDE_EFFECT_NOT_ALLOWED
