"""Claiming a listing that came from a source, and proving that its namespace is one's own.

What is proven: the organisation holds the domain behind the namespace (a TXT record or a file with our text), it has proven the
namespace with another listing, or an operator confirmed it. From then on the listing's entry of one source, which the claim
names, wins over entries of others (`catalog.merge.rules`), and the server's page says who proved it and how. A claim gives
nothing else: governing the server stays an operator's decision (`catalog.services.adopting`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.urls import reverse

from audit import services as audit
from catalog import inventory
from catalog.choices import ClaimState, Origin, ProofMethod, Status, Visibility
from catalog.claims import rules
from catalog.models import ListingClaim, Server, SourceEntry
from catalog.selectors.listing import find_server
from catalog.services import importing, servers, shelving
from catalog.types import Viewer
from core import clock, domains
from core.errors import ConflictError, InvalidError, LimitReachedError, NotFoundError
from notifications import services as notifications
from tenants.choices import Right
from tenants.context import platform_scope, tenant_scope
from tenants.models import Membership, Tenant, User
from tenants.selectors.people import holders
from tenants.services import rights

ASKED, DECIDED = "catalog.claim_asked", "catalog.claim_decided"
OPEN_MAX = 50
_AGAIN = timedelta(seconds=5)


def is_claimable(server: Server) -> bool:
    """Whether somebody may say that the listing is theirs."""
    return (
        server.origin == Origin.IMPORTED and server.visibility == Visibility.PUBLIC and server.status != Status.REMOVED
    )


def find_listing(viewer: Viewer, slug: str) -> Server:
    """Raises NotFoundError for what this viewer may not know of, ConflictError for what nobody can claim."""
    server = find_server(viewer, slug)
    if server is None:
        raise NotFoundError("There is no such listing.")
    if not is_claimable(server):
        raise ConflictError(
            "Only public listings that came from a source are claimed.", code="catalog.claim_impossible"
        )
    if server.owner_tenant_id not in {None, viewer.tenant_id}:
        raise ConflictError("Another organisation runs this server here.", code="catalog.claim_taken")
    return server


def claim(*, actor: Membership, server: Server, source_id: UUID | None = None, reason: str = "") -> ListingClaim:
    """Say that a listing is the organisation's. What another proof of the same namespace covers is proven at once.

    `source_id` names the source whose entry the organisation keeps itself; without it the one that is shown.
    """
    rights.require(actor, Right.PUBLISH)
    entry = _entry(server, source_id)
    namespace = rules.namespace_of(server.registry_name)
    row = ListingClaim(
        server=server,
        tenant=actor.tenant,
        namespace=namespace,
        domain=rules.domain_of(namespace),
        token=_token(actor.tenant, namespace),
        source_id=entry.source_id,
        source_name=entry.source_name,
        external_id=entry.external_id,
        reason=" ".join(reason.split())[:1000],
        requested_by=actor.user.email,
    )
    if ListingClaim.objects.filter(tenant=actor.tenant, state=ClaimState.WAITING).count() >= OPEN_MAX:
        raise LimitReachedError(f"{OPEN_MAX} claims wait already.", next_step="Prove or give up some of them first.")
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            _record(row, "asked", _member(actor), {"listing": server.name, "source": entry.source_name})
    except IntegrityError as error:
        if "listing_claim_one_open" not in str(error):
            raise
        raise ConflictError("Your organisation claims this listing already.", code="catalog.claim_twice") from error
    if row.domain and _proven_before(row):
        return _prove(row.pk, ProofMethod.EARLIER, _member(actor), "")
    if not row.domain:
        _tell_operators(row)
    return row


def check(*, actor: Membership, claim_id: UUID, method: str) -> ListingClaim:
    """Look for the proof now. Raises ProofMissingError (what was found instead is kept), LimitReachedError when just looked."""
    rights.require(actor, Right.PUBLISH)
    row = find(actor.tenant, claim_id)
    look = LOOKS.get(method)
    if look is None or not row.domain:
        raise InvalidError("Choose how it is proven.", code="catalog.claim_method")
    if row.state != ClaimState.WAITING:  # looking by hand would put off the daily look at what is proven
        raise ConflictError(f"The claim is {row.get_state_display().lower()}.", code="catalog.claim_state")
    _once_in_a_while(row)
    try:
        look(row.challenge)
    except domains.ProofMissingError as error:
        ListingClaim.objects.filter(pk=row.pk).update(detail=error.message[:500])
        raise
    return _prove(row.pk, ProofMethod(method), _member(actor), "")


def give_up(*, actor: Membership, claim_id: UUID) -> ListingClaim:
    """End a claim, proven or not: what it vouched for is a claim of its source again."""
    rights.require(actor, Right.PUBLISH)
    find(actor.tenant, claim_id)
    return _end(claim_id, ClaimState.ENDED, _member(actor), "")


def confirm(*, claim_id: UUID, operator: audit.Party, words: str) -> ListingClaim:
    """An operator has convinced themselves, and says how."""
    if not words.strip():
        raise InvalidError("Say how you know.", code="catalog.claim_words", field="words")
    row = _prove(claim_id, ProofMethod.OPERATOR, operator, words.strip())
    _tell_organisation(row, f"{row.tenant.name} holds {row} now, as the catalog sees it", words.strip())
    return row


def refuse(*, claim_id: UUID, operator: audit.Party, words: str) -> ListingClaim:
    """An operator does not believe it, or does not any more."""
    if not words.strip():
        raise InvalidError("Say why.", code="catalog.claim_words", field="words")
    row = _end(claim_id, ClaimState.REFUSED, operator, words.strip())
    _tell_organisation(row, f"The claim of {row.server.name} is refused", words.strip())
    return row


def lose(claim_id: UUID, words: str) -> ListingClaim:
    """The proof is not there any more: the claim waits for one again. Raises ConflictError when it is not proven."""

    def change(row: ListingClaim) -> None:
        if row.state != ClaimState.PROVEN:
            raise ConflictError("The claim is not proven.", code="catalog.claim_state")
        row.state, row.method, row.proven_at = ClaimState.WAITING, "", None
        row.detail, row.checked_at, row.failed_looks = words[:500], clock.now(), 0

    return _settle(claim_id, change, "lost", audit.SYSTEM)


def find(tenant: Tenant, claim_id: UUID) -> ListingClaim:
    """Raises NotFoundError for what is not this organisation's."""
    row = ListingClaim.objects.select_related("server", "tenant").filter(pk=claim_id, tenant=tenant).first()
    if row is None:
        raise NotFoundError("There is no such claim in this organisation.")
    return row


