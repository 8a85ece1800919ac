"""Setting prices: at once where nobody pays more, with notice where somebody does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q, QuerySet

from audit import services as audit
from billing.core import rating
from billing.core.comparing import rises
from billing.models import PriceVersion
from catalog.choices import Visibility
from catalog.models import Server
from catalog.selectors.listing import is_listed
from catalog.services import servers
from core import clock
from core.errors import InvalidError
from core.jobs import enqueue
from tenants.models import Tenant
from tenants.services import revisions

RISES_APART = timedelta(days=30)
_LOCK_CLASS = 82


def notice() -> timedelta:
    """How long before it holds a rise is told."""
    return timedelta(days=settings.BILLING_PRICE_NOTICE_DAYS)


@dataclass(frozen=True, slots=True)
class Change:
    """What a price change means before it is made. `holds_from` is the first moment at which it may hold."""

    rises: bool
    holds_from: datetime


@transaction.atomic
def change_price(
    *,
    server: Server,
    model: rating.PriceModel,
    actor: audit.Party,
    tool: str = "",
    tenant: Tenant | None = None,
    effective_from: datetime | None = None,
) -> PriceVersion:
    """Change a price by the rules that protect those who call: cuts hold at once, a rise or a first charge after the notice.

    `tool` empty: the whole server. `tenant`: what one organisation pays. Users of the server are told of a rise.
    Raises InvalidError for a moment that is too early, and for a second rise within 30 days.
    """
    _lock(server)
    change = foresee(server=server, model=model, tool=tool, tenant=tenant, effective_from=effective_from)
    moment = max(effective_from or change.holds_from, clock.now())
    if moment < change.holds_from and would_rise(server, model, tool, tenant, moment):
        raise InvalidError(
            f"Some calls would cost more: this price can hold from {change.holds_from:%Y-%m-%d %H:%M} UTC on.",
            code="billing.notice_too_short",
            next_step=f"Leave the date empty for the earliest moment. Rises are told {notice().days} days ahead.",
            field="effective_from",
        )
    price = set_price(
        server=server, model=model, actor=actor, tool=tool, tenant=tenant, effective_from=moment, risen=change.rises
    )
    if change.rises:
        enqueue("billing.tell_price", price_id=str(price.pk))
    return price


def foresee(
    *,
    server: Server,
    model: rating.PriceModel,
    tool: str = "",
    tenant: Tenant | None = None,
    effective_from: datetime | None = None,
) -> Change:
    """What changing to this price would mean now. Raises InvalidError for a second rise within 30 days."""
    now = clock.now()
    if not _others_call(server) or not would_rise(server, model, tool, tenant, max(effective_from or now, now)):
        return Change(rises=False, holds_from=now)
    holds_from = now + notice()
    moment = max(effective_from or holds_from, holds_from)
    rises_near = _rows(server, tool, tenant).filter(rises=True, effective_from__lt=moment)
    last = rises_near.filter(effective_from__gt=moment - RISES_APART).order_by("-effective_from").first()
    if last is not None:
        raise InvalidError(
            "A price rises once in 30 days at most.",
            code="billing.rise_too_soon",
            next_step=f"Set it from {last.effective_from + RISES_APART:%Y-%m-%d} on, or a price that costs nobody more.",
            field="effective_from",
        )
    return Change(rises=True, holds_from=holds_from)


def _others_call(server: Server) -> bool:
    """Whether anybody but its owner, who calls it free, could rely on a price."""
    return server.visibility == Visibility.PUBLIC and is_listed(server)


def would_rise(server: Server, model: rating.PriceModel, tool: str, tenant: Tenant | None, moment: datetime) -> bool:
    """Whether from this moment on somebody pays more than what was promised for the time of the notice."""
    until = max(moment, clock.now() + notice())
    return any(rises(before, model) for before in _promised(server, tool, tenant, moment, until))


def _promised(
    server: Server, tool: str, tenant: Tenant | None, start: datetime, end: datetime
) -> list[rating.PriceModel | None]:
    """Every price that was to hold at some moment from `start` to `end`, as `selectors.prices.choose` picks them."""
    rows = list(
        PriceVersion.objects.filter(Q(tenant=None) | Q(tenant=tenant), Q(effective_to=None) | Q(effective_to__gt=start))
        .filter(server=server, tool__in=["", tool], effective_from__lte=end)
        .exclude(effective_to=F("effective_from"))
    )
    moments = {start, *(row.effective_from for row in rows if row.effective_from > start)}
    moments |= {row.effective_to for row in rows if row.effective_to is not None and row.effective_to <= end}
    found: list[rating.PriceModel | None] = []
    for moment in sorted(moments):
        held = [
            row for row in rows if row.effective_from <= moment and (not row.effective_to or moment < row.effective_to)
        ]
        best = max(held, key=lambda row: (row.tenant_id is not None, bool(row.tool)), default=None)
        found.append(best.terms if best else None)
    return found


@transaction.atomic
def set_price(
    *,
    server: Server,
    actor: audit.Party,
    rate: Decimal | None = None,
    model: rating.PriceModel | None = None,
    tool: str = "",
    tenant: Tenant | None = None,
    currency: str = "USD",
    effective_from: datetime | None = None,
    risen: bool = False,
) -> PriceVersion:
    """Set what successful calls cost from a moment on, without any notice: what operators may, and first prices need.

    Give a `rate` per call or a `model`. A moment that has passed counts as now, because calls since then have been made at
    the price that was in force. What was to hold later is withdrawn. Raises InvalidError for a negative rate.
    """
    if model is None:
        model = _per_unit(rate)
    _lock(server)
    now = clock.now()
    moment = max(effective_from or now, now)
    _make_room(_rows(server, tool, tenant), moment)
    price = PriceVersion.objects.create(
        server=server,
        tool=tool,
        tenant=tenant,
        model=rating.dump(model),
        rate=rating.quote(model),
        currency=currency,
        effective_from=moment,
        rises=risen,
        created_by=actor.label[:254],
    )
    _announce(price, server, actor, "billing:price:set")
    return price


@transaction.atomic
def end_agreed(*, price: PriceVersion, actor: audit.Party, at: datetime | None = None) -> None:
    """End what was agreed with one organisation: it pays what everybody pays, after the notice. Raises InvalidError."""
    if price.tenant is None:
        raise InvalidError("Only a price that was agreed with one organisation can end.", code="billing.price_public")
    _lock(price.server)
    now = clock.now()
    moment = max(at or now + notice(), now)
    PriceVersion.objects.filter(pk=price.pk).update(effective_to=max(moment, price.effective_from))
    _announce(price, price.server, actor, "billing:price:ended")


def _per_unit(rate: Decimal | None) -> rating.PriceModel:
    if rate is None or rate < 0:
        raise InvalidError("A price cannot be negative.", code="billing.rate_negative", field="rate")
    return rating.parse({"kind": "per_unit", "rate": rate})


def _lock(server: Server) -> None:
    """Prices of one server change one after the other."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_LOCK_CLASS, str(server.pk)])


def _rows(server: Server, tool: str, tenant: Tenant | None) -> QuerySet[PriceVersion]:
    rows = PriceVersion.objects.filter(server=server, tool=tool, tenant=tenant)
    return rows.exclude(effective_to=F("effective_from"))


def _make_room(rows: QuerySet[PriceVersion], moment: datetime) -> None:
    """End what holds at a moment, and withdraw what was to hold later."""
    rows.filter(effective_from__gte=moment).update(effective_to=F("effective_from"))
    rows.filter(Q(effective_to=None) | Q(effective_to__gt=moment), effective_from__lt=moment).update(
        effective_to=moment
    )


def _announce(price: PriceVersion, server: Server, actor: audit.Party, action: str) -> None:
    data = {
        "tool": price.tool,
        "model": price.model,
        "currency": price.currency,
        "from": price.effective_from.isoformat(),
        "organisation": str(price.tenant_id or ""),
    }
    audit.record(action, actor=actor, target=audit.Party("server", str(server.pk), server.name), data=data)
    servers.touch(server)
    if price.tenant_id is not None:
        revisions.touch(price.tenant_id)
