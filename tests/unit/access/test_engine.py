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
    Compat,
    Conditions,
    EnforceOn,
    GrantRule,
    Hours,
    PolicyMode,
    Principal,
    Reason,
    Request,
    ServerPolicy,
    SessionRule,
    SessionTerms,
    SideEffect,
    ToolRule,
    ToolTerm,
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
LENIENT = replace(POLICY, compat=Compat.MCP_RUNTIME, enforce_on=EnforceOn.CALL_TOOL, team="red")
NEEDS_SESSION = replace(POLICY, session=SessionTerms(required=True))
BY_DEFAULT = replace(POLICY, allows_by_default=True)
ALICE = Principal(key_id="key-1", user_id="alice", agent="bot", team_ids=frozenset({"red"}))
NOBODY = Principal()
SESSION = SessionRule(
    UUID(int=77), SERVER, "morning", user="alice", consented_trust=Trust.MEDIUM, issued_at=NOW - SECOND
)

REQUESTS = [
    *((method, "") for method in engine.METHOD_RULES if method not in reference.CALL),
    *((method, tool) for method in sorted(reference.CALL) for tool in [*TOOLS, "unknown", ""]),
    ("tools/delete", ""),
    ("", ""),
]


def make_grant(number: int = 10, **changes) -> GrantRule:
    grant = GrantRule(UUID(int=number), SERVER, Trust.HIGH, ALL_EFFECTS, name=f"g{number}", user="alice")
    return replace(grant, **changes)


def decide(
    grants, method="tools/call", tool="list", *, policy=POLICY, caller=ALICE, now=NOW, sessions=(), **circumstances
):
    return engine.decide(policy, grants, sessions, caller, Request(method, tool, **circumstances), now)


def rules(*allowed, denied=(), trust=Trust.LOW):
    return {name: ToolTerm(False, trust) for name in allowed} | {name: ToolTerm(True) for name in denied}


SUBJECTS = [
    {"user": "alice"},
    {"key": "key-1"},
    {"agent": "bot"},
    {"team": "red"},
    {"everyone": True},
    {"user": "alice", "agent": "bot", "team": "red"},
]
FOREIGN_SUBJECTS = [
    {"user": "bob"},
    {"team": "blue"},
    {"key": "alice"},
    {"user": "alice", "agent": "other"},
    {"agent": "bot", "key": "key-2"},
    {},
]
MAYBE_MOMENTS = st.none() | st.sampled_from([NOW - SECOND, NOW, NOW + SECOND])
TERMS = st.builds(ToolTerm, st.booleans(), st.sampled_from(Trust))


@st.composite
def grants(draw, *, subjects=SUBJECTS + FOREIGN_SUBJECTS, servers=(SERVER, OTHER_SERVER), terms=TERMS) -> GrantRule:
    return GrantRule(
        grant_id=UUID(int=draw(st.integers(1, 10**6))),
        server_id=draw(st.sampled_from(servers)),
        name=draw(st.sampled_from("abc")),
        namespace=draw(st.sampled_from(["", "n"])),
        max_trust=draw(st.sampled_from(Trust)),
        side_effects=frozenset(draw(st.sets(st.sampled_from(SideEffect)))),
        tool_rules=draw(st.dictionaries(st.sampled_from(sorted(TOOLS)), terms, max_size=3)),
        disabled=draw(st.booleans()),
        expires_at=draw(MAYBE_MOMENTS),
        revoked_at=draw(st.none() | st.just(NOW - SECOND)),
        **draw(st.sampled_from(subjects)),
    )


@st.composite
def session_rules(draw) -> SessionRule:
    return SessionRule(
        session_id=UUID(int=draw(st.integers(1, 10**6))),
        server_id=draw(st.sampled_from([SERVER, SERVER, OTHER_SERVER])),
        name=draw(st.sampled_from(["morning", "evening"])),
        namespace=draw(st.sampled_from(["", "n"])),
        consented_trust=draw(st.sampled_from(Trust)),
        issued_at=draw(st.sampled_from([None, NOW - SECOND, NOW - timedelta(hours=1), NOW - timedelta(hours=24)])),
        last_used_at=draw(st.sampled_from([None, NOW - SECOND])),
        expires_at=draw(MAYBE_MOMENTS),
        revoked_at=draw(st.none() | st.just(NOW - SECOND)),
        idle_timeout_s=draw(st.sampled_from([0, 60, 7200])),
        **draw(st.sampled_from([{"user": "alice"}, {"agent": "bot"}, {"team": "red"}, {"user": "bob"}, {}])),
    )


