from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import MarketplaceError
from tenants.context import platform_scope
from tenants.models import SigningKey
from tenants.services import signing


class Command(BaseCommand):
    help = (
        "Let the next signing key sign. The one before stays published for a day, so that nothing it signed is refused."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--now", action="store_true", help="even when the next key was published only just now")
        parser.add_argument("--withdraw", metavar="KID", default="", help="take this key out of use: it was stolen")

    def handle(self, *args: Any, **options: Any) -> None:
        with platform_scope():
            try:
                if options["withdraw"]:
                    signing.withdraw(options["withdraw"])
                else:
                    signing.rotate(at_once=options["now"])
            except MarketplaceError as error:
                raise CommandError(f"{error.message} {error.next_step}") from error
            for key in SigningKey.objects.exclude(state=SigningKey.State.RETIRED):
                self.stdout.write(f"{key.state:<9} {key.kid}")
