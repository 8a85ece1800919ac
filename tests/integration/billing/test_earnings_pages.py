"""What a provider sees of its earnings, what operators do with payouts, and who sees nothing of it."""

from __future__ import annotations

from datetime import timedelta
from io import BytesIO

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client
from pypdf import PdfReader

from billing.models import Document, LedgerTransaction, PayoutBatch, ProviderAccount
from billing.services import earnings, payouts
from catalog.models import Provider
from core import clock
from notifications.models import Notification
from tenants.choices import Scope
from tenants.context import platform_scope, tenant_scope
from tenants.services import api_keys
from tests.support.cast import make_person
from tests.support.money import opened_invoice, paid, payable
from tests.support.operators import prove


@pytest.fixture
def provider(cast) -> Provider:
    with platform_scope():
        return Provider.objects.select_related("tenant").get(pk=cast.payments.provider_id)


@pytest.fixture
def batch(cast, provider, settings) -> PayoutBatch:
    """123.45 of a month of acme's, of which 86.41 are initech's and wait to be paid out."""
    settings.PAYOUT_DAY, settings.PAYOUT_HOLDBACK_DAYS = 1, 0
    with platform_scope():
        payable(provider)
        ProviderAccount.objects.update(active_since=clock.now() - timedelta(days=400))
        earnings.plan(paid(opened_invoice(cast.acme, {provider.pk: (8641, 3704)})))
        earnings.release_due()
        return payouts.build()[0]