ALLOWS_ONLY = st.builds(ToolTerm, st.just(False), st.just(Trust.LOW))
GRANT_LISTS = st.lists(grants(), max_size=5, unique_by=lambda grant: grant.grant_id)
SIMPLE_LISTS = st.lists(grants(terms=ALLOWS_ONLY), max_size=5, unique_by=lambda grant: grant.grant_id)
SESSION_LISTS = st.lists(session_rules(), max_size=4, unique_by=lambda session: session.session_id)
ANY_REQUEST = st.sampled_from(REQUESTS)
POLICIES = st.builds(
    replace,
    st.just(POLICY),
    mode=st.sampled_from(PolicyMode),
    required_trust=st.sampled_from(Trust),
    allows_by_default=st.booleans(),
    enforce_on=st.sampled_from(EnforceOn),
    compat=st.sampled_from(Compat),
    team=st.sampled_from(["", "red", "blue"]),
    session=st.builds(SessionTerms, required=st.booleans()),
)
CALLERS = st.sampled_from([ALICE, Principal(key_id="key-1"), Principal(agent="bot"), NOBODY])


def assert_as_expected(policy, held, sessions, caller, request):
    decision = engine.decide(policy, held, sessions, caller, request, NOW)
    wanted = reference.expected(policy, list(held), list(sessions), caller, request, NOW)
    assert (decision.allowed, decision.reason) == (wanted.allowed, wanted.reason), (held, request)
    if wanted.effective is not None:
        words = (decision.trust_admin, decision.trust_consented, decision.trust_effective, decision.trust_required)
        assert words == tuple(each.word for each in (wanted.admin, wanted.consented, wanted.effective, wanted.required))


class TestAgainstTheReference:
    """The table is small and complete; the property beside it goes where the table does not."""

    @pytest.mark.parametrize("policy", [POLICY, OBSERVING, LENIENT], ids=["allow-list", "observe", "lenient"])
    @pytest.mark.parametrize("caller", [ALICE, Principal(key_id="key-1"), NOBODY], ids=["all", "key", "nobody"])
    def test_every_pair_of_grants_is_decided_alike(self, policy, caller):
        universe = [
            make_grant(
                number,
                server_id=server,
                max_trust=trust,
                side_effects=effects,
                tool_rules=tools,
                **({"user": ""} | subject | changed),
            )
            for number, (server, subject, trust, (effects, tools), changed) in enumerate(
                product(
                    [SERVER, OTHER_SERVER],
                    [{"user": "alice"}, {"key": "key-1"}],
                    [Trust.LOW, Trust.HIGH],
                    [
                        (READS, {}),
                        (ALL_EFFECTS, rules("list", "undeclared")),
                        (ALL_EFFECTS, rules("write", denied=["list"])),
                    ],
                    [{}, {"expires_at": NOW}, {"revoked_at": NOW}, {"disabled": True}],
                )
            )
        ]
        requests = [Request(*each) for each in [("initialize", ""), ("resources/read", ""), *REQUESTS[-8:]]]
        for held in [(), *combinations(universe, 1), *combinations(universe[:36], 2)]:
            for request in requests:
                assert_as_expected(policy, held, (), caller, request)

    @given(POLICIES, GRANT_LISTS, SESSION_LISTS, CALLERS, ANY_REQUEST, st.sampled_from(["", "morning", "gone"]))
    def test_any_grants_and_sessions_are_decided_alike(self, policy, held, sessions, caller, request, session):
        assert_as_expected(policy, held, sessions, caller, Request(*request, session=session))


class TestDefaultDeny:
    @pytest.mark.parametrize(("method", "tool"), REQUESTS)
    def test_nothing_is_allowed_without_a_grant(self, method, tool):
        assert not decide([], method, tool).allowed

    @pytest.mark.parametrize(("method", "tool"), REQUESTS)
    @pytest.mark.parametrize("policy", [POLICY, OBSERVING], ids=["allow-list", "observe"])
    def test_nothing_is_allowed_to_nobody(self, method, tool, policy):
        assert not decide(
            [make_grant(user=""), make_grant(user="", everyone=True)], method, tool, policy=policy, caller=NOBODY
        ).allowed

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

    @given(st.lists(grants(subjects=FOREIGN_SUBJECTS) | grants(servers=[OTHER_SERVER])), ANY_REQUEST)
    def test_grants_of_others_and_on_other_servers_allow_nothing(self, held, request):
        assert not decide(held, *request).allowed


