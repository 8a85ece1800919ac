from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class TenantsConfig(AppConfig):
    name = "tenants"

    def ready(self) -> None:
        """Find the switches that every app declares in its `flags` module."""
        autodiscover_modules("flags")
