"""What the benchmark of billing does inside the product. Run as a program with its environment; prints one line of JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from billing.core.rated import RatedLine
    from billing.models import Invoice
    from calls.models import Period
    from tenants.models import Tenant

_NOWHERE = "http://127.0.0.1:9/mcp"
RATES = {"a": "0.0123", "b": "0.0000000001", "c": "0.5"}
TIERED = {
    "kind": "graduated",
    "free": 100,
    "tiers": [{"up_to": 1000, "rate": "0.02"}, {"up_to": None, "rate": "0.005"}],
}
_CALLS_EACH = 20
_ID_BYTES = 16
_TWO_MONTHS = timedelta(days=45)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["prepare", "close", "many"])
    parser.add_argument("--world", default="{}")
    parser.add_argument("--folder", default=".")
    parser.add_argument("--tenants", type=int, default=0)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")
    import django  # noqa: PLC0415 - settings are read from here on

    django.setup()
    found = {
        "prepare": prepare,
        "close": lambda: close(json.loads(options.world), Path(options.folder)),
        "many": lambda: many(options.tenants),
    }[options.what]()
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


def prepare() -> dict[str, Any]:
    from audit.services import SYSTEM  # noqa: PLC0415 - models exist only after setup
    from bench.world import make_server  # noqa: PLC0415
    from billing.core import rating  # noqa: PLC0415
    from billing.services import prices  # noqa: PLC0415
    from tenants.context import platform_scope  # noqa: PLC0415
    from tenants.models import User  # noqa: PLC0415
    from tenants.services import onboarding  # noqa: PLC0415

    with platform_scope():
        owner = User.objects.create_user("owner@bench.example", name="Bench")
        caller = onboarding.create_organisation(name="Bench caller", slug="bench-caller", owner=owner)
        provider = onboarding.create_organisation(name="Bench provider", slug="bench-provider", owner=owner)
        server = make_server(provider, _NOWHERE)
        made = {
            tool: prices.set_price(server=server, rate=Decimal(rate), tool=tool, actor=SYSTEM)
            for tool, rate in RATES.items()
        }
        made["d"] = prices.set_price(server=server, model=rating.parse(TIERED), tool="d", actor=SYSTEM)
        versions = [{"tool": tool, "version": str(row.pk), "rate": f"{row.rate:f}"} for tool, row in made.items()]
    return {
        "tenant": str(caller.pk),
        "schema": caller.schema_name,
        "server": str(server.pk),
        "provider": str(server.provider_id),
        "prices": versions,
    }


def close(world: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Close while others write, then rate, invoice and compare everything with everything."""
    from billing.services import periods as turning  # noqa: PLC0415 - models exist only after setup
    from billing.services import rating  # noqa: PLC0415
    from calls.models import Call, Period  # noqa: PLC0415
    from calls.services import periods  # noqa: PLC0415
    from core import clock  # noqa: PLC0415
    from tenants.context import platform_scope, tenant_scope  # noqa: PLC0415
    from tenants.models import Tenant  # noqa: PLC0415

    with platform_scope():
        tenant = Tenant.objects.get(pk=world["tenant"])
    with tenant_scope(tenant):
        period = Period.objects.earliest("id")
        with clock.frozen(period.ends_at + turning.grace()):
            periods.start_closing()
            began = time.monotonic()
            periods.close(period.pk)
            close_s = time.monotonic() - began
        in_month = Call.objects.filter(period_id=period.pk).order_by()
        sealed = in_month.count()
        began = time.monotonic()
        lines = rating.rate(tenant, period)
        rate_s = time.monotonic() - began
        units = int(sum(line.quantity for line in lines))
        billable = in_month.filter(billable=True).count()
        found = {
            "calls of the month": sealed,
            "billable calls less units on the lines": billable - units,
            "price of the calls less the lines, minor units": _price_difference(world, period, lines),
            "calls that joined the month after its close": in_month.count() - sealed,
            "answered calls that are not in the log": _missing(folder / "answered"),
            "close under load, s": close_s,
            "rated calls per s": sealed / rate_s,
        }
    invoice = _invoice(tenant, period, lines)
    return found | {"lines less debits of the ledger, minor units": _ledger_difference(tenant, invoice, lines)}


def many(count: int) -> dict[str, Any]:
    """The invoices of many organisations that called a little, one after the other as the sweep makes them."""
    from billing.models import PriceVersion  # noqa: PLC0415 - models exist only after setup
    from billing.services import periods as turning  # noqa: PLC0415
    from billing.services import rating  # noqa: PLC0415
    from calls.models import Period  # noqa: PLC0415
    from core import clock  # noqa: PLC0415
    from tenants.context import platform_scope, tenant_scope  # noqa: PLC0415

    with platform_scope():
        prices = list(PriceVersion.objects.filter(tool__in=RATES).select_related("server"))
    tenants = [_organisation(number, prices) for number in range(count)]
    with clock.frozen(clock.now().replace(day=1) + _TWO_MONTHS):
        began = time.monotonic()
        for tenant in tenants:
            with tenant_scope(tenant):
                turning.turn(tenant)
                period = Period.objects.earliest("id")
            _invoice(tenant, period, rating.rate(tenant, period))
        seconds = time.monotonic() - began
    return {"organisations invoiced": count, "invoice run, s": seconds}


