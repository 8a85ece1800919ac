"""A gateway under test: entries in memory in place of Django, served by uvicorn in a thread or in a process of its own.

The loader is a port, so holding its answers in a dict is a second implementation, not a mock. Everything else is real: HTTP,
Postgres, Valkey, the upstream servers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import uvicorn

from access.approvals.types import CallAnswer, CallAsk
from access.limits import LimitKind, LimitRule, Window, to_units
from access.types import GrantRule, PolicyMode, ServerPolicy, SessionRule, SideEffect, ToolRule, Trust
from calls.record import COLUMNS
from calls.sql import CREATE_PERIODS, FIRST_PERIODS, GRANT_PERIODS
from core import clock, ids, keys, signing
from gateway import codec
from gateway.admission import shared
from gateway.admission.budgets import Subject
from gateway.app import Gateway
from gateway.config import Deadlines, GatewayConfig, Limits, Record
from gateway.entries import (
    KeyEntry,
    Price,
    ServerEntry,
    SigningEntry,
    TenantEntry,
)

ROOT = Path(__file__).resolve().parents[2]
# How the product's processes speak HTTP.
HTTP = "gateway.http:Protocol"
PEPPER = b"p" * 32
SESSION_KEY = b"s" * 32
VAULT_KEY = b"v" * 32


@dataclass
class MemoryApproval:
    """What a person was asked, and what they said: waiting | approved | rejected | used."""

    approval_id: UUID
    ask: CallAsk
    state: str = "waiting"
    comment: str = ""
    round: str = ""


class MemoryLoader:
    """The loader port on dicts. `fail` makes every question raise, as an absent database would."""

    def __init__(self) -> None:
        self.tenants: dict[UUID, TenantEntry] = {}
        self.servers: dict[UUID, ServerEntry] = {}
        self.touched: dict[UUID, datetime] = {}
        self.session_uses: dict[UUID, datetime] = {}
        self.questions: list[str] = []
        self.reported: list[tuple[UUID, dict[str, dict[str, Any]]]] = []
        self.fail = False
        self.sums: dict[str, int] = {}  # what each limit has used, as the rows of calls would say
        self.rows_at = ""  # the database whose rows say it instead; all of a tenant count
        self.told: list[tuple[str, int]] = []
        self.rejected: list[UUID] = []
        self.approvals: dict[str, MemoryApproval] = {}  # by what they are bound to, the last one of each
        self._claiming = threading.Lock()
        kid, private, public = signing.mint()
        self.signing_entry = SigningEntry(kid, private, {kid: public})

    def _ask(self, question: str) -> None:
        self.questions.append(question)
        if self.fail:
            raise ConnectionError("the database is away")

    def tenants_of_keys(self, key_ids: Any) -> dict[str, UUID]:
        self._ask(f"keys {' '.join(key_ids)}")
        return {key: entry.tenant_id for entry in self.tenants.values() for key in key_ids if key in entry.keys}

    def tenant(self, tenant_id: UUID) -> TenantEntry | None:
        self._ask("tenant")
        return self.tenants.get(tenant_id)

    def servers_by_slug(self, slug: str) -> list[ServerEntry]:
        self._ask(f"slug {slug}")
        return [server for server in self.servers.values() if server.slug == slug]

    def server(self, server_id: UUID) -> ServerEntry | None:
        self._ask("server")
        return self.servers.get(server_id)

    def servers_by_id(self, server_ids: Any) -> list[ServerEntry]:
        self._ask("servers")
        names = {self.servers[each].slug for each in server_ids if each in self.servers}
        return [server for server in self.servers.values() if server.slug in names]

    def revisions(self, tenant_ids: Any, server_ids: Any) -> tuple[dict[UUID, int], dict[UUID, int]]:
        self._ask("revisions")
        tenants = {key: self.tenants[key].revision for key in tenant_ids if key in self.tenants}
        return tenants, {key: self.servers[key].revision for key in server_ids if key in self.servers}

    def spent(self, subject: Subject, rule: LimitRule, window: Window) -> int:
        self._ask(f"spent {rule.limit_id}")
        if self.rows_at:
            billed = [row["price"] for row in rows_of(self.rows_at, subject.schema_name) if row["billable"]]
            return len(billed) if rule.kind is LimitKind.QUOTA else sum(map(to_units, billed))
        return self.sums.get(rule.limit_id, 0)

    def tell_limit(self, subject: Subject, rule: LimitRule, percent: int, used: int) -> None:
        self.told.append((rule.limit_id, percent))

    def touch_keys(self, used: dict[UUID, datetime]) -> None:
        self._ask("touch")
        self.touched.update(used)

    def touch_sessions(self, used: dict[UUID, dict[UUID, datetime]]) -> None:
        self._ask("touch sessions")
        for moments in used.values():
            self.session_uses |= moments

    def last_use(self, tenant_id: UUID, session_id: UUID) -> datetime | None:
        self._ask("last use")
        return self.session_uses.get(session_id)

    def report_definitions(self, server_id: UUID, tools: dict[str, dict[str, Any]]) -> None:
        self._ask("report")
        self.reported.append((server_id, tools))

    def signing(self) -> SigningEntry:
        self._ask("signing")
        return self.signing_entry

    def credential_rejected(self, tenant_id: UUID, credential_id: UUID) -> None:
        self._ask("rejected")
        self.rejected.append(credential_id)

    def renew_credential(self, tenant_id: UUID, credential_id: UUID) -> None:
        self._ask("renew")

    def claim_call(self, ask: CallAsk) -> CallAnswer:
        """As `access.approvals.asking` has it: used once, asked for when nobody asked, refused when a person did so."""
        self._ask("claim")
        with self._claiming:
            held = self.approvals.get(ask.binding())
            if ask.round:
                is_next = held is not None and held.state == "used" and held.round == ask.round
                if held is None or not is_next:
                    return CallAnswer("none")
                held.round = ""
                return CallAnswer("used", held.approval_id)
            if held is None or held.state == "used":
                held = self.approvals[ask.binding()] = MemoryApproval(uuid4(), ask)
            elif held.state == "approved":
                held.state = "used"
                return CallAnswer("used", held.approval_id)
            return CallAnswer(held.state, held.approval_id, "", held.comment)

    def open_round(self, ask: CallAsk) -> None:
        held = self.approvals.get(ask.binding())
        if held is not None and held.state == "used":
            held.round = ask.round

    def call_state(self, ask: CallAsk) -> str:
        self._ask("call state")
        held = self.approvals.get(ask.binding())
        return held.state if held is not None else ""

    def dump(self) -> str:
        return json.dumps(
            {
                "tenants": [codec.to_json(entry) for entry in self.tenants.values()],
                "servers": [codec.to_json(entry) for entry in self.servers.values()],
            }
        )

    @classmethod
    def load(cls, text: str) -> MemoryLoader:
        loader, data = cls(), json.loads(text)
        loader.tenants = {
            each.tenant_id: each for each in (codec.from_json(TenantEntry, item) for item in data["tenants"])
        }
        loader.servers = {
            each.server_id: each for each in (codec.from_json(ServerEntry, item) for item in data["servers"])
        }
        return loader


@dataclass
class World:
    """acme with a key and grants, globex with a key, initech as the owner of public servers."""

    loader: MemoryLoader = field(default_factory=MemoryLoader)
    schemas: list[str] = field(default_factory=list)

    def tenant(self, slug: str, **changes: Any) -> TenantEntry:
        schema = f"t_gw{uuid4().hex[:20]}"
        self.schemas.append(schema)
        entry = TenantEntry(uuid4(), schema, slug, 1, suspended=False, keys={}, grants={})
        entry = replace(entry, **changes)
        self.loader.tenants[entry.tenant_id] = entry
        return entry

    def key(self, tenant: TenantEntry, **changes: Any) -> tuple[str, KeyEntry]:
        """A key of a tenant: its text and its entry."""
        text = keys.mint("test")
        entry = KeyEntry(
            key_id=text.key_id,
            api_key_id=uuid4(),
            secret_digest=keys.digest(text.secret, PEPPER),
            scopes=frozenset({"invoke"}),
            server_ids=frozenset(),
            user_id=uuid4(),
            agent="tester",
            team_id=None,
            expires_at=None,
        )
        entry = replace(entry, **changes)
        self.change(tenant.tenant_id, keys={**self.loader.tenants[tenant.tenant_id].keys, entry.key_id: entry})
        return str(text), entry

    def server(self, slug: str, url: str, owner: TenantEntry, **changes: Any) -> ServerEntry:
        server_id = uuid4()
        tools = {
            "echo": ToolRule("echo", Trust.LOW, SideEffect.READ),
            "add": ToolRule("add", Trust.LOW, SideEffect.READ),
            "slow": ToolRule("slow", Trust.LOW, SideEffect.READ),
            "fail": ToolRule("fail", Trust.LOW, SideEffect.READ),
            "erase": ToolRule("erase", Trust.HIGH, SideEffect.DESTRUCTIVE),
        }
        entry = ServerEntry(
            server_id=server_id,
            slug=slug,
            revision=1,
            owner_tenant_id=owner.tenant_id,
            owner_team_id=None,
            provider_id=uuid4(),
            visibility="public",
            callable=True,
            version_id=uuid4(),
            url=url,
            policy=ServerPolicy(server_id, PolicyMode.ALLOW_LIST, Trust.LOW, tools),
            price=Price(uuid4(), Decimal("0.02"), "USD"),
            tool_prices={},
            protocol="2026-07-28",
        )
        entry = replace(entry, **changes)
        self.loader.servers[server_id] = entry
        return entry

    def grant(self, tenant: TenantEntry, server: ServerEntry, key: KeyEntry, /, **changes: Any) -> GrantRule:
        rule = GrantRule(
            grant_id=ids.uuid7(),
            server_id=server.server_id,
            key=str(key.api_key_id),
            max_trust=Trust.HIGH,
            side_effects=frozenset({SideEffect.READ}),
        )
        rule = replace(rule, **changes)
        grants = dict(self.loader.tenants[tenant.tenant_id].grants)
        grants[server.server_id] = (*grants.get(server.server_id, ()), rule)
        self.change(tenant.tenant_id, grants=grants)
        return rule

    def session(self, tenant: TenantEntry, server: ServerEntry, name: str, **changes: Any) -> SessionRule:
        rule = SessionRule(
            ids.uuid7(), server.server_id, name, consented_trust=Trust.HIGH, issued_at=clock.now(), **changes
        )
        sessions = dict(self.loader.tenants[tenant.tenant_id].sessions)
        others = [each for each in sessions.get(server.server_id, ()) if each.name != name]
        sessions[server.server_id] = (*others, rule)
        self.change(tenant.tenant_id, sessions=sessions)
        return rule

    def change(self, tenant_id: UUID, **changes: Any) -> None:
        """Change a tenant as the control plane does: with the next revision."""
        entry = self.loader.tenants[tenant_id]
        self.loader.tenants[tenant_id] = replace(entry, revision=entry.revision + 1, **changes)

    def change_server(self, server_id: UUID, **changes: Any) -> ServerEntry:
        entry = self.loader.servers[server_id]
        self.loader.servers[server_id] = replace(entry, revision=entry.revision + 1, **changes)
        return self.loader.servers[server_id]


ROLE = "marketplace_meter"
_GRANTING = 5_110_817


def make_call_tables(database_url: str, schemas: list[str]) -> None:
    """The tables of calls alone, in schemas of their own, writable by the writer's role and by nobody's UPDATE."""
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS)
    with psycopg.connect(database_url, autocommit=True) as conn:
        # Two processes of tests must not grant to one role at the same time: "tuple concurrently updated".
        conn.execute("SELECT pg_advisory_lock(%s)", [_GRANTING])
        conn.execute(
            f"DO $$ BEGIN CREATE ROLE {ROLE} NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        )
        with contextlib.suppress(psycopg.Error):
            conn.execute(f"GRANT {ROLE} TO CURRENT_USER")
        for schema in schemas:
            conn.execute(f'CREATE SCHEMA "{schema}"')
            conn.execute(f'CREATE TABLE "{schema}".calls_call ({columns}, period_id integer, PRIMARY KEY (call_id))')
            conn.execute(
                f'SET search_path TO "{schema}"; {CREATE_PERIODS} {FIRST_PERIODS} {GRANT_PERIODS} RESET search_path'
            )
            conn.execute(f'GRANT USAGE ON SCHEMA "{schema}" TO {ROLE}')
            conn.execute(f'GRANT SELECT, INSERT ON "{schema}".calls_call TO {ROLE}')


def drop_schemas(database_url: str, schemas: list[str]) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        for schema in schemas:
            conn.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


def rows_of(database_url: str, schema: str) -> list[dict[str, Any]]:
    """Every call of a tenant, oldest first."""
    with psycopg.connect(database_url, row_factory=psycopg.rows.dict_row) as conn:
        return conn.execute(f'SELECT * FROM "{schema}".calls_call ORDER BY call_id').fetchall()


def config_for(database_url: str, redis_url: str, *ports: int, **changes: Any) -> GatewayConfig:
    config = GatewayConfig(
        database_url=database_url,
        redis_url=redis_url,
        pepper=PEPPER,
        session_key=SESSION_KEY,
        vault_keys=(VAULT_KEY,),
        environment="test",
        egress_allow=frozenset(("127.0.0.1", port) for port in ports),
        limits=Limits(),
        record=Record(spool_after_s=2.0),
        deadlines=Deadlines(first_byte=2.0, idle=2.0, total=5.0, request_body=2.0, connect=1.0),
    )
    return replace(config, **changes)


def listening_socket() -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(512)
    return sock


@contextlib.contextmanager
def serving(app: Any, sock: socket.socket | None = None) -> Iterator[int]:
    """An ASGI app on a free port, in a thread; the port. With `sock`, the app may know its address before it is built."""
    sock = sock or listening_socket()
    config = uvicorn.Config(
        app,
        http=HTTP,
        log_level="error",
        access_log=False,
        lifespan="on",
        ws="none",
        proxy_headers=False,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])), daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the server did not start")
            threading.Event().wait(0.01)
        yield sock.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)
        sock.close()


@contextlib.contextmanager
def running_gateway(config: GatewayConfig, loader: MemoryLoader) -> Iterator[str]:
    """A gateway in a thread, with a folder for what Postgres does not take; its base URL."""
    with tempfile.TemporaryDirectory(prefix="gateway-record-") as folder:
        if config.record.folder is None:
            config = replace(config, record=replace(config.record, folder=Path(folder)))
        with serving(Gateway(config, loader)) as port:
            yield f"http://127.0.0.1:{port}"


def be_patient_with_valkey(patch: Callable[..., None] = setattr) -> None:
    """On a busy machine a slow Valkey is not taken for an absent one, without which limits are looser."""
    patch(shared, "COMMAND_S", 5.0)
    patch(shared, "ROUND_MOST_S", 5.0)


def process_app() -> Gateway:
    """The app factory of a gateway in a process of its own, told by environment variables (see `test_durability`)."""
    loader = MemoryLoader.load(Path(os.environ["GATEWAY_TEST_ENTRIES"]).read_text())
    loader.rows_at = os.environ["DATABASE_URL"]
    be_patient_with_valkey()
    ports = [int(port) for port in os.environ["GATEWAY_TEST_PORTS"].split(",")]
    folder = os.environ.get("GATEWAY_TEST_RECORD")
    record = Record(folder=Path(folder) if folder else None)
    drain_s = float(os.environ.get("GATEWAY_TEST_DRAIN", "0"))
    more = {"record": record, "failpoint": os.environ.get("FAILPOINT", ""), "drain_s": drain_s}
    return Gateway(config_for(os.environ["DATABASE_URL"], os.environ["REDIS_URL"], *ports, **more), loader)


class GatewayProcess:
    """uvicorn with the test gateway on an inherited socket, so that clients never see a closed port."""

    app = "tests.support.gateways:process_app"

    def __init__(self, entries: Path, *upstream_ports: int) -> None:
        self.sock = listening_socket()
        self.base = f"http://127.0.0.1:{self.sock.getsockname()[1]}"
        self._environment = {
            **os.environ,
            "GATEWAY_TEST_ENTRIES": str(entries),
            "GATEWAY_TEST_PORTS": ",".join(map(str, upstream_ports)),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "--factory", self.app]
        options = ["--fd", str(self.sock.fileno()), "--http", HTTP, "--log-level", "error", "--no-access-log"]
        self._process = subprocess.Popen(
            [*command, *options], cwd=ROOT, env=self._environment, pass_fds=[self.sock.fileno()]
        )

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def stop(self) -> int:
        """As a deploy does it; the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        self.sock.close()