class TestMonotony:
    @given(GRANT_LISTS, grants(subjects=FOREIGN_SUBJECTS) | grants(servers=[OTHER_SERVER]), ANY_REQUEST)
    def test_an_irrelevant_grant_changes_nothing(self, held, irrelevant, request):
        assert decide([*held, irrelevant], *request) == decide(held, *request)

    @given(SIMPLE_LISTS, grants(terms=ALLOWS_ONLY), ANY_REQUEST)
    def test_a_further_grant_that_only_allows_takes_nothing_away(self, held, further, request):
        assert decide([*held, further], *request).allowed >= decide(held, *request).allowed

    @given(GRANT_LISTS, st.sampled_from(sorted(reference.CALL)), st.sampled_from(sorted(TOOLS)))
    def test_a_grant_that_denies_beats_whatever_others_allow(self, held, method, tool):
        denying = make_grant(tool_rules={tool: ToolTerm(is_denied=True)})

        assert not decide([*held, denying], method, tool).allowed

    @given(GRANT_LISTS, ANY_REQUEST)
    def test_more_trust_takes_nothing_away(self, held, request):
        raised = [replace(grant, max_trust=Trust.HIGH) for grant in held]

        assert decide(raised, *request).allowed >= decide(held, *request).allowed

    @given(GRANT_LISTS, ANY_REQUEST, st.sampled_from(Trust))
    def test_a_session_never_gives_more_than_the_grants(self, held, request, consented):
        session = replace(SESSION, consented_trust=consented)
        within = decide(held, *request, sessions=[session], session="morning")

        assert within.allowed <= decide(held, *request).allowed

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

    @given(POLICIES, GRANT_LISTS, SESSION_LISTS, ANY_REQUEST)
    def test_the_order_of_grants_and_sessions_does_not_matter(self, policy, held, sessions, request):
        one = decide(held, *request, policy=policy, sessions=sessions, session="morning")
        other = decide(held[::-1], *request, policy=policy, sessions=sessions[::-1], session="morning")

        assert one == other


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
    Reason.MISSING_SESSION: decide([make_grant()], policy=NEEDS_SESSION),
    Reason.SESSION_NOT_FOUND: decide([make_grant()], session="morning"),
    Reason.SESSION_REVOKED: decide([make_grant()], session="morning", sessions=[replace(SESSION, revoked_at=NOW)]),
    Reason.SESSION_EXPIRED: decide([make_grant()], session="morning", sessions=[replace(SESSION, expires_at=NOW)]),
    Reason.METHOD_UNKNOWN: decide([make_grant()], "tools/delete"),
    Reason.TOOL_UNKNOWN: decide([make_grant()], tool="unknown"),
    Reason.TOOL_QUARANTINED: decide([make_grant()], tool="changed", policy=OBSERVING),
    Reason.NO_MATCHING_GRANT: decide([make_grant(user="bob")]),
    Reason.GRANT_EXPIRED: decide([make_grant(expires_at=NOW - SECOND)]),
    Reason.GRANT_REVOKED: decide([make_grant(revoked_at=NOW - SECOND)]),
    Reason.CONDITION_NOT_MET: decide([make_grant(conditions=Conditions(environments=frozenset({"staging"})))]),
    Reason.TOOL_DENIED: decide([make_grant(), make_grant(11, tool_rules=rules(denied=["list"]))]),
    Reason.TOOL_NOT_GRANTED: decide([make_grant(tool_rules=rules("write"))]),
    Reason.ARGUMENTS_NOT_ALLOWED: decide(
        [make_grant(conditions=Conditions(arguments={"list": {"required": ["page"]}}))], arguments={}
    ),
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
    Reason.APPROVAL_REQUIRED,
    Reason.APPROVAL_REJECTED,
    Reason.FLOW_FORBIDDEN,
    Reason.FLOW_OBSERVED,
    Reason.TOO_MANY_AT_ONCE,
    Reason.RATE_LIMITED,
    Reason.QUOTA_REACHED,
    Reason.CAP_REACHED,
    Reason.PAYMENT_DUE,
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


class TestSubjects:
    @pytest.mark.parametrize("subject", SUBJECTS)
    def test_it_matches_when_every_part_that_is_set_does(self, subject):
        assert decide([make_grant(**({"user": ""} | subject))]).allowed

    @pytest.mark.parametrize("subject", FOREIGN_SUBJECTS)
    def test_it_matches_nobody_else(self, subject):
        assert decide([make_grant(**({"user": ""} | subject))]).reason == Reason.NO_MATCHING_GRANT


