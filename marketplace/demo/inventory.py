"""Reading a demo server's inventory with the official client."""

from __future__ import annotations

import anyio
from mcp import Client

from catalog.types import Inventory


def read(url: str) -> Inventory:
    return anyio.run(_read, url)


async def _read(url: str) -> Inventory:
    async with Client(url) as client:
        tools = (await client.list_tools()).tools
        return Inventory(
            protocol=client.protocol_version,
            server_info=client.server_info.model_dump(mode="json", by_alias=True, exclude_none=True),
            instructions=client.instructions or "",
            capabilities=client.server_capabilities.model_dump(mode="json", by_alias=True, exclude_none=True),
            tools=[tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools],
        )
