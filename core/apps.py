from django.apps import AppConfig
from django.conf import settings

from core import clock


class CoreConfig(AppConfig):
    name = "core"

    def ready(self) -> None:
        """Let every process of a trial look at the same clock."""
        if settings.CLOCK_FILE:
            clock.follow(settings.CLOCK_FILE)
