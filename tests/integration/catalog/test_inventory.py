"""Reading what a server offers, over real sockets. No database is touched."""

from __future__ import annotations

import pytest

from catalog import inventory
from catalog.errors import ServerAnswerError, ServerMethodError, ServerSignInError, ServerUnreachableError
from catalog.inventory import Bounds
from core.egress import EgressRefusedError
from core.errors import UpstreamTimeoutError
from tests.integration.catalog.fakes import (
    TOOL,
    Answer,
    Seen,
    as_stream,
    error,
    legacy,
    modern,
    result,
    serving,
)
from tests.support.gateways import serving as serving_app
from tests.support.old_servers import TOOLS, OldServer
from tests.support.processes import wait_until

ODD_TOOL = {
    **TOOL,
    "inputSchema": {"type": "object", "$defs": {"a": {"$anchor": "x"}}, "x-own": [1, 2.5, None], "if": True},
    "execution": {"taskSupport": "optional"},
    "icons": [{"src": "data:,"}],
    "_meta": {"com.example/own": "süß \u2028"},
}


def read(server, **bounds) -> inventory.Inventory:
    return inventory.read(server.url, allow=server.allow, bounds=Bounds(**bounds))


class TestModernServers:
    def test_the_inventory_is_what_the_server_says(self):
        with serving(modern([TOOL])) as server:
            found = read(server)

        assert found.protocol == "2026-07-28"
        assert found.server_info == {"name": "fake", "version": "1.2.3"}
        assert found.instructions == "Say hello."
        assert found.tools == [TOOL]
        assert found.resource_count is None
        assert found.prompt_count is None

    def test_unknown_fields_of_definitions_are_kept(self):
        with serving(modern([ODD_TOOL])) as server:
            assert read(server).tools == [ODD_TOOL]

    def test_no_session_is_opened(self):
        with serving(modern([TOOL])) as server:
            read(server)

        assert server.methods == ["server/discover", "tools/list"]

    def test_the_list_is_read_to_its_last_page_and_an_empty_cursor_is_a_cursor(self):
        def paged(seen: Seen) -> Answer:
            if seen.method != "tools/list":
                return modern([])(seen)
            pages = {None: ("a", {"nextCursor": ""}), "": ("b", {"nextCursor": "2"}), "2": ("c", {})}
            name, more = pages[seen.params.get("cursor")]
            return result(seen, {"tools": [{**TOOL, "name": name}], **more})

        with serving(paged) as server:
            assert [tool["name"] for tool in read(server).tools] == ["a", "b", "c"]

    def test_resources_and_prompts_are_counted_when_they_are_declared(self):
        def full(seen: Seen) -> Answer:
            if seen.method == "resources/list":
                return result(seen, {"resources": [{"uri": "a:1"}, {"uri": "a:2"}]})
            return modern([TOOL], resources={}, prompts={})(seen)

        with serving(full) as server:
            found = read(server)

        assert found.resource_count == 2
        assert found.prompt_count is None  # declared, and then refused

    def test_a_server_without_tools_has_none(self):
        def bare(seen: Seen) -> Answer:
            return result(seen, {"capabilities": {}, "_meta": {}})

        with serving(bare) as server:
            assert read(server).tools == []
        assert server.methods == ["server/discover"]

    def test_a_refusal_of_the_request_is_told_with_the_servers_words(self):
        def demanding(seen: Seen) -> Answer:
            return error(seen, -32021, "elicitation is required", 400)

        with serving(demanding) as server, pytest.raises(ServerMethodError, match="elicitation is required"):
            read(server)


class TestLegacyServers:
    def test_a_session_is_opened_used_and_given_back(self):
        with serving(legacy([ODD_TOOL])) as server:
            found = read(server)

        assert found.protocol == "2025-11-25"
        assert found.server_info["name"] == "old"
        assert found.tools == [ODD_TOOL]
        assert server.methods == [
            "server/discover", "initialize", "notifications/initialized", "tools/list", "DELETE",
        ]  # fmt: skip
        assert server.seen[-1].headers["mcp-session-id"] == "abc123"
        assert server.seen[-1].headers["mcp-protocol-version"] == "2025-11-25"

    def test_a_session_is_given_back_when_reading_fails(self):
        with serving(legacy([{"name": "no schema"}])) as server, pytest.raises(ServerAnswerError):
            read(server)

        assert server.methods[-1] == "DELETE"

    def test_a_server_that_names_only_an_older_version_is_asked_in_that_era(self):
        def older(seen: Seen) -> Answer:
            if seen.method == "server/discover":
                return error(seen, -32022, "no", 400, supported=["2025-06-18"], requested="2026-07-28")
            return legacy([TOOL])(seen)

        with serving(older) as server:
            assert read(server).tools == [TOOL]

    def test_a_server_of_an_unknown_future_is_refused_with_its_versions(self):
        def future(seen: Seen) -> Answer:
            return error(seen, -32022, "no", 400, supported=["2031-01-01"])

        with serving(future) as server, pytest.raises(ServerAnswerError, match="2031-01-01"):
            read(server)

    @pytest.mark.parametrize("line_end", ["\n", "\r\n"])
    def test_streams_are_read_with_either_line_end(self, line_end):
        def streaming(seen: Seen) -> Answer:
            return as_stream(modern([ODD_TOOL])(seen), line_end=line_end)

        with serving(streaming) as server:
            assert read(server).tools == [ODD_TOOL]


