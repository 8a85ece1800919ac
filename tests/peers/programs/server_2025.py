"""A server of the SDK 1.x, which knows the handshake only: `server_2025.py PORT [sse]`, with `sse` over HTTP+SSE."""

import asyncio
import json
import sys

import uvicorn
from mcp import types
from mcp.server.fastmcp import Context, FastMCP
from mcp.server.fastmcp.exceptions import ToolError
from pydantic import BaseModel

PAGE = 4

mcp = FastMCP("walk", instructions="Walk through it.")
cancelled: set[str] = set()
watching = []  # sessions


class Answer(BaseModel):
    name: str


@mcp.tool(
    title="Echo",
    icons=[types.Icon(src="data:image/png;base64,AA==")],
    annotations=types.ToolAnnotations(readOnlyHint=True),
)
def echo(text: str) -> str:
    """Says it again."""
    return text


@mcp.tool()
def add(a: int, b: int) -> int:
    return a + b


@mcp.tool()
def fail() -> str:
    raise ToolError("the tool failed")


@mcp.tool()
async def steps(count: int, ctx: Context) -> str:
    for step in range(count):
        await ctx.report_progress(step + 1, count, f"step {step + 1}")
    return "walked"


@mcp.tool()
async def log(ctx: Context) -> str:
    await ctx.warning("mind the step")
    return "logged"


@mcp.tool()
async def ask(ctx: Context) -> str:
    answer = await ctx.elicit("Who are you?", Answer)
    return f"{answer.action} {answer.data.name if answer.action == 'accept' else ''}"


@mcp.tool()
async def think(ctx: Context) -> str:
    text = types.TextContent(type="text", text="What is 6 times 7?")
    messages = [types.SamplingMessage(role="user", content=text)]
    thought = await ctx.session.create_message(messages=messages, max_tokens=5, related_request_id=ctx.request_id)
    return f"thought {thought.content.text}"


@mcp.tool()
async def where(ctx: Context) -> str:
    return " ".join(str(root.uri) for root in (await ctx.session.list_roots()).roots)


@mcp.tool()
async def wait(mark: str, ctx: Context) -> str:
    """Ends only by being cancelled, which the resource walk://cancelled/{mark} tells. The first progress says that it runs."""
    try:
        await ctx.report_progress(1, None, "waiting")
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        cancelled.add(mark)
        raise
    return "nobody cancelled"


@mcp.tool()
async def touch(ctx: Context) -> str:
    # A session may have gone without a word.
    told = (session.send_resource_updated("walk://text") for session in watching)
    await asyncio.wait_for(asyncio.gather(*told, return_exceptions=True), 5)
    return "touched"


@mcp.resource("walk://text", mime_type="text/plain")
def text() -> str:
    return "plain text"


@mcp.resource("walk://bytes", mime_type="application/octet-stream")
def data() -> bytes:
    return b"\x00\x01\xff"


@mcp.resource("walk://item/{name}")
def item(name: str) -> str:
    return json.dumps({"item": name})


@mcp.resource("walk://cancelled/{mark}")
def was_cancelled(mark: str) -> str:
    return "yes" if mark in cancelled else "no"


@mcp.prompt()
def greet(name: str) -> str:
    """Greets somebody."""
    return f"Say hello to {name}."


@mcp.completion()
async def complete(ref, argument, context) -> types.Completion:
    values = [name for name in ("ada", "alan", "grace") if name.startswith(argument.value)]
    return types.Completion(values=values, total=len(values), hasMore=False)


low = mcp._mcp_server


@low.list_tools()
async def list_tools(request: types.ListToolsRequest) -> types.ListToolsResult:
    """In pages, which this SDK's high level does not offer."""
    tools = await mcp.list_tools()
    start = int((request.params and request.params.cursor) or 0)
    following = str(start + PAGE) if start + PAGE < len(tools) else None
    return types.ListToolsResult(tools=tools[start : start + PAGE], nextCursor=following)


@low.set_logging_level()
async def set_level(level) -> None:
    """Every level is told."""


@low.subscribe_resource()
async def subscribe(uri) -> None:
    watching.append(low.request_context.session)


@low.unsubscribe_resource()
async def unsubscribe(uri) -> None:
    watching.remove(low.request_context.session)


def capabilities(notifications, experimental):
    """With what this SDK cannot be told to say: that resources may be subscribed to."""
    offered = declared(notifications, experimental)
    offered.resources.subscribe = True
    return offered


declared, low.get_capabilities = low.get_capabilities, capabilities


if __name__ == "__main__":
    application = mcp.sse_app() if "sse" in sys.argv else mcp.streamable_http_app()
    uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
