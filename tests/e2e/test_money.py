"""One key, two providers, one month, one invoice (requirements A19, S3): from priced calls to 70 % on both rails, in a browser.

The clock of the product and of the payment providers that stand in is moved to where the month is over, and to where earnings
have been held back for long enough. Every amount is read from a page or asked of a payment provider, and all agree to the cent.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import keep_screenshot
from tests.e2e.furnish import become_operator, log_in, shell, turn_on_second_factor
from tests.e2e.test_main_path import axe_faults
from tests.support.processes import wait_until
from tests.support.stack import RunningStack, data_folder, running_stack

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.xdist_group("money")]

# What is called how often at which price, in the order of the lines of the invoice.
CALLS = (
    ("payments", "list_invoices", {"limit": 1}, 20, Decimal("2.5025")),
    ("words", "count_words", {"text": "one two"}, 6, Decimal("3.777")),
    ("words", "slugify", {"text": "One two"}, 4, Decimal("3.777")),
)
TOTAL = Decimal("87.82")  # 50.05 and 37.77
SHARES = {"initech": Decimal("35.04"), "globex": Decimal("26.44")}  # 70 %: 35.035 and 26.439, each rounded once
PLATFORM = Decimal("26.34")  # the rest

PUBLISH = """
import os
from dataclasses import replace
from decimal import Decimal
from allauth.account.models import EmailAddress
from audit.services import SYSTEM
from billing.services import prices
from catalog import inventory
from catalog.models import Provider, Server
from catalog.services import servers
from core import clock
from marketplace.demo import data
from tenants.context import platform_scope, tenant_scope
from tenants.models import Tenant, User
globex = Tenant.objects.get(slug="globex")
url = os.environ["MARKETPLACE_DEMO_TEXT_URL"]
with platform_scope():
    found = inventory.read(url)
    prices.set_price(server=Server.objects.get(slug="payments"), rate=Decimal("2.5025"), actor=SYSTEM)
with tenant_scope(globex):
    provider = Provider.objects.create(tenant=globex, name="Globex", slug="globex", verified_at=clock.now())
    listing = replace(data.SERVERS["text"].listing, slug="words", name="Words", url=url)
    server = servers.register(provider=provider, listing=listing, inventory=found, actor=SYSTEM)
    prices.set_price(server=server, rate=Decimal("3.777"), actor=SYSTEM)
with platform_scope():
    servers.approve(server=server, actor=SYSTEM)
    otto = User.objects.create_user("otto@marketplace.example", {password!r}, name="Otto", is_staff=True, is_superuser=True)
    EmailAddress.objects.create(user=otto, email=otto.email, verified=True, primary=True)
