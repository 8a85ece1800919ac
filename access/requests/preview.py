"""What a request would make possible: the policy's own decision for each tool, now and with the access."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from access import engine, selectors
from access.models import Grant
from access.reasons import words_for
from access.services.grants import Subject
from access.types import Principal, Request, SessionTerms, SideEffect, Trust
from catalog.models import Server, Tool
from core import clock
from tenants.models import Tenant

LINES_MAX = 200


@dataclass(frozen=True, slots=True)
class Line:
    """One tool: what it needs, whether the subject may call it now, and whether it could with what is asked."""

    name: str
    trust: str
    effect: str
    now: bool
    after: bool
    chosen: bool
    why: str


def outlook(
    tenant: Tenant, server: Server, subject: Subject, tools: Sequence[Tool], chosen: Iterable[str]
) -> list[Line]:
    """Decide each tool as a gateway would, without a session. No tool chosen means every tool."""
    named = set(chosen)
    wanted = [tool for tool in tools if not named or tool.name in named]
    policy = replace(selectors.policy_for(server, tenant.pk), session=SessionTerms())
    held = [rule for rule in selectors.compile_rules() if rule.server_id == server.pk]
    with_it = [*held, selectors.to_rule(_grant(server, subject, wanted, named=bool(named)))]
    principal = Principal(
        key_id=subject.key,
        user_id=subject.user,
        agent=subject.agent,
        team_ids=frozenset({subject.team} if subject.team else ()),
    )
    moment = clock.now()
    lines = []
    for tool in tools[:LINES_MAX]:
        request = Request("tools/call", tool.name)
        before = engine.decide(policy, held, [], principal, request, moment)
        after = engine.decide(policy, with_it, [], principal, request, moment)
        lines.append(
            Line(
                name=tool.name,
                trust=tool.required_trust,
                effect=tool.side_effect,
                now=before.allowed,
                after=after.allowed,
                chosen=tool in wanted,
                why=words_for(after.reason, tool=tool.name).short,
            )
        )
    return lines


def _grant(server: Server, subject: Subject, wanted: Sequence[Tool], *, named: bool) -> Grant:
    """The grant that would be given; never stored."""
    trust = max([Trust.parse(server.required_trust), *(Trust.parse(tool.required_trust) for tool in wanted)])
    effects = {tool.side_effect for tool in wanted if tool.side_effect} or {SideEffect.READ.value}
    return Grant(
        server_id=server.pk,
        subject_user=subject.user,
        subject_agent=subject.agent,
        subject_team=subject.team,
        subject_key=subject.key,
        max_trust=trust.word,
        side_effects=sorted(effects),
        tool_rules=[{"name": tool.name} for tool in wanted] if named else [],
    )
