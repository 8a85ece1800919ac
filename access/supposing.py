"""What nobody knows of a call, and every way in which it may have been. Pure.

A grant can hang on the hour, on the caller's address and on the arguments. Of a call that was recorded the hour is known; address
and arguments are not kept. Of a call that nobody has made yet neither is known. A *question* is one such condition, and a
*case* says which of them hold; decisions that are the same in every case are certain, and all others are unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import product

from access import conditions, engine
from access.types import Conditions, GrantRule, Hours, Principal, Request

ADDRESS, ARGUMENTS = "address", "arguments"
# Each one doubles the decisions that are asked for; with more, nothing is claimed to be certain.
QUESTIONS_MAX = 6
_NEVER = Hours(frozenset(), 0, 24 * 60)
_CALLS = "tools/call"


@dataclass(frozen=True, slots=True, order=True)
class Question:
    """Whether the address is one of some networks, or the arguments fit a schema. `kind`: ADDRESS | ARGUMENTS."""

    kind: str
    terms: str


def questions(
    grants: Iterable[GrantRule], principal: Principal, request: Request, team: str = ""
) -> tuple[Question, ...]:
    """What would have to be known of the request to decide it, in one order. `team` is the server's, where it stands in."""
    found: set[Question] = set()
    for grant in grants:
        if grant.conditions is not None and grant.revoked_at is None and engine.is_about(grant, principal, team):
            found.update(_asked(grant.conditions, request))
    return tuple(sorted(found))


def cases(asked: Sequence[Question]) -> Iterator[frozenset[Question]]:
    """Every way in which the questions can be answered, each as those that hold. At most QUESTIONS_MAX are told apart."""
    for held in product((False, True), repeat=min(len(asked), QUESTIONS_MAX)):
        yield frozenset(question for question, holds in zip(asked, held, strict=False) if holds)


def settle(
    grants: Iterable[GrantRule], request: Request, case: frozenset[Question], moment: datetime | None = None
) -> tuple[tuple[GrantRule, ...], Request]:
    """Grants and request with every condition decided as the case says, and hours as of the moment where one is given."""
    settled = tuple(
        each if each.conditions is None else replace(each, conditions=_settled(each.conditions, request, case, moment))
        for each in grants
    )
    return settled, replace(request, arguments={}) if request.arguments is None else request


def minutes_between(grants: Iterable[GrantRule]) -> int:
    """Into how many minutes a day has to be cut so that no hours of these grants begin or end within a part; 0 without hours.

    Time zones are whole quarters of an hour apart.
    """
    edges = [
        edge
        for grant in grants
        if grant.conditions is not None
        for hours in grant.conditions.hours
        for edge in (hours.start, hours.end)
    ]
    return next(step for step in (15, 5, 1) if all(edge % step == 0 for edge in edges)) if edges else 0


def _asked(terms: Conditions, request: Request) -> Iterator[Question]:
    if terms.networks and not request.address:
        yield _of_networks(terms)
    if request.arguments is None and request.method == _CALLS and request.tool in terms.arguments:
        yield _of_arguments(terms, request.tool)


def _settled(
    terms: Conditions, request: Request, case: frozenset[Question], moment: datetime | None
) -> Conditions | None:
    hours, networks, arguments = terms.hours, terms.networks, dict(terms.arguments)
    if hours and moment is not None:
        hours = () if any(conditions.is_in(each, moment) for each in hours) else (_NEVER,)
    for question in _asked(terms, request):
        holds = question in case
        if question.kind == ARGUMENTS:
            arguments[request.tool] = holds
        else:
            networks, hours = frozenset(), hours if holds else (_NEVER,)
    found = replace(terms, hours=hours, networks=networks, arguments=arguments)
    return found if found != Conditions() else None


def _of_networks(terms: Conditions) -> Question:
    return Question(ADDRESS, " ".join(sorted(terms.networks)))


def _of_arguments(terms: Conditions, tool: str) -> Question:
    return Question(ARGUMENTS, json.dumps(terms.arguments[tool], sort_keys=True))