"""
SCREENS = (("light", 1280), ("dark", 360))
WAIT_S = 30


class Moved:
    """A clock that every process of the product follows, and with it those of the payment providers."""

    def __init__(self, file: Path) -> None:
        self.file, self.ahead = file, 0
        file.write_text("0", encoding="ascii")

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead)

    def to(self, moment: datetime, *fakes: Fake) -> None:
        further = int((moment - self.now()).total_seconds())
        self.ahead += further
        self.file.write_text(str(self.ahead), encoding="ascii")
        for fake in fakes:
            fake.put_ahead(further)


class Fake:
    """A payment provider that stands in, asked by its own interface."""

    def __init__(self, url: str, **headers: str) -> None:
        self.url, self.headers = url, headers

    def ask(self, path: str, **parameters: Any) -> Any:
        answer = httpx.get(self.url + path, params=parameters, headers=self.headers, trust_env=False, timeout=WAIT_S)
        assert answer.is_success, answer.text
        return answer.json()

    def put_ahead(self, seconds: int) -> None:
        body = {"ahead": seconds}
        moved = httpx.post(f"{self.url}/_test/clock", json=body, headers=self.headers, trust_env=False, timeout=WAIT_S)
        assert moved.is_success, moved.text


def stripe_of(stack: RunningStack) -> Fake:
    known = stack.environment
    return Fake(known["MARKETPLACE_STRIPE_URL"], authorization=f"Bearer {known['MARKETPLACE_STRIPE_KEY']}")


def paypal_of(stack: RunningStack) -> Fake:
    known = stack.environment
    pair = f"{known['MARKETPLACE_PAYPAL_CLIENT_ID']}:{known['MARKETPLACE_PAYPAL_SECRET']}"
    return Fake(known["MARKETPLACE_PAYPAL_URL"], authorization="Basic " + base64.b64encode(pair.encode()).decode())


@pytest.fixture(scope="module")
def stack():
    with data_folder() as data:
        given = {
            "MARKETPLACE_CLOCK_FILE": str(data / "clock"),
            "MARKETPLACE_PAYOUT_RESERVE_BPS": "0",  # or a tenth of what providers earn waits for another 90 days
            "MARKETPLACE_LIMIT_SPEND_PER_MONTH": "500",
        }
        with running_stack(data, environment=given) as running:
            yield running


@pytest.fixture(scope="module")
def people(stack, chromium):
    """A window each: who pays, the two who are paid, and two operators."""
    shell(stack, PUBLISH.format(password=stack.demo["MARKETPLACE_DEMO_PASSWORD"]))
    contexts = {}
    for name, address in (
        ("alice", "alice@acme.example"),
        ("diana", "diana@initech.example"),
        ("charlie", "charlie@globex.example"),
        ("olga", "olga@marketplace.example"),
        ("otto", "otto@marketplace.example"),
    ):
        contexts[name] = chromium.new_context(
            base_url=stack.url, viewport={"width": 1280, "height": 800}, reduced_motion="reduce"
        )
        contexts[name].set_default_timeout(30_000)
        page = contexts[name].new_page()
        if "marketplace" in address:
            become_operator(page, stack, address)
        else:
            log_in(page, stack, address)
    yield {name: context.pages[0] for name, context in contexts.items()}
    for context in contexts.values():
        context.close()


def amounts(place: Any) -> list[Decimal]:
    """The exact amounts of money that a part of a page shows, in its order."""
    return [Decimal(each.get_attribute("value")) for each in place.locator("data.money").all()]


def reload_until(page: Any, there: str | re.Pattern[str], *, within: str = "main") -> None:
    """Jobs do the rest: look again until the page says it."""

    def _says() -> bool:
        page.reload()
        return page.locator(within).get_by_text(there).count() > 0

    wait_until(_says, f"{there} on {page.url}", deadline_s=45)


def start_step(operator: Any, label: str) -> None:
    operator.goto("/operations/billing/")
    operator.get_by_role("button", name=f"Start now: {label}").click()
    operator.get_by_text("is started").first.wait_for()


def fill_in_tax_form(page: Any, organisation: str, name: str) -> None:
    page.goto(f"/o/{organisation}/earnings/account/")
    page.get_by_label("Legal name").fill(name)
    page.get_by_label("Address", exact=True).fill("Street 1\n10115 Berlin")
    page.get_by_label("Country").fill("DE")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("An operator checks who you are").first.wait_for()


def onboard(stack: RunningStack, people: dict[str, Any]) -> None:
    """Both providers say who they are, prove a second factor, and where they are paid; an operator checks them."""
    diana, charlie, olga = people["diana"], people["charlie"], people["olga"]
    for page, organisation, name in ((diana, "initech", "Initech GmbH"), (charlie, "globex", "Globex GmbH")):
        turn_on_second_factor(page, stack)
        fill_in_tax_form(page, organisation, name)
    diana.get_by_label("PayPal address").fill("money@initech.example")
    diana.get_by_role("button", name="Use this PayPal address").click()
    diana.get_by_text("Open the link that we mailed").first.wait_for()
    diana.goto("/mailbox/")
    diana.get_by_role("listitem").filter(has_text="money@initech.example").first.get_by_role("link").click()
    link = re.search(r"/o/initech/earnings/account/confirm/\S+", diana.locator("main").inner_text())
    diana.goto(link[0])
    diana.get_by_role("button", name="This address is ours").click()
    diana.get_by_text("Proven").first.wait_for()

    charlie.get_by_role("button", name="Use a bank account").click()
    charlie.get_by_role("button", name="Give all of it").click()
    charlie.get_by_text("Stripe pays out to your bank account").first.wait_for()

    olga.goto("/operations/billing/payees/")
    for _ in range(2):
        olga.get_by_role("button", name="Identity is checked").first.click()
        olga.get_by_text("is changed").first.wait_for()
    assert olga.get_by_text("Active", exact=True).count() == 2


def take_key(alice: Any) -> str:
    """One key for both servers."""
    alice.goto("/o/acme/keys/new/?server=payments")
    alice.get_by_label("Name", exact=True).fill("Month end")
    alice.get_by_role("checkbox", name=re.compile("Words")).check()
    alice.get_by_role("button", name="Create key").click()
    alice.get_by_role("heading", name="Key created").wait_for()
    return re.search(r"mk_[a-z]+_\w+", alice.locator(".key-once").inner_text())[0]


def call_both(stack: RunningStack, key: str) -> None:
    with httpx.Client(base_url=stack.url, headers={"authorization": f"Bearer {key}"}, timeout=20) as client:

        def _asked(server: str, tool: str, arguments: dict[str, Any]) -> httpx.Response:
            return client.post("/v1/invoke", json={"server": server, "tool": tool, "arguments": arguments})

        for server, tool, arguments, count, price in CALLS:
            for _ in range(count):
                answer = _asked(server, tool, arguments)
                assert answer.status_code == 200, answer.text
                assert Decimal(answer.json()["usage"]["price"]) == price


def the_month_is_closed(stack: RunningStack, people: dict[str, Any], clock: Moved, month: datetime) -> None:
    """The preview says what the invoice will; the cockpit closes the month and invoices it."""
    people["alice"].goto("/o/acme/billing/spend/")
    people["alice"].get_by_text("count_words").first.wait_for()
    photograph(people["alice"], "money-spend")
    people["alice"].goto("/o/acme/billing/invoices/next/")
    photograph(people["alice"], "money-invoice-preview")
    assert Decimal(re.search(r"\d+\.\d\d", people["alice"].locator(".stat__value").first.inner_text())[0]) == TOTAL
    clock.to(next_month(month) + timedelta(hours=12), stripe_of(stack), paypal_of(stack))
    olga = people["olga"]
    start_step(olga, "Close months that are over")
    row = olga.get_by_role("row").filter(has_text=f"{month:%B %Y}")

    def _closed() -> bool:
        olga.reload()
        return row.locator("td[data-label=Closed]").inner_text() == "3"

    wait_until(_closed, "three closed months")
    start_step(olga, "Invoice closed months")
    reload_until(olga, re.compile(r"MKT-INV-\d+-\d+"))
    assert amounts(row.locator("td[data-label=Billed]")) == [TOTAL]


def next_month(moment: datetime) -> datetime:
    return (moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)


def the_invoice_is_owed(alice: Any) -> str:
    """Its address. A week later every page of the organisation says that it is not paid."""
    alice.goto("/o/acme/billing/invoices/")
    alice.get_by_role("link", name=re.compile("MKT-INV")).first.click()
    alice.get_by_text("due by").wait_for()
    assert amounts(alice.locator(".bill-due")) == [TOTAL]
    return str(alice.url)


def what_is_owed_is_said(alice: Any) -> None:
    alice.goto("/o/acme/calls/")
    alice.get_by_text("An invoice is not paid").wait_for()
    photograph(alice, "money-owed")


def photograph(page: Any, name: str) -> None:
    """What is seen only at this moment of the month, in both themes and widths, held against axe."""
    for theme, width in SCREENS:
        page.emulate_media(color_scheme=theme)
        page.set_viewport_size({"width": width, "height": 800})
        keep_screenshot(page, name, theme, width)
        assert axe_faults(page) == []
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 800})


def the_invoice_is_paid(alice: Any, invoice: str) -> None:
    """The card is entered on the page of the payment provider."""
    alice.goto(invoice)
    alice.get_by_role("link", name="Save a card to pay").click()
    alice.get_by_role("button", name="Save a card").click()
    alice.get_by_label("Card number").fill("4242 4242 4242 4242")
    alice.get_by_label("Expiry").fill("12 / 40")
    alice.get_by_label("CVC").fill("123")
    alice.get_by_role("button", name="Save card").click()
    alice.get_by_text("4242 is saved").first.wait_for()
    alice.goto(invoice)
    alice.get_by_role("main").get_by_role("button", name="Pay now").first.click()
    alice.get_by_text("are paid").first.wait_for()
    alice.goto(invoice)
    alice.get_by_text("Nothing is due").wait_for()
    with alice.expect_download() as started:
        alice.get_by_role("link", name="Download PDF").click()
    assert started.value.path().read_bytes().startswith(b"%PDF-")


def payouts_go_out(stack: RunningStack, people: dict[str, Any]) -> None:
    """Released, put together by one operator, approved by two, paid on both rails."""
    olga, otto = people["olga"], people["otto"]
    start_step(olga, "Release earnings")
    for name, organisation in (("diana", "initech"), ("charlie", "globex")):
        people[name].goto(f"/o/{organisation}/earnings/")
        available = people[name].locator(".stat, .tile, .card").filter(has_text="Available").first

        def _is_there(page=people[name], place=available, minor=SHARES[organisation]) -> bool:
            page.reload()
            return f"{minor}" in place.inner_text()

        wait_until(_is_there, f"{SHARES[organisation]} available to {organisation}")
    start_step(olga, "Put payouts together")
    olga.goto("/operations/billing/payouts/")
    wait_until(lambda: _rows_after_reload(olga) == 2, "two batches")
    batches = [each.get_attribute("href") for each in olga.locator("tbody .cell-name a").all()]
    for address in batches:
        olga.goto(address)
        olga.get_by_role("button", name="Approve").click()
        olga.get_by_text("Another operator has to, too").wait_for()
        assert olga.get_by_role("button", name="Approve").count() == 0
        otto.goto(address)
        otto.get_by_role("button", name="Approve").click()
        otto.get_by_text("approved").first.wait_for()
    paypal_of(stack).put_ahead(60)
    for address in batches:
        olga.goto(address)
        reload_until(olga, re.compile("On its way|Paid"), within="tbody")
    start_step(olga, "Ask what became of payouts")
    for address in batches:
        olga.goto(address)
        reload_until(olga, re.compile("^Paid"), within="tbody")


def _rows_after_reload(page: Any) -> int:
    page.reload()
    return page.locator("tbody tr").count()


def statement_of(page: Any, organisation: str) -> dict[str, Decimal]:
    page.goto(f"/o/{organisation}/earnings/payouts/")
    page.locator("tbody .cell-name a").first.click()
    page.get_by_role("heading", name=re.compile("^Statement ")).wait_for()
    rows = page.get_by_role("region", name="Summary").locator("tbody tr").all()
    return {row.locator("th").inner_text(): amounts(row)[0] for row in rows}


def ledger_of(operator: Any) -> dict[str, Decimal]:
    """What each account holds, as the operators' page says it."""
    operator.goto("/operations/billing/ledger/accounts/")
    operator.get_by_text("In balance").wait_for()
    rows = operator.get_by_role("region", name="Accounts").locator("tbody tr").all()
    held = {}
    for row in rows:
        code, whose = (row.locator("td").nth(at).inner_text() for at in (0, 1))
        held[code if whose == "The platform" else f"{code}:{whose.lower()}"] = amounts(row)[0]
    return held


