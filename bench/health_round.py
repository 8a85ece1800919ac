"""Rounds of health checks as a worker runs them. Run as a program with the environment of the product.

Reads the ports of servers by kind as JSON, lists so many servers on them, and prints one line of JSON for each round.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from itertools import cycle
from typing import Any

from bench import echo


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ports", required=True)
    parser.add_argument("--servers", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--hanging", required=True, help="ports of servers that hang, for the last round")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")
    import django  # noqa: PLC0415 - settings are read from here on

    django.setup()
    ports: dict[str, list[int]] = json.loads(options.ports)
    _list([port for each in ports.values() for port in each], options.servers)
    for _ in range(options.rounds):
        sys.stdout.write(json.dumps(_round()) + "\n")
        sys.stdout.flush()
    _point_everything_at(json.loads(options.hanging))
    sys.stdout.write(json.dumps(_round()) + "\n")
    return 0


def _round() -> dict[str, Any]:
    from catalog.health import rounds  # noqa: PLC0415 - models exist only after setup

    began, used = time.monotonic(), time.process_time()
    this = rounds.run()
    assert this is not None
    return {
        "seconds": time.monotonic() - began,
        "cpu_s": time.process_time() - used,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "due": this.due,
        "checked": this.checked,
        "doubted": this.doubted,
        **this.counts,
    }


def _list(ports: list[int], count: int) -> None:
    from audit.services import SYSTEM  # noqa: PLC0415 - models exist only after setup
    from catalog.models import Provider  # noqa: PLC0415
    from catalog.services import servers  # noqa: PLC0415
    from catalog.types import Inventory, Listing  # noqa: PLC0415
    from tenants.context import platform_scope  # noqa: PLC0415
    from tenants.models import User  # noqa: PLC0415
    from tenants.services import onboarding  # noqa: PLC0415

    inventory = Inventory(echo.MODERN, {"name": "bench", "version": "1"}, "", {"tools": {}}, [echo.TOOL])
    with platform_scope():
        owner = User.objects.create_user("owner@bench.example", name="Bench")
        tenant = onboarding.create_organisation(name="Bench", slug="bench", owner=owner)
        provider = Provider.objects.create(tenant=tenant, name="Bench", slug="bench")
        for number, port in zip(range(count), cycle(ports), strict=False):
            url = f"http://127.0.0.1:{port}/{number}"
            listing = Listing(slug=f"bench-{number}", name=f"Bench {number}", url=url, category="data")
            made = servers.register(provider=provider, listing=listing, inventory=inventory, actor=SYSTEM)
            servers.approve(server=made, actor=SYSTEM)


def _point_everything_at(ports: list[int]) -> None:
    from catalog.models import Server  # noqa: PLC0415 - models exist only after setup
    from tenants.context import platform_scope  # noqa: PLC0415

    with platform_scope():
        for number, server in enumerate(Server.objects.all()):
            server.url = f"http://127.0.0.1:{ports[number % len(ports)]}/{server.slug}"
            server.save(update_fields=["url"])


if __name__ == "__main__":
    sys.exit(main())
