"""The example that providers copy is run against what a server really receives, and against forgeries."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jwt
import pytest

from core import signing
from tests.integration.gateway.conftest import Stage
from tests.support.gateways import serving

PAGE = Path(__file__).resolve().parents[3] / "docs" / "verifying-calls.md"


@pytest.fixture
def caller(stage: Stage):
    """The function of the page, for this gateway's keys and the server named `ok`."""

    async def publish(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        entry = stage.world.loader.signing_entry
        keys = {"keys": [signing.jwk(kid, public) for kid, public in entry.public.items()]}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(keys).encode()})

    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    with serving(publish) as port:
        code = code.replace('f"{MARKETPLACE}/.well', f'f"http://127.0.0.1:{port}/.well')
        code = code.replace("https://market.example", "http://localhost:8000")
        code = code.replace("https://tools.example/mcp", stage.upstream.url("ok"))
        names: dict = {}
        exec(code, names)  # the page's own words
        yield names["caller"]


def test_it_names_the_caller_of_a_real_call(stage, caller):
    answer = stage.call("ok", "echo", text="hi")
    request = stage.upstream.requests[-1]
    claims = caller(request.header("x-marketplace-token"), request.body)

    assert claims["jti"] == answer.headers["x-marketplace-call-id"]
    assert claims["tenant"] == str(stage.acme.tenant_id)
    assert claims["tool"] == "echo"


def test_it_refuses_the_same_token_with_another_body(stage, caller):
    stage.call("ok", "echo", text="hi")
    request = stage.upstream.requests[-1]

    with pytest.raises(PermissionError):
        caller(request.header("x-marketplace-token"), request.body + b" ")


def test_it_refuses_a_token_for_another_server_and_one_that_a_stranger_signed(stage, caller):
    stage.call("tool-error")
    request = stage.upstream.requests[-1]
    kid, private, _ = signing.mint()
    real = next(iter(stage.world.loader.signing_entry.public))
    forged = signing.Signer(real, private).sign(json.dumps({"aud": stage.upstream.url("ok")}).encode())

    with pytest.raises(jwt.InvalidAudienceError):
        caller(request.header("x-marketplace-token"), request.body)
    with pytest.raises(jwt.InvalidSignatureError):
        caller(forged.decode(), b"")
    with pytest.raises(jwt.PyJWKClientError):
        caller(signing.Signer(kid, private).sign(b"{}").decode(), b"")
