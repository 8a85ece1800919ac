from importlib.metadata import entry_points

from django.apps import AppConfig

ENTRY_POINTS = "mcp_marketplace.source_kinds"


class RepositoriesConfig(AppConfig):
    name = "repositories"

    def ready(self) -> None:
        """Kinds of sources: ours, and those of installed packages, each of which names its adapter as an entry point."""
        from repositories.adapters import docker, github, http_index, local, official, registry  # noqa: PLC0415

        for adapter in (official.ADAPTER, http_index.ADAPTER, github.ADAPTER, docker.ADAPTER, local.ADAPTER):
            registry.register(adapter)
        for point in entry_points(group=ENTRY_POINTS):
            registry.register(point.load())