@pytest.fixture(scope="module")
def story(stack, people):
    """The whole month, once; where it leads is asked by the tests."""
    clock = Moved(stack.data / "clock")
    if next_month(clock.now()) - clock.now() < timedelta(minutes=10):
        clock.to(next_month(clock.now()), stripe_of(stack), paypal_of(stack))
    month = clock.now()
    onboard(stack, people)
    call_both(stack, take_key(people["alice"]))
    the_month_is_closed(stack, people, clock, month)
    invoice = the_invoice_is_owed(people["alice"])
    clock.to(next_month(month) + timedelta(days=8), stripe_of(stack), paypal_of(stack))
    what_is_owed_is_said(people["alice"])
    the_invoice_is_paid(people["alice"], invoice)
    clock.to(next_month(month) + timedelta(days=24), stripe_of(stack), paypal_of(stack))
    payouts_go_out(stack, people)
    return {"invoice": invoice, "month": month}


def test_what_one_customer_pays_reaches_two_providers_to_the_cent(stack, people, story):
    alice, olga = people["alice"], people["olga"]
    stripe, paypal = stripe_of(stack), paypal_of(stack)
    alice.goto(story["invoice"])
    [total] = amounts(alice.locator("dl.definition div").filter(has_text="Total"))
    held = ledger_of(olga)

    [charge] = [each for each in stripe.ask("/v1/balance_transactions")["data"] if each["type"] == "charge"]
    assert Decimal(charge["amount"]) / 100 == total == TOTAL
    fee = Decimal(charge["fee"]) / 100
    [transfer] = stripe.ask("/v1/transfers")["data"]
    assert Decimal(transfer["amount"]) / 100 == SHARES["globex"]
    [sent] = [each for each in paypal.ask("/_test/requests") if each["method"] == "POST" and "payouts" in each["path"]]
    assert f'"value":"{SHARES["initech"]}"' in sent["body"].replace(" ", "")

    for name, organisation in (("diana", "initech"), ("charlie", "globex")):
        found, share = statement_of(people[name], organisation), SHARES[organisation]
        assert (found["Shares released"], found["This payout"], found["Available after"]) == (share, -share, 0)
        for account in ("L:prov_pending", "L:prov_available", "L:prov_transit"):
            assert held[f"{account}:{organisation}"] == 0
    assert held["A:ar:acme"] == 0
    assert -held["R:platform_fee"] == PLATFORM == TOTAL - sum(SHARES.values())
    assert held["A:stripe"] == TOTAL - fee - SHARES["globex"]
    balance = stripe.ask("/v1/balance")["available"]
    assert [Decimal(each["amount"]) / 100 for each in balance if each["currency"] == "usd"] == [held["A:stripe"]]
    assert held["A:paypal"] + held.get("E:payout_fee", Decimal(0)) == -SHARES["initech"]