def _organisation(number: int, prices: list[Any]) -> Tenant:
    from django.db import connection  # noqa: PLC0415 - models exist only after setup

    from calls import rows  # noqa: PLC0415
    from calls.record import CallRecord, Outcome  # noqa: PLC0415
    from core import clock, ids  # noqa: PLC0415
    from tenants.context import platform_scope  # noqa: PLC0415
    from tenants.models import User  # noqa: PLC0415
    from tenants.services import onboarding  # noqa: PLC0415

    with platform_scope():
        owner = User.objects.get(email="owner@bench.example")
        tenant = onboarding.create_organisation(name=f"Bench {number}", slug=f"bench-{number}", owner=owner)
    records = [
        CallRecord(
            ids.uuid7(), tenant.schema_name, clock.now(), method="tools/call", server_id=price.server_id, server_name="bench",
            tool=price.tool, allowed=True, reason="allowed", outcome=Outcome.OK, provider_id=price.server.provider_id,
            billable=True, quantity=Decimal(1), price_version_id=price.pk, quoted_price=price.rate, price=price.rate,
        )
        for price in prices
        for _ in range(_CALLS_EACH)
    ]  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(rows.insert_statement(tenant.schema_name), rows.encode(records))
    return tenant


def _price_difference(world: dict[str, Any], period: Period, lines: list[RatedLine]) -> float:
    """Of prices per call the sum over calls is the sum over lines to the last digit; tiers are compared by units alone."""
    from django.db.models import Sum  # noqa: PLC0415 - models exist only after setup

    from calls.models import Call  # noqa: PLC0415

    flat = {UUID(each["version"]) for each in world["prices"] if each["tool"] in RATES}
    rows = Call.objects.filter(period_id=period.pk, price_version_id__in=flat).order_by()
    called = rows.aggregate(total=Sum("price"))["total"] or Decimal(0)
    return float((called - sum(line.exact for line in lines if line.price_version_id in flat)) * 100)


def _missing(file: Path) -> int:
    from calls.models import Call  # noqa: PLC0415 - models exist only after setup

    data = file.read_bytes()
    answered = {data[at : at + _ID_BYTES] for at in range(0, len(data) - _ID_BYTES + 1, _ID_BYTES)}
    stored = Call.objects.order_by().values_list("call_id", flat=True).iterator(chunk_size=20_000)
    return len(answered - {call_id.bytes for call_id in stored})


def _invoice(tenant: Tenant, period: Period, lines: list[RatedLine]) -> Invoice:
    """As the sweep makes it: composed with tax, kept as a draft, opened with its booking."""
    from billing.core import months  # noqa: PLC0415 - models exist only after setup
    from billing.services import drafts, invoices  # noqa: PLC0415
    from tenants.context import platform_scope  # noqa: PLC0415

    month = months.from_number(period.pk)
    with platform_scope():
        made = drafts.compose(tenant, month, [_line(line) for line in lines])
        invoice = drafts.keep(tenant, month, made, period_id=period.pk)
        assert invoice is not None
        return invoices.open(invoice, despite_warnings=True)


def _line(line: RatedLine) -> Any:
    from billing.core import months  # noqa: PLC0415 - models exist only after setup
    from billing.core.composing import Line  # noqa: PLC0415

    starts_at, ends_at = months.bounds(line.origin_month)
    names = (
        "key", "server_id", "server_name", "tool", "provider_id", "provider_name", "price_version_id", "origin_month",
        "quantity", "free_quantity", "exact", "minor", "currency", "share_bps", "agreement_id", "provider_minor",
        "platform_minor",
    )  # fmt: skip
    values = {name: getattr(line, name) for name in names}
    kind = "late" if line.late else "usage"
    return Line(**values, kind=kind, label=f"{line.server_name}: {line.tool}", starts_at=starts_at, ends_at=ends_at)


def _ledger_difference(tenant: Tenant, invoice: Invoice, lines: list[RatedLine]) -> int:
    from billing.models import LedgerPosting  # noqa: PLC0415 - models exist only after setup
    from tenants.context import platform_scope  # noqa: PLC0415

    with platform_scope():
        postings = LedgerPosting.objects.filter(transaction__invoice_id=invoice.pk, amount__gt=0)
        debits = sum(postings.values_list("amount", flat=True))
    return sum(line.minor for line in lines) - debits


if __name__ == "__main__":
    sys.exit(main())
