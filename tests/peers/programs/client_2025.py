"""The walk with the client of the SDK 1.x: `client_2025.py URL`."""

import asyncio
import json
import os
import sys

from mcp import ClientSession, McpError, types
from mcp.client.streamable_http import streamablehttp_client

PATIENCE_S = 10


class Walk:
    def __init__(self) -> None:
        self.seen: dict[str, object] = {}
        self.logs: list[object] = []
        self.updated = asyncio.Event()

    async def elicit(self, context, params) -> types.ElicitResult:
        self.seen["asked"] = params.message
        return types.ElicitResult(action="accept", content={"name": "Ada"})

    async def sample(self, context, params) -> types.CreateMessageResult:
        self.seen["to think of"] = params.messages[0].content.text
        text = types.TextContent(type="text", text="42")
        return types.CreateMessageResult(role="assistant", content=text, model="test")

    async def roots(self, context) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri="file:///walk", name="walk")])

    async def log(self, params) -> None:
        self.logs.append([params.level, params.data])

    async def handle(self, message) -> None:
        if isinstance(message, types.ServerNotification) and message.root.method == "notifications/resources/updated":
            self.updated.set()

    async def go(self, url: str) -> None:
        token = os.environ.get("PEER_TOKEN")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with (
            streamablehttp_client(url, headers=headers) as (reading, writing, _),
            ClientSession(
                reading,
                writing,
                elicitation_callback=self.elicit,
                sampling_callback=self.sample,
                list_roots_callback=self.roots,
                logging_callback=self.log,
                message_handler=self.handle,
            ) as session,
        ):
            opened = await session.initialize()
            self.seen["protocol"] = opened.protocolVersion
            self.seen["server"], self.seen["instructions"] = opened.serverInfo.name, opened.instructions
            await self.tools(session)
            await self.content(session)
            await self.questions(session)
            await self.subscription(session)
            await self.cancellation(session)

    async def tools(self, session: ClientSession) -> None:
        pages, cursor = [], None
        while True:
            page = await session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))
            pages.append([plain(tool) for tool in page.tools])
            if not (cursor := page.nextCursor):
                break
        self.seen["tools"] = pages
        self.seen["echo"] = plain(await session.call_tool("echo", {"text": "grüß\n\U0001f600"}))
        self.seen["add"] = (await session.call_tool("add", {"a": 1, "b": 2})).structuredContent
        self.seen["fail"] = plain(await session.call_tool("fail", {}))
        steps: list[object] = []

        async def progress(done, total, message) -> None:
            steps.append([done, total, message])

        self.seen["steps"] = plain(await session.call_tool("steps", {"count": 3}, progress_callback=progress))
        self.seen["progress"] = steps
        await session.set_logging_level("info")
        self.seen["log"] = plain(await session.call_tool("log", {}))
        self.seen["logs"] = self.logs

    async def content(self, session: ClientSession) -> None:
        self.seen["resources"] = [plain(each) for each in (await session.list_resources()).resources]
        templates = (await session.list_resource_templates()).resourceTemplates
        self.seen["templates"] = sorted(each.uriTemplate for each in templates)
        for uri in ("walk://text", "walk://bytes", "walk://item/a%20b"):
            self.seen[uri] = [plain(each) for each in (await session.read_resource(uri)).contents]
        self.seen["missing"] = await refusal(session.read_resource("walk://nothing"))
        self.seen["prompts"] = [plain(each) for each in (await session.list_prompts()).prompts]
        self.seen["prompt"] = [plain(each) for each in (await session.get_prompt("greet", {"name": "Ada"})).messages]
        reference = types.PromptReference(type="ref/prompt", name="greet")
        completion = await session.complete(reference, {"name": "name", "value": "a"})
        self.seen["completion"] = plain(completion.completion)
        await session.send_ping()

    async def questions(self, session: ClientSession) -> None:
        for tool in ("ask", "think", "where"):
            self.seen[tool] = plain(await session.call_tool(tool, {}))

    async def subscription(self, session: ClientSession) -> None:
        await session.subscribe_resource("walk://text")
        await session.call_tool("touch", {})
        async with asyncio.timeout(PATIENCE_S):
            await self.updated.wait()
        await session.unsubscribe_resource("walk://text")
        self.seen["updated"] = True

    async def cancellation(self, session: ClientSession) -> None:
        mark, running = os.urandom(8).hex(), asyncio.Event()

        async def progress(done, total, message) -> None:
            running.set()

        request_id = session._request_id
        call = asyncio.create_task(session.call_tool("wait", {"mark": mark}, progress_callback=progress))
        async with asyncio.timeout(PATIENCE_S):
            await running.wait()
        # This SDK leaves telling the server to its user.
        params = types.CancelledNotificationParams(requestId=request_id, reason="enough")
        await session.send_notification(types.ClientNotification(types.CancelledNotification(params=params)))
        async with asyncio.timeout(PATIENCE_S):
            while (await session.read_resource(f"walk://cancelled/{mark}")).contents[0].text != "yes":
                await asyncio.sleep(0.05)
        self.seen["cancelled"] = True
        self.seen["after"] = (await session.call_tool("add", {"a": 2, "b": 2})).structuredContent
        # Not sooner: an answer to what this SDK does not wait for any more ends its reading.
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)


def plain(model) -> object:
    """As JSON, without what one era has and the other has not."""
    data = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    for key in ("resultType", "ttlMs", "cacheScope", "_meta"):
        data.pop(key, None)
    return data


async def refusal(asked) -> object:
    try:
        await asked
    except McpError as error:
        return "refused" if error.error.code in {-32602, -32002, 0} else error.error.code
    return "not refused"


if __name__ == "__main__":
    walk = Walk()
    try:
        asyncio.run(walk.go(sys.argv[1]))
    finally:
        print(json.dumps(walk.seen))
