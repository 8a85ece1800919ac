"""The statement that the marketplace sends to a server, as the benchmark samples it."""

import hashlib
import json
from base64 import urlsafe_b64encode

import pytest

from bench import checks
from bench.harness import BenchError

BODY = b"{}"


def token(**claims: str) -> str:
    def part(data: bytes) -> str:
        return urlsafe_b64encode(data).rstrip(b"=").decode()

    said = {"tool": "echo", "rqh": part(hashlib.sha256(BODY).digest()), **claims}
    return f"{part(b'{}')}.{part(json.dumps(said).encode())}.{part(b'signature')}"


def test_a_token_about_this_call_is_accepted() -> None:
    checks.token(token(), BODY, "echo")


@pytest.mark.parametrize("text", ["", "no.token", "a.b."])
def test_a_call_without_a_token_ends_the_run(text: str) -> None:
    with pytest.raises(BenchError, match="got no token"):
        checks.token(text, BODY, "echo")


def test_a_token_about_another_call_ends_the_run() -> None:
    with pytest.raises(BenchError, match="another call"):
        checks.token(token(rqh="x"), BODY, "echo")
    with pytest.raises(BenchError, match="another call"):
        checks.token(token(tool="x"), BODY, "echo")
