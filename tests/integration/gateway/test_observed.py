"""What can be seen from outside: metrics, traces, readiness, and log lines that hold no secret."""

from __future__ import annotations

import contextlib
import http.server
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from core.logs import JSONFormatter
from gateway.app import Gateway
from gateway.metrics import may_read
from tests.integration.gateway.conftest import Stage, body_of
from tests.support.gateways import config_for, running_gateway, serving
from tests.support.processes import wait_until

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_trace_is_continued_to_the_server_and_kept_in_the_row(stage: Stage) -> None:
    content = body_of("tools/call", {"name": "echo", "arguments": {}})
    headers = stage.modern("tools/call", "echo", traceparent=f"00-{TRACE}-{SPAN}-01")
    answer = httpx.post(f"{stage.base}/mcp/ok", content=content, headers=headers)
    seen = stage.upstream.requests[-1].header("traceparent")
    assert stage.row(answer)["trace_id"] == TRACE
    assert seen is not None
    assert seen.startswith(f"00-{TRACE}-")
    assert SPAN not in seen


def test_a_call_without_a_trace_begins_one(stage: Stage) -> None:
    row = stage.row(stage.call("ok"))
    assert row["trace_id"] == row["call_id"].hex
    assert row["trace_id"] in (stage.upstream.requests[-1].header("traceparent") or "")


def test_an_answer_says_what_we_took_and_what_the_server_took(stage: Stage) -> None:
    answer = stage.call("ok")
    said = dict(each.split(";dur=") for each in answer.headers["server-timing"].split(", "))
    assert set(said) == {"gw", "upstream"}
    row = stage.row(answer)
    assert float(said["upstream"]) == pytest.approx(row["upstream_ms"], abs=0.01)
    assert float(said["gw"]) > 0
    refused = stage.call("nothing-of-that-name").headers["server-timing"]
    assert refused.endswith("upstream;dur=0.00")


def test_a_stream_says_at_its_beginning_what_we_took(stage: Stage) -> None:
    timing = stage.call("stream").headers["server-timing"]
    assert timing.startswith("gw;dur=")
    assert float(timing.removeprefix("gw;dur=")) >= 0


class Shown:
    """A gateway whose metrics and readiness can be asked for, as `marketplace.asgi` mounts them."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.direct = gateway.direct

    @property
    def at_once(self) -> Any:
        return self._gateway.at_once

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/metrics":
            await self._gateway.show_metrics(scope, send)
        else:
            await self._gateway(scope, receive, send)


@contextlib.contextmanager
def shown(stage: Stage, urls: tuple[str, str], **changes: Any) -> Iterator[Stage]:
    gateway = Gateway(config_for(*urls, stage.upstream.port, **changes), stage.world.loader)
    with serving(Shown(gateway)) as port:
        yield replace(stage, base=f"http://127.0.0.1:{port}")


def test_metrics_count_requests_decisions_bytes_and_the_writer(stage: Stage, urls: tuple[str, str]) -> None:
    with shown(stage, urls) as here:
        here.call("ok")
        here.call("ok")
        here.call("tool-error")
        here.call("nothing-of-that-name")
        headers = here.modern("x/chosen-by-the-caller")
        httpx.post(f"{here.base}/mcp/ok", content=body_of("x/chosen-by-the-caller"), headers=headers)
        text = httpx.get(f"{here.base}/metrics").text
    for line in (
        'mcp_gateway_requests_total{interface="mcp",method="tools/call",outcome="ok"} 2.0',
        'mcp_gateway_requests_total{interface="mcp",method="other",outcome="denied"} 1.0',
        'mcp_gateway_policy_decisions_total{decision="deny",reason="server_unknown"} 1.0',
        'mcp_gateway_request_duration_seconds_count{method="tools/call"} 4.0',
        "mcp_gateway_call_rows_total 5.0",
        "mcp_gateway_database_connected 1.0",
        "mcp_gateway_spool_bytes 0.0",
        'mcp_gateway_breakers{state="open"} 0.0',
        "mcp_gateway_inflight_requests 0.0",
    ):
        assert line in text, line
    assert "chosen-by-the-caller" not in text
    assert "acme" not in text


def test_metrics_are_for_who_has_the_token_and_without_one_for_this_machine(
    stage: Stage, urls: tuple[str, str]
) -> None:
    with shown(stage, urls, metrics_token="s3cret") as here:
        assert httpx.get(f"{here.base}/metrics").status_code == 404
        assert httpx.get(f"{here.base}/metrics", headers={"authorization": "Bearer wrong"}).status_code == 404
        assert httpx.get(f"{here.base}/metrics", headers={"authorization": "Bearer s3cret"}).status_code == 200
    with shown(stage, urls) as here:
        assert httpx.get(f"{here.base}/metrics").status_code == 200
        assert httpx.get(f"{here.base}/metrics", headers={"x-forwarded-for": "127.0.0.1"}).status_code == 404
    near: dict[str, Any] = {"headers": [], "client": ("127.0.0.1", 1)}
    assert not may_read(near, "", open_to_loopback=False)
    assert not may_read({**near, "client": ("10.0.0.1", 1)}, "", open_to_loopback=True)


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes spans as an OpenTelemetry collector does."""

    received: list[Any]

    def do_POST(self) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        self.received.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Any]]]:
    Collector.received = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", Collector.received
    server.shutdown()
    server.server_close()


