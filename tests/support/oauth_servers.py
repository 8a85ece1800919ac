"""A server that asks for OAuth, and the authorization server beside it, in one ASGI application that can be made to lie.

`lies` replaces members of the documents that it gives; what it was asked is kept, so that a test sees what went over the wire.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

from tests.support.gateways import serving


@dataclass
class FakeAuthorization:
    port: int = 0
    lies: dict[str, Any] = field(default_factory=dict)  # members of any document; None leaves one out
    token_status: int = 200
    token_answer: dict[str, Any] | None = None
    life_s: int = 3600
    refresh_tokens: bool = True
    asked: list[tuple[str, dict[str, str], dict[str, str]]] = field(
        default_factory=list
    )  # path, headers, form or query
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    good: set[str] = field(default_factory=set)  # access tokens
    refreshing: set[str] = field(default_factory=set)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/mcp"

    def asked_for(self, path: str) -> list[dict[str, str]]:
        return [form for where, _, form in self.asked if where == path]

    def approve(self, authorization_url: str) -> dict[str, str]:
        """What a person's consent gives: the query with which the browser comes back."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(authorization_url).query).items()}
        code = uuid4().hex
        self.codes[code] = query
        return {"state": query["state"], "code": code, "iss": self.lies.get("answer_iss", self.origin)}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        text = body if headers.get("content-type", "").startswith("application/x-www-form") else scope["query_string"]
        form = {name: values[0] for name, values in parse_qs(text.decode()).items()}
        path = scope["path"]
        self.asked.append((path, headers, form if path != "/register" else json.loads(body)))
        status, answer, more = self._answer(path, headers, form, body)
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        lines = [(b"content-type", b"application/json"), *((n.encode(), v.encode()) for n, v in more.items())]
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body", "body": data})

    def _answer(self, path: str, headers: dict[str, str], form: dict[str, str], body: bytes) -> Any:
        match path:
            case "/mcp":
                return self._serve(headers, body)
            case "/.well-known/oauth-protected-resource/mcp":
                return (
                    200,
                    self._with_lies(
                        {
                            "resource": self.url,
                            "authorization_servers": [self.origin],
                            "scopes_supported": ["tools:call"],
                        }
                    ),
                    {},
                )
            case "/.well-known/oauth-authorization-server":
                return 200, self._with_lies(self._metadata()), {}
            case "/token":
                return self._token(headers, form)
            case "/register":
                return 201, {"client_id": "registered-1", "token_endpoint_auth_method": "none"}, {}
            case _:
                return 404, {}, {}

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.origin,
            "authorization_endpoint": f"{self.origin}/authorize",
            "token_endpoint": f"{self.origin}/token",
            "registration_endpoint": f"{self.origin}/register",
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
            "authorization_response_iss_parameter_supported": True,
            "client_id_metadata_document_supported": False,
        }

    def _with_lies(self, document: dict[str, Any]) -> Any:
        if "raw" in self.lies:
            return self.lies["raw"]
        changed = {**document, **{name: value for name, value in self.lies.items() if name in document}}
        return {name: value for name, value in changed.items() if value is not None}

    def _serve(self, headers: dict[str, str], body: bytes) -> Any:
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.good:
            where = self.lies.get("resource_metadata", f"{self.origin}/.well-known/oauth-protected-resource/mcp")
            return 401, {"error": "invalid_token"}, {"www-authenticate": f'Bearer resource_metadata="{where}"'}
        message = json.loads(body)
        content = [{"type": "text", "text": "done"}]
        result = {"content": content, "isError": False, "resultType": "complete"}
        return 200, {"jsonrpc": "2.0", "id": message.get("id"), "result": result}, {}

    def _token(self, headers: dict[str, str], form: dict[str, str]) -> Any:
        if self.token_answer is not None:
            return self.token_status, self.token_answer, {}
        if form.get("resource") != self.url or not self._grants(headers, form):
            return 400, {"error": "invalid_grant"}, {}
        access, refresh = uuid4().hex, uuid4().hex
        self.good.add(access)
        answer = {"access_token": access, "token_type": "Bearer", "expires_in": self.life_s}
        if self.refresh_tokens and form["grant_type"] != "client_credentials":
            self.refreshing.add(refresh)
            answer["refresh_token"] = refresh
        return 200, answer, {}

    def _grants(self, headers: dict[str, str], form: dict[str, str]) -> bool:
        match form.get("grant_type"):
            case "authorization_code":
                asked = self.codes.pop(form.get("code", ""), None)
                proof = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
                return (
                    asked is not None
                    and proof.rstrip(b"=").decode() == asked["code_challenge"]
                    and form.get("redirect_uri") == asked["redirect_uri"]
                    and _client_of(headers, form) == asked["client_id"]
                )
            case "refresh_token":
                # Rotated: each is good once.
                known = form.get("refresh_token", "") in self.refreshing
                self.refreshing.discard(form.get("refresh_token", ""))
                return known
            case "client_credentials":
                return headers.get("authorization") == "Basic " + base64.b64encode(b"agent:s3cret").decode()
        return False


@contextlib.contextmanager
def authorization_server() -> Iterator[FakeAuthorization]:
    fake = FakeAuthorization()
    with serving(fake) as port:
        fake.port = port
        yield fake


def comes_back(answer: dict[str, str]) -> str:
    return "/connections/callback/?" + urlencode(answer)


def _client_of(headers: dict[str, str], form: dict[str, str]) -> str:
    """Who proves itself in the header (RFC 6749 section 2.3.1), or names itself in the form as a public client does."""
    scheme, _, pair = headers.get("authorization", "").partition(" ")
    return base64.b64decode(pair).decode().partition(":")[0] if scheme == "Basic" else form.get("client_id", "")


async def _lifespan(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
