from importlib import import_module

from django.apps import AppConfig


class MarketplaceConfig(AppConfig):
    name = "marketplace"

    def ready(self) -> None:
        """Give every process that enqueues jobs, the web among them, the broker of this installation."""
        import_module("celery_app")
