"""Where the platform may connect to, decided on the address that the socket will use.

A URL from a tenant, a provider or another server is parsed strictly, its host is normalised, every address behind it is
looked up once, and one denied address refuses them all. Callers connect to the returned addresses and never look the name
up again, so a name that changes its answer between check and connect gains nothing. An operator may list `(host, port)`
pairs that are allowed to be private; nothing else overrides the list of denied ranges.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

import idna

from core.errors import InvalidError, UpstreamError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
AllowList = frozenset[tuple[str, int]]

DEFAULT_PORTS = {"http": 80, "https": 443}
PORTS = frozenset({80, 443, 8080, 8443})
MAX_URL_LENGTH = 2048

# Ranges that `is_global` calls public or that lead to private ones: carrier NAT, IETF protocol assignments (cloud metadata lives
# there), 6to4 relays, benchmarks, multicast. Of IPv6 only global unicast is open at all, less Teredo, documentation, 6to4.
_DENIED = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.64.0.0/10",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
    )
)
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_NUMERIC = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)\Z")


class EgressRefusedError(InvalidError):
    code = "core.egress_refused"
    default_message = "This address may not be connected to."
    default_next_step = "Use a public https address, or ask the operator to allow this host and port."


class NameUnresolvedError(UpstreamError):
    code = "core.name_unresolved"
    default_message = "The server's host name could not be found."


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A checked URL in parts. `host` is lower-case ASCII without brackets; `path` carries the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.netloc}"

    @property
    def url(self) -> str:
        return self.origin + self.path


@lru_cache(maxsize=4096)
def parse_url(url: str, allow: AllowList = frozenset()) -> Endpoint:
    """Take a URL apart strictly. Raises EgressRefusedError for anything a resolver or client might read differently."""
    if len(url) > MAX_URL_LENGTH or not url.isprintable() or any(c in url for c in "\\ "):
        raise EgressRefusedError("The address holds characters that an address may not hold.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise EgressRefusedError("The address is not a well-formed URL.") from exc
    if parts.scheme not in DEFAULT_PORTS:
        raise EgressRefusedError("Only http and https addresses can be used.")
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise EgressRefusedError("An address may not carry a user name or password.")
    host = normalise_host(parts.hostname or "")
    port = port if port is not None else DEFAULT_PORTS[parts.scheme]
    if port not in PORTS and (host, port) not in allow:
        raise EgressRefusedError(f"Port {port} is not open for outgoing connections.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii():
        raise EgressRefusedError("The path of an address must be percent-encoded.")
    return Endpoint(parts.scheme, host, port, path)


def normalise_host(text: str) -> str:
    """One spelling per host: an address in its canonical form or an IDNA name. Odd number spellings are refused."""
    # IDNA reads two more characters as dots; reading them here keeps the number check below complete.
    host = unicodedata.normalize("NFKC", text).lower().replace("\u3002", ".").replace("\uff61", ".").removesuffix(".")
    if not host or "%" in host or len(host) > 253:
        raise EgressRefusedError("The address has no usable host.")
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError as exc:
            raise EgressRefusedError("The host is not a valid IPv6 address.") from exc
    if _NUMERIC.match(host.rpartition(".")[2]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError as exc:
            raise EgressRefusedError("Write an IPv4 address as four decimal numbers.") from exc
    try:
        name = host if host.isascii() else idna.encode(host, uts46=True).decode()
    except idna.IDNAError as exc:
        raise EgressRefusedError("The host name is not valid.") from exc
    if not all(_LABEL.match(label) for label in name.split(".")):
        raise EgressRefusedError("The host name is not valid.")
    return name


def is_denied(address: Address) -> bool:
    """Whether an address is outside the public internet, looking through IPv4 addresses wrapped in IPv6."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return True
    return not address.is_global or any(address in net for net in _DENIED if net.version == address.version)


def check(endpoint: Endpoint, addresses: Iterable[str], allow: AllowList) -> tuple[str, ...]:
    """The addresses, if every one of them may be connected to. Raises EgressRefusedError otherwise."""
    found = tuple(dict.fromkeys(addresses))
    if not found:
        raise NameUnresolvedError
    if (endpoint.host, endpoint.port) in allow:
        return found
    for text in found:
        # A scope id (fe80::1%eth0) only ever follows a link-local address.
        if "%" in text or is_denied(ipaddress.ip_address(text)):
            # Without the name: health checks and calls show this to others than the one who wrote the URL.
            raise EgressRefusedError("The host points to an address that is not public.")
    return found


def resolve(endpoint: Endpoint, allow: AllowList) -> tuple[str, ...]:
    """Look the host up and check every answer. Raises NameUnresolvedError or EgressRefusedError."""
    if (literal := _literal(endpoint.host)) is not None:
        return check(endpoint, (literal,), allow)
    try:
        found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except OSError as exc:
        raise NameUnresolvedError from exc
    return check(endpoint, _texts(found), allow)


async def resolve_async(endpoint: Endpoint, allow: AllowList) -> tuple[str, ...]:
    """`resolve` for coroutines: the look-up runs in the loop's executor."""
    if (literal := _literal(endpoint.host)) is not None:
        return check(endpoint, (literal,), allow)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except OSError as exc:
        raise NameUnresolvedError from exc
    return check(endpoint, _texts(found), allow)


def parse_allow_list(items: Iterable[str]) -> AllowList:
    """`host:port` texts as the operator writes them. Raises ValueError, so that a typing error stops the start."""
    pairs = set()
    for item in items:
        host, colon, port = item.strip().rpartition(":")
        if not colon or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(f"not host:port: {item!r}")
        try:
            pairs.add((normalise_host(host.strip("[]")), int(port)))
        except EgressRefusedError as exc:
            raise ValueError(f"not a host: {host!r}") from exc
    return frozenset(pairs)


def _literal(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def _texts(found: Iterable[tuple[object, ...]]) -> list[str]:
    # IPv4 first: an upstream without working IPv6 then costs no failed attempt.
    rows = sorted(found, key=lambda row: row[0] != socket.AF_INET)
    return [str(row[4][0]) for row in rows]  # type: ignore[index]
