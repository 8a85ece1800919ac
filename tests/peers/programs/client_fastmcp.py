"""The walk with the client of FastMCP: `client_fastmcp.py URL [auto|legacy]`."""

import asyncio
import json
import os
import sys
import warnings

from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport
from mcp.shared.exceptions import MCPError
from mcp.types import PromptReference

PATIENCE_S = 10


class Walk:
    def __init__(self) -> None:
        self.seen: dict[str, object] = {}
        self.logs: list[object] = []

    async def elicit(self, message, response_type, params, context) -> dict[str, str]:
        self.seen["asked"] = message
        return {"name": "Ada"}

    async def sample(self, messages, params, context) -> str:
        self.seen["to think of"] = messages[0].content.text
        return "42"

    async def log(self, message) -> None:
        self.logs.append([message.level, message.data])

    async def go(self, url: str, mode: str) -> None:
        client = Client(
            StreamableHttpTransport(url, auth=os.environ.get("PEER_TOKEN") or None),
            mode=mode,
            roots=["file:///walk"],
            sampling_handler=self.sample,
            elicitation_handler=self.elicit,
            log_handler=self.log,
            timeout=30,
        )
        async with client:
            self.seen["protocol"] = client.session.protocol_version
            await self.tools(client)
            await self.content(client)
            for tool in ("ask", "think", "where"):
                self.seen[tool] = plain(await client.call_tool_mcp(tool, {}))
            await self.cancellation(client)

    async def tools(self, client: Client) -> None:
        self.seen["tools"] = [plain(tool) for tool in await client.list_tools()]
        self.seen["echo"] = plain(await client.call_tool_mcp("echo", {"text": "grüß\n\U0001f600"}))
        self.seen["add"] = (await client.call_tool("add", {"a": 1, "b": 2})).structured_content
        self.seen["fail"] = plain(await client.call_tool_mcp("fail", {}))
        steps: list[object] = []

        async def progress(done, total, message) -> None:
            steps.append([done, total, message])

        self.seen["steps"] = plain(await client.call_tool_mcp("steps", {"count": 3}, progress_handler=progress))
        self.seen["progress"] = steps
        level = {"io.modelcontextprotocol/logLevel": "info"}
        self.seen["log"] = plain(await client.call_tool_mcp("log", {}, meta=level))
        self.seen["logs"] = self.logs

    async def content(self, client: Client) -> None:
        self.seen["resources"] = [plain(each) for each in await client.list_resources()]
        self.seen["templates"] = sorted(each.uri_template for each in await client.list_resource_templates())
        for uri in ("walk://text", "walk://bytes", "walk://item/a%20b"):
            self.seen[uri] = [plain(each) for each in await client.read_resource(uri)]
        try:
            await client.read_resource("walk://nothing")
        except MCPError as error:
            self.seen["missing"] = "refused" if error.error.code in {-32602, -32002, 0} else error.error.code
        self.seen["prompts"] = [plain(each) for each in await client.list_prompts()]
        self.seen["prompt"] = [plain(each) for each in (await client.get_prompt("greet", {"name": "Ada"})).messages]
        reference = PromptReference(type="ref/prompt", name="greet")
        self.seen["completion"] = plain(await client.complete(reference, {"name": "name", "value": "a"}))

    async def cancellation(self, client: Client) -> None:
        mark, running = os.urandom(8).hex(), asyncio.Event()

        async def progress(done, total, message) -> None:
            running.set()

        call = asyncio.create_task(client.call_tool_mcp("wait", {"mark": mark}, progress_handler=progress))
        async with asyncio.timeout(PATIENCE_S):
            await running.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        async with asyncio.timeout(PATIENCE_S):
            while (await client.read_resource(f"walk://cancelled/{mark}"))[0].text != "yes":
                await asyncio.sleep(0.05)
        self.seen["cancelled"] = True
        self.seen["after"] = (await client.call_tool("add", {"a": 2, "b": 2})).structured_content


def plain(model) -> object:
    """As JSON, without what one era has and the other has not."""
    data = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    for key in ("resultType", "ttlMs", "cacheScope", "_meta"):
        data.pop(key, None)
    return data


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    walk = Walk()
    try:
        asyncio.run(walk.go(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "auto"))
    finally:
        print(json.dumps(walk.seen))
