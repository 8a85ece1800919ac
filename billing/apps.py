from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        from billing.gateways import adapters  # noqa: PLC0415
        from billing.tags import price_tags  # noqa: PLC0415 - models are loaded only now
        from catalog.selectors import extras  # noqa: PLC0415

        extras.register_prices(price_tags)
        adapters.register()
