from django.apps import AppConfig


class AccessConfig(AppConfig):
    name = "access"

    def ready(self) -> None:
        from access import receivers  # noqa: F401, PLC0415 - receivers need loaded models
        from access.health import passes as passes_of_owners  # noqa: PLC0415 - as below
        from access.requests.selectors import count_to_decide  # noqa: PLC0415 - as below
        from access.selectors import live_grants_on  # noqa: PLC0415 - as below
        from access.usable import GrantSource  # noqa: PLC0415 - models are loaded only now
        from catalog.health import passes  # noqa: PLC0415
        from catalog.selectors import extras, usable  # noqa: PLC0415
        from tenants.selectors import frame  # noqa: PLC0415

        passes.register(passes_of_owners)
        usable.register(GrantSource())
        extras.register_use(lambda server_id: live_grants_on(server_id).exists())
        frame.register_count("org:requests", lambda membership: count_to_decide(membership.user_id))
