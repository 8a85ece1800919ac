"""Proofs of namespaces are asked for again, because domains change hands: what nobody publishes any more vouches for nothing.

Each proof by a record or a file is looked for once a day. One that is missing is told at once and has a week to come back; after
that its claim waits for a proof again, and what was proven by it for other listings too. A name server that does not answer, or
answers with an error, says nothing about a proof. What an operator confirmed stays until an operator takes it back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import groupby
from uuid import UUID

from django.db.models import Q, QuerySet

from catalog.choices import ClaimState, ProofMethod
from catalog.models import ListingClaim
from catalog.services import claiming
from core import clock, domains
from core.dns import NameServerError
from core.errors import ConflictError
from tenants.context import platform_scope

log = logging.getLogger(__name__)

EVERY = timedelta(days=1)
LOOKS_MAX = 7
CLAIMS_AT_ONCE = 200


def ask_again(*, most: int = CLAIMS_AT_ONCE) -> int:
    """Look for the proofs whose turn it is, the longest waiting first, and return how many those were."""
    for row in (due := _due(most)):
        try:
            missing = _look(row)
        except NameServerError as error:
            log.warning(
                "a proof could not be looked for", extra={"server_id": str(row.server_id), "why": error.message}
            )
            _note(_same(row), failed_looks=row.failed_looks)
            continue
        if missing:
            _miss(row, missing)
        else:
            _note(_same(row), failed_looks=0, detail="")
    return len(due)


def _due(most: int) -> list[ListingClaim]:
    """One claim for each text that has to be published: an organisation's claims of a namespace have the same."""
    before = clock.now() - EVERY
    with platform_scope():
        rows = ListingClaim.objects.filter(Q(checked_at=None) | Q(checked_at__lt=before), state=ClaimState.PROVEN)
        rows = rows.exclude(method=ProofMethod.OPERATOR).exclude(domain="").select_related("tenant", "server")
        found = list(rows.order_by("checked_at", "pk")[:most])
    found.sort(key=lambda row: (row.token, row.domain))
    return [next(group) for _, group in groupby(found, key=lambda row: (row.token, row.domain))]


def _look(row: ListingClaim) -> str:
    """What was found instead of the proof; blank when it is there. Any of the ways in which it was given will do."""
    ways = _ways(row)
    words = ""
    for way in ways:
        try:
            way(row.challenge)
        except domains.ProofMissingError as error:
            words = error.message
        else:
            return ""
    return words


def _ways(row: ListingClaim) -> Sequence[Callable[[domains.Challenge], None]]:
    with platform_scope():
        given = set(_same(row).values_list("method", flat=True))
    return [look for method, look in claiming.LOOKS.items() if method in given] or list(claiming.LOOKS.values())


def _same(row: ListingClaim) -> QuerySet[ListingClaim]:
    """Every proven claim that rests on this text."""
    rows = ListingClaim.objects.filter(token=row.token, domain=row.domain, state=ClaimState.PROVEN)
    return rows.exclude(method=ProofMethod.OPERATOR)


def _miss(row: ListingClaim, words: str) -> None:
    looks = row.failed_looks + 1
    if looks < LOOKS_MAX:
        _note(_same(row), failed_looks=looks, detail=words[:500])
        if looks == 1:
            days = (LOOKS_MAX - 1) * EVERY.days
            claiming.tell(
                row,
                f"The proof for {row.domain} was not found",
                f"{words} Publish it again within {days} days, or your claim of {row.server.name} waits for a proof again.",
            )
        return
    with platform_scope():
        resting = list(_same(row).values_list("pk", flat=True))
    for claim_id in resting:
        _lose(claim_id, words)


def _lose(claim_id: UUID, words: str) -> None:
    try:
        row = claiming.lose(claim_id, words)
    except ConflictError:  # given up or refused in the meantime
        return
    claiming.tell(
        row,
        f"{row.server.name} is no longer proven to be yours",
        f"{words} It was not found for {LOOKS_MAX} days. Publish it and check again on the page of the claim.",
    )


def _note(rows: QuerySet[ListingClaim], **changes: object) -> None:
    with platform_scope():
        rows.update(checked_at=clock.now(), updated_at=clock.now(), **changes)
