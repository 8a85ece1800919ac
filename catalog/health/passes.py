"""As whom checks ask a server: with what its owner stored for it, and with the marketplace's own word.

Credentials live above the catalog; the app that owns them registers a source when it is ready. Without one checks ask as nobody.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

import httpx

from core import clock
from core.ids import uuid7
from core.signing import Signer

if TYPE_CHECKING:
    from catalog.models import Server

TOKEN_S = 60
SUBJECT, AGENT = "platform:health", "marketplace-health-check"
TOKEN_HEADER = "x-marketplace-token"  # noqa: S105 - the name of a header


@dataclass(frozen=True, slots=True)
class Statement:
    """The marketplace's signed word that it is the one who asks; what calls carry too (docs/verifying-calls.md)."""

    signer: Signer = field(repr=False)
    issuer: str
    audience: str
    tenant: str
    header: str = TOKEN_HEADER

    def line(self, body: bytes) -> tuple[str, str]:
        """Good for these bytes and a minute."""
        now = clock.unix_ms() // 1000
        method = _method(body)
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": SUBJECT,
            "tenant": self.tenant,
            "key": "",
            "agent": AGENT,
            "iat": now,
            "exp": now + TOKEN_S,
            "jti": str(uuid7()),
            "method": method,
            "tool": "",
            "rqh": base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode(),
        }
        token = self.signer.sign(json.dumps(claims, separators=(",", ":")).encode()).decode()
        return self.header, f"Bearer {token}" if self.header == "authorization" else token


@dataclass(frozen=True, slots=True)
class Pass(httpx.Auth):
    """What the requests of one check carry. `secret` is a header line that goes to `origin` and nowhere else."""

    origin: str = ""
    secret: tuple[str, str] | None = field(default=None, repr=False)
    statement: Statement | None = None
    trouble: str = ""  # why a stored credential is not used

    requires_request_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if self.secret is not None and _origin(request.url) == self.origin:
            request.headers[self.secret[0]] = self.secret[1]
        if self.statement is not None:
            name, value = self.statement.line(request.content)
            # What the owner stored has the first right to the header, as in calls.
            request.headers[TOKEN_HEADER if name in request.headers else name] = value.removeprefix(
                "Bearer " if name in request.headers else ""
            )
        yield request


NOBODY = Pass()


class Source(Protocol):
    def __call__(self, rows: Sequence[Server]) -> dict[UUID, Pass]:
        """A pass for each of these servers that there is one for. Called in the platform's scope."""
        ...


_sources: list[Source] = []


def register(source: Source) -> None:
    _sources.append(source)


def of_servers(rows: Sequence[Server]) -> dict[UUID, Pass]:
    found: dict[UUID, Pass] = {}
    for source in _sources:
        found |= source(rows)
    return found


def _method(body: bytes) -> str:
    try:
        found = json.loads(body) if body else {}
    except ValueError:
        return ""
    return str(found.get("method", "")) if isinstance(found, dict) else ""


def _origin(url: httpx.URL) -> str:
    port = f":{url.port}" if url.port is not None else ""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{url.scheme}://{host}{port}"
