from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from catalog import inventory
from core.errors import MarketplaceError
from marketplace.demo import data
from tenants.context import platform_scope


class Command(BaseCommand):
    help = "Load the demo once: organisations, people, two servers, and a key. Writes demo.env into the data folder."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--data", type=Path, default=settings.DATA_DIR, help="Folder for demo.env.")
        for name in data.SERVERS:
            parser.add_argument(f"--{name}-port", type=int, help=f"Port of the demo server {name} on 127.0.0.1.")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.ENVIRONMENT == "production":
            raise CommandError("The demo has people with a known password; it is not for production.")
        folder: Path = options["data"]
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with platform_scope():
                loaded = data.load(
                    folder=folder,
                    urls={name: _url(name, options[f"{name}_port"]) for name in data.SERVERS},
                    password=os.environ.get("MARKETPLACE_DEMO_PASSWORD", ""),
                    read=inventory.read,
                )
        except MarketplaceError as error:
            raise CommandError(f"{error.message} {error.next_step}") from error
        for change in loaded.changes or ["nothing to do"]:
            self.stdout.write(change)
        self.stdout.write(f"wrote {loaded.env_file}")


def _url(name: str, port: int | None) -> str:
    """Where a demo server answers: by option, or by the variable that the supervisor sets."""
    variable = f"MARKETPLACE_DEMO_{name.upper()}_URL"
    url = f"http://127.0.0.1:{port}/mcp" if port else os.environ.get(variable)
    if not url:
        raise CommandError(f"Where is the demo server {name}? Give --{name}-port or set {variable}.")
    return url
