from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repositories.adapters import addresses, docker, github, registry
from repositories.adapters.fetching import Secret, place, retry_after_s
from repositories.errors import SourceInvalidError


class TestRetryAfter:
    def test_seconds_and_dates_are_understood(self):
        assert retry_after_s("120") == 120
        in_a_minute = retry_after_s(format_datetime(datetime.now(UTC) + timedelta(seconds=60)))
        assert 50 < in_a_minute <= 60

    @given(st.text(max_size=60))
    def test_anything_else_is_no_wait_and_no_error(self, text):
        assert retry_after_s(text) >= 0


class TestAddresses:
    @pytest.mark.parametrize(
        "url",
        ["ftp://x.example", "x.example", "https://", "https://u:p@x.example", "https://x.example/ü", "https://x.example/a b",
         "javascript:alert(1)", "https://[::1", "https://x.example:0", "https://0x7f.1/"],
    )  # fmt: skip
    def test_what_is_no_plain_web_address_is_refused(self, url):
        with pytest.raises(SourceInvalidError):
            addresses.web(url)

    @given(st.text(max_size=100))
    def test_nothing_else_than_a_refusal_comes_of_odd_input(self, text):
        with contextlib.suppress(SourceInvalidError):
            addresses.web(text)

    def test_a_place_is_named_without_its_query(self):
        assert place("https://x.example/list?token=hidden") == "x.example/list"
        assert place("https://[") == "the address"


class TestGitHubAddresses:
    def test_the_api_of_github_is_elsewhere_and_of_others_below_their_own_address(self):
        assert github.place_of("https://github.com/acme/mail").repo == "https://api.github.com/repos/acme/mail"
        assert github.place_of("https://git.acme.example/a/b").repo == "https://git.acme.example/api/v3/repos/a/b"
        assert github.place_of("https://github.com/acme/mail/tree/main/list/x").folder == "list/x"


class TestTags:
    def test_versions_come_after_other_tags_by_number_and_a_release_after_its_candidates(self):
        tags = ["latest", "1.10.0", "1.9.0", "1.10.0-rc.1", "v2.0", "sha-1234"]

        assert sorted(tags, key=docker._order) == ["latest", "sha-1234", "1.9.0", "1.10.0-rc.1", "1.10.0", "v2.0"]


def test_a_secret_does_not_show_itself():
    assert "hidden" not in repr(Secret("token", {"token": "hidden"}))


def test_a_kind_is_registered_once_and_has_a_short_name(monkeypatch):
    monkeypatch.setattr(registry, "_adapters", dict(registry._adapters))

    for kind in ("official", "", "much-too-long"):
        with pytest.raises(ValueError, match="taken or has no usable name"):
            registry.register(SimpleNamespace(kind=kind))
