"""What every page carries to keep a browser on our side."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from tests.isolation.conftest import ACTORS, Stage
from tests.isolation.test_matrix import ENDPOINTS, FILLERS, named, text_of

# The operators' admin is drawn by a package, and the public keys are for everybody's cache; the rest is drawn by us.
OURS = [
    e
    for e in ENDPOINTS
    if not e.name.startswith(
        (
            "admin:",
            "api:",
            "registry:",
            "openapi",
            "healthz",
            "readyz",
            "jwks",
            "oauth-metadata",
            "openid-metadata",
            "oauth-client",
            "mcp-catalog",
            "server-card",
            "invoke-openapi",
        )
    )
]
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
NONCE = re.compile(r"'nonce-([^']{16,})'")


class Tags(HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def policy_of(response) -> dict[str, str]:
    parts = (part.strip().partition(" ") for part in response.headers["Content-Security-Policy"].split(";"))
    return {name: sources for name, _, sources in parts if name}


class TestEveryAnswer:
    @named(ENDPOINTS)
    def test_it_carries_the_security_headers(self, stage: Stage, endpoint):
        for actor in ACTORS:
            response = stage.browsers[actor].get(endpoint.path(FILLERS | stage.acme.parameters))
            assert {name: response.headers.get(name) for name in ALWAYS} == ALWAYS
            assert "camera=()" in response.headers["Permissions-Policy"]
            assert response.headers["X-Request-ID"]
            policy = policy_of(response)
            assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"

    @named(OURS)
    def test_its_policy_lets_no_foreign_and_no_inline_script_run(self, stage, endpoint):
        for actor in ("alice", "anonymous"):
            response = stage.browsers[actor].get(endpoint.path(FILLERS | stage.acme.parameters))
            scripts = policy_of(response)["script-src"]
            assert "unsafe" not in scripts
            assert "*" not in scripts
            assert "http:" not in scripts


class TestOurPages:
    @named(OURS)
    def test_what_they_contain_is_what_their_policy_allows(self, stage, endpoint):
        """No script, style or handler that the browser would refuse: it would be a part of the page that does not work."""
        for actor in ("alice", "anonymous"):
            response = stage.browsers[actor].get(endpoint.path(FILLERS | stage.acme.parameters))
            if not response.headers.get("Content-Type", "").startswith("text/html"):
                continue
            nonce = NONCE.search(response.headers["Content-Security-Policy"])
            refused = [
                (tag, attributes)
                for tag, attributes in Tags(text_of(response)).tags
                if "style" in attributes
                or any(name.startswith("on") for name in attributes)
                or (
                    tag in {"script", "style"}
                    and "src" not in attributes
                    and attributes.get("type") not in {"application/json", "speculationrules"}
                    and not (nonce and attributes.get("nonce") == nonce[1])
                )
                or "javascript:" in (attributes.get("href") or "")
            ]
            assert refused == []

    @named(OURS)
    def test_they_are_kept_by_nobody_but_the_browser_of_who_asked(self, stage, endpoint):
        response = stage.browsers["alice"].get(endpoint.path(FILLERS | stage.acme.parameters))

        assert {"private", "no-store", "no-cache"} & set(re.split(r"[,\s]+", response.headers["Cache-Control"]))
        assert "public" not in response.headers["Cache-Control"]


class TestCookies:
    def test_they_stay_with_us(self, stage):
        session = stage.browsers["alice"].get("/o/acme/calls/").cookies["session"]
        csrf = stage.browsers["anonymous"].get("/accounts/login/").cookies["csrf"]

        for cookie in (session, csrf):
            assert (cookie["samesite"], cookie["domain"], cookie["path"]) == ("Lax", "", "/")
        assert session["httponly"]
