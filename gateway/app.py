"""The data plane as an ASGI application: mounted beside Django, or run alone.

`POST /mcp/{server}` or `/{server}/mcp` for one server in both protocol eras, `POST /mcp` for all servers of a key as one,
`POST /v1/invoke` for a plain call with its usage in the answer.
Build it with a config and a Loader, call `startup` in the loop that serves it and `shutdown` before that loop ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from calls.journal import Journal
from calls.record import CallRecord
from calls.writer import CallWriter
from core import clock, compiled, failpoints
from gateway import answers, cors, drain, metrics, paths
from gateway.admission.admission import Admission
from gateway.aggregate.listings import Listings
from gateway.aggregate.peer import Aggregate
from gateway.aggregate.subcalls import SubCalls
from gateway.audience import Audiences
from gateway.bus import Bus
from gateway.circumstances import SessionUses
from gateway.config import GatewayConfig, Record
from gateway.context import CallContext
from gateway.exchange import TokenExchange
from gateway.feed import Feed
from gateway.fronts.legacy import LegacyFront
from gateway.http import CYCLE, Cycle
from gateway.invoke import Invoker
from gateway.keyring import Keyring
from gateway.mcp.errors import RefusedError
from gateway.mcp.session import SessionSeal
from gateway.metrics import Metrics
from gateway.peers.any import AnyPeer
from gateway.peers.eras import Eras
from gateway.peers.legacy import LegacyPeer
from gateway.peers.modern import ModernPeer
from gateway.pins import Pins
from gateway.pipeline import SERVER, Parts, Pipeline
from gateway.ports import Loader
from gateway.quick import Quick
from gateway.review import Review
from gateway.stages import guard
from gateway.stages.approval import Approvals
from gateway.stages.authenticate import Authenticator
from gateway.stages.flow import Flows
from gateway.stages.forward import Forwarder
from gateway.stages.intent import Intents
from gateway.stages.tasks import Tasks
from gateway.store import EntryStore
from gateway.telemetry import Telemetry
from gateway.upstream.client import Upstreams
from gateway.upstream.credentials import UpstreamCredentials
from gateway.watch import Watch

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logging.getLogger(__name__)

_TOUCH_EVERY_S = 60.0
_HOUSEKEEPING_S = 2.0
_LOADER_THREADS = 4


class Gateway:
    def __init__(self, config: GatewayConfig, loader: Loader) -> None:
        self._config, self._loader = config, loader
        if config.environment == "test":
            failpoints.arm(config.failpoint)
        self._journal = _journal_of(config.record)
        self._writer = CallWriter(
            config.database_url,
            deadline_s=config.deadlines.record,
            journal=self._journal,
            spool_after_s=config.record.spool_after_s,
            observe=self._observe,
        )
        self._metrics = Metrics(self._writer, self._gauges)
        self._telemetry: Telemetry | None = None
        self._executor = ThreadPoolExecutor(_LOADER_THREADS, thread_name_prefix="gateway-loader")
        self._touches = KeyTouches()
        self._session_uses = SessionUses()
        self._task: asyncio.Task[None] | None = None
        self._reports: set[asyncio.Future[None]] = set()
        self._started = self._draining = False
        self._host_names = config.host_names()

    def drain(self) -> None:
        """Say that this process is about to stop: probes send nobody here any more, while calls are served as before."""
        self._draining = True
        if self._started:
            self._quick.is_open = False

    def end_listeners(self) -> None:
        """End listening streams in good order; their clients connect again, elsewhere."""
        if self._started:
            self._watch.end_listeners()

    @property
    def is_ready(self) -> bool:
        """Started, entries current, and rows find a place: in Postgres, or for a while in the spool."""
        writer = self._writer
        is_recording = writer.stats.connected or (writer.is_away and writer.takes(is_risky=False))
        return self._started and not self._draining and self._feed.is_current() and is_recording

    def readiness(self) -> dict[str, Any]:
        """What a probe is told."""
        writer = self._writer
        return {
            "ready": self.is_ready,
            "entries": "current" if self._started and self._feed.is_current() else "stale",
            "database": "ok" if writer.stats.connected else "unreachable",
            "spool_bytes": writer.spool_bytes,
            "spool_age_s": round(writer.spool_age_s, 1),
            "paid_calls": self._started and writer.takes(is_risky=True),
            "compiled": compiled.is_installed(),
        }

    async def startup(self) -> None:
        config = self._config
        deadlines = config.deadlines
        self._watch = Watch(keep_alive_s=deadlines.keep_alive, slow_reader_s=deadlines.slow_reader)
        self._watch.start()
        self._store = EntryStore(self._loader, self._executor, config.limits.negative_entries)
        self._keyring = Keyring(self._loader, self._store)
        self._feed = Feed(
            self._store,
            self._loader,
            config.redis_url,
            key=config.session_key,
            poll_interval_s=config.poll_interval_s,
            stale_after_s=config.stale_after_s,
            pushed_for_s=config.record.spool_age_s,
            signing_changed=self._keyring.refresh,
        )
        credentials = UpstreamCredentials(config, self._keyring, self._loader, self._store)
        self._upstreams = Upstreams(config, credentials)
        self._bus = Bus(config.redis_url, config.session_key)
        seal = SessionSeal(config.session_key)
        audiences = self._audiences = Audiences(config.public_url, config.paths)
        authenticator = Authenticator(
            self._store,
            config.pepper,
            find_key=self._keyring.public,
            audiences=audiences,
            issuer=config.public_url,
            trusted_proxies=config.trusted_proxies,
            uses=self._session_uses,
        )
        self._admission = Admission(
            config.admission,
            config.redis_url,
            spent=functools.partial(self._store.call, self._loader.spent),
            tell=functools.partial(self._store.call, self._loader.tell_limit),
        )
        self._admission.more = self._own_state
        self._peers = self._open_peers()
        legacy = LegacyFront(config, self._bus, self._writer, seal)
        forwarder = Forwarder(config, self._upstreams, self._writer, seal, self._peers, legacy)
        pins, tasks = Pins(self._store.apply_server, self._report), Tasks(config.session_key)
        review = Review(self._store, self._feed, authenticator)
        parts = Parts(
            store=self._store,
            feed=self._feed,
            authenticator=authenticator,
            admission=self._admission,
            forwarder=forwarder,
            writer=self._writer,
            intents=Intents(self._writer, self._journal, self._executor, config.record.sync),
            watch=self._watch,
            seal=seal,
            used=self._touches.note,
            pins=pins,
            review=review,
            tasks=tasks,
            approvals=Approvals(self._store, self._loader, config.public_url),
            flows=Flows(self._store, self._loader),
        )
        self._pipeline = Pipeline(config, parts)
        self._quick = Quick(config, parts, self._pipeline)
        opened = SubCalls(self._watch, forwarder.credentials.ready, review)
        listings = Listings(self._peers, opened, pins)
        admit = self._admission.admit_message
        self._pipeline.mount(Aggregate(self._store, listings, self._peers, opened, admit, tasks))
        self._invoker = Invoker(config, self._pipeline, self._peers, self._watch, self._writer)
        await self._keyring.load()
        self._exchange = TokenExchange(config, self._pipeline, self._watch, lambda: self._keyring.signer)
        self._open_journal()
        if config.otlp_endpoint:
            self._telemetry = Telemetry(config.otlp_endpoint)
        await self._writer.start()
        self._feed.start()
        self._bus.start()
        await self._admission.start()
        self._task = asyncio.create_task(self._keep_house())
        drain.on_sigterm(self.drain, self.end_listeners, config.drain_s)
        self._started = True

    def _own_state(self) -> dict[str, Any]:
        """What a person should know of this process beside its servers."""
        writer = self._writer
        return {
            "pid": os.getpid(),
            "streams": sum(item.is_streaming for item in self._watch.items),
            "entries": {"current": self._feed.is_current(), "pushed": self._feed.is_pushed},
            "record": {
                "connected": writer.stats.connected,
                "rows": writer.stats.rows,
                "spool_bytes": writer.spool_bytes,
                "spool_age_s": round(writer.spool_age_s, 1),
            },
        }

    def _open_peers(self) -> AnyPeer:
        """Servers of every era, as this side speaks to them."""
        modern = ModernPeer(self._config, self._upstreams)
        eras = Eras(self._config, modern)
        return AnyPeer(eras, modern, LegacyPeer(self._config, self._upstreams, eras, self._bus))

    async def shutdown(self) -> None:
        """Commit what waits, note last uses, close connections."""
        if not self._started:
            return
        self._started = False
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._bus.stop()
        await self._feed.stop()
        await self._admission.stop()
        await self._keyring.stop()
        await self._writer.stop()
        if self._journal is not None:
            self._journal.close()
        if self._telemetry is not None:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._telemetry.close)
        with contextlib.suppress(Exception):
            await self._touch(everything=True)
        self._watch.stop()
        await self._peers.legacy.close()
        await self._upstreams.close()
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def show_metrics(self, scope: MutableMapping[str, Any], send: Send) -> None:
        """This process in Prometheus' words. To whom that is not shown, there is nothing."""
        is_open = self._config.environment != "production"
        if scope["method"] == "GET" and metrics.may_read(scope, self._config.metrics_token, open_to_loopback=is_open):
            await answers.send_text(send, 200, self._metrics.text(), metrics.CONTENT_TYPE)
        else:
            await answers.send_text(send, 404, b"", b"text/plain")

    def _observe(self, record: CallRecord) -> None:
        self._metrics.counts.note(record)
        if self._telemetry is not None:
            self._telemetry.note(record)

    def _gauges(self) -> dict[str, tuple[str, dict[str, float]]]:
        if not self._started:
            return {}
        slots = self._journal.slots if self._journal is not None else None
        return {
            "inflight_requests": ("Requests under way.", {"": float(len(self._watch.items))}),
            "quick_calls": ("Calls that were begun without a task.", {"": float(self._quick.taken)}),
            "intents": ("Calls under way whose intent is kept.", {"": float(slots.in_use if slots is not None else 0)}),
            "entries_current": ("Whether decisions may be taken.", {"": float(self._feed.is_current())}),
            "breakers": ("Addresses of servers by the state of their breaker.", self._admission.breakers()),
            "open_streams": ("Streams without a natural end.", {"": float(self._admission.streams())}),
        }

    def _open_journal(self) -> None:
        """Tried again while the gateway runs: a disk that is full at the start need not stay so."""
        if self._journal is not None and not self._journal.is_open:
            try:
                self._journal.open()
            except OSError as exc:
                log.error("no call is let in, its intent would have no place: %s", exc.strerror)

    @property
    def at_once(self) -> Callable[[Cycle], bool] | None:
        """What takes a call without a task, once there is one."""
        return self._quick.take if self._started else None

    def direct(self, scope: MutableMapping[str, Any]) -> Callable[..., Awaitable[None]] | None:
        """What takes a call without anything in between; None for every other request."""
        if self._draining or scope["method"] != "POST":
            return None
        server = self._config.paths.server_of(scope["path"])
        if server is None:
            return None
        scope[SERVER] = server
        return self._pipeline.handle_call

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if self._draining:
            scope.pop(CYCLE, None)
            send = drain.closing(send)
        path = scope["path"]
        if scope["method"] == "OPTIONS" and self._config.paths.is_ours(path):
            await self._preflight(scope, send)
        elif path == paths.INVOKE:
            await self._invoker.handle(scope, receive, send)
        elif path == paths.EXCHANGE:
            await self._exchange.handle(scope, receive, send)
        elif scope["method"] == "GET" and (document := self._audiences.metadata(path)) is not None:
            await answers.send_document(send, orjson.dumps(document))
        elif (server := self._config.paths.server_of(path)) is not None:
            await self._pipeline.handle_mcp(scope, receive, send, server)
        else:
            refusal = RefusedError("gateway.not_found")
            await answers.send_refusal(CallContext("", "mcp", self._watch.request()), send, refusal, refusal.status)

    async def _preflight(self, scope: MutableMapping[str, Any], send: Send) -> None:
        """What a browser asks before a page of another origin may call."""
        call = CallContext("", "mcp", self._watch.request())
        try:
            headers = guard.check(scope, self._config.limits, self._host_names)
            if b"origin" not in headers or b"access-control-request-method" not in headers:
                raise RefusedError("gateway.method_not_allowed")
        except RefusedError as refusal:
            await answers.send_refusal(call, send, refusal, refusal.status)
            return
        asked = headers.get(b"access-control-request-headers", b"")
        await answers.send_preflight(send, cors.preflight(headers[b"origin"], asked))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.startup()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.shutdown()
                await send({"type": "lifespan.shutdown.complete"})
                return

    def _report(self, server_id: UUID, tools: dict[str, dict[str, Any]]) -> None:
        """Tell the control plane what a server was seen to define; the next list tells it again when this is lost."""
        task = asyncio.ensure_future(self._store.call(self._loader.report_definitions, server_id, tools))
        self._reports.add(task)
        task.add_done_callback(self._reported)

    def _reported(self, task: asyncio.Future[None]) -> None:
        self._reports.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("changed definitions not reported: %s", type(error).__name__)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            self._open_journal()
            try:
                self._keyring.tick()
                self._upstreams.reap()
                self._admission.reap()
                self._peers.legacy.reap()
                await self._touch()
            except Exception as exc:  # noqa: BLE001 - last-used times are a convenience; calls go on without
                log.warning("last use of keys not noted: %s", type(exc).__name__)

    async def _touch(self, *, everything: bool = False) -> None:
        if due := self._touches.due(everything=everything):
            await self._store.call(self._loader.touch_keys, due)
        if used := self._session_uses.due(everything=everything):
            await self._store.call(self._loader.touch_sessions, used)


def _journal_of(record: Record) -> Journal | None:
    if record.folder is None:
        return None
    return Journal(record.folder, limit_bytes=record.spool_bytes, limit_age_s=record.spool_age_s)


class KeyTouches:
    """When keys were last used, told to the control plane at most once a minute per key."""

    def __init__(self) -> None:
        self._used: dict[UUID, datetime] = {}
        self._told: dict[UUID, datetime] = {}

    def note(self, call: CallContext) -> None:
        if call.caller is not None:
            self._used[call.caller.key.api_key_id] = call.occurred_at

    def due(self, *, everything: bool = False) -> dict[UUID, datetime]:
        """What is to be told at this moment; it counts as told."""
        now = clock.now()
        recent = {key for key, at in self._told.items() if (now - at).total_seconds() < _TOUCH_EVERY_S}
        due = {key: at for key, at in self._used.items() if everything or key not in recent}
        self._told = {key: at for key, at in self._told.items() if key in recent} | dict.fromkeys(due, now)
        for key in due:
            del self._used[key]
        return due
