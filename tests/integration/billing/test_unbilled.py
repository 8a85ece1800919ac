"""What a provider has earned that no invoice says yet: the sum of its lines over all customers, its own calls aside."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.core.cache import cache

from billing.models import PriceVersion
from billing.services import rating, unbilled
from calls.models import Period
from calls.services import periods
from catalog.models import Provider
from core import clock
from core.money import Money
from tenants.context import platform_scope, tenant_scope
from tests.support.calls import add_call


@pytest.fixture
def provider(cast) -> Provider:
    with platform_scope():
        return Provider.objects.select_related("tenant").get(pk=cast.payments.provider_id)


@pytest.fixture
def price(cast) -> PriceVersion:
    with platform_scope():
        return PriceVersion.objects.filter(server=cast.payments).get()


def call(cast, tenant, price: PriceVersion, units: int) -> None:
    server = cast.payments
    with tenant_scope(tenant):
        periods.open_ahead()
        add_call(
            tenant, at=clock.now(), server_id=server.pk, server_name=server.slug, provider_id=server.provider_id,
            price_version_id=price.pk, quoted_price=price.rate, price=price.rate, billable=True, quantity=Decimal(units),
        )  # fmt: skip


def counted(provider: Provider) -> Money:
    unbilled.count()
    found = unbilled.of_provider(provider)
    assert found is not None
    return found.share


def test_it_sums_what_the_invoices_of_all_customers_would_say(cast, provider, price):
    call(cast, cast.acme, price, 1001)
    call(cast, cast.globex, price, 333)
    expected = 0
    for tenant in (cast.acme, cast.globex):
        with tenant_scope(tenant):
            now = clock.now()
            period = Period.objects.get(starts_at=datetime(now.year, now.month, 1, tzinfo=UTC))
        expected += sum(line.provider_minor for line in rating.rate(tenant, period))

    assert expected > 0
    assert counted(provider) == Money(expected, "USD")


def test_its_own_organisation_s_calls_earn_it_nothing(cast, provider, price):
    call(cast, provider.tenant, price, 1000)

    assert counted(provider) == Money(0, "USD")


def test_the_page_says_what_was_counted_and_that_it_is_not_billed(cast, provider, price, signed_in):
    call(cast, cast.acme, price, 5000)
    share, page = counted(provider), signed_in(cast.diana).get("/o/initech/earnings/").content.decode()

    assert str(share.major) in page
    assert "Your share this month so far" in page


def test_before_it_was_counted_the_page_says_so(cast, provider, signed_in):
    cache.delete(f"billing.unbilled:{provider.pk}")

    assert "is counted each half hour" in signed_in(cast.diana).get("/o/initech/earnings/").content.decode()