def _entry(server: Server, source_id: UUID | None) -> SourceEntry:
    rows = SourceEntry.objects.filter(server=server, is_latest=True).order_by("-wins", "pk")
    found = (rows.filter(source_id=source_id) if source_id else rows).first()
    if found is None:
        raise InvalidError("Choose a source that lists it.", code="catalog.claim_source", field="source")
    return found


def _token(tenant: Tenant, namespace: str) -> str:
    """One text for all of an organisation's claims in a namespace, so that it is published once."""
    earlier = ListingClaim.objects.filter(tenant=tenant, namespace=namespace).exclude(namespace="").first()
    return earlier.token if earlier else domains.new_token()


def _proven_before(row: ListingClaim) -> bool:
    proofs = ListingClaim.objects.filter(tenant_id=row.tenant_id, namespace=row.namespace, state=ClaimState.PROVEN)
    return proofs.exclude(pk=row.pk).exists()


def _look_record(challenge: domains.Challenge) -> None:
    domains.check_record(challenge, settings.DNS_SERVERS)


def _look_file(challenge: domains.Challenge) -> None:
    url = settings.DOMAIN_PROOF_URL.format(domain=challenge.domain)
    domains.check_file(challenge, inventory.allowed(), url=url)


LOOKS: dict[str, Callable[[domains.Challenge], None]] = {
    ProofMethod.DNS.value: _look_record,
    ProofMethod.FILE.value: _look_file,
}


