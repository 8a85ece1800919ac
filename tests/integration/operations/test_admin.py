"""The operators' admin: everything opens, nothing secret is shown, and what changes goes through services."""

from __future__ import annotations

from decimal import Decimal

import pytest
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.urls import reverse

from audit.models import AuditEvent
from billing.models import PriceVersion
from calls.models import Call
from catalog.models import Server
from core import clock
from gateway.services.entries import server_entries
from tenants.context import platform_scope, tenant_scope
from tenants.models import APIKey, Invitation, Tenant, User
from tenants.services import api_keys, invitations
from tests.integration.tenants.test_memberships import membership_of
from tests.support.operators import elevate

RECORDS = {"calls", "access", "audit"}


@pytest.fixture
def operator(cast, client):
    """A browser of olga with a second factor."""
    Authenticator.objects.create(user=cast.olga, type=Authenticator.Type.TOTP, data={"secret": "sealed-secret"})
    client.force_login(cast.olga)
    return client


@pytest.fixture
def with_records(cast, operator):
    elevate(operator, cast.olga, cast.acme)
    return operator


def address(model, page: str, *args) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def platform_actions() -> list[str]:
    with platform_scope():
        return list(AuditEvent.objects.order_by("sequence").values_list("action", flat=True))


class TestPages:
    def test_the_index_and_every_list_open(self, cast, with_records):
        assert with_records.get("/admin/").status_code == 200
        for model in admin.site._registry:
            answer = with_records.get(address(model, "changelist"))
            assert answer.status_code == 200, model

    def test_the_first_page_says_how_many_servers_wait(self, cast, operator):
        with platform_scope():
            Server.objects.filter(pk=cast.vault.pk).update(status="submitted", approved_at=None)
        page = operator.get("/admin/").content.decode()
        assert "servers wait for approval" in page
        assert "/admin/catalog/server/?status__exact=submitted" in page
        assert "Not available" not in page

    def test_every_list_can_be_searched(self, cast, with_records):
        for model, model_admin in admin.site._registry.items():
            if model_admin.search_fields:
                answer = with_records.get(address(model, "changelist"), {"q": "needle"})
                assert answer.status_code == 200, model

    def test_things_open_one_by_one(self, cast, operator):
        with platform_scope():
            things = [
                cast.alice, cast.acme, cast.payments, cast.payments.provider, cast.payments.current_version,
                cast.payments.current_version.tools.first(), PriceVersion.objects.first(),
                membership_of(cast.alice, cast.acme),
            ]  # fmt: skip
        for thing in things:
            answer = operator.get(address(type(thing), "change", thing.pk))
            assert answer.status_code == 200, thing

    def test_records_open_only_after_an_organisation_was_chosen(self, cast, operator):
        for app, model in (("calls", "call"), ("access", "grant"), ("audit", "auditevent")):
            answer = operator.get(f"/admin/{app}/{model}/")
            assert answer["Location"] == "/operations/records/"

    def test_records_are_those_of_the_chosen_organisation(self, cast, with_records):
        with tenant_scope(cast.globex):
            theirs = AuditEvent.objects.latest("sequence")
        page = with_records.get(address(AuditEvent, "changelist")).content.decode()
        assert "operations:elevation:started" in page
        assert with_records.get(address(AuditEvent, "change", theirs.pk)).status_code in {302, 404}

    def test_nobody_else_finds_the_admin(self, cast, signed_in, client):
        assert client.get("/admin/").status_code == 302
        assert signed_in(cast.alice).get("/admin/").status_code == 404
        assert signed_in(cast.olga).get("/admin/")["Location"].startswith("/accounts/2fa/")


class TestSecrets:
    def test_no_digest_and_no_secret_is_on_any_page(self, cast, operator):
        issued = api_keys.issue(tenant=cast.acme, name="k", scopes=["invoke"], actor=cast.alice)
        alice = membership_of(cast.alice, cast.acme)
        sent = invitations.invite(actor=alice, email="d@x.example", role="member")
        factor = Authenticator.objects.get()
        pages = [
            operator.get(address(APIKey, "change", issued.key.pk)).content.decode(),
            operator.get(address(Invitation, "change", sent.invitation.pk)).content.decode(),
            operator.get(address(Authenticator, "change", factor.pk)).content.decode(),
            operator.get(address(User, "change", cast.alice.pk)).content.decode(),
        ]
        for page in pages:
            assert "digest" not in page
            assert "sealed-secret" not in page
            assert cast.alice.password not in page


