"""Proofs of mail domains are asked for again, because domains change hands: who holds one no more must not let its people in.

Each proof by a TXT record is looked for once a day. One that is missing is told at once and has a week to come back; after that
the domain waits for a proof again, and whoever publishes theirs can have it. A name server that does not answer, or answers with
an error, says nothing about a proof. What an operator confirmed stays until an operator or the organisation takes it back.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.urls import reverse

from audit import services as audit
from core import clock, domains
from core.dns import NameServerError
from notifications import services as notifications
from tenants.choices import Right
from tenants.context import platform_scope, tenant_scope
from tenants.models import EmailDomain
from tenants.models.identity import BY_RECORD
from tenants.selectors.people import holders
from tenants.services import directory

log = logging.getLogger(__name__)

TOLD = "tenants.domain_proof"
EVERY = timedelta(days=1)
LOOKS_MAX = 7
DOMAINS_AT_ONCE = 200


def ask_again(*, most: int = DOMAINS_AT_ONCE) -> int:
    """Look for the records whose turn it is, the longest waiting first, and return how many those were."""
    before = clock.now() - EVERY
    with platform_scope():
        rows = EmailDomain.objects.filter(Q(looked_at=None) | Q(looked_at__lt=before), proven_at__isnull=False)
        due = list(rows.filter(proven_by=BY_RECORD).select_related("tenant").order_by("looked_at", "pk")[:most])
    for row in due:
        _look(row)
    return len(due)


def _look(row: EmailDomain) -> None:
    try:
        domains.check_record(row.challenge, settings.DNS_SERVERS)
    except NameServerError as error:
        log.warning("a record could not be looked for", extra={"subject": row.domain, "why": error.message})
        _note(row, failed_looks=row.failed_looks)
    except domains.ProofMissingError as error:
        _miss(row, error.message)
    else:
        _note(row, failed_looks=0, detail="")


def _miss(row: EmailDomain, words: str) -> None:
    looks = row.failed_looks + 1
    if looks >= LOOKS_MAX:
        _lose(row, words)
    elif _note(row, failed_looks=looks, detail=words[:500]) and looks == 1:
        days = (LOOKS_MAX - 1) * EVERY.days
        _tell(
            row,
            f"The proof for {row.domain} was not found",
            f"{words} Publish it again within {days} days, or sign-in by your provider ends for its addresses.",
        )


def _lose(row: EmailDomain, words: str) -> None:
    """The domain is nobody's any more, until somebody proves it."""
    with platform_scope(), transaction.atomic():
        changes = {"proven_at": None, "proven_by": "", "failed_looks": 0, "detail": words[:500]}
        if not _note(row, **changes):
            return
        party = audit.Party("domain", str(row.pk), row.domain)
        directory.record(row.tenant, "tenants:domain:lost", audit.SYSTEM, party, {"why": words[:500]})
    _tell(
        row,
        f"{row.domain} is no longer proven to be yours",
        f"{words} It was not found for {LOOKS_MAX} days. Its people sign in as everybody else, and your directory speaks"
        " for them no more, until you publish the record and check it again.",
    )


def _note(row: EmailDomain, **changes: object) -> bool:
    """Whether it was written: not for a domain that was removed, or proven anew, since it was read."""
    now = clock.now()
    with platform_scope():
        same = EmailDomain.objects.filter(pk=row.pk, proven_at=row.proven_at, proven_by=row.proven_by)
        return bool(same.update(looked_at=now, updated_at=now, **changes))


def _tell(row: EmailDomain, title: str, body: str) -> None:
    people = holders(row.tenant, Right.MANAGE_SETTINGS)
    with tenant_scope(row.tenant), transaction.atomic():
        for person in people:
            notifications.notify(
                kind=TOLD,
                title=title,
                body=body,
                url=f"{reverse('org:identity', args=[row.tenant.slug])}#domains",
                recipient_id=person.pk,
                email=person.email,
            )
