"""What one organisation agreed to pay: it sees that wherever a price stands, and nobody else learns of it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from audit.services import SYSTEM
from billing.core.rating import per_unit
from billing.services import prices
from tenants.choices import Scope
from tenants.context import platform_scope
from tenants.services import api_keys

pytestmark = pytest.mark.django_db

AGREED, PUBLIC = "0.0137", "0.02"
PAGES = (
    "/?q=payments",
    "/tools/?q=invoices",
    "/compare/?s=payments&s=vault",
    "/servers/payments/",
    "/servers/payments/?tab=tools",
)
APIS = (
    "/api/v1/servers/?q=payments",
    "/api/v1/servers/payments/",
    "/v0.1/servers?search=payments",
    "/api/v1/billing/prices/?server=payments",
)


@pytest.fixture(autouse=True)
def agreement(cast):
    with platform_scope():
        prices.change_price(server=cast.payments, model=per_unit(Decimal(AGREED)), actor=SYSTEM, tenant=cast.acme)


def page(client, cast, who, path):
    client.logout()
    if who:
        client.force_login(getattr(cast, who))
    answer = client.get(path)
    return answer.content.decode() if answer.status_code == 200 else ""


def document(client, cast, who, path):
    client.logout()
    headers = {}
    if who:
        tenant = {"alice": cast.acme, "charlie": cast.globex}[who]
        with platform_scope():
            key = api_keys.issue(tenant=tenant, name="k", scopes=[Scope.ADMIN], actor=getattr(cast, who)).text
        headers = {"Authorization": f"Bearer {key}"}
    answer = client.get(path, headers=headers)
    return answer.content.decode() if answer.status_code == 200 else ""


@pytest.mark.parametrize("path", PAGES)
def test_a_page_shows_a_member_what_was_agreed_and_others_what_everybody_pays(client, cast, path):
    shown = page(client, cast, "alice", path)
    assert AGREED in shown
    assert AGREED in page(client, cast, "bob", path)
    for other in ("charlie", ""):
        assert AGREED not in page(client, cast, other, path)
        assert "agreed" not in page(client, cast, other, path)


@pytest.mark.parametrize("path", APIS)
def test_an_api_tells_a_key_what_was_agreed_and_others_what_everybody_pays(client, cast, path):
    shown = document(client, cast, "alice", path)
    assert AGREED in shown, shown[:300]
    for other in ("charlie", ""):
        assert AGREED not in document(client, cast, other, path)


def test_an_agreement_about_the_server_is_shown_in_place_of_public_prices_of_its_tools(client, cast):
    """As the gateway bills it: what was agreed about the whole beats what everybody pays for a tool."""
    with platform_scope():
        prices.set_price(server=cast.payments, tool="list_invoices", rate=Decimal("0.0591"), actor=SYSTEM)
    shown = {
        who: "".join(page(client, cast, who, path) for path in PAGES if path.startswith("/servers/"))
        for who in ("charlie", "alice")
    }
    assert ("0.0591" in shown["charlie"], "0.0591" in shown["alice"]) == (True, False)
