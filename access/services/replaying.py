"""What a change would have meant for calls that were made: the verdicts before and after it, and their sums.

Of a call the caller, its session, the hour and whether a person had approved it are on record. Its address and its arguments
are not: where a verdict hangs on them, every case is judged (`access.supposing`). What the recorded decision gives away is used:
if the same grant decided in the same way then, its conditions stood as they do in the cases where it decides so now. If cases
still disagree the change is unknown for that call, and it is said on what it hangs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from access import supposing
from access.foresight import decided
from access.proposals import Ground
from access.supposing import Question
from access.types import APPROVAL, Compat, Decision, GrantRule, Principal, Reason, Request, ServerPolicy, SessionRule
from calls.ways import CalledWay
from core import clock
from core.ids import moment_of
from tenants.models import APIKey, Tenant

REFUSED, WAITS, ALLOWED = "refused", "waits", "allowed"
_ROWS_MAX = 100
_SAMPLES_MAX = 60
_OF_SESSIONS = frozenset({Reason.SESSION_NOT_FOUND, Reason.SESSION_REVOKED, Reason.SESSION_EXPIRED})
_COLUMN = {ALLOWED: "gains", REFUSED: "losses", WAITS: "waits"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a change means for the calls of a way.

    `column` is gains, losses or waits (for a person), empty when nothing changes. `hangs_on` names what would have to be known:
    then nothing is certain, and the decisions are those of one case in which something changes.
    """

    before: Decision
    after: Decision
    column: str = ""
    hangs_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Side:
    policies: Any
    grants: dict[UUID, list[GrantRule]]
    sessions: dict[UUID, list[SessionRule]]


class Judge:
    """Verdicts, each asked for once."""

    def __init__(self, tenant: Tenant, before: Ground, after: Ground) -> None:
        self._keys = {key.pk: key for key in APIKey.objects.filter(tenant=tenant)}
        self._sides = [
            _Side(ground.policies, _by_server(ground.grants), _by_server(ground.sessions)) for ground in (before, after)
        ]
        self._sessions = {rule.session_id: rule for rule in (*before.sessions, *after.sessions)}
        self._known: dict[tuple[Any, ...], Verdict | None] = {}
        terms = [(each.server_id, each.conditions) for each in (*before.grants, *after.grants) if each.conditions]
        self._hourly = {server_id for server_id, each in terms if each.hours}
        self._hidden = {server_id for server_id, each in terms if each.networks or each.arguments}

    def judge(self, way: CalledWay) -> Verdict | None:
        """None when the caller or the server is gone, so that nothing can change for it."""
        key = (
            way.api_key_id, way.user_id, way.agent, way.server_id, way.method, way.tool, self._session(way), way.approved,
            self._evidence(way),
        )  # fmt: skip
        if key not in self._known:
            self._known[key] = self._verdict(way)
        return self._known[key]

    def caller(self, way: CalledWay) -> str:
        key = self._keys.get(way.api_key_id) if way.api_key_id else None
        return (key.name if key else way.agent or "an application")[:100]

    def _verdict(self, way: CalledWay) -> Verdict | None:
        key = self._keys.get(way.api_key_id) if way.api_key_id else None
        if key is not None and key.state != "active":
            return None
        if any(way.server_id not in side.policies for side in self._sides):
            return None
        principal = Principal(
            key_id=str(way.api_key_id or ""),
            user_id=str(way.user_id or ""),
            agent=way.agent,
            team_ids=frozenset({str(key.team_id)}) if key and key.team_id else frozenset(),
        )
        session = self._session(way)
        asked = Request(
            way.method, way.tool, session=session.name if session else "", environment=key.environment if key else ""
        )
        return self._weighed(way, principal, asked)

    def _weighed(self, way: CalledWay, principal: Principal, asked: Request) -> Verdict:
        """The verdict that all cases agree on, else one that says on what it hangs."""
        rules = [rule for side in self._sides for rule in side.grants.get(way.server_id, ())]
        unknown = supposing.questions(rules, principal, asked, _team(self._sides[0].policies[way.server_id]))
        found: list[tuple[bool, Verdict]] = []
        for case in supposing.cases(unknown):
            before, after = (self._decide(side, way, principal, asked, case) for side in self._sides)
            column = _column(_state(before, way), _state(after, way))
            found.append((_is_as_recorded(before, way), Verdict(before, after, column)))
        if unknown and not self._is_older(way) and any(fits for fits, _ in found):
            found = [each for each in found if each[0]]
        verdicts = [verdict for _, verdict in found]
        if len({verdict.column for verdict in verdicts}) == 1 and len(unknown) <= supposing.QUESTIONS_MAX:
            return verdicts[0]
        changing = next((verdict for verdict in verdicts if verdict.column), verdicts[0])
        return replace(changing, column="", hangs_on=tuple(sorted({question.kind for question in unknown})))

    def _decide(
        self, side: _Side, way: CalledWay, principal: Principal, asked: Request, case: frozenset[Question]
    ) -> Decision:
        session = self._session(way)
        known = [session] if session else side.sessions.get(way.server_id, ())
        grants, request = supposing.settle(side.grants.get(way.server_id, ()), asked, case, way.since)
        return decided(side.policies[way.server_id], grants, known, principal, request)

    def _session(self, way: CalledWay) -> SessionRule | None:
        """The session of the call as it was then: that it has ended since says nothing of the change."""
        rule = self._sessions.get(way.agent_session_id) if way.agent_session_id else None
        if rule is None or way.reason in _OF_SESSIONS:
            return rule
        return replace(rule, issued_at=None, last_used_at=None, expires_at=None, revoked_at=None)

    def _evidence(self, way: CalledWay) -> tuple[Any, ...]:
        """What tells calls apart where rules of the server hang on more than who calls what."""
        is_hidden = way.server_id in self._hidden
        return (
            way.since if way.server_id in self._hourly else None,
            (way.allowed, way.reason, way.grant_id, self._is_older(way)) if is_hidden else None,
        )

    def _is_older(self, way: CalledWay) -> bool:
        """Whether a condition that holds now has come since: then the record says nothing of it."""
        grants = self._sides[0].grants.get(way.server_id, ())
        return any(each.conditions is not None and moment_of(each.grant_id) > way.first for each in grants)


