"""What gateways are told: the rows of an organisation and of a server as entries."""

from __future__ import annotations

import inspect
import json
from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest
import redis
from django.conf import settings

from access.services import grants
from access.services.grants import Subject
from access.types import SideEffect, Trust
from audit.services import SYSTEM
from billing.services import prices as billing
from catalog.choices import Status
from catalog.models import Server
from core import clock
from gateway import codec, pushed
from gateway.services import entries, publish
from tenants.choices import Role, Scope
from tenants.context import platform_scope, tenant_scope
from tenants.models import Membership, Tenant
from tenants.services import api_keys, memberships


def issue(cast, **options):
    return api_keys.issue(tenant=cast.acme, name="key", scopes=[Scope.INVOKE], actor=cast.bob, **options).key


def key_of(cast, key):
    entry = entries.tenant_entry(cast.acme.pk)
    assert entry is not None
    return entry.keys.get(key.key_id)


class TestTenantEntry:
    def test_a_live_key_is_told_with_its_digest_and_never_its_secret(self, cast):
        issued = api_keys.issue(tenant=cast.acme, name="key", scopes=[Scope.INVOKE], actor=cast.bob)
        entry = entries.tenant_entry(cast.acme.pk)
        assert entry is not None

        assert entry.keys[issued.key.key_id].user_id == cast.bob.pk
        assert issued.text.split("_")[3] not in json.dumps(codec.to_json(entry))

    def test_a_revoked_key_is_not_told(self, cast):
        key = issue(cast)
        api_keys.revoke(tenant=cast.acme, key_id=key.pk, actor=cast.alice)

        assert key_of(cast, key) is None

    def test_a_key_of_a_person_who_left_no_longer_acts_on_their_behalf(self, cast):
        key = issue(cast)
        alice = Membership.objects.get(tenant=cast.acme, user=cast.alice)
        bob = Membership.objects.get(tenant=cast.acme, user=cast.bob, role=Role.MEMBER)
        memberships.remove(actor=alice, membership_id=bob.pk)

        entry = key_of(cast, key)
        assert entry is not None
        assert entry.user_id is None

    def test_the_revision_grows_with_every_change(self, cast):
        before = entries.tenant_entry(cast.acme.pk)
        issue(cast)
        after = entries.tenant_entry(cast.acme.pk)

        assert before is not None
        assert after is not None
        assert after.revision > before.revision

    def test_an_ended_grant_is_told_so_that_a_refusal_can_say_why(self, cast):
        with tenant_scope(cast.acme):
            grant = grants.give(
                tenant=cast.acme,
                server=cast.payments,
                subject=Subject.of("agent", "bot"),
                actor=cast.alice,
                expires_at=clock.now() + timedelta(days=1),
            )
            grants.revoke(tenant=cast.acme, grant_id=grant.pk, actor=cast.alice)
        entry = entries.tenant_entry(cast.acme.pk)
        assert entry is not None
        told = {rule.grant_id: rule for rule in entry.grants[cast.payments.pk]}

        assert told[grant.pk].revoked_at is not None

    def test_a_suspended_organisation_has_no_grants(self, cast):
        with tenant_scope(cast.acme):
            grants.give(tenant=cast.acme, server=cast.payments, subject=Subject.of("agent", "bot"), actor=cast.alice)
        Tenant.objects.filter(pk=cast.acme.pk).update(suspended_at=clock.now())
        entry = entries.tenant_entry(cast.acme.pk)
        assert entry is not None

        assert entry.suspended
        assert entry.grants == {}

    def test_keys_are_looked_up_together_and_those_that_were_revoked_are_none(self, cast):
        live, gone = issue(cast), issue(cast)
        api_keys.revoke(tenant=cast.acme, key_id=gone.pk, actor=cast.alice)

        # In the connection of this test, which the loader's own way would close.
        ask = partial(inspect.unwrap(entries.ModelLoader.tenants_of_keys), entries.ModelLoader())
        assert ask([live.key_id, gone.key_id, "0" * 12, "consent-nonsense"]) == {live.key_id: cast.acme.pk}
        assert ask([]) == {}

    def test_an_unknown_organisation_is_none(self, cast):
        assert entries.tenant_entry(cast.payments.pk) is None


