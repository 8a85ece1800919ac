"""What is looked for. Ties between who pays and who is paid are rows of the platform; paces are read in each organisation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from uuid import UUID

from django.conf import settings

from billing.core.pace import jumped
from billing.models import (
    BillingProfile,
    EarningRelease,
    FraudFlag,
    Invoice,
    InvoiceState,
    PaymentMethod,
    ProviderAccount,
)
from billing.services import fraud, unbilled
from billing.services.fraud import Found
from calls.selectors import usage
from calls.selectors.usage import DayUse
from core import clock
from tenants.context import platform_scope, tenant_scope
from tenants.jobs import each_tenant
from tenants.models import Membership, Tenant

_Sign = FraudFlag.Sign
PAST_DAYS = 28


# -- Ties


def look_at_ties() -> int:
    """Whether who pays and who is paid are the same, for all earnings that are not released; how many flags were opened."""
    with platform_scope():
        waiting = EarningRelease.objects.filter(released_at=None).order_by()
        rows = waiting.values_list("invoice__tenant_id", "provider_id", "provider__tenant_id").distinct()
        pairs = [(payer, provider, owner) for payer, provider, owner in rows if payer != owner]
        return fraud.keep(_ties(pairs)) if pairs else 0


def _ties(pairs: list[tuple[UUID, UUID, UUID]]) -> Iterator[Found]:
    tenants = {each for payer, _, owner in pairs for each in (payer, owner)}
    people, cards = _people(tenants), _cards(tenants)
    payees, payers = _payees({provider for _, provider, _ in pairs}), _payers(tenants, people)
    for payer, provider, owner in pairs:
        for sign, facts in (
            (_Sign.PEOPLE, people[payer] & people[owner]),
            (_Sign.CARD, {name for print_, name in cards[payer].items() if print_ in cards[owner]}),
            (_Sign.PAYEE, payees[provider] & payers[payer]),
        ):
            if facts:
                yield Found(sign, payer, provider, tuple(sorted(facts)))
    yield from _shared_cards({payer for payer, _, _ in pairs}, cards, {owner for _, _, owner in pairs})


def _shared_cards(payers: set[UUID], cards: Mapping[UUID, dict[str, str]], owners: set[UUID]) -> Iterator[Found]:
    """Cards that customers share with one another: who pays under several names may earn under one of them."""
    prints = {each for payer in payers for each in cards[payer]}
    holders: dict[str, set[UUID]] = defaultdict(set)
    for fingerprint, tenant_id in PaymentMethod.objects.filter(fingerprint__in=prints).values_list(
        "fingerprint", "tenant_id"
    ):
        holders[fingerprint].add(tenant_id)
    for payer in payers:
        shared = [name for fingerprint, name in cards[payer].items() if holders[fingerprint] - {payer} - owners]
        if shared:
            yield Found(_Sign.CARD, payer, None, tuple(sorted(shared)))


def _people(tenants: Iterable[UUID]) -> dict[UUID, set[str]]:
    found: dict[UUID, set[str]] = defaultdict(set)
    rows = Membership.objects.filter(tenant_id__in=tenants).values_list("tenant_id", "user__email")
    for tenant_id, email in rows:
        found[tenant_id].add(email.lower())
    return found


def _cards(tenants: Iterable[UUID]) -> dict[UUID, dict[str, str]]:
    """By fingerprint, with the card in words. One that was removed was used all the same."""
    found: dict[UUID, dict[str, str]] = defaultdict(dict)
    for card in PaymentMethod.objects.filter(tenant_id__in=tenants).exclude(fingerprint=""):
        found[card.tenant_id][card.fingerprint] = str(card)
    return found


def _payees(providers: Iterable[UUID]) -> dict[UUID, set[str]]:
    found: dict[UUID, set[str]] = defaultdict(set)
    for account in ProviderAccount.objects.filter(provider_id__in=providers):
        found[account.provider_id] = _named(account.destination, account.tax_id)
    return found


def _payers(tenants: Iterable[UUID], people: Mapping[UUID, set[str]]) -> dict[UUID, set[str]]:
    """What would name a customer as a payee: its people, where its invoices go, its tax number."""
    found: dict[UUID, set[str]] = defaultdict(set, {tenant_id: set(emails) for tenant_id, emails in people.items()})
    for profile in BillingProfile.objects.filter(tenant_id__in=tenants):
        found[profile.tenant_id] |= _named(profile.tax_id, *profile.emails)
    return found


def _named(*words: str) -> set[str]:
    return {each.strip().lower() for each in words if each and each.strip()}


# -- Paces


def look_at_paces() -> int:
    """Whether an organisation paid for many times its usual calls yesterday, or much before it ever paid; how many flags."""
    opened = 0
    for tenant in each_tenant():
        signs = [*_paces(tenant), *_newcomer(tenant)]
        with platform_scope():
            opened += fraud.keep(signs)
    return opened


def _paces(tenant: Tenant) -> Iterator[Found]:
    """One flag per provider that most of a sudden came to, of the organisation as a whole and of each of its keys."""
    day = clock.now().date() - timedelta(days=1)
    with tenant_scope(tenant):
        uses = usage.paid_days(day - timedelta(days=PAST_DAYS), day)
    keys = {use.api_key_id for use in uses if use.day == day and use.api_key_id is not None}
    groups = [("all calls", uses), *((f"key {key}", [use for use in uses if use.api_key_id == key]) for key in keys)]
    facts: dict[UUID, list[str]] = defaultdict(list)
    for name, group in groups:
        jump = _jump(group, day)
        if jump is not None:
            provider, units, usual = jump
            facts[provider].append(f"{day:%Y-%m-%d}: {units:,} paid calls ({name}), {usual:,} a day before")
    for provider, words in facts.items():
        yield Found(_Sign.PACE, tenant.pk, provider, tuple(words))


def _jump(uses: list[DayUse], day: date) -> tuple[UUID, int, int] | None:
    """The provider of most of a day's units, those units, and what was usual, where they are a sudden multiple of it."""
    today: dict[UUID, int] = defaultdict(int)
    for use in uses:
        if use.day == day and use.provider_id is not None:
            today[use.provider_id] += int(use.units)
    units, past = sum(today.values()), sum(int(use.units) for use in uses if use.day < day)
    usual = past // PAST_DAYS
    if not today or not jumped(units, past, PAST_DAYS, settings.FRAUD_MULTIPLE, settings.FRAUD_CALLS_MIN):
        return None
    return max(today, key=lambda provider: (today[provider], str(provider))), units, usual


def _newcomer(tenant: Tenant) -> Iterator[Found]:
    """An organisation that never paid an invoice, and owes or uses more than newcomers do."""
    with platform_scope():
        invoices = Invoice.objects.filter(tenant=tenant, total_minor__gt=0)
        if invoices.filter(state=InvoiceState.PAID).exists():
            return
        owed = sum(invoices.filter(state=InvoiceState.OPEN).values_list("total_minor", flat=True))
    if owed + sum(line.minor for line in unbilled.lines(tenant)) > settings.FRAUD_NEWCOMER_MINOR:
        yield Found(_Sign.NEWCOMER, tenant.pk, None, ("No invoice of it was ever paid.",))
