from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit import verifier
from audit.services.checkpoints import read_ours, signer
from audit.statements import NotAStatementError, Statement

_TOLD_EVERY = 10_000


class Command(BaseCommand):
    help = (
        "Check the hash chain of the audit log, of every schema or of one: against itself, the mark of its end and every"
        " signed checkpoint in the database, in the anchor folder and in the files named here."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--schema", help="Check this schema only.")
        parser.add_argument(
            "--checkpoints",
            action="append",
            default=[],
            metavar="FILE",
            help="Checkpoints that somebody kept, one a line.",
        )
        parser.add_argument("--public-key", action="store_true", help="Print the key that signs checkpoints, and end.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["public_key"]:
            self.stdout.write(f"{signer().key_id} {signer().public.hex()}")
            return
        given = [statement for path in options["checkpoints"] for statement in _read_file(path)]
        broken = 0
        for result in verifier.verify_all(options["schema"], given, self._tell):
            if result.broken is None:
                self.stdout.write(f"{result.schema_name}: {result.count} events, chain holds")
            else:
                broken += 1
                sequence, why, kind = result.broken
                self.stdout.write(f"{result.schema_name}: broken at event {sequence}: {why} ({kind})")
        if broken:
            raise CommandError(f"{broken} chain(s) do not verify.")

    def _tell(self, count: int) -> None:
        if count % _TOLD_EVERY == 0:
            self.stderr.write(f"  {count:,} events read")


def _read_file(path: str) -> list[Statement]:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}") from error
    try:
        return [read_ours(line) for line in lines if line.strip()]
    except NotAStatementError as error:
        raise CommandError(f"{path} holds a line that is no checkpoint of this installation. {error}") from error