def test_our_books_agree_with_what_the_payment_providers_say(people, story):
    olga = people["olga"]
    start_step(olga, "Compare with payment providers")
    olga.goto("/operations/billing/reconciliation/")
    reload_until(olga, re.compile(r"\d+ compared, 0 differ"))
    assert olga.get_by_text("Nothing differs").count() == 1


PAGES_OF_ALICE = {
    "budgets": "/o/acme/billing/budgets/",
    "invoices": "/o/acme/billing/invoices/",
    "plan": "/o/acme/billing/plan/",
    "billing-profile": "/o/acme/billing/profile/",
    "payments": "/o/acme/billing/payments/",
    "payment-methods": "/o/acme/billing/payment-methods/",
}
PAGES_OF_DIANA = {
    "earnings": "/o/initech/earnings/",
    "earnings-payouts": "/o/initech/earnings/payouts/",
    "earnings-account": "/o/initech/earnings/account/",
    "server-prices": "/o/initech/servers/payments/prices/",
}
PAGES_OF_OLGA = {
    "month-close": "/operations/billing/",
    "ledger": "/operations/billing/ledger/",
    "ledger-accounts": "/operations/billing/ledger/accounts/",
    "reconciliation": "/operations/billing/reconciliation/",
    "payouts": "/operations/billing/payouts/",
    "payees": "/operations/billing/payees/",
    "payment-events": "/operations/billing/payment-events/",
}


