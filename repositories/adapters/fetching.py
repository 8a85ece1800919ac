"""How adapters ask: guarded, bounded in bytes, requests and time, patient with sources that ask for patience.

Credentials go to the origin of the source and nowhere else: a redirect to another origin is followed without them.
"""

from __future__ import annotations

import email.utils
import logging
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urljoin, urlsplit

import httpx

from catalog.formats import files
from catalog.formats.reading import UnreadableError
from core import clock, egress, http
from core.errors import MarketplaceError
from repositories.errors import SourceError, SourceLaterError, SourceRefusedError

log = logging.getLogger(__name__)

REPLY_BYTES_MAX = 32 * 1024 * 1024
TOTAL_BYTES_MAX = 512 * 1024 * 1024
REQUESTS_MAX = 5000
REPLY_S_MAX = 60.0
TRIES = 3
# A wait that is longer ends the step; the run goes on when it is over.
WAIT_S_MAX = 10.0
LATER_MAX = timedelta(hours=6)
_REDIRECTS_MAX = 4
_BACKOFF_S = 0.5
_BUSY = frozenset({429, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Secret:
    """What a source asks for: empty, or one of a pair, a token, or an OAuth client."""

    kind: str = "none"
    values: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Secret({self.kind!r}, <secret>)"


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    headers: httpx.Headers
    url: str

    def json(self) -> object:
        """Raises SourceError for what is no JSON."""
        try:
            return files.load_json(self.body)
        except UnreadableError as exc:
            raise SourceError(f"{place(self.url)} did not answer with JSON.") from exc

    @property
    def validators(self) -> dict[str, str]:
        """The request headers that ask for this answer only if it changed."""
        found = {
            "if-none-match": self.headers.get("etag", ""),
            "if-modified-since": self.headers.get("last-modified", ""),
        }
        return {name: value for name, value in found.items() if value and len(value) <= 200}


class Fetcher:
    """One step's requests to one source."""

    def __init__(
        self,
        origin: str,
        allow: egress.AllowList,
        secret: Secret | None = None,
        *,
        seconds: float = 180.0,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`seconds` bound all requests together; `pause` waits."""
        self._origin, self._allow, self._secret = _origin(origin), allow, secret or Secret()
        self._pause, self._end = pause, time.monotonic() + seconds
        self._requests = self._bytes = 0
        self._oauth_token = ""
        self._client = http.client(allow, max_reply_bytes=REPLY_BYTES_MAX)

    def close(self) -> None:
        self._client.close()

    @property
    def secret(self) -> Secret:
        """For kinds whose sources hand out tokens of their own against it."""
        return self._secret

    def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        authorization: str | None = None,
        passes: frozenset[int] = frozenset(),
    ) -> Reply:
        """The answer, after redirects and patience. Any status but 200, 304, 404 and `passes` is an error.

        `authorization` replaces the source's own credential (blank: none goes along).
        """
        for attempt in range(1, TRIES + 1):
            try:
                reply = self._follow(url, {"accept": "application/json", **(headers or {})}, authorization)
            except httpx.HTTPError as exc:
                if attempt == TRIES:
                    raise SourceError(f"{place(url)} could not be reached or did not finish its answer.") from exc
                self._pause(_BACKOFF_S * 2**attempt)
                continue
            wait = _asked_wait(reply)
            if wait is None:
                return _accepted(reply, passes)
            if wait > WAIT_S_MAX or attempt == TRIES:
                until = clock.now() + min(timedelta(seconds=max(wait, 30.0)), LATER_MAX)
                raise SourceLaterError(f"{place(url)} asks to be left alone for a while (HTTP {reply.status}).", until)
            self._pause(max(wait, _BACKOFF_S * 2**attempt))
        raise AssertionError("every attempt returns or raises")

    def authorization_for(self, url: str) -> str:
        """The source's credential, if this address is of the source."""
        if _origin(url) != self._origin:
            return ""
        values = self._secret.values
        match self._secret.kind:
            case "basic":
                pair = f"{values['user']}:{values['password']}"
                return f"Basic {b64encode(pair.encode()).decode()}"
            case "token":
                return f"Bearer {values['token']}"
            case "oauth":
                return f"Bearer {self._client_token()}"
            case _:
                return ""

    def _follow(self, url: str, headers: Mapping[str, str], authorization: str | None) -> Reply:
        first = _origin(url)
        for _ in range(_REDIRECTS_MAX + 1):
            own = self.authorization_for(url) if authorization is None else authorization
            if _origin(url) != first and authorization is not None:
                own = ""
            reply = self._once("GET", url, {**headers, **({"authorization": own} if own else {})})
            target = reply.headers.get("location", "")
            if reply.status not in _REDIRECTS or not target:
                return reply
            following = urljoin(url, target)
            if urlsplit(url).scheme == "https" and urlsplit(following).scheme != "https":
                raise SourceRefusedError(f"{place(url)} redirects to an address without TLS.")
            url = following
        raise SourceRefusedError(f"{place(url)} redirects in circles.")

    def _once(self, method: str, url: str, headers: Mapping[str, str], data: dict[str, str] | None = None) -> Reply:
        self._requests += 1
        if time.monotonic() > self._end:
            raise SourceError("The source is too slow: one step of the reading took all its time.")
        if self._requests > REQUESTS_MAX or self._bytes > TOTAL_BYTES_MAX:
            raise SourceRefusedError("The source needs more requests or bytes than one reading may take.")
        end = min(time.monotonic() + REPLY_S_MAX, self._end)
        parts: list[bytes] = []
        try:
            with self._client.stream(method, url, headers=dict(headers), data=data) as response:
                for part in response.iter_raw():
                    parts.append(part)
                    self._bytes += len(part)
                    if time.monotonic() > end:
                        raise SourceError(f"{place(url)} takes longer than {REPLY_S_MAX:.0f} s for one answer.")
                return Reply(response.status_code, b"".join(parts), response.headers, url)
        except egress.EgressRefusedError as exc:
            raise SourceRefusedError(
                f"{place(url)} cannot be asked: {exc.message}", next_step="Correct the address of the source."
            ) from exc
        except http.ReplyTooLargeError as exc:
            raise SourceRefusedError(f"{place(url)} answers with more than {REPLY_BYTES_MAX >> 20} MB.") from exc
        except httpx.InvalidURL as exc:
            raise SourceRefusedError(f"{place(url)} redirects to what is no address.") from exc
        except SourceError:
            raise
        except MarketplaceError as exc:
            raise SourceError(f"{place(url)}: {exc.message}") from exc

    def _client_token(self) -> str:
        """A token by client credentials (RFC 6749, 4.4), kept for this step."""
        if not self._oauth_token:
            values = self._secret.values
            pair = b64encode(f"{values['client_id']}:{values['client_secret']}".encode()).decode()
            form = {"grant_type": "client_credentials", **({"scope": values["scope"]} if values.get("scope") else {})}
            headers = {"accept": "application/json", "authorization": f"Basic {pair}"}
            try:
                reply = self._once("POST", values["token_url"], headers, form)
            except httpx.HTTPError as exc:
                raise SourceError(f"{place(values['token_url'])} could not be reached for a token.") from exc
            answer = reply.json() if reply.status == 200 else {}
            token = answer.get("access_token") if isinstance(answer, dict) else None
            if not isinstance(token, str) or not token.isascii() or not token.isprintable():
                raise SourceRefusedError(f"{place(values['token_url'])} gave no token (HTTP {reply.status}).")
            self._oauth_token = token
        return self._oauth_token


def place(url: str) -> str:
    """An address without what could be secret in it, for messages."""
    try:
        parts = urlsplit(url)
        return f"{parts.hostname or '?'}{parts.path}"[:200]
    except ValueError:
        return "the address"


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
        return (
            f"{parts.scheme}://{(parts.hostname or '').lower()}:{parts.port or egress.DEFAULT_PORTS.get(parts.scheme)}"
        )
    except ValueError:
        return ""


def _accepted(reply: Reply, passes: frozenset[int]) -> Reply:
    if reply.status in {200, 304, 404} or reply.status in passes:
        return reply
    message = f"{place(reply.url)} answered with HTTP {reply.status}."
    if reply.status >= 500:
        raise SourceError(message)
    raise SourceRefusedError(message)


def _asked_wait(reply: Reply) -> float | None:
    """Seconds until asking again makes sense, or None when the answer is final."""
    if reply.status == 403 and reply.headers.get("x-ratelimit-remaining") == "0":
        reset = reply.headers.get("x-ratelimit-reset", "")
        return max(1.0, int(reset) - time.time()) if reset.isdecimal() else 60.0
    if reply.status not in _BUSY:
        return None
    return retry_after_s(reply.headers.get("retry-after", ""))


def retry_after_s(text: str) -> float:
    """The header's seconds or date (RFC 9110, 10.2.3) as seconds from this moment; 0 for anything else."""
    if text.strip().isdecimal():
        return float(text.strip()[:9])
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
