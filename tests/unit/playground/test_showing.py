"""What people see of a run: strangers' answers safely, secrets hidden, and of a shared run only what its owner shows."""

from __future__ import annotations

import base64
import json

from marketplace.playground import masks, showing

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 20
SECRET = "hunter2-and-more"


def content(result=None, *, error=None, arguments=None, failure="") -> dict:
    answer = {"jsonrpc": "2.0", "id": "x", **({"error": error} if error else {"result": result or {"content": []}})}
    body = json.dumps({"params": {"arguments": arguments or {}}})
    return {
        "arguments": arguments or {},
        "exchange": {
            "request": {"method": "POST", "path": "/mcp/s", "headers": [["Mcp-Name", "t"]], "body": body},
            "status": 200,
            "headers": [["Content-Type", "application/json"]],
            "body": json.dumps(answer),
            "messages": [answer],
            "failure": failure,
        },
    }


def part(block) -> showing.Part:
    [found] = showing.shown(content({"content": [block]})).parts
    return found


class TestParts:
    def test_text_that_is_json_becomes_a_tree(self):
        assert part({"type": "text", "text": '{"a": 1}'}) == showing.Part("json", value={"a": 1})
        assert part({"type": "text", "text": "{no"}).text == "{no"

    def test_a_picture_is_shown_when_its_bytes_are_one(self):
        shown = part({"type": "image", "mimeType": "image/png", "data": base64.b64encode(PNG).decode()})

        assert shown.url.startswith("data:image/png;base64,")

    def test_what_only_claims_to_be_a_picture_is_not(self):
        svg = base64.b64encode(b"<svg onload=alert(1)>").decode()
        for kind, data in (
            ("image/svg+xml", svg),
            ("image/png", svg),
            ("image/png", "%%%"),
            ("text/html", svg),
            (None, 1),
        ):
            assert part({"type": "image", "mimeType": kind, "data": data}).kind == "other"

    def test_odd_blocks_are_shown_as_they_are(self):
        for block in (
            None,
            3,
            "x",
            {},
            {"type": 1},
            {"type": "resource", "resource": 1},
            {"type": "audio", "data": "A" * 999},
        ):
            assert part(block).kind in {"json", "other"}


class TestRefusals:
    def test_a_refusal_says_why_and_what_to_do(self):
        error = {
            "code": 40301,
            "message": "No.",
            "data": {"code": "access.x", "next_step": "Ask.", "request_url": "/o/a/"},
        }
        shown = showing.shown(content(error=error))

        assert (shown.error, shown.next_step, shown.request_url, shown.code) == ("No.", "Ask.", "/o/a/", "access.x")

    def test_an_answer_that_is_none_is_said_to_be_none(self):
        assert (
            "without a result" in showing.shown({"exchange": {"status": 502, "messages": [], "body": "<html>"}}).error
        )


class TestSecrets:
    arguments = {"password": SECRET, "query": "all", "nested": {"api_key": 123456}}

    def test_the_raw_exchange_hides_them_from_everybody(self):
        found = content({"content": [{"type": "text", "text": f"you sent {SECRET}"}]}, arguments=self.arguments)
        shown = showing.shown(found)

        assert SECRET not in shown.request_text + shown.response_text
        assert "123456" not in shown.request_text
        assert shown.arguments == self.arguments

    def test_colleagues_see_neither_them_nor_their_echo(self):
        found = content(
            {"content": [{"type": "text", "text": f"you sent {SECRET}"}], "structuredContent": {"echo": SECRET}},
            arguments=self.arguments,
        )
        shown = showing.shown(found, arguments="masked", masked=True)

        assert SECRET not in repr(shown)
        assert shown.arguments == {"password": masks.MASK, "query": "all", "nested": {"api_key": masks.MASK}}

    def test_an_owner_may_show_nothing_of_arguments_and_result(self):
        found = content({"content": [{"type": "text", "text": "answer"}]}, arguments={"q": "my words"})
        shown = showing.shown(found, arguments="nothing", result=False, masked=True)

        assert "my words" not in repr(shown)
        assert "answer" not in repr(shown)
        assert shown.hides_result

    def test_known_forms_of_credentials_are_hidden_anywhere(self):
        token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhYmMifQ.c2lnbmF0dXJl"
        for secret in (
            token,
            "mk_live_abc123_def456",
            "ghp_0123456789abcdef0123",
            "AKIAABCDEFGHIJKLMNOP",
            "Bearer abcdefghij",
        ):
            assert secret not in masks.hide(f"before {secret} after")
            assert masks.hide(f"before {secret} after").startswith("before ")

    def test_counts_of_tokens_are_no_secrets(self):
        for name in ("max_tokens", "token_count", "page_token", "total_tokens"):
            assert not masks.is_secret_name(name)
        for name in ("token", "apiKey", "client_secret", "Password", "access-key"):
            assert masks.is_secret_name(name)
