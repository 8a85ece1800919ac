"""Which address a request came from, and whether it lies in a range."""

from __future__ import annotations

import ipaddress

import pytest

from core.addresses import MAX_RANGES, RangeInvalidError, is_within, origin, parse_ranges


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "found"),
    [
        ("203.0.113.5", "", 0, "203.0.113.5"),
        ("203.0.113.5", "10.0.0.1", 0, "203.0.113.5"),
        ("10.0.0.9", "198.51.100.7", 1, "198.51.100.7"),
        ("10.0.0.9", "10.1.1.1, 198.51.100.7", 1, "198.51.100.7"),
        ("10.0.0.9", "1.1.1.1, 198.51.100.7, 10.0.0.8", 2, "198.51.100.7"),
        ("10.0.0.9", "198.51.100.7", 2, None),
        ("10.0.0.9", "", 1, None),
        ("10.0.0.9", "unknown", 1, None),
        ("10.0.0.9", "198.51.100.7:4711", 1, "198.51.100.7"),
        ("10.0.0.9", "[2001:db8::1]:4711", 1, "2001:db8::1"),
        ("10.0.0.9", "::ffff:198.51.100.7", 1, "198.51.100.7"),
        ("", "", 0, None),
    ],
)
def test_the_address_is_the_one_that_the_outermost_proxy_of_ours_saw(peer, forwarded, proxies, found):
    address = origin(peer, forwarded, proxies)
    assert (None if address is None else str(address)) == found


def test_ranges_are_kept_in_one_spelling_each_once():
    texts = ["203.0.113.7/24", " 2001:DB8::1/32 ", "", "203.0.113.0/24", "198.51.100.7", "::ffff:10.0.0.0/104"]
    assert parse_ranges(texts) == ["203.0.113.0/24", "2001:db8::/32", "198.51.100.7/32", "10.0.0.0/8"]


@pytest.mark.parametrize("text", ["office", "10.0.0.0/33", "10.0.0", "*", "10.0.0.0-10.0.0.9"])
def test_what_is_no_range_is_refused_by_name(text):
    with pytest.raises(RangeInvalidError, match="no address range"):
        parse_ranges([text])


def test_a_key_has_a_bounded_number_of_ranges():
    with pytest.raises(RangeInvalidError):
        parse_ranges(f"10.0.{number}.0/24" for number in range(MAX_RANGES + 1))


@pytest.mark.parametrize(
    ("address", "within"),
    [("203.0.113.9", True), ("203.0.114.1", False), ("2001:db8:5::1", True), ("2001:db9::1", False)],
)
def test_an_address_is_compared_with_ranges_of_its_own_kind(address, within):
    assert is_within(ipaddress.ip_address(address), frozenset({"203.0.113.0/24", "2001:db8::/32"})) is within


def test_an_unknown_address_is_in_no_range():
    assert not is_within(None, frozenset({"0.0.0.0/0", "::/0"}))