class TestArithmetic:
    def test_trust_and_rules_of_several_grants_add_up(self):
        trusting = make_grant(10, max_trust=Trust.HIGH)
        ruling = make_grant(11, max_trust=Trust.LOW, tool_rules=rules("list", trust=Trust.HIGH))
        decision = decide([trusting, ruling])

        assert (decision.allowed, decision.trust_admin, decision.trust_required) == (True, "high", "high")
        assert decision.grant_id == ruling.grant_id

    def test_a_rule_asks_for_more_trust_than_the_tool(self):
        decision = decide([make_grant(max_trust=Trust.MEDIUM, tool_rules=rules("list", trust=Trust.HIGH))])

        assert (decision.reason, decision.trust_required) == (Reason.TRUST_TOO_LOW, "high")

    def test_a_grant_without_the_side_effect_adds_neither_trust_nor_rules(self):
        reads = make_grant(10, side_effects=READS, max_trust=Trust.HIGH, tool_rules=rules("write", trust=Trust.HIGH))
        writes = make_grant(11, max_trust=Trust.MEDIUM)
        decision = decide([reads, writes], tool="write")

        assert (decision.allowed, decision.trust_admin, decision.trust_required) == (True, "medium", "medium")

    def test_a_grant_whose_rules_name_other_tools_adds_no_trust(self):
        elsewhere = make_grant(10, max_trust=Trust.HIGH, tool_rules=rules("list"))
        here = make_grant(11, max_trust=Trust.MEDIUM, tool_rules=rules("refund"))

        assert decide([elsewhere, here], tool="refund").reason == Reason.TRUST_TOO_LOW

    def test_the_version_is_that_of_the_grant_that_decided(self):
        assert decide([make_grant(policy_version="v7")]).policy_version == "v7"
        assert decide([make_grant()]).policy_version == "v1"

    @pytest.mark.parametrize(
        ("tool", "risk"), [("list", "low"), ("write", "medium"), ("refund", "high"), ("undeclared", "")]
    )
    def test_the_risk_follows_from_effect_and_trust(self, tool, risk):
        assert decide([make_grant()], tool=tool).risk == risk

    def test_a_declared_risk_counts_more(self):
        policy = replace(POLICY, tools={"list": replace(TOOLS["list"], risk="high")})

        assert decide([make_grant()], policy=policy).risk == "high"


class TestSessions:
    def test_consent_bounds_the_trust(self):
        decision = decide([make_grant()], tool="refund", sessions=[SESSION], session="morning")

        assert decision.reason == Reason.TRUST_TOO_LOW
        assert (decision.trust_admin, decision.trust_consented, decision.trust_effective) == (
            "high",
            "medium",
            "medium",
        )
        assert decision.session_id == SESSION.session_id
        assert "session" in decision.message

    def test_a_session_that_is_not_named_counts_for_nothing(self):
        assert decide([make_grant()], tool="refund", sessions=[SESSION]).allowed

    def test_where_one_is_required_it_is_enough(self):
        assert decide([make_grant()], policy=NEEDS_SESSION, sessions=[SESSION], session="morning").allowed

    def test_somebody_elses_session_is_none(self):
        theirs = replace(SESSION, user="bob")

        assert decide([make_grant()], sessions=[theirs], session="morning").reason == Reason.SESSION_NOT_FOUND

    def test_it_ends_with_the_longest_life_that_the_policy_gives(self):
        policy = replace(POLICY, session=SessionTerms(max_lifetime_s=60, idle_timeout_s=3600))
        old = replace(SESSION, issued_at=NOW - timedelta(seconds=60), last_used_at=NOW - SECOND)

        assert decide([make_grant()], policy=policy, sessions=[old], session="morning").reason == Reason.SESSION_EXPIRED

    def test_it_ends_when_nobody_uses_it(self):
        idle = replace(SESSION, issued_at=NOW - timedelta(hours=2))

        assert decide([make_grant()], sessions=[idle], session="morning").reason == Reason.SESSION_EXPIRED
        assert decide([make_grant()], sessions=[idle], session="morning", session_used_at=NOW - SECOND).allowed
        assert decide([make_grant()], sessions=[replace(idle, last_used_at=NOW - SECOND)], session="morning").allowed

    def test_its_version_stands_with_a_refusal(self):
        revoked = replace(SESSION, revoked_at=NOW, policy_version="v9")

        assert decide([make_grant()], sessions=[revoked], session="morning").policy_version == "v9"