def page(client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status
    return answer.content.decode()


class TestAProvider:
    def test_sees_its_share_and_what_of(self, cast, provider, batch, signed_in):
        text = page(signed_in(cast.diana), "/o/initech/earnings/")

        assert "86.41" in text
        assert "70 %" in text
        assert "123.45" in text
        assert "Acme" not in text.partition("<main")[2]

    def test_reads_the_statement_of_a_payout(self, cast, batch, signed_in):
        client = signed_in(cast.diana)
        item = batch.items.get()
        assert item.statement.number in page(client, "/o/initech/earnings/payouts/")
        text = page(client, f"/o/initech/earnings/payouts/{item.pk}/")

        assert "Share of an invoice" in text
        assert "86.41" in text

    def test_takes_the_statement_along_as_pdf_which_is_made_once(self, cast, batch, signed_in):
        client, item = signed_in(cast.diana), batch.items.get()
        here = f"/o/initech/earnings/payouts/{item.pk}/"
        assert f"{here}statement.pdf" in page(client, here)
        answer = client.get(f"{here}statement.pdf")
        text = " ".join(sheet.extract_text() for sheet in PdfReader(BytesIO(answer.content)).pages)

        for words in ("Self-billed statement", item.statement.number, "Initech Ltd", "86.41 USD", "Self-billing"):
            assert words in text
        assert "Acme" not in text
        assert client.get(f"{here}statement.pdf").content == answer.content
        assert bytes(Document.objects.get(statement=item.statement).content) == answer.content
        page(signed_in(cast.alice), f"/o/acme/earnings/payouts/{item.pk}/statement.pdf", 404)

    def test_does_not_see_another_s_statement(self, cast, batch, signed_in):
        page(signed_in(cast.alice), f"/o/acme/earnings/payouts/{batch.items.get().pk}/", 404)

    def test_fills_in_who_it_is_and_proves_where_it_is_paid_to(self, cast, provider, client):
        client.force_login(cast.diana)
        prove(client, cast.diana)
        Authenticator.objects.create(user=cast.diana, type=Authenticator.Type.TOTP, data={})
        here = "/o/initech/earnings/account/"
        form = {"legal_name": "Initech Ltd", "address": "Street 1", "country": "DE", "tax_id": "DE1"}
        assert client.post(here, {"what": "payee", **form}).status_code == 302
        assert client.post(here, {"what": "method", "destination": "pay@initech.example"}).status_code == 302
        with tenant_scope(cast.initech):
            mail = Notification.objects.get(email="pay@initech.example")
        assert "Earnings of Initech" in page(client, mail.url)
        client.post(mail.url)

        account = ProviderAccount.objects.get(provider=provider)
        assert account.missing == ["the check of your identity by an operator"]

    def test_changes_nothing_about_payment_before_it_proved_who_it_is(self, cast, client):
        client.force_login(cast.diana)
        session = client.session
        session.pop("account_authentication_methods", None)
        session.save()
        answer = client.post("/o/initech/earnings/account/", {"what": "method", "destination": "a@b.example"})

        assert "reauthenticate" in answer["Location"]
        assert not ProviderAccount.objects.filter(destination="a@b.example").exists()

    def test_an_organisation_that_publishes_nothing_is_told_how_to_begin(self, cast, signed_in):
        assert "Nothing is published" in page(signed_in(cast.charlie), "/o/globex/earnings/")


class TestOperators:
    @pytest.fixture(autouse=True)
    def _without_a_second_factor(self, settings):
        settings.STAFF_MFA_REQUIRED = False

    def test_two_of_them_let_a_batch_go(self, cast, batch):
        here = f"/operations/billing/payouts/{batch.pk}/"
        for person in (cast.olga, make_person("Otto", "otto@marketplace.example", operator=True)):
            browser = Client()
            browser.force_login(person)
            prove(browser, person)
            assert "86.41" in page(browser, here)
            browser.post(here, {"decision": "approve"})

        batch.refresh_from_db()
        assert batch.state == "approved"

    def test_walk_from_an_account_to_a_booking(self, cast, batch, signed_in):
        client = signed_in(cast.olga)
        booking = LedgerTransaction.objects.get(idempotency_key=f"po:{batch.items.get().pk}:reserve")
        assert "In balance" in page(client, "/operations/billing/ledger/accounts/")
        listed = page(client, f"/operations/billing/ledger/?kind=payout_reserved&q={batch.items.get().pk}")
        assert str(booking.pk) in listed

        assert "L:prov_transit" in page(client, f"/operations/billing/ledger/{booking.pk}/")

    def test_check_who_is_paid(self, cast, provider, signed_in):
        account = payable(provider)
        ProviderAccount.objects.filter(pk=account.pk).update(known_at=None, state="onboarding")
        client = signed_in(cast.olga)
        assert "Initech" in page(client, "/operations/billing/payees/")
        client.post("/operations/billing/payees/", {"account": account.pk, "action": "check"})

        account.refresh_from_db()
        assert account.state == "active"

    def test_everybody_else_finds_nothing_there(self, cast, batch, signed_in):
        page(signed_in(cast.diana), f"/operations/billing/payouts/{batch.pk}/", 404)


class TestTheAPI:
    def ask(self, tenant, person, path: str):
        key = api_keys.issue(tenant=tenant, name="books", scopes=[Scope.ADMIN], actor=person).text
        return Client().get(f"/api/v1/billing/{path}/", headers={"Authorization": f"Bearer {key}"})

    def test_tells_a_provider_what_it_earns_in_text_and_never_in_fractions(self, cast, batch):
        said = self.ask(cast.initech, cast.diana, "earnings").json()
        assert said["transit"] == {"amount": "86.41", "currency": "USD"}
        assert [(row["share"]["amount"], row["share_percent"]) for row in said["servers"]] == [("86.41", "70 %")]

        [payout] = self.ask(cast.initech, cast.diana, "payouts").json()
        pdf = self.ask(cast.initech, cast.diana, f"payouts/{payout['id']}/statement")
        assert (pdf["Content-Type"], pdf.content[:4]) == ("application/pdf", b"%PDF")
        assert self.ask(cast.acme, cast.alice, f"payouts/{payout['id']}/statement").status_code == 404
        assert (payout["amount"]["amount"], payout["state"]) == ("86.41", "reserved")

    def test_tells_nobody_else(self, cast, batch):
        assert self.ask(cast.acme, cast.alice, "payouts").json() == []
        assert self.ask(cast.globex, cast.charlie, "earnings").status_code == 404
