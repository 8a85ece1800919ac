"""`docs/settings.md`, made of what the code declares: environment variables and flags."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from tenants.flags import Flag, Group, Scope, groups

PATH = Path("docs/settings.md")

_SCOPES = {Scope.PLATFORM: "platform", Scope.ORGANISATION: "organisation", Scope.BOTH: "platform, organisation"}

# Variables that have no default in production, so that the settings can be loaded to be listed; none of the values is used.
_PLACEHOLDERS = {
    "MARKETPLACE_ENV": "production",
    "MARKETPLACE_SECRET_KEY": "x" * 64,
    "DATABASE_URL": "postgresql://nobody@localhost/nothing",
    "REDIS_URL": "redis://localhost",
    "MARKETPLACE_SMTP_URL": "smtp://localhost",
}
_LIST = (
    "import json, marketplace.settings, marketplace.settings.env as env;"
    "print(json.dumps([[v.name, v.kind, v.default, v.meaning] for v in env.REGISTRY.values()]))"
)

_HEAD = """\
# Settings

Written by `manage.py document_settings`; a test fails when it differs from the code.

- **Environment variables** belong to an installation. They are read once, at the start, and a value that cannot be used stops the
  start with one sentence. `NAME_FILE` may hold the path of a file with the value of `NAME`.
- **Flags** belong to the product. Operators set those of the platform at `/operations/settings/`; owners and admins set those of
  their organisation at `/o/<org>/settings/`. An organisation's value beats the platform's, which beats the default.
  Every change is in the audit log.

## Environment variables

Defaults are those of a production installation; `scripts/up` fills in what is required.

| variable | kind | default | meaning |
|---|---|---|---|
"""


def build() -> str:
    """The whole document."""
    return "".join((_HEAD, *_variables(), "\n## Flags\n", *(part for group in groups() for part in _group(group))))


def _variables() -> Iterator[str]:
    """The variables with the defaults of production, whatever environment this process has: asked of a process of its own."""
    done = subprocess.run(  # noqa: S603 - this interpreter and the constant above
        [sys.executable, "-c", _LIST],
        cwd=settings.BASE_DIR,
        env=_PLACEHOLDERS,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for name, kind, default, meaning in sorted(json.loads(done.stdout)):
        shown = default.replace(f"{settings.BASE_DIR}/", "") or "(empty)"
        yield f"| `{name}` | {_cell(kind)} | {_cell(shown)} | {_cell(meaning)} |\n"


def _group(group: Group) -> Iterator[str]:
    yield f"\n### {group.title}\n\n| flag | type | default | scope | meaning |\n|---|---|---|---|---|\n"
    for flag in group.flags:
        waits = f" *Takes effect when there is: {flag.awaits}.*" if flag.awaits else ""
        yield (
            f"| `{flag.name}` | {_cell(_type(flag))} | {_cell(flag.show(flag.default))} | {_SCOPES[flag.scope]}"
            f" | {_cell(flag.meaning)}{waits} |\n"
        )


def _type(flag: Flag) -> str:
    return f"{flag.kind}: {', '.join(flag.choices)}" if flag.choices else str(flag.kind)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