class TestDefaultDecision:
    def test_allowing_by_default_allows_where_no_grant_speaks_and_keeps_the_reason(self):
        assert decide([], policy=BY_DEFAULT).allowed
        assert decide([], policy=BY_DEFAULT).reason == Reason.NO_MATCHING_GRANT
        assert decide([make_grant(tool_rules=rules("write"))], policy=BY_DEFAULT).reason == Reason.TOOL_NOT_GRANTED
        assert decide([make_grant(tool_rules=rules("write"))], policy=BY_DEFAULT).allowed

    def test_it_does_not_help_against_a_grant_that_says_no(self):
        assert not decide([make_grant(tool_rules=rules(denied=["list"]))], policy=BY_DEFAULT).allowed
        assert not decide([make_grant(side_effects=READS)], tool="refund", policy=BY_DEFAULT).allowed
        assert not decide([make_grant(max_trust=Trust.LOW)], tool="refund", policy=BY_DEFAULT).allowed
        assert not decide([], tool="unknown", policy=BY_DEFAULT).allowed


class TestQuirks:
    """C6: ours, and where the server's owner asks for it MCP Runtime's."""

    def test_q1_a_grant_for_nobody_matches_nobody_but_through_the_servers_team(self):
        wildcard = make_grant(user="")

        assert decide([wildcard]).reason == Reason.NO_MATCHING_GRANT
        assert decide([wildcard], policy=LENIENT).allowed
        assert decide([wildcard], policy=replace(LENIENT, team="")).reason == Reason.NO_MATCHING_GRANT
        assert decide([wildcard], policy=replace(LENIENT, team="blue")).reason == Reason.NO_MATCHING_GRANT

    def test_q2_a_grant_that_is_switched_off_does_not_match(self):
        off = make_grant(disabled=True)

        assert decide([off]).reason == Reason.NO_MATCHING_GRANT
        assert decide([off], policy=LENIENT).reason == Reason.TOOL_NOT_GRANTED

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"revoked_at": NOW}, Reason.SESSION_REVOKED),
            ({"expires_at": NOW - SECOND}, Reason.SESSION_EXPIRED),
            ({"name": "other"}, Reason.SESSION_NOT_FOUND),
        ],
    )
    def test_q3_a_dead_session_never_raises_trust(self, change, reason):
        dead = [replace(SESSION, **change)]

        assert decide([make_grant()], tool="refund", sessions=dead, session="morning").reason == reason
        assert decide([make_grant()], tool="refund", policy=LENIENT, sessions=dead, session="morning").allowed

    def test_q4_grants_are_added_up_in_both(self):
        held = [
            make_grant(10, max_trust=Trust.HIGH, tool_rules=rules("refund", trust=Trust.LOW)),
            make_grant(11, max_trust=Trust.LOW, tool_rules=rules("refund", trust=Trust.HIGH)),
        ]

        assert decide(held, tool="refund").allowed
        assert decide(held, tool="refund", policy=LENIENT).allowed

    def test_q5_a_session_ends_at_its_expiry_and_there_just_after_it(self):
        ending = [replace(SESSION, expires_at=NOW)]
        strict = {"sessions": ending, "session": "morning"}
        lenient = replace(LENIENT, session=SessionTerms(required=True))

        assert decide([make_grant()], policy=NEEDS_SESSION, **strict).reason == Reason.SESSION_EXPIRED
        assert decide([make_grant()], policy=lenient, **strict).allowed
        assert decide([make_grant()], policy=lenient, now=NOW + SECOND, **strict).reason == Reason.SESSION_EXPIRED

    @pytest.mark.parametrize("method", ["tools/list", "resources/read", "prompts/get"])
    def test_q7_other_requests_than_tool_calls_need_a_grant(self, method):
        assert decide([], method, "").reason == Reason.NO_MATCHING_GRANT
        assert decide([], method, "", policy=LENIENT, caller=NOBODY).allowed

    def test_an_unknown_tool_is_denied_by_name(self):
        assert decide([make_grant()], tool="unknown").reason == Reason.TOOL_UNKNOWN
        assert decide([make_grant()], tool="unknown", policy=LENIENT).reason == Reason.TOOL_SIDE_EFFECT_UNKNOWN

    def test_observing_says_so(self):
        assert decide([], policy=OBSERVING).reason == Reason.OBSERVED
        assert decide([], policy=replace(LENIENT, mode=PolicyMode.OBSERVE), caller=NOBODY).reason == Reason.ALLOWED