def listing(tools) -> inventory.Inventory:
    with serving(modern(tools)) as server:
        return read(server, tools=3, depth=12)


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("tools", "words"),
        [
            ([{"inputSchema": {}}], "Tool number 1 of the server has no name"),
            (["text"], "Tool number 1"),
            ([{**TOOL, "name": "x" * 129}], "too long"),
            ([{**TOOL, "name": "a\nb"}], "not printable"),
            ([TOOL, TOOL], "twice"),
            ([{"name": "bare"}], "no input schema"),
            ([{**TOOL, "name": str(number)} for number in range(4)], "more than 3 tools"),
            ([{**TOOL, "description": "\x00"}], "character that cannot be stored"),
            ([{**TOOL, "description": "\ud800"}], "character that cannot be stored"),
            ([{**TOOL, "limit": float("inf")}], "not JSON"),
        ],
    )
    def test_definitions_that_cannot_be_listed(self, tools, words):
        with pytest.raises(ServerAnswerError, match=words):
            listing(tools)

    def test_deep_nesting(self):
        schema: dict = {"type": "object"}
        for _ in range(20):
            schema = {"type": "object", "properties": {"a": schema}}
        with pytest.raises(ServerAnswerError, match="nested too deeply"):
            listing([{**TOOL, "inputSchema": schema}])

    def test_nesting_beyond_what_a_parser_can_hold(self):
        def bottomless(seen: Seen) -> Answer:
            return Answer(200, b"[" * 200_000)

        with serving(bottomless) as server, pytest.raises(ServerAnswerError, match="not JSON"):
            read(server)

    def test_a_list_that_never_ends(self):
        def circular(seen: Seen) -> Answer:
            if seen.method == "tools/list":
                return result(seen, {"tools": [], "nextCursor": "again"})
            return modern([])(seen)

        with serving(circular) as server, pytest.raises(ServerAnswerError, match="repeats a cursor"):
            read(server)

    def test_more_pages_than_are_read(self):
        def endless(seen: Seen) -> Answer:
            if seen.method == "tools/list":
                return result(seen, {"tools": [], "nextCursor": f"{seen.params.get('cursor', '')}x"})
            return modern([])(seen)

        with serving(endless) as server, pytest.raises(ServerAnswerError, match="more than 5 pages"):
            read(server, pages=5)

    def test_more_bytes_than_are_read_over_all_answers(self):
        def heavy(seen: Seen) -> Answer:
            if seen.method == "tools/list":
                return result(seen, {"tools": [], "nextCursor": f"{seen.params.get('cursor', '')}{'x' * 300}"})
            return modern([])(seen)

        with serving(heavy) as server, pytest.raises(ServerAnswerError, match="greater length"):
            read(server, bytes=2_000)

    def test_a_server_that_takes_too_long(self):
        with serving(modern([TOOL])) as server, pytest.raises(UpstreamTimeoutError):
            read(server, seconds=0.0)

    def test_a_server_that_wants_a_sign_in(self):
        with serving(lambda seen: Answer(401)) as server, pytest.raises(ServerSignInError):
            read(server)

    def test_a_redirect_is_not_followed(self):
        with (
            serving(lambda seen: Answer(307, headers={"location": "http://127.0.0.1:1/"})) as server,
            pytest.raises(ServerAnswerError, match="redirects"),
        ):
            read(server)

    def test_a_page_of_the_web_is_not_an_mcp_server(self):
        with (
            serving(lambda seen: Answer(200, b"<html>", content_type="text/html")) as server,
            pytest.raises(ServerAnswerError, match="no MCP result"),
        ):
            read(server)

    def test_an_address_that_nobody_opened(self):
        with serving(modern([TOOL])) as server, pytest.raises(EgressRefusedError):
            inventory.read(server.url, allow=frozenset())
        assert server.seen == []

    def test_nobody_at_the_address(self):
        with serving(modern([TOOL])) as server:
            pass
        with pytest.raises(ServerUnreachableError):
            read(server)


class TestServersOfTwoConnections:
    """HTTP+SSE, 2024-11-05."""

    @pytest.fixture
    def old(self):
        app = OldServer(has_streamable=False)
        with serving_app(app) as port:
            yield app, f"http://127.0.0.1:{port}/sse", frozenset({("127.0.0.1", port)})

    def test_the_inventory_is_read_over_the_stream_and_the_stream_is_closed(self, old):
        app, url, allow = old
        found = inventory.read(url, allow=allow)

        assert (found.protocol, found.server_info["name"]) == ("2025-11-25", "old")
        assert [tool["name"] for tool in found.tools] == TOOLS
        assert (found.resource_count, found.prompt_count) == (1, 1)
        wait_until(lambda: app.ended == ["sse-1"], "the end of the session")

    def test_messages_go_to_no_other_origin(self, old):
        app, url, allow = old
        app.endpoint = "http://localhost:9/messages"
        with pytest.raises(ServerAnswerError, match="another origin"):
            inventory.read(url, allow=allow)
        assert app.received == []