class TestDates:
    def test_they_are_iso_with_their_zone_as_on_pages(self, cast, operator):
        page = operator.get(address(Tenant, "changelist")).content.decode()
        assert f"{cast.acme.created_at:%Y-%m-%d %H:%M:%S} UTC" in page


class TestReadOnly:
    @pytest.mark.parametrize(
        "model", [Call, AuditEvent, Server, APIKey, Tenant, Invitation], ids=lambda model: model.__name__
    )
    def test_nothing_is_added_by_hand(self, cast, with_records, model):
        assert with_records.get(address(model, "add")).status_code == 403

    def test_records_and_listings_are_neither_changed_nor_deleted(self, cast, with_records):
        with tenant_scope(cast.acme):
            event = AuditEvent.objects.first()
        for thing in (event, cast.payments, cast.acme):
            # Of a server operators change how it is served, and nothing else: tests/integration/catalog/test_serving.py.
            if thing is not cast.payments:
                assert with_records.post(address(type(thing), "change", thing.pk), {"name": "x"}).status_code == 403
            assert with_records.post(address(type(thing), "delete", thing.pk), {"post": "yes"}).status_code == 403

    def test_a_price_is_neither_changed_nor_deleted(self, cast, operator):
        price = PriceVersion.objects.first()
        assert operator.post(address(PriceVersion, "change", price.pk), {"rate": "9"}).status_code == 403
        assert operator.post(address(PriceVersion, "delete", price.pk), {"post": "yes"}).status_code == 403


