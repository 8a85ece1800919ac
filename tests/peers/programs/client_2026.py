"""The walk with the client of the SDK 2.x: `client_2026.py URL [auto|legacy|2026-07-28]`."""

import asyncio
import json
import os
import sys
import warnings

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CreateMessageResult, ElicitResult, ListRootsResult, Root, TextContent

PATIENCE_S = 10


class Walk:
    def __init__(self) -> None:
        self.seen: dict[str, object] = {}
        self.logs: list[object] = []
        self.updated = asyncio.Event()

    async def elicit(self, context, params) -> ElicitResult:
        self.seen["asked"] = params.message
        return ElicitResult(action="accept", content={"name": "Ada"})

    async def sample(self, context, params) -> CreateMessageResult:
        self.seen["to think of"] = params.messages[0].content.text
        return CreateMessageResult(role="assistant", content=TextContent(type="text", text="42"), model="test")

    async def roots(self, context) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri="file:///walk", name="walk")])

    async def log(self, params) -> None:
        self.logs.append([params.level, params.data])

    async def handle(self, message) -> None:
        if getattr(message, "method", "") == "notifications/resources/updated":
            self.updated.set()

    async def go(self, url: str, mode: str) -> None:
        token = os.environ.get("PEER_TOKEN")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(30)) as http:
            client = Client(
                streamable_http_client(url, http_client=http),
                mode=mode,
                log_level="info",
                elicitation_callback=self.elicit,
                sampling_callback=self.sample,
                list_roots_callback=self.roots,
                logging_callback=self.log,
                message_handler=self.handle,
            )
            async with client:
                await self.describe(client)
                await self.tools(client)
                await self.content(client)
                await self.questions(client)
                await self.subscription(client)
                await self.cancellation(client)

    async def describe(self, client: Client) -> None:
        self.seen["protocol"] = client.protocol_version
        self.seen["server"] = client.server_info.name if client.server_info else None
        self.seen["instructions"] = client.instructions

    async def tools(self, client: Client) -> None:
        pages, cursor = [], None
        while True:
            page = await client.list_tools(cursor=cursor)
            pages.append([plain(tool) for tool in page.tools])
            if not (cursor := page.next_cursor):
                break
        self.seen["tools"] = pages
        self.seen["echo"] = plain(await client.call_tool("echo", {"text": "grüß\n\U0001f600"}))
        self.seen["add"] = (await client.call_tool("add", {"a": 1, "b": 2})).structured_content
        self.seen["fail"] = plain(await client.call_tool("fail", {}))
        steps: list[object] = []

        async def progress(done, total, message) -> None:
            steps.append([done, total, message])

        self.seen["steps"] = plain(await client.call_tool("steps", {"count": 3}, progress_callback=progress))
        self.seen["progress"] = steps
        if client.protocol_version < "2026":
            await client.set_logging_level("info")
        self.seen["log"] = plain(await client.call_tool("log", {}))
        self.seen["logs"] = self.logs

    async def content(self, client: Client) -> None:
        self.seen["resources"] = [plain(each) for each in (await client.list_resources()).resources]
        templates = (await client.list_resource_templates()).resource_templates
        self.seen["templates"] = sorted(each.uri_template for each in templates)
        for uri in ("walk://text", "walk://bytes", "walk://item/a%20b"):
            self.seen[uri] = [plain(each) for each in (await client.read_resource(uri)).contents]
        self.seen["missing"] = await refusal(client.read_resource("walk://nothing"))
        self.seen["prompts"] = [plain(each) for each in (await client.list_prompts()).prompts]
        self.seen["prompt"] = [plain(each) for each in (await client.get_prompt("greet", {"name": "Ada"})).messages]
        from mcp.types import PromptReference

        reference = PromptReference(type="ref/prompt", name="greet")
        completion = await client.complete(reference, {"name": "name", "value": "a"})
        self.seen["completion"] = plain(completion.completion)

    async def questions(self, client: Client) -> None:
        for tool in ("ask", "think", "where"):
            self.seen[tool] = plain(await client.call_tool(tool, {}))

    async def subscription(self, client: Client) -> None:
        if client.protocol_version < "2026":
            await client.subscribe_resource("walk://text")
            await client.call_tool("touch", {})
            async with asyncio.timeout(PATIENCE_S):
                await self.updated.wait()
            await client.unsubscribe_resource("walk://text")
            self.seen["updated"] = True
            return
        async with client.listen(resource_subscriptions=["walk://text"]) as events:
            await client.call_tool("touch", {})
            async with asyncio.timeout(PATIENCE_S):
                event = await anext(events)
        self.seen["updated"] = "walk://text" in repr(event)

    async def cancellation(self, client: Client) -> None:
        mark, running = os.urandom(8).hex(), asyncio.Event()

        async def progress(done, total, message) -> None:
            running.set()

        call = asyncio.create_task(client.call_tool("wait", {"mark": mark}, progress_callback=progress))
        async with asyncio.timeout(PATIENCE_S):
            await running.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        async with asyncio.timeout(PATIENCE_S):
            while (await client.read_resource(f"walk://cancelled/{mark}")).contents[0].text != "yes":
                await asyncio.sleep(0.05)
        self.seen["cancelled"] = True
        self.seen["after"] = (await client.call_tool("add", {"a": 2, "b": 2})).structured_content


def plain(model) -> object:
    """As JSON, without what one era has and the other has not, and without what the SDK sets on its own."""
    data = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    for key in ("resultType", "ttlMs", "cacheScope", "_meta"):
        data.pop(key, None)
    return data


async def refusal(asked) -> object:
    try:
        await asked
    except MCPError as error:
        return "refused" if error.error.code in {-32602, -32002, 0} else error.error.code
    return "not refused"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    walk = Walk()
    try:
        asyncio.run(walk.go(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "auto"))
    finally:
        print(json.dumps(walk.seen))
