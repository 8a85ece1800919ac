from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from access.filing import plan
from access.management.commands import _access
from tenants.context import tenant_scope


class Command(BaseCommand):
    help = "Say what files would change of an organisation's access, with the digest that applying them asks for."

    def add_arguments(self, parser: ArgumentParser) -> None:
        _access.add_files(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        tenant, found = _access.organisation(options["organisation"]), _access.read(options["paths"])
        with tenant_scope(tenant):
            made = plan.make(tenant, found, prune=options["prune"])
        for line in _access.lines(made):
            self.stdout.write(line)
        self.stdout.write(f"digest {made.digest}")
        if made.problems:
            raise CommandError(
                f"{len(made.problems)} things cannot be taken; while they are there, nothing is applied."
            )
