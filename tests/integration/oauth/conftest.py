"""The whole product on one port, with people who sign in and a server of the official SDK to call."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from django.test import override_settings

from access.services import grants
from access.services.grants import Subject
from catalog.choices import Status
from catalog.models import Server
from core.ids import uuid7
from marketplace import asgi
from tenants.context import platform_scope, tenant_scope
from tenants.models import Membership, Tenant, User
from tenants.services import onboarding
from tests.integration.gateway.conftest import body_of
from tests.support.cast import PASSWORD, Cast, make_person, make_server
from tests.support.gateways import listening_socket, serving
from tests.support.sdk_servers import build

EVERYTHING = ["read", "write", "destructive"]
VERIFIER = "v" * 50
CHALLENGE = "CrlVwe1WSHWuTQYh3iczmx3aS-faRx6C92k9_hNxl4A"
REDIRECT = "http://127.0.0.1:7777/callback"


@dataclass
class Browser:
    """A person's browser: keeps cookies, fills in forms, and stops where it is sent to somebody else."""

    base: str
    cookies: httpx.Cookies = field(default_factory=httpx.Cookies)

    def get(self, url: str) -> httpx.Response:
        return self._keep(httpx.get(self._of(url), cookies=self.cookies, timeout=20))

    def post(self, url: str, data: dict[str, Any]) -> httpx.Response:
        headers = {"referer": self.base}
        return self._keep(httpx.post(self._of(url), data=data, cookies=self.cookies, headers=headers, timeout=20))

    def _of(self, url: str) -> str:
        return self.base + url if url.startswith("/") else url

    def _keep(self, answer: httpx.Response) -> httpx.Response:
        self.cookies.update(answer.cookies)
        return answer

    def sign_in(self, email: str) -> Browser:
        page = self.get("/accounts/login/")
        form = {"login": email, "password": PASSWORD, "csrfmiddlewaretoken": token_of(page)}
        answer = self.post("/accounts/login/", form)
        assert answer.status_code == 302, answer.text
        return self

    def answer(self, url: str, action: str = "allow", **fields: str) -> httpx.Response:
        """Open the consent page and press a button."""
        page = self.get(url)
        assert page.status_code == 200, (page.status_code, page.headers.get("location"), page.text[:500])
        chosen = re.search(r'name="organisation" value="([^"]+)"[^>]*checked', page.text)
        form = {"csrfmiddlewaretoken": token_of(page), "action": action}
        form |= {"organisation": chosen[1]} if chosen else {}
        return self.post(url, form | fields)


def token_of(page: httpx.Response) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert found, page.text[:300]
    return found[1]


def query_of(answer: httpx.Response) -> dict[str, str]:
    """What a redirect tells the client."""
    assert answer.status_code == 303, (answer.status_code, answer.text[:500])
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


@dataclass
class Product:
    base: str
    tenant: Tenant
    other: Tenant  # the person belongs to it too
    person: User
    colleague: User
    server: Server
    second: Server

    def browser(self) -> Browser:
        return Browser(self.base).sign_in(self.person.email)

    def register(self, **changes: Any) -> httpx.Response:
        metadata = {
            "client_name": "Test client",
            "redirect_uris": [REDIRECT],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "none",
        }
        return httpx.post(f"{self.base}/oauth/register", json=metadata | changes)

    def client_id(self, **changes: Any) -> str:
        answer = self.register(**changes)
        assert answer.status_code == 201, answer.text
        return answer.json()["client_id"]

    def authorize_url(self, client_id: str, **changes: Any) -> str:
        query = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": REDIRECT,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "state": "s t&te",
            "scope": "invoke",
            "resource": f"{self.base}/mcp/{self.server.slug}",
        }
        query |= changes
        kept = {name: value for name, value in query.items() if value is not None}
        return f"{self.base}/oauth/authorize?{urlencode(kept, doseq=True)}"

    def token(self, **form: Any) -> httpx.Response:
        auth = form.pop("auth", None)
        return httpx.post(f"{self.base}/oauth/token", data=form, auth=auth)

    def redeem(self, client_id: str, code: str, /, **changes: Any) -> httpx.Response:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": client_id,
            "redirect_uri": REDIRECT,
            "code_verifier": VERIFIER,
        }
        return self.token(**{name: value for name, value in (form | changes).items() if value is not None})

    def signed_in_client(self, **changes: Any) -> tuple[str, dict[str, Any]]:
        """A client that somebody allowed: its id, and the answer with its tokens."""
        client_id = self.client_id()
        code = query_of(self.browser().answer(self.authorize_url(client_id, **changes)))["code"]
        answer = self.redeem(client_id, code)
        assert answer.status_code == 200, answer.text
        return client_id, answer.json()

    def refresh(self, client_id: str, refresh_token: str, **more: Any) -> httpx.Response:
        return self.token(grant_type="refresh_token", client_id=client_id, refresh_token=refresh_token, **more)

    def call(self, access_token: str, server: Server | None = None) -> httpx.Response:
        body = {"server": (server or self.server).slug, "tool": "add", "arguments": {"a": 1, "b": 2}}
        headers = {"authorization": f"Bearer {access_token}"}
        return httpx.post(f"{self.base}/v1/invoke", json=body, headers=headers, timeout=20)


@pytest.fixture(scope="module")
def product(django_db_setup, django_db_blocker) -> Iterator[Product]:
    mark = uuid7().hex[-12:]
    sock = listening_socket()
    base = f"http://127.0.0.1:{sock.getsockname()[1]}"
    with django_db_blocker.unblock(), serving(build().streamable_http_app()) as port:
        changes = {"PUBLIC_URL": base, "EGRESS_ALLOW": [f"127.0.0.1:{port}"], "CSRF_TRUSTED_ORIGINS": [base]}
        with override_settings(**changes):
            made = _world(mark, f"http://127.0.0.1:{port}/mcp")
            with serving(asgi.build("all"), sock):
                yield Product(base=base, **made)
            with platform_scope():
                Server.objects.filter(slug__endswith=mark).update(status=Status.REMOVED)


def _tools_of(url: str) -> list[dict[str, Any]]:
    """As the server defines them: a definition that differs from the approved one would be closed."""
    headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2026-07-28"}
    content = body_of("tools/list")
    headers |= {"mcp-method": "tools/list", "content-type": "application/json"}
    return httpx.post(url, content=content, headers=headers).json()["result"]["tools"]


def _world(mark: str, url: str) -> dict[str, Any]:
    cast = Cast.load()
    person = make_person("Oda", f"oda-{mark}@o.example")
    colleague = make_person("Max", f"max-{mark}@o.example")
    tenant = onboarding.create_organisation(name=f"Oauth {mark}", slug=f"oauth-{mark}", owner=person)
    other = onboarding.create_organisation(name=f"Zz other {mark}", slug=f"zz-{mark}", owner=cast.charlie)
    Membership.objects.create(tenant=other, user=person, role="member")
    Membership.objects.create(tenant=tenant, user=colleague, role="member")
    with platform_scope():
        servers = [
            make_server(cast.initech, f"{name}-{mark}", name, tools=_tools_of(url), url=url)
            for name in ("first", "second")
        ]
    with tenant_scope(tenant):
        for server in servers:
            for subject in (Subject.of("user", str(person.pk)), Subject.of("agent", "robot")):
                grants.give(
                    tenant=tenant,
                    server=server,
                    subject=subject,
                    actor=person,
                    max_trust="high",
                    side_effects=EVERYTHING,
                )
    return {
        "tenant": tenant,
        "other": other,
        "person": person,
        "colleague": colleague,
        "server": servers[0],
        "second": servers[1],
    }
