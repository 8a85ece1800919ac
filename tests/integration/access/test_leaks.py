"""A canary secret is stored, used, renewed and rejected; it is then looked for wherever secrets must not be."""

from __future__ import annotations

import base64
import json
import logging
import os
import threading

import pytest
import redis
from django.conf import settings as django_settings
from django.db import connection

from access.models import UpstreamCredential
from access.services import connections
from celery_app import app
from gateway.services import publish
from tenants.context import tenant_scope
from tenants.services import vault

CANARY = "canary-77d0-must-stay-sealed"
FORMS = [
    CANARY.encode(),
    CANARY.encode().hex().encode(),
    base64.b64encode(CANARY.encode()).rstrip(b"="),
    base64.b64encode(f"u:{CANARY}".encode()).rstrip(b"="),
]


def seen_in(data: bytes) -> list[bytes]:
    return [form for form in FORMS if form in data]


def everything_stored(schema: str) -> bytes:
    """Every row of the organisation and of the platform, as text, bytes as hex and as they are."""
    found = bytearray()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_schema IN (%s, 'public') AND table_type = 'BASE TABLE'",
            [schema],
        )
        for space, table in cursor.fetchall():
            cursor.execute(f'SELECT t::text FROM "{space}"."{table}" t')
            for (row,) in cursor.fetchall():
                found += row.encode()
    return bytes(found)


class Listener(threading.Thread):
    """What goes through Valkey meanwhile, word for word."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.heard, self.ready, self.done = bytearray(), threading.Event(), threading.Event()

    def run(self) -> None:
        with redis.Redis.from_url(os.environ["REDIS_URL"]).monitor() as monitor:
            self.ready.set()
            while not self.done.is_set():
                command = monitor.next_command()["command"]
                self.heard += command.encode("utf-8", "surrogateescape")
                if "the-end-of-the-test" in command:
                    return


@pytest.fixture
def valkey():
    listener = Listener()
    listener.start()
    assert listener.ready.wait(5)
    yield listener
    listener.done.set()
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.echo("the-end-of-the-test")
    listener.join(5)


def test_a_secret_is_nowhere_but_in_its_sealed_column(cast, settings, valkey, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    settings.EGRESS_ALLOW = ["127.0.0.1:9"]
    sent: list[str] = []
    monkeypatch.setattr(app, "send_task", lambda *given, **named: sent.append(repr((given, named))))
    with tenant_scope(cast.acme):
        row = connections.store(
            tenant=cast.acme, server=cast.payments, secret=connections.basic("u", CANARY), actor=cast.alice
        )
        connections.test(cast.acme, row.pk, cast.payments)
        connections.note_rejected(cast.acme, row.pk)
        kept = UpstreamCredential.objects.get(pk=row.pk)
        opened = vault.unseal(vault.place_of(kept, "secret", cast.acme), bytes(kept.secret))
    publish.publish_tenant(cast.acme.pk)
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.echo("the-end-of-the-test")
    valkey.join(5)

    assert seen_in(opened)  # the search would find it
    assert seen_in(everything_stored(cast.acme.schema_name)) == []
    assert b"credentials" in bytes(valkey.heard)
    assert seen_in(bytes(valkey.heard)) == []
    assert seen_in(caplog.text.encode()) == []
    assert seen_in("".join(sent).encode()) == []
    assert seen_in(repr((row, kept.__dict__.keys(), django_settings.VAULT_KEYS and None)).encode()) == []
    assert json.loads(opened)["name"] == "authorization"
