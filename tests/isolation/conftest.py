"""Two organisations full of canaries and the five actors, made once per module in a transaction that is rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from django.db import transaction
from django.test import Client

from tests.isolation.planted import Planted, plant
from tests.support.cast import Cast
from tests.support.operators import elevate

TOKEN = "c" * 32
ACTORS = ("alice", "bob", "charlie", "anonymous", "olga")


@dataclass(frozen=True)
class Stage:
    """acme is alice's and bob's, globex is charlie's; olga runs the platform."""

    cast: Cast
    acme: Planted
    globex: Planted
    browsers: dict[str, Client]


@pytest.fixture(scope="module")
def whole_stage(django_db_setup, django_db_blocker) -> Iterator[Stage]:
    with django_db_blocker.unblock(), transaction.atomic():
        cast = Cast.load()
        _give_second_factor(cast.olga)
        acme, globex = plant(cast.acme, cast.alice), plant(cast.globex, cast.charlie)
        browsers = {actor: _browser(getattr(cast, actor, None)) for actor in ACTORS}
        browsers["elevated"] = _browser(cast.olga)
        elevate(browsers["elevated"], cast.olga, cast.acme)
        yield Stage(cast, acme, globex, browsers)
        transaction.set_rollback(True)


@pytest.fixture
def stage(whole_stage) -> Iterator[Stage]:
    """The stage for one test; what the test changes in the database or in a browser is undone."""
    with transaction.atomic():
        yield replace(whole_stage, browsers={actor: _copy(one) for actor, one in whole_stage.browsers.items()})
        transaction.set_rollback(True)


def _browser(user) -> Client:
    """A browser with a CSRF cookie; the token goes along only when a test sends it."""
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    if user is not None:
        client.force_login(user)
    client.cookies["csrf"] = TOKEN
    return client


def _copy(browser: Client) -> Client:
    copy = _browser(None)
    copy.cookies.load({name: cookie.value for name, cookie in browser.cookies.items()})
    return copy


def _give_second_factor(user) -> None:
    from allauth.mfa.models import Authenticator

    Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={"secret": "planted"})
