"""Address ranges of credentials, and which address a request came from.

Proxies append the address that they see to `X-Forwarded-For`; whatever stands left of what our own proxies appended is the
caller's invention. So the address is taken from the right, as many entries in as there are trusted proxies.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from core.errors import InvalidError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
MAX_RANGES = 50


class RangeInvalidError(InvalidError):
    code = "core.address_range_invalid"
    default_message = "This is no address range."
    default_next_step = "Write ranges such as 203.0.113.0/24 or 2001:db8::/32, one per line."


def parse_ranges(texts: Iterable[str]) -> list[str]:
    """Ranges in canonical form, each once. A single address is a range of one. Raises RangeInvalidError."""
    found = dict.fromkeys(_canonical(text.strip()) for text in texts if text.strip())
    if len(found) > MAX_RANGES:
        raise RangeInvalidError(f"A key may have at most {MAX_RANGES} address ranges.", field="networks")
    return list(found)


@lru_cache(maxsize=4096)
def networks(ranges: frozenset[str]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in sorted(ranges))


def is_within(address: Address | None, ranges: frozenset[str]) -> bool:
    """Whether the address lies in one of the ranges; an unknown address lies in none."""
    if address is None:
        return False
    return any(address.version == network.version and address in network for network in networks(ranges))


def origin(peer: str, forwarded: str, trusted_proxies: int) -> Address | None:
    """Where a request came from: `peer` is the other end of the connection, `forwarded` all of `X-Forwarded-For`.

    None when the chain is shorter than the proxies that are said to stand in front, or holds no address there.
    """
    if trusted_proxies == 0:
        return _address(peer)
    chain = forwarded.split(",") if forwarded else []
    return _address(chain[-trusted_proxies].strip()) if len(chain) >= trusted_proxies else None


@lru_cache(maxsize=4096)
def _address(text: str) -> Address | None:
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _canonical(text: str) -> str:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as exc:
        raise RangeInvalidError(f"“{text[:60]}” is no address range.", field="networks") from exc
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        network = ipaddress.ip_network((mapped, network.prefixlen - 96))
    return str(network)
