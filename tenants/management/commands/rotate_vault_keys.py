from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from tenants.context import platform_scope
from tenants.services import vault


class Command(BaseCommand):
    help = (
        "Wrap every organisation's data key by the first of MARKETPLACE_VAULT_KEYS; afterwards the others can be removed. "
        "Works while the product runs."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--data-keys", action="store_true", help="also make data keys anew and seal every secret again"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with platform_scope():
            wrapped = vault.rewrap()
            sealed = vault.renew_data_keys() if options["data_keys"] else 0
        self.stdout.write(f"{wrapped} data keys wrapped anew, {sealed} secrets sealed anew")
