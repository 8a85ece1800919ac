"""Signing keys and the set that everybody may read."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import jwt
import pytest
from django.core.management import CommandError, call_command

from core import clock
from tenants.models import SigningKey
from tenants.services import signing

State = SigningKey.State


@pytest.fixture(autouse=True)
def fresh(db):
    SigningKey.objects.all().delete()


def published(client) -> dict[str, jwt.PyJWK]:
    return {key["kid"]: jwt.PyJWK(key) for key in client.get("/.well-known/jwks.json").json()["keys"]}


def states() -> list[str]:
    return sorted(SigningKey.objects.values_list("state", flat=True))


class TestJwks:
    def test_verifies_what_was_signed(self, client):
        token = signing.active_keys().signer.sign(b'{"sub":"x"}')
        kid = jwt.get_unverified_header(token)["kid"]

        assert jwt.decode(token, published(client)[kid], algorithms=["ES256"]) == {"sub": "x"}

    def test_may_be_cached_by_anybody_for_less_than_a_key_is_published_ahead(self, client):
        answer = client.get("/.well-known/jwks.json")

        assert answer["cache-control"] == "public, max-age=300, stale-while-revalidate=300"
        assert signing.PUBLISHED_FOR.total_seconds() > 300 * 2

    def test_shows_nothing_private(self, client):
        key = client.get("/.well-known/jwks.json").json()["keys"][0]

        assert "d" not in key


class TestRotation:
    def test_the_first_use_makes_one_key_that_signs_and_one_that_will(self):
        signing.active_keys()
        signing.active_keys()

        assert states() == ["active", "next"]

    def test_the_key_that_signs_next_was_published_before(self, client):
        signing.ensure()
        before = set(published(client))

        signing.rotate(at_once=True)

        assert signing.active_keys().signer.kid in before

    def test_what_the_old_key_signed_still_verifies(self, client):
        token = signing.active_keys().signer.sign(b'{"sub":"x"}')

        call_command("rotate_signing_keys", now=True, stdout=StringIO())

        kid = jwt.get_unverified_header(token)["kid"]
        assert kid != signing.active_keys().signer.kid
        assert jwt.decode(token, published(client)[kid], algorithms=["ES256"]) == {"sub": "x"}
        assert states() == ["active", "next", "retiring"]

    def test_a_key_that_nobody_can_have_read_does_not_sign(self):
        signing.ensure()

        with pytest.raises(CommandError, match="not everybody has read it"):
            call_command("rotate_signing_keys", stdout=StringIO())

    def test_the_daily_job_rotates_after_a_month_and_wipes_after_the_overlap(self, client):
        signing.ensure()
        old = signing.active_keys().signer.kid
        start = clock.now()

        with clock.frozen(start + timedelta(days=31)):
            signing.keep_fresh()
            assert old in published(client)
        with clock.frozen(start + timedelta(days=33)):
            signing.keep_fresh()
            assert old not in published(client)

        assert bytes(SigningKey.objects.get(kid=old).private) == b""
        assert states() == ["active", "next", "retired"]

    def test_the_daily_job_leaves_a_young_key_alone(self):
        signing.ensure()
        kid = signing.active_keys().signer.kid

        signing.keep_fresh()

        assert signing.active_keys().signer.kid == kid

    def test_a_stolen_key_is_out_of_use_at_once(self, client):
        stolen = signing.active_keys().signer.kid

        call_command("rotate_signing_keys", withdraw=stolen, stdout=StringIO())

        assert stolen not in published(client)
        assert signing.active_keys().signer.kid != stolen
        assert states() == ["active", "next", "retired"]
