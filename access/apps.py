from django.apps import AppConfig


class AccessConfig(AppConfig):
    name = "access"

    def ready(self) -> None:
        from access import receivers  # noqa: F401, PLC0415 - receivers need loaded models
        from access.usable import GrantSource  # noqa: PLC0415 - models are loaded only now
        from catalog.selectors import usable  # noqa: PLC0415

        usable.register(GrantSource())
