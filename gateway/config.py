"""What the data plane is told when it is built. It reads no settings and no environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from core.egress import AllowList
from gateway.admission.breaker import BreakerConfig
from gateway.paths import Paths

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes and counts; whatever is larger is refused, never cut silently."""

    request_bytes: int = 1024 * 1024
    reply_bytes: int = 10 * 1024 * 1024
    json_depth: int = 64
    headers: int = 100
    header_bytes: int = 32 * 1024
    connections_per_server: int = 512
    negative_entries: int = 4096
    tokens_per_minute: int = 60  # of one API key, in one process


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds.

    `stream` is the greatest age of a stream that carries no call: a listening GET or a subscription. `keep_alive` is the
    silence after which a stream gets a comment, `slow_reader` the wait for a client that does not read its stream.
    """

    request_body: float = 30.0
    connect: float = 2.0
    tls: float = 3.0
    first_byte: float = 30.0
    idle: float = 60.0
    total: float = 300.0
    stream: float = 900.0
    record: float = 5.0
    keep_alive: float = 15.0
    slow_reader: float = 30.0


@dataclass(frozen=True, slots=True)
class AdmissionConfig:
    """Of one process: calls under way at once, places in line and seconds there, open streams, the breaker."""

    per_server: int = 64
    per_tenant: int = 128
    queue: int = 64
    queue_s: float = 1.0
    streams_per_tenant: int = 1000
    streams_per_key: int = 500
    breaker: BreakerConfig = field(default_factory=BreakerConfig)


@dataclass(frozen=True, slots=True)
class Record:
    """Where and how long calls are kept that Postgres does not take."""

    folder: Path | None = None  # without one nothing survives this process
    spool_after_s: float = 0.25
    spool_bytes: int = 64 * 1024 * 1024
    spool_age_s: float = 900.0
    sync: str = "writes"  # whose intents wait for the disk: writes | all | none


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    database_url: str
    redis_url: str
    pepper: bytes = field(repr=False)
    session_key: bytes = field(repr=False)
    vault_keys: tuple[bytes, ...] = field(default=(), repr=False)  # master keys of stored secrets, `core.vault`
    public_url: str = "http://localhost:8000"
    environment: str = "development"
    egress_allow: AllowList = frozenset()
    allowed_origins: frozenset[str] = (
        frozenset()
    )  # scheme://host[:port] of pages elsewhere that may call from a browser
    allowed_hosts: frozenset[str] = frozenset()  # names besides the public URL's; loopback names are always in
    paths: Paths = field(default_factory=Paths)
    limits: Limits = field(default_factory=Limits)
    deadlines: Deadlines = field(default_factory=Deadlines)
    admission: AdmissionConfig = field(default_factory=AdmissionConfig)
    record: Record = field(default_factory=Record)
    metrics_token: str = field(
        default="", repr=False
    )  # who may read /metrics; without one, in development, this machine
    otlp_endpoint: str = ""  # where spans go; nowhere when empty
    failpoint: str = ""  # obeyed in the environment `test` only: core.failpoints
    poll_interval_s: float = 1.0
    drain_s: float = 0.0  # for which a process that was told to stop still serves
    stale_after_s: float = 5.0  # without push and poll for this long, nothing is decided
    trusted_proxies: int = 0  # how many proxies of ours append to X-Forwarded-For

    def host_names(self) -> frozenset[str]:
        """Names under which the gateway answers, a rebound DNS name is none of them; and whole origins of other pages."""
        public = urlsplit(self.public_url).hostname or ""
        return _LOOPBACK_NAMES | self.allowed_hosts | self.allowed_origins | ({public} if public else frozenset())
