"""Sessions and second factors: a session that a password alone opened is not carried over."""

from __future__ import annotations

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    SECRET_SESSION_KEY,
    format_hotp_value,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.test import Client
from django.urls import reverse

from tests.support.cast import PASSWORD


def sign_in(user) -> Client:
    browser = Client()
    answer = browser.post(reverse("account_login"), {"login": user.email, "password": PASSWORD})
    assert answer.status_code == 302
    return browser


def add_totp(browser: Client) -> None:
    address = reverse("mfa_activate_totp")
    browser.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    browser.get(address)
    counter = next(iter(yield_hotp_counters_from_time()))
    code = format_hotp_value(hotp_value(browser.session[SECRET_SESSION_KEY], counter))
    assert browser.post(address, {"code": code}).status_code == 302


@pytest.fixture
def browsers(cast, django_capture_on_commit_callbacks) -> tuple[Client, Client]:
    """Two sessions of olga; the second has just set up her second factor."""
    other, own = sign_in(cast.olga), sign_in(cast.olga)
    with django_capture_on_commit_callbacks(execute=True):
        add_totp(own)
    return other, own


def test_a_session_from_before_the_second_factor_ends_with_it(cast, browsers):
    other, own = browsers
    assert Authenticator.objects.filter(user=cast.olga, type=Authenticator.Type.TOTP).exists()

    assert own.get("/admin/").status_code == 200
    answer = other.get("/admin/")
    assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, reverse("account_login"))


def test_recovery_codes_that_are_made_later_end_nothing(cast, browsers, django_capture_on_commit_callbacks):
    _, own = browsers
    Authenticator.objects.create(user=cast.olga, type=Authenticator.Type.WEBAUTHN, data={})
    with django_capture_on_commit_callbacks(execute=True):
        own.post(reverse("mfa_generate_recovery_codes"))

    assert own.get("/admin/").status_code == 200
