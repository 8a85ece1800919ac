"""Signing up tells nobody who has an account already."""

from __future__ import annotations

from typing import ClassVar

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.urls import reverse

from tests.support.cast import PASSWORD


class CountingHasher(MD5PasswordHasher):
    hashed: ClassVar[list[str]] = []

    def encode(self, password: str, salt: str) -> str:
        self.hashed.append(salt)
        return super().encode(password, salt)


@pytest.mark.parametrize("address", ["bob@acme.example", "somebody.else@acme.example"])
def test_a_known_address_is_answered_like_an_unknown_one_and_costs_as_much(address, cast, client, settings):
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
    CountingHasher.hashed.clear()
    answer = client.post(reverse("account_signup"), {"email": address, "name": "X", "password1": PASSWORD})

    assert (answer.status_code, answer["Location"]) == (302, reverse("account_email_verification_sent"))
    assert len(CountingHasher.hashed) == 1
