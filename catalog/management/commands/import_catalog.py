from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.services import SYSTEM
from catalog.choices import SourceKind, SourceTrust
from catalog.formats.files import FORMATS
from catalog.services import files
from catalog.services.importing import ImportReport
from core.errors import MarketplaceError
from tenants.context import platform_scope
from tenants.models import Tenant


class Command(BaseCommand):
    help = "Import listings of servers from a file or a folder. Running it again takes only what changed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", type=Path, help="file, or folder whose files are taken one by one")
        parser.add_argument("--format", default="", choices=FORMATS, help="instead of what each document looks like")
        parser.add_argument(
            "--source-name", default="", help="what the entries are labelled with; else the file's name"
        )
        parser.add_argument("--organisation", default="", metavar="SLUG", help="show them to this organisation only")
        parser.add_argument("--kind", default=SourceKind.LOCAL, choices=SourceKind.values)
        parser.add_argument("--trust", default=SourceTrust.COMMUNITY, choices=SourceTrust.values)
        parser.add_argument(
            "--priority", type=int, default=0, help="between sources that list the same, the higher wins"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["path"]
        if not path.exists():
            raise CommandError(f"There is nothing at {path}.")
        total, read, number = ImportReport(), 0, 0
        try:
            source = files.source_named(
                options["source_name"] or path.name.partition(".")[0],
                organisation=self._organisation(options["organisation"]),
                kind=options["kind"],
                trust=options["trust"],
                priority=options["priority"],
            )
            for each in files.import_path(source, path, options["format"]):
                number, read = number + 1, read + each.read
                total.add(each.report)
                self.stdout.write(f"{each.name}: {each.read:,} entries, {_counts(each.report)}")
                for problem in each.report.problems:
                    self.stdout.write(f"  not taken: {problem}")
        except MarketplaceError as error:
            raise CommandError(" ".join([error.message, error.next_step or ""]).strip()) from error
        files.record(source, total, SYSTEM)
        self.stdout.write(
            f"{number:,} file{'' if number == 1 else 's'}, {read:,} entries: {_counts(total)}, "
            f"{len(total.problems):,} not taken or taken in part"
        )

    def _organisation(self, slug: str) -> Tenant | None:
        if not slug:
            return None
        with platform_scope():
            tenant = Tenant.objects.filter(slug=slug).first()
        if tenant is None:
            raise CommandError(f"There is no organisation {slug!r}.")
        return tenant


def _counts(report: ImportReport) -> str:
    return (
        f"{report.created:,} created, {report.updated:,} updated, {report.unchanged:,} unchanged, "
        f"{report.servers:,} servers added, {report.merged:,} merged, {report.removed:,} hidden"
    )
