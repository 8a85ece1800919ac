from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit import verifier


class Command(BaseCommand):
    help = "Check the hash chain of the audit log: of every schema, or of one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--schema", help="Check this schema only.")

    def handle(self, *args: Any, **options: Any) -> None:
        broken = 0
        for result in verifier.verify_all(options["schema"]):
            if result.broken_at is None:
                self.stdout.write(f"{result.schema_name}: {result.count} events, chain holds")
            else:
                broken += 1
                self.stdout.write(f"{result.schema_name}: broken at event {result.broken_at}: {result.why}")
        if broken:
            raise CommandError(f"{broken} chain(s) do not verify.")
