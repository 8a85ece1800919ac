"""From Django's settings to the plain values that the data plane is built with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.urls import get_resolver

from core.egress import AllowList, parse_allow_list
from gateway.config import AdmissionConfig, Deadlines, GatewayConfig, Limits, Record
from gateway.paths import Paths


def build_config() -> GatewayConfig:
    return GatewayConfig(
        database_url=_database_url(),
        redis_url=settings.REDIS_URL,
        pepper=settings.KEY_PEPPER,
        session_key=settings.SESSION_SEAL_KEY,
        trusted_proxies=settings.TRUSTED_PROXIES,
        vault_keys=tuple(settings.VAULT_KEYS),
        public_url=settings.PUBLIC_URL,
        environment=settings.ENVIRONMENT,
        egress_allow=egress_allow(),
        allowed_hosts=frozenset(settings.ALLOWED_HOSTS),
        allowed_origins=frozenset(settings.GATEWAY_ALLOWED_ORIGINS),
        paths=gateway_paths(),
        drain_s=settings.DRAIN_S,
        limits=Limits(
            request_bytes=settings.GATEWAY_REQUEST_BYTES_MAX,
            reply_bytes=settings.GATEWAY_RESPONSE_BYTES_MAX,
            connections_per_server=settings.CONNECTIONS_PER_SERVER,
        ),
        admission=AdmissionConfig(
            streams_per_tenant=settings.STREAMS_PER_ORGANISATION, streams_per_key=settings.STREAMS_PER_KEY
        ),
        metrics_token=settings.METRICS_TOKEN,
        otlp_endpoint=settings.OTLP_ENDPOINT,
        failpoint=settings.FAILPOINT,
        record=Record(
            folder=settings.RECORD_DIR,
            spool_bytes=settings.SPOOL_MB * 1024 * 1024,
            spool_age_s=settings.SPOOL_MINUTES * 60.0,
            sync=settings.INTENT_SYNC,
        ),
        deadlines=Deadlines(first_byte=settings.GATEWAY_FIRST_BYTE_S, total=settings.GATEWAY_TOTAL_S),
    )


def egress_allow() -> AllowList:
    return parse_allow_list(settings.EGRESS_ALLOW)


def gateway_paths() -> Paths:
    """The gateway's paths beside ours: no server's name hides a page, in whichever process it is served."""
    static = settings.STATIC_URL.strip("/").partition("/")[0]
    return Paths(taken=frozenset({static, *_first_segments(get_resolver().url_patterns)}))


def _first_segments(patterns: Iterable[Any]) -> Iterator[str]:
    for pattern in patterns:
        first = str(pattern.pattern).partition("/")[0]
        if first:
            yield first
        else:
            yield from _first_segments(getattr(pattern, "url_patterns", ()))


def _database_url() -> str:
    """The connection of Django, whatever it was changed to since the start, such as a test database."""
    database = {name: str(value) for name, value in settings.DATABASES["default"].items()}
    user, password = quote(database["USER"], safe=""), quote(database["PASSWORD"], safe="")
    port = f":{database['PORT']}" if database["PORT"] else ""
    return f"postgresql://{user}:{password}@{database['HOST']}{port}/{quote(database['NAME'], safe='')}"
