"""What tax an invoice bears."""

from __future__ import annotations

import pytest

from billing.core.tax import EXPORT, NOT_SUBJECT, REVERSE_CHARGE, STANDARD, FixedRates, NoTax, Sale, percent

EUROPE = FixedRates({"DE": 190_000, "FR": 200_000, "US": 88_750}, frozenset({"DE", "FR"}))


def sale(country: str, tax_id: str = "", net: int = 10_000) -> Sale:
    return Sale(seller_country="DE", buyer_country=country, buyer_tax_id=tax_id, net_minor=net)


def test_without_an_engine_nothing_is_taxed():
    line = NoTax().assess(sale("DE"))

    assert (line.minor, line.category) == (0, NOT_SUBJECT)


def test_a_buyer_pays_the_rate_of_its_country_on_the_net():
    line = EUROPE.assess(sale("FR"))

    assert (line.minor, line.category, line.jurisdiction, line.label) == (2_000, STANDARD, "FR", "Tax FR 20 %")


@pytest.mark.parametrize(("net", "tax"), [(13, 2), (50, 10), (-50, -10), (0, 0), (1, 0), (3, 1)])
def test_tax_is_rounded_once_half_away_from_zero(net, tax):
    assert EUROPE.assess(sale("DE", net=net)).minor == tax


def test_a_rate_with_three_places_is_exact():
    assert EUROPE.assess(sale("US", net=100_000_000)).minor == 8_875_000
    assert percent(88_750) == "8.875"


def test_a_business_abroad_with_a_tax_id_owes_the_tax_itself():
    line = EUROPE.assess(sale("FR", "FR12345678901"))

    assert (line.minor, line.category) == (0, REVERSE_CHARGE)


def test_a_business_at_home_pays_tax_even_with_a_tax_id():
    assert EUROPE.assess(sale("DE", "DE123456789")).minor == 1_900


def test_a_buyer_abroad_without_a_tax_id_pays_tax():
    assert EUROPE.assess(sale("FR")).minor == 2_000


def test_a_country_without_a_rate_is_an_export():
    assert EUROPE.assess(sale("JP")).category == EXPORT


def test_a_buyer_whose_country_is_unknown_is_taxed_as_at_home():
    assert EUROPE.assess(sale("")).minor == 1_900