def _once_in_a_while(row: ListingClaim) -> None:
    """Each look asks somebody else's servers: no page becomes a way to send them requests."""
    now = clock.now()
    free = ListingClaim.objects.filter(pk=row.pk).exclude(checked_at__gt=now - _AGAIN)
    if not free.update(checked_at=now):
        raise LimitReachedError("It was looked for a moment ago.", next_step="Check again in a few seconds.")


def _prove(claim_id: UUID, method: ProofMethod, actor: audit.Party, words: str) -> ListingClaim:
    def change(row: ListingClaim) -> None:
        if row.state != ClaimState.WAITING:
            raise ConflictError(f"The claim is {row.get_state_display().lower()}.", code="catalog.claim_state")
        rivals = ListingClaim.objects.filter(state=ClaimState.PROVEN).exclude(tenant_id=row.tenant_id)
        same = rivals.filter(namespace=row.namespace) if row.namespace else rivals.filter(server_id=row.server_id)
        if same.exists():
            raise ConflictError(
                "Another organisation has proven this before.",
                code="catalog.claim_rival",
                next_step="Ask an operator of the platform to look at both.",
            )
        row.state, row.method, row.detail = ClaimState.PROVEN, method, words[:500]
        row.proven_at, row.failed_looks = clock.now(), 0

    return _settle(claim_id, change, "proven", actor)


def _end(claim_id: UUID, state: ClaimState, actor: audit.Party, words: str) -> ListingClaim:
    def change(row: ListingClaim) -> None:
        if not row.is_open:
            raise ConflictError("The claim has ended already.", code="catalog.claim_state")
        row.state, row.detail, row.ended_at = state, words[:500], clock.now()

    return _settle(claim_id, change, "refused" if state == ClaimState.REFUSED else "ended", actor)


def _settle(claim_id: UUID, change: Callable[[ListingClaim], None], verb: str, actor: audit.Party) -> ListingClaim:
    """Change a claim under a lock, and let the catalog show what follows from it."""
    with platform_scope(), transaction.atomic():
        importing.lock()
        rows = ListingClaim.objects.select_related("server", "tenant").select_for_update(of=("self",))
        row = rows.filter(pk=claim_id).first()
        if row is None:
            raise NotFoundError("There is no such claim.")
        change(row)
        if actor.type == "operator":
            row.decided_by = actor.label
        row.save()
        shelving.vouch(row.source_id, row.external_id, is_vouched=row.state == ClaimState.PROVEN)
        data: dict[str, object] = {"method": row.method, "domain": row.domain, "words": row.detail}
        _record(row, verb, actor, data)
        audit.record(f"catalog:claim:{verb}", actor=actor, target=servers.party(row.server), data=data)
    return row


def _member(actor: Membership) -> audit.Party:
    return audit.Party("user", str(actor.user_id), actor.user.email)


def _record(row: ListingClaim, verb: str, actor: audit.Party, data: dict[str, object]) -> None:
    with tenant_scope(row.tenant):
        audit.record(
            f"catalog:claim:{verb}",
            actor=actor,
            target=servers.party(row.server),
            data={"namespace": row.namespace, **data},
        )


def _tell_operators(row: ListingClaim) -> None:
    with platform_scope(), transaction.atomic():
        for person in User.objects.filter(is_staff=True, is_active=True):
            notifications.notify(
                kind=ASKED,
                title=f"{row.tenant.name} claims {row.server.name}",
                body=rules.why_no_domain(row.namespace),
                url=reverse("operations-claims"),
                recipient_id=person.pk,
                email=person.email,
            )


def _tell_organisation(row: ListingClaim, title: str, words: str) -> None:
    tell(row, title, f"An operator of the platform decided it: {words}")


def tell(row: ListingClaim, title: str, body: str) -> None:
    """Let those who publish for the organisation know how its claim stands."""
    people = holders(row.tenant, Right.PUBLISH)
    with tenant_scope(row.tenant), transaction.atomic():
        for person in people:
            notifications.notify(
                kind=DECIDED,
                title=title,
                body=body,
                url=reverse("org:claim", args=[row.tenant.slug, row.pk]),
                recipient_id=person.pk,
                email=person.email,
            )