@dataclass(slots=True)
class Tally:
    """The sums over ways."""

    calls: int = 0
    gone: int = 0
    sums: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    tools: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    callers: dict[str, Counter[str]] = field(default_factory=dict)
    days: dict[str, Counter[str]] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
    unjudged: list[dict[str, Any]] = field(default_factory=list)

    def count(self, way: CalledWay, verdict: Verdict | None, caller: str) -> None:
        self.calls += way.calls
        if verdict is None:
            self.gone += way.calls
        elif verdict.hangs_on:
            self.unknown["_and_".join(verdict.hangs_on)] += way.calls
            if len(self.unjudged) < _SAMPLES_MAX:
                self.unjudged.append(_sample(way, caller) | {"hangs_on": list(verdict.hangs_on)})
        elif verdict.column:
            self._count_change(way, verdict, caller)

    def _count_change(self, way: CalledWay, verdict: Verdict, caller: str) -> None:
        for count in (
            self.sums,
            self.tools.setdefault((way.server_name, way.tool or way.method), Counter()),
            self.callers.setdefault(caller, Counter()),
            self.days.setdefault(str(way.day), Counter()),
        ):
            count[verdict.column] += way.calls
        if len(self.samples) < _SAMPLES_MAX:
            told = {
                "before": _reason(verdict.before),
                "after": _reason(verdict.after),
                "change": verdict.column,
                "gains": verdict.column == "gains",
            }
            self.samples.append(_sample(way, caller) | told)

    def result(self, days: int) -> dict[str, Any]:
        first = clock.now().date() - timedelta(days=days)
        dates = [str(first + timedelta(days=number)) for number in range(days + 1)]
        return {
            "calls": self.calls,
            "gone": self.gone,
            "gains": self.sums["gains"],
            "losses": self.sums["losses"],
            "waits": self.sums["waits"],
            "unknown": self.unknown.total(),
            "unknown_for": dict(sorted(self.unknown.items())),
            "tools": _top(self.tools, ("server", "tool")),
            "callers": _top(self.callers, ("caller",)),
            "days": [[day, *(self.days.get(day, Counter())[column] for column in _COLUMN.values())] for day in dates],
            "samples": self.samples,
            "unjudged": self.unjudged,
        }


def _sample(way: CalledWay, caller: str) -> dict[str, Any]:
    return {
        "call_id": str(way.example),
        "server": way.server_name,
        "tool": way.tool or way.method,
        "caller": caller,
        "agent": way.agent,
        "calls": way.calls,
        "recorded": way.reason,
    }


def _top(table: dict[Any, Counter[str]], names: tuple[str, ...]) -> list[dict[str, Any]]:
    found = sorted(table.items(), key=lambda item: -item[1].total())[:_ROWS_MAX]
    return [
        dict(zip(names, key if isinstance(key, tuple) else (key,), strict=True))
        | {column: count[column] for column in _COLUMN.values()}
        for key, count in found
    ]


def _state(decision: Decision, way: CalledWay) -> str:
    """A person who approved the very call would have approved it again."""
    if not decision.allowed:
        return REFUSED
    return WAITS if APPROVAL in decision.obligations and not way.approved else ALLOWED


def _column(before: str, after: str) -> str:
    return _COLUMN[after] if before != after else ""


def _reason(decision: Decision) -> str:
    return str(Reason.APPROVAL_REQUIRED if APPROVAL in decision.obligations else decision.reason)


def _is_as_recorded(decision: Decision, way: CalledWay) -> bool:
    """Whether the same grant decides it now as it did then; grants are never edited, so their conditions were the same."""
    if way.grant_id is None or decision.grant_id != way.grant_id:
        return False
    return way.reason in {str(decision.reason), _reason(decision)} or (way.allowed and decision.allowed)


def _team(policy: ServerPolicy) -> str:
    return policy.team if policy.compat is Compat.MCP_RUNTIME else ""


def _by_server(rules: Iterable[Any]) -> dict[UUID, list[Any]]:
    found: dict[UUID, list[Any]] = {}
    for rule in rules:
        found.setdefault(rule.server_id, []).append(rule)
    return found
