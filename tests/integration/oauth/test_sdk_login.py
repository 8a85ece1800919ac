"""The official client signs in by itself: discovery, registration, consent in a browser, tokens, and a call of a tool."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from calls.models import Call
from tenants.context import tenant_scope
from tenants.models import Consent
from tenants.oauth import client_keys
from tenants.services import consents
from tests.integration.oauth.conftest import REDIRECT, Product, query_of
from tests.support.signing import SIGNERS


class Storage:
    """What a client keeps."""

    def __init__(self, client: OAuthClientInformationFull | None = None) -> None:
        self.tokens: OAuthToken | None = None
        self.client = client

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


def provider_for(product: Product, storage: Storage) -> OAuthClientProvider:
    """A client whose person presses “Allow”."""
    browser, answers = product.browser(), []

    async def redirect(url: str) -> None:
        answers.append(query_of(await asyncio.to_thread(browser.answer, url)))

    async def callback() -> AuthorizationCodeResult:
        answer = answers.pop()
        return AuthorizationCodeResult(code=answer["code"], state=answer["state"], iss=answer["iss"])

    metadata = OAuthClientMetadata(
        redirect_uris=[REDIRECT],
        client_name="The official client",
        grant_types=["authorization_code", "refresh_token"],
        token_endpoint_auth_method="none",
    )
    return OAuthClientProvider(
        server_url=f"{product.base}/mcp/{product.server.slug}",
        client_metadata=metadata,
        storage=storage,
        redirect_handler=redirect,
        callback_handler=callback,
    )


def with_client(product: Product, auth: Any, mode: str, act: Callable[[Client], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with httpx2.AsyncClient(auth=auth, timeout=20) as http:
            transport = streamable_http_client(f"{product.base}/mcp/{product.server.slug}", http_client=http)
            async with Client(transport, mode=mode) as client:
                return await act(client)

    return asyncio.run(run())


async def add(client: Client) -> Any:
    return (await client.call_tool("add", {"a": 20, "b": 22})).structured_content


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_unknown_client_registers_and_signs_in(product: Product, mode: str) -> None:
    storage = Storage()
    assert with_client(product, provider_for(product, storage), mode, add) == {"result": 42}
    assert storage.tokens is not None
    assert (storage.tokens.scope, bool(storage.tokens.refresh_token)) == ("invoke", True)
    consent = Consent.objects.get(client_id=storage.client.client_id)
    assert (consent.tenant_id, consent.user_id) == (product.tenant.pk, product.person.pk)
    with tenant_scope(product.tenant):
        call = Call.objects.filter(tool="add").order_by("-call_id").first()
    assert (call.credential, call.client_id, call.user_id) == ("oauth", consent.client_id, product.person.pk)


def test_a_client_that_is_registered_signs_in_without_registering(product: Product) -> None:
    registered = product.register().json()
    storage = Storage(OAuthClientInformationFull.model_validate(registered))
    assert with_client(product, provider_for(product, storage), "auto", add) == {"result": 42}
    assert storage.client.client_id == registered["client_id"]


def test_a_client_refreshes_by_itself(product: Product) -> None:
    storage = Storage()
    with_client(product, provider_for(product, storage), "auto", add)
    first = storage.tokens
    storage.tokens = first.model_copy(update={"access_token": first.access_token[:-4] + "AAAA", "expires_in": 1})

    async def again(client: Client) -> Any:
        return await add(client)

    provider = provider_for(product, storage)
    provider.context.token_expiry_time = 1  # long ago
    assert with_client(product, provider, "auto", again) == {"result": 42}
    assert storage.tokens.refresh_token != first.refresh_token


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_an_agent_signs_in_with_its_own_secret(product: Product, method: Any) -> None:
    made = consents.make_machine(
        tenant=product.tenant, name="Robot", scopes=["invoke"], actor=product.person, agent="robot"
    )
    auth = ClientCredentialsOAuthProvider(
        server_url=f"{product.base}/mcp/{product.server.slug}",
        storage=Storage(),
        client_id=made.consent.client_id,
        client_secret=made.secret,
        token_endpoint_auth_method=method,
        scope="invoke",
        issuer=product.base,
    )
    assert with_client(product, auth, "auto", add) == {"result": 42}


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_an_agent_signs_in_with_its_own_key_pair(product: Product, algorithm: str) -> None:
    signer = SIGNERS[algorithm]
    made = consents.make_machine(
        tenant=product.tenant,
        name="Robot",
        scopes=["invoke"],
        actor=product.person,
        agent="robot",
        keys=client_keys.of_text(signer.public_pem),
    )
    assert made.secret == ""
    client_id = made.consent.client_id
    signed = SignedJWTParameters(
        issuer=client_id, subject=client_id, signing_key=signer.private_pem, signing_algorithm=algorithm
    )
    auth = PrivateKeyJWTOAuthProvider(
        server_url=f"{product.base}/mcp/{product.server.slug}",
        storage=Storage(),
        client_id=client_id,
        assertion_provider=signed.create_assertion_provider(),
        scope="invoke",
        issuer=product.base,
    )
    assert with_client(product, auth, "auto", add) == {"result": 42}
