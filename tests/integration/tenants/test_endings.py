"""People hear of it when an application of theirs is refused from a moment on."""

from __future__ import annotations

from datetime import timedelta

import pytest
from allauth.idp.oidc.models import Client

from core import clock
from notifications.models import Notification
from tenants.choices import Scope
from tenants.context import tenant_scope
from tenants.models import Consent, Membership
from tenants.services import consents, endings


@pytest.fixture
def consent(cast) -> Consent:
    application = Client.objects.create(name="Desk assistant", type=Client.Type.PUBLIC)
    membership = Membership.objects.get(tenant=cast.acme, user=cast.bob)
    return consents.give(
        membership=membership, client=application, scopes=[Scope.INVOKE], resources=["https://market.example"]
    )


def told(cast) -> list[Notification]:
    with tenant_scope(cast.acme):
        return list(Notification.objects.filter(kind=endings.ENDED).order_by("recipient_id"))


def ends(consent: Consent, *, ago: timedelta, used: timedelta | None) -> None:
    now = clock.now()
    Consent.objects.filter(pk=consent.pk).update(expires_at=now - ago, last_used_at=now - used if used else None)


def test_whose_application_somebody_else_ended_is_told_who_did(cast, consent):
    consents.revoke(consent.pk, tenant=cast.acme, actor=cast.alice)
    consents.revoke(consent.pk, tenant=cast.acme, actor=cast.alice)
    [notification] = told(cast)
    assert (notification.recipient_id, notification.email) == (cast.bob.pk, cast.bob.email)
    assert "Desk assistant" in notification.title
    assert cast.alice.email in notification.body


def test_whoever_ends_their_own_is_told_nothing(cast, consent):
    consents.revoke(consent.pk, user=cast.bob, actor=cast.bob)
    assert told(cast) == []


def test_whose_application_came_to_its_end_is_told_once(cast, consent):
    ends(consent, ago=timedelta(minutes=5), used=timedelta(hours=1))
    assert endings.tell_expired(cast.acme) == 1
    endings.tell_expired(cast.acme)
    [notification] = told(cast)
    assert notification.recipient_id == cast.bob.pk
    assert notification.url.startswith("/accounts/applications/")
    assert "Sign in from the application once more" in notification.body


@pytest.mark.parametrize(
    ("ago", "used"),
    [
        (timedelta(minutes=-5), timedelta(hours=1)),  # has not ended
        (timedelta(days=8), timedelta(days=8, hours=1)),  # no news any more
        (timedelta(minutes=5), timedelta(days=31)),  # missed by nobody
        (timedelta(minutes=5), None),
    ],
)
def test_what_nobody_misses_is_told_to_nobody(cast, consent, ago, used):
    ends(consent, ago=ago, used=used)
    assert endings.tell_expired(cast.acme) == 0
    assert told(cast) == []


def test_of_an_agent_s_client_those_who_manage_keys_are_told(cast):
    made = consents.make_machine(tenant=cast.acme, name="Reporting", scopes=[Scope.INVOKE], actor=cast.alice)
    ends(made.consent, ago=timedelta(minutes=5), used=timedelta(hours=1))
    endings.tell_expired(cast.acme)
    [notification] = told(cast)
    assert notification.recipient_id == cast.alice.pk
    assert notification.url.startswith("/o/acme/keys/")


def test_who_has_left_is_told_nothing(cast, consent):
    Membership.objects.filter(tenant=cast.acme, user=cast.bob).delete()
    ends(consent, ago=timedelta(minutes=5), used=timedelta(hours=1))
    endings.tell_expired(cast.acme)
    assert told(cast) == []
