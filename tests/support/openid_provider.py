"""An OpenID provider: discovery, keys, the code flow with PKCE, user info. A process of its own that can be made to lie.

`python -m tests.support.openid_provider` serves one; a test tells it over `/control` who signs in and what to say otherwise.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit
from uuid import uuid4

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, CLIENT_SECRET = "market:place", "its secret/+"


@dataclass
class OpenIdProvider:
    """The test's side."""

    issuer: str

    @property
    def allow(self) -> str:
        return urlsplit(self.issuer).netloc

    def tell(self, **state: Any) -> None:
        """`person`: the claims of who signs in; `lies`: members of the token; `foreign_key`, `rotate`, `deny`, `config`."""
        httpx.put(f"{self.issuer}/control", json=state).raise_for_status()

    def visit(self, url: str) -> dict[str, str]:
        """What a browser does at the provider: the query with which it comes back."""
        answer = httpx.get(url)
        assert answer.status_code == 302, answer.text
        query = parse_qs(urlsplit(answer.headers["location"]).query)
        return {name: values[0] for name, values in query.items()}


@contextlib.contextmanager
def running_provider() -> Iterator[OpenIdProvider]:
    command = [sys.executable, "-m", "tests.support.openid_provider"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield OpenIdProvider(process.stdout.readline().strip())
        finally:
            process.terminate()


class _Keys:
    def __init__(self) -> None:
        self.kid, self.private = uuid4().hex, rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def public(self) -> dict[str, Any]:
        found = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.private.public_key()))
        return {**found, "kid": self.kid, "use": "sig", "alg": "RS256"}


class _Handler(BaseHTTPRequestHandler):
    state: dict[str, Any] = {"person": {"sub": "1"}}
    codes: dict[str, dict[str, str]] = {}
    keys = _Keys()
    issuer = ""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        match parts.path:
            case "/.well-known/openid-configuration":
                self._send(200, {**self._configuration(), **self.state.get("config", {})})
            case "/keys":
                self._send(200, {"keys": [self.keys.public]})
            case "/authorize":
                self._authorize(query)
            case "/me":
                self._send(200, self.state["person"])
            case _:
                self._send(404, {})

    def do_PUT(self) -> None:
        type(self).state = {"person": {"sub": "1"}, **json.loads(self._body())}
        if self.state.get("rotate"):
            type(self).keys = _Keys()
        self._send(200, {})

    def do_POST(self) -> None:
        form = {name: values[0] for name, values in parse_qs(self._body().decode()).items()}
        asked = self.codes.pop(form.get("code", ""), None)
        proof = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if not self._is_client(form):
            self._send(401, {"error": "invalid_client"})
        elif (
            asked is None
            or asked["redirect_uri"] != form.get("redirect_uri")
            or asked["code_challenge"] != proof.rstrip(b"=").decode()
        ):
            self._send(400, {"error": "invalid_grant"})
        else:
            token = self._token(asked)
            self._send(200, {"access_token": "access", "token_type": "Bearer", "id_token": token})

    def _configuration(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/me",
            "jwks_uri": f"{self.issuer}/keys",
        }

    def _authorize(self, query: dict[str, str]) -> None:
        wanted = {"response_type": "code", "client_id": CLIENT_ID, "code_challenge_method": "S256"}
        if not wanted.items() <= query.items() or "openid" not in query["scope"].split():
            self._send(400, {"error": "invalid_request"})
            return
        code = uuid4().hex
        self.codes[code] = query
        back = {"error": "access_denied"} if self.state.get("deny") else {"code": code}
        location = f"{query['redirect_uri']}?{urlencode({**back, 'state': query['state']})}"
        self._send(302, {}, location=location)

    def _is_client(self, form: dict[str, str]) -> bool:
        kind, _, text = self.headers.get("authorization", "").partition(" ")
        if kind == "Basic":
            name, _, secret = base64.b64decode(text).decode().partition(":")
            return (unquote(name), unquote(secret.replace("+", " "))) == (CLIENT_ID, CLIENT_SECRET)
        return (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)

    def _token(self, asked: dict[str, str]) -> str:
        now = int(time.time())
        person = self.state["person"] if not self.state.get("thin") else {"sub": self.state["person"]["sub"]}
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked["nonce"], **person}
        lies = self.state.get("lies", {})
        key = _Keys().private if self.state.get("foreign_key") else self.keys.private
        if self.state.get("unsigned"):
            return jwt.encode({**claims, **lies}, "", algorithm="none", headers={"kid": self.keys.kid})
        return jwt.encode({**claims, **lies}, key, algorithm="RS256", headers={"kid": self.keys.kid})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _send(self, status: int, body: dict[str, Any], **headers: str) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(raw)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args: Any) -> None:
        """Tests print nothing."""


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        _Handler.issuer = f"http://127.0.0.1:{server.server_address[1]}"
        sys.stdout.write(_Handler.issuer + "\n")
        sys.stdout.flush()
        server.serve_forever()
