from __future__ import annotations

import pytest

from gateway.paths import Paths

PATHS = Paths(taken=frozenset({"servers", "o", "static"}))


@pytest.mark.parametrize(
    ("path", "server"),
    [
        ("/mcp/payments", "payments"),
        ("/payments/mcp", "payments"),
        ("/mcp/mcp", "mcp"),
        ("/team-a.text_tools/mcp", "team-a.text_tools"),
        ("/mcp/", ""),
        ("/mcp", ""),
        ("/mcp/server-card", "server-card"),
        ("/mcp/a/b", "a/b"),
    ],
)
def test_both_spellings_name_the_server(path, server):
    assert PATHS.server_of(path) == server
    assert PATHS.is_ours(path)


@pytest.mark.parametrize(
    "path",
    [
        "/servers/mcp", "/o/mcp", "/static/mcp", "/v1/mcp", "/api/mcp", "/.well-known/mcp", "/payments/mcp/", "/payments/mcp\n",
        "/a/b/mcp", "//mcp",
        "/mcp/payments/server-card", "/v1/openapi.json", "/Payments/mcp", "/payments", "/", "/v1/invoke/", "/o/acme/calls/", "",
    ],
)  # fmt: skip
def test_pages_and_odd_spellings_are_left_to_others(path):
    assert not PATHS.is_ours(path)


def test_plain_calls_are_ours_and_name_no_server():
    assert PATHS.is_ours("/v1/invoke")
    assert PATHS.server_of("/v1/invoke") is None