class TestServerEntries:
    def test_tools_carry_what_the_policy_needs(self, cast):
        (entry,) = entries.server_entries(slug="payments")
        tools = entry.policy.tools

        assert tools["list_invoices"].side_effect is SideEffect.READ
        assert tools["refund_invoice"].required_trust is Trust.HIGH
        assert entry.callable

    def test_the_price_in_force_is_told_and_not_a_later_one(self, cast):
        with platform_scope():
            billing.set_price(
                server=cast.payments, rate=Decimal(9), actor=SYSTEM, effective_from=clock.now() + timedelta(days=1)
            )
            billing.set_price(server=cast.payments, tool="list_invoices", rate=Decimal("0.5"), actor=SYSTEM)
        (entry,) = entries.server_entries(slug="payments")

        assert entry.price is not None
        assert entry.price.rate == Decimal("0.02")
        assert entry.tool_prices["list_invoices"].rate == Decimal("0.5")

    def test_it_is_told_until_when_the_prices_hold(self, cast):
        moments = [clock.now() + timedelta(days=days) for days in (2, 1)]
        with platform_scope():
            for moment in moments:
                billing.set_price(server=cast.payments, rate=Decimal(9), actor=SYSTEM, effective_from=moment)
        (entry,) = entries.server_entries(slug="payments")
        (other,) = entries.server_entries(slug="vault")

        assert (entry.prices_until, other.prices_until) == (moments[1], None)

    @pytest.mark.parametrize("status", [Status.DRAFT, Status.SUBMITTED])
    def test_a_public_server_that_is_not_approved_is_told_as_its_owners_own(self, cast, status):
        """As in the catalog: to others it is not there, and not "there, but not ready"."""
        with platform_scope():
            Server.objects.filter(pk=cast.payments.pk).update(status=status)
        (entry,) = entries.server_entries(slug="payments")

        assert (entry.visibility, entry.callable) == ("org", False)

    def test_a_server_whose_gateway_is_off_is_not_callable(self, cast):
        with platform_scope():
            cast.payments.gateway_enabled = False
            cast.payments.save()
        (entry,) = entries.server_entries(server_id=cast.payments.pk)

        assert not entry.callable


class TestPublish:
    def test_the_compiled_entry_itself_is_pushed(self, cast):
        with redis.Redis.from_url(settings.REDIS_URL) as client, client.pubsub(ignore_subscribe_messages=True) as heard:
            heard.subscribe(pushed.CHANNEL)
            heard.get_message(timeout=5)
            publish.publish_server(cast.payments.pk)
            message = None
            while message is None:
                message = heard.get_message(timeout=5)
        (entry,) = entries.server_entries(server_id=cast.payments.pk)

        assert pushed.read(settings.SESSION_SEAL_KEY, message["data"])["body"] == codec.to_json(entry)

    def test_what_was_taken_back_is_told_ahead_of_the_entry(self, cast, django_capture_on_commit_callbacks):
        key = issue(cast)
        with tenant_scope(cast.acme):
            grant = grants.give(
                tenant=cast.acme, server=cast.payments, subject=Subject.of("user", str(cast.bob.pk)), actor=cast.alice
            )
        with redis.Redis.from_url(settings.REDIS_URL) as client, client.pubsub(ignore_subscribe_messages=True) as heard:
            heard.subscribe(pushed.CHANNEL)
            heard.get_message(timeout=5)
            with django_capture_on_commit_callbacks(execute=True):
                api_keys.revoke(tenant=cast.acme, key_id=key.pk, actor=cast.alice)
                with tenant_scope(cast.acme):
                    grants.revoke(tenant=cast.acme, grant_id=grant.pk, actor=cast.alice)
            told = []
            while (message := heard.get_message(timeout=2)) is not None:
                told.append(pushed.read(settings.SESSION_SEAL_KEY, message["data"]))
        of_acme = [
            each for each in told if str(cast.acme.pk) in {each.get("tenant_id"), each.get("body", {}).get("tenant_id")}
        ]

        assert [(each["kind"], each.get("ids")) for each in of_acme] == [
            ("ended", [str(key.pk)]),
            ("tenant", None),
            ("ended", [str(grant.pk)]),
            ("tenant", None),
        ]
        revisions = [each["revision"] for each in of_acme]
        assert revisions[0] <= revisions[1]
