"""The measuring part of `scripts/bench access`: run with the environment of the product, prints one line of JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from access import engine
from access.types import (
    GrantRule,
    PolicyMode,
    Principal,
    Request,
    ServerPolicy,
    SessionRule,
    SideEffect,
    ToolRule,
    ToolTerm,
    Trust,
)

GRANTS, TOOLS, DECISIONS, REVOCATIONS = 100, 500, 2_000, 10
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SERVER = UUID(int=1)
CALLER = Principal(key_id="key", user_id="alice", agent="bot", team_ids=frozenset({"red"}))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--grants", type=int, required=True)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")
    import django  # noqa: PLC0415 - settings are read from here on

    django.setup()
    found = _decisions() | _entry(options.grants)
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


def _decisions() -> dict[str, float]:
    """Processor time, so that other programs of the machine do not count."""
    tools = {f"t{place}": ToolRule(f"t{place}", Trust.LOW, SideEffect.READ) for place in range(TOOLS)}
    policy = ServerPolicy(SERVER, PolicyMode.ALLOW_LIST, Trust.LOW, tools)
    rules = {name: ToolTerm() for name in tools}
    session = (SessionRule(uuid4(), SERVER, "s", user="alice", consented_trust=Trust.HIGH, issued_at=NOW),)
    cases: dict[str, tuple[list[GrantRule], str]] = {
        "one grant of 100 is the caller's": (
            [_grant(0, user="alice"), *(_grant(n, user=f"u{n}") for n in range(1, GRANTS))],
            "",
        ),
        "all 100 are the caller's": ([_grant(n, user="alice") for n in range(GRANTS)], ""),
        "all 100 with a rule for each tool": ([_grant(n, user="alice", tool_rules=rules) for n in range(GRANTS)], ""),
        "all 100, in a session": ([_grant(n, user="alice") for n in range(GRANTS)], "s"),
    }
    return {
        f"decision, us: {name}": _time(
            lambda grants=grants, named=named: engine.decide(  # type: ignore[misc]
                policy, grants, session, CALLER, Request("tools/call", "t250", named), NOW
            )
        )
        for name, (grants, named) in cases.items()
    }


def _grant(number: int, **changes: Any) -> GrantRule:
    effects = frozenset({SideEffect.READ})
    return GrantRule(UUID(int=number + 10), SERVER, Trust.MEDIUM, effects, f"g{number:03}", "bench", **changes)


def _time(ask: Callable[[], object]) -> float:
    """Microseconds of one; the best of five rounds."""
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        for _ in range(DECISIONS):
            ask()
        best = min(best, (time.process_time() - began) / DECISIONS)
    return best * 1e6


def _entry(count: int) -> dict[str, float]:
    """The entry of an organisation with many grants: from rows, onto the wire, off it again; and a revocation all the way."""
    import orjson  # noqa: PLC0415 - models exist only after setup
    import redis  # noqa: PLC0415
    from django.conf import settings  # noqa: PLC0415

    from access.models import Grant  # noqa: PLC0415
    from access.services import grants  # noqa: PLC0415
    from gateway import codec, pushed  # noqa: PLC0415
    from gateway.entries import TenantEntry  # noqa: PLC0415
    from gateway.services import entries, publish  # noqa: PLC0415
    from tenants.context import tenant_scope  # noqa: PLC0415

    tenant, server = _organisation()
    with tenant_scope(tenant):
        Grant.objects.bulk_create(
            [
                Grant(
                    server=server, name=f"g{number}", namespace="bench", subject_agent=f"a{number % 500}", max_trust="medium",
                    side_effects=["read"],
                )
                for number in range(count)
            ],
            batch_size=1_000,
        )  # fmt: skip
    found: dict[str, float] = {}
    entry = _clocked(found, f"compile {count:,} grants, ms", lambda: entries.tenant_entry(tenant.pk))
    body = _clocked(found, "as JSON, ms", lambda: orjson.dumps(codec.to_json(entry)))
    _clocked(found, "taken in by a gateway, ms", lambda: codec.from_json(TenantEntry, orjson.loads(body)))
    found["size of the entry, KB"] = len(body) / 1024
    _clocked(found, "compile and publish, ms", lambda: publish.publish_tenant(tenant.pk))
    with tenant_scope(tenant):
        ids = list(Grant.objects.order_by("pk").values_list("pk", flat=True)[:REVOCATIONS])
    with _Heard(redis.Redis.from_url(settings.REDIS_URL), pushed, settings.SESSION_SEAL_KEY) as heard:
        worst = 0.0
        for grant_id in ids:
            began = time.perf_counter()
            with tenant_scope(tenant):
                grants.revoke(tenant=tenant, grant_id=grant_id, actor=None)
            worst = max(worst, heard.moment_of(grant_id) - began)
    return found | {"revocation until a gateway knows, ms, worst": worst * 1000}


class _Heard:
    """Listens as a gateway does, in a thread of its own, and notes when it was told that a right has ended."""

    def __init__(self, client: Any, pushed: Any, seal_key: bytes) -> None:
        self._channel = client.pubsub(ignore_subscribe_messages=True)
        self._pushed, self._seal_key = pushed, seal_key
        self._moments: dict[str, float] = {}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> _Heard:
        self._channel.subscribe(self._pushed.CHANNEL)
        self._channel.get_message(timeout=1)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def moment_of(self, right: UUID) -> float:
        """Of `time.perf_counter`."""
        until = time.monotonic() + 10
        while str(right) not in self._moments:
            if time.monotonic() > until:
                raise SystemExit("nothing was pushed")
            time.sleep(0.001)
        return self._moments[str(right)]

    def _listen(self) -> None:
        while not self._is_over.is_set():
            message = self._channel.get_message(timeout=0.2)
            if message is not None:
                told = self._pushed.read(self._seal_key, message["data"])
                if told["kind"] == "ended":
                    self._moments.update(dict.fromkeys(told["ids"], time.perf_counter()))


def _organisation() -> tuple[Any, Any]:
    from bench.world import make_server  # noqa: PLC0415
    from tenants.context import platform_scope  # noqa: PLC0415
    from tenants.models import User  # noqa: PLC0415
    from tenants.services import onboarding  # noqa: PLC0415

    with platform_scope():
        owner = User.objects.create_user("owner@bench.example", name="Bench")
        tenant = onboarding.create_organisation(name="Bench caller", slug="bench-caller", owner=owner)
        provider = onboarding.create_organisation(name="Bench provider", slug="bench-provider", owner=owner)
        return tenant, make_server(provider, "http://127.0.0.1:9/mcp")


def _clocked(found: dict[str, float], name: str, run: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    made = run()
    found[name] = (time.perf_counter() - began) * 1000
    return made


if __name__ == "__main__":
    sys.exit(main())