class TestServices:
    def run_action(self, client, model, action: str, *ids) -> str:
        data = {"action": action, "_selected_action": [str(i) for i in ids]}
        return client.post(address(model, "changelist"), data, follow=True).content.decode()

    def test_a_price_is_added_through_the_service(self, cast, operator):
        data = {
            "server": cast.payments.pk,
            "tool": "refund_invoice",
            "rate": "0.5",
            "currency": "usd",
            "effective_from_0": "2026-01-01",
            "effective_from_1": "00:00:00",
        }
        with platform_scope():
            before, began_at = Server.objects.get(pk=cast.payments.pk).revision, clock.now()
        answer = operator.post(address(PriceVersion, "add"), data)
        assert answer.status_code == 302, answer.content.decode()
        price = PriceVersion.objects.get(tool="refund_invoice")
        assert (price.rate, price.currency) == (Decimal("0.5"), "USD")
        assert price.effective_from >= began_at  # no price is set for the past
        assert platform_actions()[-1] == "billing:price:set"
        with platform_scope():
            assert Server.objects.get(pk=cast.payments.pk).revision > before

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"tool": "no_such_tool"}, "no tool of this name"),
            ({"currency": "12"}, "three letters"),
            ({"rate": "-1"}, "between 0 and"),
        ],
    )
    def test_a_bad_price_is_refused_on_the_form(self, cast, operator, change, words):
        data = {
            "server": cast.payments.pk, "tool": "", "rate": "0.5", "currency": "USD",
            "effective_from_0": "2026-01-01", "effective_from_1": "00:00:00", **change,
        }  # fmt: skip
        answer = operator.post(address(PriceVersion, "add"), data)
        assert answer.status_code == 200
        assert words in answer.content.decode()

    def test_approving_goes_through_the_service_and_says_when_it_cannot(self, cast, operator):
        with platform_scope():
            Server.objects.filter(pk=cast.vault.pk).update(status="submitted", approved_at=None)
        page = self.run_action(operator, Server, "approve", cast.vault.pk, cast.payments.pk)
        assert "Vault is approved." in page
        assert "Payments: The server is approved, not submitted." in page
        with platform_scope():
            assert Server.objects.get(pk=cast.vault.pk).status == "approved"
        assert platform_actions()[-1] == "catalog:server:approved"

    def test_a_server_is_closed_at_the_gateway_and_opened_again(self, cast, operator):
        for name, state, told in (("close_gateway", False, "is closed"), ("open_gateway", True, "is open")):
            assert told in self.run_action(operator, Server, name, cast.payments.pk)
            (entry,) = server_entries(server_id=cast.payments.pk)
            assert entry.callable is state
        assert platform_actions()[-2:] == ["catalog:server:gateway_closed", "catalog:server:gateway_opened"]

    def test_suspending_closes_an_organisation_and_resuming_opens_it(self, cast, operator, signed_in):
        self.run_action(operator, Tenant, "suspend", cast.globex.pk)
        assert signed_in(cast.charlie).get("/o/globex/people/").status_code == 404
        self.run_action(signed_in(cast.olga), Tenant, "resume", cast.globex.pk)
        assert signed_in(cast.charlie).get("/o/globex/people/").status_code == 200

    def test_revoking_a_key(self, cast, operator):
        issued = api_keys.issue(tenant=cast.acme, name="leaked", scopes=["invoke"], actor=cast.alice)
        self.run_action(operator, APIKey, "revoke", issued.key.pk)
        issued.key.refresh_from_db()
        assert issued.key.revoked_at is not None

    def test_a_second_factor_that_was_lost_is_deleted_and_that_is_recorded(self, cast, operator):
        factor = Authenticator.objects.create(user=cast.bob, type=Authenticator.Type.TOTP, data={"secret": "x"})
        operator.post(address(Authenticator, "delete", factor.pk), {"post": "yes"})
        assert not Authenticator.objects.filter(pk=factor.pk).exists()
        assert "operations:authenticator:deleted" in platform_actions()

    def test_making_somebody_an_operator_is_recorded(self, cast, operator):
        operator.post(address(User, "change", cast.bob.pk), {"name": "Bob", "is_active": "on", "is_staff": "on"})
        cast.bob.refresh_from_db()
        assert cast.bob.is_staff
        assert platform_actions()[-1] == "operations:user:changed"

    def test_what_a_group_of_operators_may_do_is_recorded(self, cast, operator):
        operator.post(address(Group, "add"), {"name": "Support"})
        group = Group.objects.get(name="Support")
        operator.post(
            address(Group, "change", group.pk), {"name": "Support", "permissions": [Permission.objects.first().pk]}
        )
        operator.post(address(Group, "delete", group.pk), {"post": "yes"})
        assert platform_actions()[-3:] == [f"operations:group:{verb}" for verb in ("added", "changed", "deleted")]

    def test_gateways_are_told_when_a_person_is_deactivated_and_back(self, cast, operator):
        """Keys that the person made act on their behalf, with what was granted to them."""
        for state in ({}, {"is_active": "on"}):
            before = Tenant.objects.get(pk=cast.acme.pk).revision
            operator.post(address(User, "change", cast.bob.pk), {"name": "Bob", **state})
            assert Tenant.objects.get(pk=cast.acme.pk).revision > before

    def test_an_operator_who_is_no_superuser_makes_no_operators(self, cast, operator):
        cast.bob.is_staff = True
        cast.bob.save()
        cast.bob.user_permissions.set(Permission.objects.filter(content_type__app_label="tenants"))
        Authenticator.objects.create(user=cast.bob, type=Authenticator.Type.TOTP, data={"secret": "x"})
        operator.force_login(cast.bob)
        data = {"name": "Charlie", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
        operator.post(address(User, "change", cast.charlie.pk), data)
        cast.charlie.refresh_from_db()
        assert not cast.charlie.is_staff
        assert operator.post(address(User, "change", cast.olga.pk), {"name": "x"}).status_code == 403


class TestContentPolicy:
    def test_the_admin_may_evaluate_and_style_inline_and_nothing_else_more(self, cast, operator):
        policy = operator.get("/admin/")["Content-Security-Policy"]
        parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
        assert parts["script-src"] == "'self' 'unsafe-eval'"
        assert parts["style-src"] == "'self' 'unsafe-inline'"
        assert parts["default-src"] == "'none'"

    @pytest.mark.parametrize("path", ["/", "/operations/settings/", "/o/acme/people/", "/administration/"])
    def test_no_other_page_may(self, cast, operator, path):
        policy = operator.get(path)["Content-Security-Policy"]
        assert "unsafe" not in policy