def first_link(page: Any, listed: str) -> str:
    page.goto(listed)
    return str(page.locator("main tbody .cell-name a").first.get_attribute("href"))


@pytest.mark.parametrize(("theme", "width"), SCREENS)
def test_every_page_of_money_fits_reads_and_has_no_fault_that_axe_finds(people, story, open_page, shoot, theme, width):
    alice, diana, olga = people["alice"], people["diana"], people["olga"]
    shown = {
        alice: PAGES_OF_ALICE | {"invoice": story["invoice"], "invoice-line": first_link(alice, story["invoice"])},
        diana: PAGES_OF_DIANA | {"earnings-statement": first_link(diana, "/o/initech/earnings/payouts/")},
        olga: PAGES_OF_OLGA
        | {
            "booking": first_link(olga, "/operations/billing/ledger/"),
            "payout": first_link(olga, "/operations/billing/payouts/"),
            "operations-invoice": story["invoice"].replace("/o/acme/billing/", "/operations/billing/"),
        },
    }
    faults = {}
    for person, pages in shown.items():
        page = open_page(theme, width, person.context.storage_state())
        for name, path in pages.items():
            page.goto(path)
            shoot(page, f"money-{name}", theme, width)
            faults[name] = axe_faults(page)
    assert {name: found for name, found in faults.items() if found} == {}
