from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from marketplace import settings_document


class Command(BaseCommand):
    help = "Write docs/settings.md: every environment variable and flag with default, type, scope and meaning."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.BASE_DIR / settings_document.PATH
        path.write_text(settings_document.build(), encoding="utf-8")
        self.stdout.write(f"wrote {settings_document.PATH}")
