"""What the calls of a period cost an organisation: the one computation behind invoices, previews and pages of spending."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cache
from uuid import UUID

from billing.core import months
from billing.core.rated import Price, RatedLine, Used, rate_usage
from billing.models import PriceVersion
from billing.selectors import agreements
from calls.models import Period
from calls.selectors import usage
from calls.selectors.usage import PeriodUsage
from catalog.models import Provider
from tenants.context import platform_scope, tenant_scope
from tenants.models import Tenant


def rate(tenant: Tenant, period: Period) -> list[RatedLine]:
    """The lines of a period in the order of their keys. Changes nothing; of a closed period it is the same for good."""
    with tenant_scope(tenant):
        rows = usage.by_period(period)
    return rate_rows(rows, months.from_number(period.pk))


def rate_rows(rows: Sequence[PeriodUsage], month: date) -> list[RatedLine]:
    """Price what was counted. An agreement holds for whole months: what is in force at the first moment of the calls' month."""
    with platform_scope():
        versions = PriceVersion.objects.in_bulk({row.price_version_id for row in rows})
        names = dict(
            Provider.objects.filter(pk__in={row.provider_id for row in rows if row.provider_id}).values_list(
                "pk", "name"
            )
        )

        @cache
        def agreement(provider_id: UUID, origin: date) -> tuple[UUID, int]:
            return agreements.in_force(provider_id, months.bounds(origin)[0])

        return rate_usage(
            (
                Used(
                    row.server_id,
                    row.server_name,
                    row.tool,
                    row.provider_id,
                    row.price_version_id,
                    row.origin_month,
                    row.quantity,
                )
                for row in rows
            ),
            month=month,
            prices={pk: Price(version.terms, version.currency) for pk, version in versions.items()},
            provider_names=names,
            agreement=agreement,
        )
