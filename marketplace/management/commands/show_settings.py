from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from marketplace.settings import env


class Command(BaseCommand):
    help = "List every environment variable with its kind, default and meaning, as a Markdown table."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write("| variable | kind | default | meaning |\n|---|---|---|---|")
        for variable in sorted(env.REGISTRY.values(), key=lambda v: v.name):
            kind = variable.kind.replace("|", "\\|")
            self.stdout.write(f"| `{variable.name}` | {kind} | {variable.default or '(empty)'} | {variable.meaning} |")
