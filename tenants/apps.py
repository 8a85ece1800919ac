from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class TenantsConfig(AppConfig):
    name = "tenants"

    def ready(self) -> None:
        """Find the switches that every app declares in its `flags` module."""
        from tenants import receivers  # noqa: F401, PLC0415 - receivers need loaded models

        autodiscover_modules("flags")
