"""What this process counts, for Prometheus: plain numbers on the path of a call, put into words when somebody asks.

Labels are bounded: methods that the protocol does not know are "other", and nothing carries a name that a caller or an
organisation chose. Each process tells of itself; scrape every process at its own address.
"""

from __future__ import annotations

import hmac
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from operator import add
from typing import Any

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from access.engine import METHOD_RULES
from calls.record import CallRecord
from calls.writer import CallWriter

BUCKETS_MS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000)
_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_FORWARDED = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip"})


class Tally:
    """Requests that are alike in every label."""

    __slots__ = ("buckets", "milliseconds", "requests")

    def __init__(self) -> None:
        self.requests, self.milliseconds = 0, 0.0
        self.buckets = [0] * (len(BUCKETS_MS) + 1)


class Counts:
    """One note per recorded request. `tallies` are by interface, method, outcome, whether it was allowed, and the reason."""

    __slots__ = ("received", "sent", "tallies")

    def __init__(self) -> None:
        self.tallies: dict[tuple[str, str, str, bool, str], Tally] = {}
        self.received = self.sent = 0

    def note(self, record: CallRecord) -> None:
        method = record.method
        labels = (record.interface, method, record.outcome, record.allowed, record.reason)
        tally = self.tallies.get(labels)
        if tally is None:
            tally = self._begin(labels)
        latency = record.latency_ms
        tally.requests += 1
        tally.milliseconds += latency
        tally.buckets[bisect_left(BUCKETS_MS, latency)] += 1
        self.received += record.request_bytes
        self.sent += record.response_bytes

    def _begin(self, labels: tuple[str, str, str, bool, str]) -> Tally:
        if labels[1] not in METHOD_RULES:
            labels = (labels[0], "other", *labels[2:])
        return self.tallies.setdefault(labels, Tally())

    def by(self, *places: int) -> dict[tuple[Any, ...], Tally]:
        """Summed over all labels but those at these places."""
        sums: dict[tuple[Any, ...], Tally] = defaultdict(Tally)
        for labels, tally in self.tallies.items():
            total = sums[tuple(labels[place] for place in places)]
            total.requests += tally.requests
            total.milliseconds += tally.milliseconds
            total.buckets = list(map(add, total.buckets, tally.buckets))
        return sums


class Metrics(Collector):
    """`gauges` are asked at each scrape: names without prefix, with their help and values by label."""

    def __init__(self, writer: CallWriter, gauges: Callable[[], Mapping[str, tuple[str, Mapping[str, float]]]]) -> None:
        self.counts = Counts()
        self._writer, self._gauges = writer, gauges
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        yield from self._of_calls()
        yield from self._of_the_writer()
        for name, (help_text, values) in self._gauges().items():
            gauge = GaugeMetricFamily(f"mcp_gateway_{name}", help_text, labels=["state"] if "" not in values else [])
            for label, value in values.items():
                gauge.add_metric([label] if label else [], value)
            yield gauge

    def _of_calls(self) -> Iterator[Metric]:
        counts = self.counts
        requests = CounterMetricFamily(
            "mcp_gateway_requests", "Recorded requests.", labels=["interface", "method", "outcome"]
        )
        for labels, tally in counts.by(0, 1, 2).items():
            requests.add_metric([str(label) for label in labels], tally.requests)
        yield requests
        decisions = CounterMetricFamily("mcp_gateway_policy_decisions", "Decisions.", labels=["decision", "reason"])
        for (allowed, reason), tally in counts.by(3, 4).items():
            decisions.add_metric(["allow" if allowed else "deny", str(reason)], tally.requests)
        yield decisions
        durations = HistogramMetricFamily(
            "mcp_gateway_request_duration_seconds", "From the first byte of a request to its row.", labels=["method"]
        )
        for (method,), tally in counts.by(1).items():
            durations.add_metric([method], _cumulated(tally.buckets), tally.milliseconds / 1000)
        yield durations
        yield CounterMetricFamily("mcp_gateway_request_bytes", "Bytes of requests.", value=counts.received)
        yield CounterMetricFamily("mcp_gateway_response_bytes", "Bytes of answers.", value=counts.sent)

    def _of_the_writer(self) -> Iterator[Metric]:
        stats = self._writer.stats
        for name, help_text, value in (
            ("call_rows", "Rows committed.", stats.rows),
            ("call_commits", "Transactions that committed rows.", stats.commits),
            ("call_writer_failures", "Connections and commits that failed.", stats.failures),
            ("spooled_rows", "Rows that went to the spool.", stats.spooled),
            ("drained_rows", "Rows of the spool that were inserted.", stats.drained),
            ("adopted_rows", "Rows taken over from processes that ended.", stats.adopted),
            ("refused_rows", "Rows that the database will not take.", stats.refused),
        ):
            yield CounterMetricFamily(f"mcp_gateway_{name}", help_text, value=value)
        yield GaugeMetricFamily(
            "mcp_gateway_database_connected", "Rows can be committed.", value=float(stats.connected)
        )
        yield GaugeMetricFamily("mcp_gateway_spool_bytes", "Bytes in the spool.", value=self._writer.spool_bytes)
        yield GaugeMetricFamily(
            "mcp_gateway_spool_age_seconds", "Age of the oldest row in the spool.", value=self._writer.spool_age_s
        )


def may_read(scope: Mapping[str, Any], token: str, *, open_to_loopback: bool) -> bool:
    """Who may see the numbers: whoever has the token; without one, in development, this machine."""
    headers = dict(scope["headers"])
    if token:
        given = headers.get(b"authorization", b"")
        return hmac.compare_digest(given, b"Bearer " + token.encode())
    client = scope.get("client")
    is_near = client is not None and client[0] in _LOOPBACK and _FORWARDED.isdisjoint(headers)
    return open_to_loopback and is_near


CONTENT_TYPE = CONTENT_TYPE_LATEST.encode()


def _cumulated(buckets: list[int]) -> list[tuple[str, float]]:
    found, total = [], 0
    for limit, number in zip((*BUCKETS_MS, None), buckets, strict=True):
        total += number
        found.append(("+Inf" if limit is None else repr(limit / 1000), float(total)))
    return found
