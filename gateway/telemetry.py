"""Spans for OpenTelemetry, made from rows after the fact: a call pays for a note in a queue, and for nothing when this is off.

Two spans per call, ours and the request to the server, sent over OTLP by a thread of its own. Open on failure: what cannot be
sent, or does not fit the queue, is dropped and counted. A span carries names and outcomes, never arguments, results or
credentials.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Any

from calls.record import CallRecord, Outcome

log = logging.getLogger(__name__)

_MAX_WAITING = 4096
_EVERY_S = 1.0
_BATCH = 512
_FAILED = frozenset({Outcome.UPSTREAM_ERROR, Outcome.TIMEOUT, Outcome.UNKNOWN})


class Telemetry:
    """Raises ImportError where the extra `telemetry` is not installed."""

    def __init__(self, endpoint: str, service: str = "mcp-marketplace-gateway") -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415

        self._exporter = OTLPSpanExporter(endpoint=endpoint, timeout=5)
        self._resource = Resource.create({"service.name": service})
        self._waiting: deque[CallRecord] = deque()
        self._stop = threading.Event()
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    def note(self, record: CallRecord) -> None:
        if len(self._waiting) < _MAX_WAITING:
            self._waiting.append(record)
        else:
            self.dropped += 1

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        self._exporter.shutdown()

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self._send()
        self._send()

    def _send(self) -> None:
        while self._waiting:
            count = min(len(self._waiting), _BATCH)
            records = [self._waiting.popleft() for _ in range(count)]
            try:
                self._exporter.export([span for record in records for span in spans_of(record, self._resource)])
            except Exception as exc:  # noqa: BLE001 - whatever the collector does, calls go on
                self.dropped += count
                log.warning("spans not sent: %s", type(exc).__name__)
                return


def spans_of(record: CallRecord, resource: Any) -> list[Any]:
    """The span of a call, and of its request to the server when there was one."""
    from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415 - only where the extra is installed
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags  # noqa: PLC0415

    def context(span_id: str) -> Any:
        return SpanContext(int(record.trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(1))

    began = int(record.occurred_at.timestamp() * 1e9)
    ended = began + int(record.latency_ms * 1e6)
    theirs = record.call_id.hex[16:]  # as `gateway.tracing` tells the server
    ours = f"{int(theirs, 16) ^ 1:016x}"
    status = Status(StatusCode.ERROR, record.outcome) if record.outcome in _FAILED else Status(StatusCode.UNSET)
    name = f"{record.method} {record.tool}".strip()
    server = ReadableSpan(
        name,
        context=context(ours),
        parent=context(record.parent_span) if record.parent_span else None,
        resource=resource,
        attributes=_attributes(record),
        kind=SpanKind.SERVER,
        status=status,
        start_time=began,
        end_time=ended,
    )
    if not record.attempts:
        return [server]
    client = ReadableSpan(
        name,
        context=context(theirs),
        parent=context(ours),
        resource=resource,
        attributes={"server.address": record.server_name, "mcp.protocol.version": record.upstream_protocol},
        kind=SpanKind.CLIENT,
        status=status,
        start_time=max(began, ended - int(record.upstream_ms * 1e6)),
        end_time=ended,
    )
    return [server, client]


def _attributes(record: CallRecord) -> dict[str, str | int | bool]:
    return {
        "rpc.system": "jsonrpc",
        "mcp.method.name": record.method,
        "gen_ai.tool.name": record.tool,
        "mcp.protocol.version": record.protocol,
        "http.response.status_code": record.http_status,
        "marketplace.call_id": str(record.call_id),
        "marketplace.server": record.server_name,
        "marketplace.outcome": str(record.outcome),
        "marketplace.allowed": record.allowed,
        "marketplace.reason": str(record.reason),
    }
