from django.apps import AppConfig


class GatewayConfig(AppConfig):
    name = "gateway"

    def ready(self) -> None:
        from gateway import receivers  # noqa: F401, PLC0415 - receivers need loaded models
