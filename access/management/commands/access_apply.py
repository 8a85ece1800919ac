from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from access.filing import apply, plan
from access.management.commands import _access
from core.errors import MarketplaceError
from tenants.context import tenant_scope


class Command(BaseCommand):
    help = "Make an organisation's access what files say: all of the plan of that digest, or nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        _access.add_files(parser)
        parser.add_argument("--digest", default="", help="of the plan that was looked at (access_plan prints it)")
        parser.add_argument("--yes", action="store_true", help="apply whatever the plan of this moment is")
        parser.add_argument("--as", dest="actor", default="", metavar="ADDRESS", help="who is named in the audit log")

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["digest"]) == options["yes"]:
            raise CommandError("Name the plan with --digest, or say --yes to apply the present one unseen.")
        tenant, found = _access.organisation(options["organisation"]), _access.read(options["paths"])
        actor = _access.person(options["actor"])
        try:
            with tenant_scope(tenant):
                digest = options["digest"] or plan.make(tenant, found, prune=options["prune"]).digest
                done = apply.apply(tenant=tenant, found=found, digest=digest, actor=actor, prune=options["prune"])
        except MarketplaceError as error:
            raise CommandError(f"{error.message} {error.next_step}") from error
        for line in _access.lines(done):
            self.stdout.write(line)
