from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from access.filing.rows import export
from access.management.commands import _access
from tenants.context import tenant_scope


class Command(BaseCommand):
    help = "Write an organisation's grants, sessions and policies as YAML; the same access is always the same text."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--organisation", required=True, metavar="SLUG")
        parser.add_argument("--out", type=Path, help="file to write; else standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = _access.organisation(options["organisation"])
        with tenant_scope(tenant):
            text = export(tenant)
        if options["out"]:
            options["out"].write_text(text, encoding="utf-8")
        else:
            self.stdout.write(text, ending="")