class TestTowards:
    @pytest.mark.parametrize("lenience", [OBSERVING, LENIENT, BY_DEFAULT])
    def test_what_an_owner_opens_is_open_for_the_owner_alone(self, lenience):
        assert lenience.towards(own=True) is lenience
        assert not decide([], policy=lenience.towards(own=False)).allowed
        assert not decide([], "resources/read", "", policy=lenience.towards(own=False)).allowed

    def test_what_an_owner_asks_for_is_asked_of_everybody(self):
        assert NEEDS_SESSION.towards(own=False).session.required

    def test_a_policy_that_is_strict_already_is_the_same_one(self):
        assert POLICY.towards(own=False) is POLICY


class TestEnforceOn:
    def test_on_tool_calls_alone_reading_needs_no_more_than_a_live_grant(self):
        policy, low = replace(POLICY, enforce_on=EnforceOn.CALL_TOOL), make_grant(max_trust=Trust.LOW)

        assert decide([low], "resources/read", "").reason == Reason.TRUST_TOO_LOW
        assert decide([low], "resources/read", "", policy=policy).allowed
        assert decide([], "resources/read", "", policy=policy).reason == Reason.NO_MATCHING_GRANT
        assert decide([low], tool="write", policy=policy).reason == Reason.TRUST_TOO_LOW


class TestConditions:
    """2026-11-21, 12:00 UTC, is a Saturday."""

    @pytest.mark.parametrize(
        ("conditions", "circumstances", "holds"),
        [
            (Conditions(hours=(Hours(frozenset({5}), 0, 24 * 60),)), {}, True),
            (Conditions(hours=(Hours(frozenset({0, 1}), 0, 24 * 60),)), {}, False),
            (Conditions(hours=(Hours(frozenset(range(7)), 13 * 60, 14 * 60, "Europe/Berlin"),)), {}, True),
            (Conditions(hours=(Hours(frozenset(range(7)), 13 * 60, 14 * 60),)), {}, False),
            (Conditions(networks=frozenset({"203.0.113.0/24"})), {"address": "203.0.113.9"}, True),
            (Conditions(networks=frozenset({"203.0.113.0/24"})), {"address": "198.51.100.1"}, False),
            (Conditions(networks=frozenset({"203.0.113.0/24"})), {}, False),
            (Conditions(environments=frozenset({"production"})), {"environment": "production"}, True),
            (Conditions(environments=frozenset({"production"})), {}, False),
        ],
    )
    def test_a_grant_counts_when_its_conditions_hold(self, conditions, circumstances, holds):
        decision = decide([make_grant(conditions=conditions)], **circumstances)

        assert decision.reason == (Reason.ALLOWED if holds else Reason.CONDITION_NOT_MET)

    def test_another_grant_without_conditions_is_enough(self):
        elsewhere = make_grant(10, conditions=Conditions(environments=frozenset({"staging"})))

        assert decide([elsewhere, make_grant(11, max_trust=Trust.LOW)]).trust_admin == "low"

    def test_what_is_not_known_denies_where_a_grant_denies(self):
        inside = Conditions(networks=frozenset({"203.0.113.0/24"}))
        denying = make_grant(10, tool_rules=rules(denied=["list"]), conditions=inside)

        assert decide([denying, make_grant(11)]).reason == Reason.TOOL_DENIED
        assert decide([denying, make_grant(11)], address="203.0.113.9").reason == Reason.TOOL_DENIED
        assert decide([denying, make_grant(11)], address="198.51.100.1").allowed

    def test_arguments_are_held_against_the_schema_for_the_tool(self):
        small = Conditions(arguments={"refund": {"properties": {"amount": {"maximum": 100}}, "required": ["amount"]}})
        held = [make_grant(conditions=small)]

        assert decide(held, tool="refund", arguments={"amount": 100}).allowed
        assert decide(held, tool="refund", arguments={"amount": 101}).reason == Reason.ARGUMENTS_NOT_ALLOWED
        assert decide(held, tool="refund", arguments={}).reason == Reason.ARGUMENTS_NOT_ALLOWED
        assert decide(held, tool="write", arguments={"amount": 101}).allowed

    def test_arguments_that_nobody_has_named_yet_hide_no_tool(self):
        held = [make_grant(conditions=Conditions(arguments={"list": {"required": ["page"]}}))]

        assert decide(held).allowed
