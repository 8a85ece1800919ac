"""What the commands for access as files share."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

from django.core.management.base import CommandError

from access.filing.plan import Plan
from access.formats import files
from access.formats.files import Found
from tenants.context import platform_scope
from tenants.models import Tenant, User

_ENDINGS = (".yaml", ".yml", ".json", ".yaml.gz", ".yml.gz", ".json.gz")
_SIGNS = {"create": "+", "replace": "~", "update": "~", "revoke": "-", "unchanged": "=", "elsewhere": "?"}


def add_files(parser: ArgumentParser) -> None:
    parser.add_argument("paths", nargs="*", type=Path, help="files, or folders whose YAML and JSON files are taken")
    parser.add_argument("--organisation", required=True, metavar="SLUG")
    parser.add_argument("--prune", action="store_true", help="revoke what the files do not name")


def organisation(slug: str) -> Tenant:
    with platform_scope():
        found = Tenant.objects.filter(slug=slug, suspended_at=None).first()
    if found is None:
        raise CommandError(f"There is no organisation {slug!r}.")
    return found


def person(email: str) -> User | None:
    if not email:
        return None
    with platform_scope():
        found = User.objects.filter(email__iexact=email, is_active=True).first()
    if found is None:
        raise CommandError(f"There is nobody with the address {email!r}.")
    return found


def read(paths: list[Path]) -> Found:
    return files.read_files((str(path), path.read_bytes()) for path in _files(paths))


def _files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(each for each in path.rglob("*") if each.is_file() and each.name.endswith(_ENDINGS))
        elif path.is_file():
            yield path
        else:
            raise CommandError(f"There is nothing at {path}.")


def lines(plan: Plan) -> Iterator[str]:
    """The plan for a terminal: one line a change, then what cannot be taken and what is hardly meant."""
    for change in plan.changes:
        place = f"{change.namespace}/{change.name}" if change.namespace else change.name
        fields = f" ({', '.join(change.fields)})" if change.fields else ""
        note = f": {change.note}" if change.note else ""
        yield f"{_SIGNS[change.action]} {change.action} {change.kind} {place}{fields}{note}"
    for problem in plan.problems:
        yield f"! not taken: {problem}"
    for lint in plan.lints:
        yield f"* {lint}"
    yield ", ".join(f"{number} {action}" for action, number in plan.counts.items()) or "nothing"
