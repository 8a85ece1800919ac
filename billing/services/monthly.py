"""What a month costs: rated usage, the plan's charges and what the plan includes. Preview and invoice are the same code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from django.conf import settings

from billing.core.charges import PlanCharge
from billing.core.composing import Composition, Line
from billing.core.months import bounds
from billing.core.rated import RatedLine
from billing.models import Invoice, InvoiceKind, InvoiceLine, InvoiceState, LineKind
from billing.selectors.invoices import Section
from billing.services import drafts, plans, rating
from calls.models import Period
from core.money import Money, exponent
from tenants.context import tenant_scope
from tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class Preview:
    """A month's invoice that is not there yet."""

    month: date
    composition: Composition
    sections: list[Section]

    @property
    def total(self) -> Money:
        return Money(self.composition.total_minor, self.composition.currency)

    @property
    def line_count(self) -> int:
        return sum(len(section.lines) for section in self.sections)


def draft(tenant: Tenant, month: date) -> Invoice | None:
    """Make, or make again, the draft of what a closed month costs; None for a month that costs nothing at all.

    An invoice that was opened is returned as it is.
    """
    period, made = compose(tenant, month)
    return drafts.keep(tenant, month, made, period_id=period.pk if period else None)


def compose(tenant: Tenant, month: date) -> tuple[Period | None, Composition]:
    """What a month costs, whether it is over or not, with the period of its calls. Nothing is stored."""
    start, end = bounds(month)
    with tenant_scope(tenant):
        period = Period.objects.filter(starts_at=start).first()
        rated = rating.rate(tenant, period) if period else []
    lines = [_of_usage(each) for each in rated]
    lines += [of_plan(each) for each in plans.charges(tenant, start, end) if each.key not in billed(tenant, month)]
    lines += _included(tenant, (start, end), lines)
    return period, drafts.compose(tenant, month, lines)


def billed(tenant: Tenant, month: date) -> set[str]:
    """Charges that another invoice than the month's has: the same one is never billed twice."""
    ended = (InvoiceState.DRAFT, InvoiceState.VOID)
    rows = InvoiceLine.objects.filter(invoice__tenant=tenant).exclude(invoice__state__in=ended)
    kinds = (LineKind.SUBSCRIPTION, LineKind.PRORATION)
    own = {"invoice__month": month, "invoice__kind": InvoiceKind.MONTH}
    return set(rows.exclude(**own).filter(kind__in=kinds).order_by().values_list("key", flat=True))


def _of_usage(rated: RatedLine) -> Line:
    start, end = bounds(rated.origin_month)
    what = f"{rated.server_name}: {rated.tool}" if rated.tool else rated.server_name
    return Line(
        kind=LineKind.LATE if rated.late else LineKind.USAGE,
        key=rated.key,
        label=f"{what}, late usage from {rated.origin_month:%B %Y}" if rated.late else what,
        starts_at=start,
        ends_at=end,
        minor=rated.minor,
        currency=rated.currency,
        exact=rated.exact,
        quantity=rated.quantity,
        free_quantity=rated.free_quantity,
        server_id=rated.server_id,
        server_name=rated.server_name,
        tool=rated.tool,
        provider_id=rated.provider_id,
        provider_name=rated.provider_name,
        price_version_id=rated.price_version_id,
        agreement_id=rated.agreement_id,
        origin_month=rated.origin_month,
        share_bps=rated.share_bps,
        provider_minor=rated.provider_minor,
        platform_minor=rated.platform_minor,
    )


def of_plan(charge: PlanCharge) -> Line:
    """A charge as a line of an invoice."""
    return Line(
        kind=charge.kind,
        key=charge.key,
        label=charge.label,
        starts_at=charge.starts_at,
        ends_at=charge.ends_at,
        minor=charge.minor,
        currency=settings.BILLING_CURRENCY,
        exact=_major(charge.minor),
        plan_version_id=charge.plan_version_id,
        platform_minor=charge.minor,
    )


def _included(tenant: Tenant, month: tuple[datetime, datetime], lines: Iterable[Line]) -> list[Line]:
    """Usage that the plan includes, at most as much as there is."""
    used = sum(line.minor for line in lines if line.kind in (LineKind.USAGE, LineKind.LATE))
    minor = min(plans.included_credit(tenant, *month), used)
    if minor <= 0:
        return []
    return [
        Line(
            kind=LineKind.CREDIT,
            key="included",
            label="Usage included in the plan",
            starts_at=month[0],
            ends_at=month[1],
            minor=-minor,
            currency=settings.BILLING_CURRENCY,
            exact=_major(-minor),
        )
    ]


def _major(minor: int) -> Decimal:
    return Decimal(minor).scaleb(-exponent(settings.BILLING_CURRENCY))