def test_spans_reach_a_collector_and_stand_below_the_callers(
    stage: Stage, urls: tuple[str, str], collector: tuple[str, list[Any]]
) -> None:
    endpoint, received = collector
    with running_gateway(config_for(*urls, stage.upstream.port, otlp_endpoint=endpoint), stage.world.loader) as base:
        headers = stage.modern("tools/call", "echo", traceparent=f"00-{TRACE}-{SPAN}-01")
        secret = body_of("tools/call", {"name": "echo", "arguments": {"password": "hunter2"}})
        httpx.post(f"{base}/mcp/ok", content=secret, headers=headers)
        sent = stage.upstream.requests[-1].header("traceparent") or ""
        wait_until(lambda: bool(received), "the spans")
    spans = [
        span
        for batch in received
        for resource in batch.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    ours, theirs = spans
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    assert ours.parent_span_id.hex() == SPAN
    assert theirs.parent_span_id == ours.span_id
    assert theirs.span_id.hex() in sent
    assert ours.name == "tools/call echo"
    assert "hunter2" not in str(received)


CANARIES = ("hunter2-canary", "alice.canary@example.com", "forged\r\nline", "\x1b[31mred")


def test_no_log_line_holds_a_secret_an_address_or_a_forged_line(
    urls: tuple[str, str], stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    canary_headers = {"x-api-key-note": CANARIES[0], "x-email": CANARIES[1]}
    arguments = dict(zip("abcd", CANARIES, strict=True))
    with caplog.at_level(logging.DEBUG):
        for name in ("ok", "tool-error", "rpc-error", "html", "malformed", "stream", "nothing-" + CANARIES[0]):
            for tool in ("echo", CANARIES[1], CANARIES[2]):
                content = body_of("tools/call", {"name": tool, "arguments": arguments}, request_id=CANARIES[0])
                headers = stage.headers(mcp_protocol_version="2025-11-25") | canary_headers
                httpx.post(f"{stage.base}/mcp/{name}", content=content, headers=headers)
                httpx.post(
                    f"{stage.base}/v1/invoke",
                    json={"server": name, "tool": tool, "arguments": arguments},
                    headers={"authorization": f"Bearer {stage.token}"} | canary_headers,
                )
        for token in (stage.token + "x", CANARIES[0], "mk_test_" + CANARIES[0]):
            httpx.post(f"{stage.base}/mcp/ok", content=b"{}", headers=stage.headers(token))
        httpx.post(f"{stage.base}/mcp/ok", content=CANARIES[0].encode(), headers=stage.headers())
    formatter = JSONFormatter()
    ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore", "mcp.", "asyncio"))]
    lines = [formatter.format(record) for record in ours]
    assert lines
    for line in lines:
        assert "\n" not in line
        assert "\x1b" not in line
        json.loads(line)
        for canary in (CANARIES[0], CANARIES[1], stage.token):
            assert canary not in line
