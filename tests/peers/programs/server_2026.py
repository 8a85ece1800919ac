"""A server of the SDK 2.x: `server_2026.py PORT [modern]`. It speaks both eras, or with `modern` only the newer one."""

import asyncio
import json
import sys

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import (
    Completion,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    EmptyResult,
    Icon,
    InputRequiredResult,
    ListRootsRequest,
    ListToolsResult,
    PaginatedRequestParams,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    ToolAnnotations,
    UnsubscribeRequestParams,
)
from pydantic import BaseModel

MODERN = "2026-07-28"
PAGE = 4

mcp = MCPServer("walk", version="1.2.3", title="Walk", instructions="Walk through it.")
cancelled: set[str] = set()


class Answer(BaseModel):
    name: str


@mcp.tool(
    title="Echo", icons=[Icon(src="data:image/png;base64,AA==")], annotations=ToolAnnotations(read_only_hint=True)
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
async def ask(ctx: Context) -> str | InputRequiredResult:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    if ctx.protocol_version != MODERN:
        answer = await ctx.elicit("Who are you?", Answer)
        return f"{answer.action} {answer.data.name if answer.action == 'accept' else ''}"
    if ctx.input_responses:
        answer = ctx.input_responses["who"]
        return f"{answer.action} {(answer.content or {}).get('name', '')}"
    question = ElicitRequest(params=ElicitRequestFormParams(message="Who are you?", requested_schema=schema))
    return InputRequiredResult(input_requests={"who": question}, request_state="asked")


@mcp.tool()
async def think(ctx: Context) -> str | InputRequiredResult:
    messages = [SamplingMessage(role="user", content=TextContent(type="text", text="What is 6 times 7?"))]
    if ctx.protocol_version != MODERN:
        thought = await ctx.session.create_message(messages=messages, max_tokens=5, related_request_id=ctx.request_id)
        return f"thought {thought.content.text}"
    if ctx.input_responses:
        return f"thought {ctx.input_responses['thought'].content.text}"
    params = CreateMessageRequestParams(messages=messages, max_tokens=5)
    return InputRequiredResult(input_requests={"thought": CreateMessageRequest(params=params)})


@mcp.tool()
async def where(ctx: Context) -> str | InputRequiredResult:
    if ctx.protocol_version != MODERN:
        roots = (await ctx.session.list_roots()).roots
    elif ctx.input_responses:
        roots = ctx.input_responses["roots"].roots
    else:
        return InputRequiredResult(input_requests={"roots": ListRootsRequest()})
    return " ".join(str(root.uri) for root in roots)


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
    if ctx.protocol_version != MODERN:
        await ctx.session.send_resource_updated("walk://text")
    else:
        await ctx.notify_resource_updated("walk://text")
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
async def complete(ref, argument, context) -> Completion:
    values = [name for name in ("ada", "alan", "grace") if name.startswith(argument.value)]
    return Completion(values=values, total=len(values), has_more=False)


async def list_tools(ctx, params: PaginatedRequestParams | None) -> ListToolsResult:
    """In pages, which this SDK's high level does not offer."""
    tools = await mcp.list_tools()
    start = int((params and params.cursor) or 0)
    following = str(start + PAGE) if start + PAGE < len(tools) else None
    return ListToolsResult(tools=tools[start : start + PAGE], next_cursor=following)


async def nothing(ctx, params) -> EmptyResult:
    return EmptyResult()


low = mcp._lowlevel_server
low.add_request_handler("tools/list", PaginatedRequestParams, list_tools)
low.add_request_handler("logging/setLevel", SetLevelRequestParams, nothing)
low.add_request_handler("resources/subscribe", SubscribeRequestParams, nothing)
low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, nothing)


def modern_only(app):
    """The same server for clients of the newer era alone: others hear which version it speaks."""

    async def serve(scope, receive, send) -> None:
        headers = dict(scope.get("headers", ()))
        if scope["type"] == "http" and headers.get(b"mcp-protocol-version", b"") < MODERN.encode():
            posted = scope["method"] == "POST"
            error = {"code": -32022, "message": "Unsupported version", "data": {"supported": [MODERN], "requested": ""}}
            body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode() if posted else b""
            head = [(b"content-type", b"application/json")] if posted else [(b"allow", b"POST")]
            await send({"type": "http.response.start", "status": 400 if posted else 405, "headers": head})
            await send({"type": "http.response.body", "body": body})
        else:
            await app(scope, receive, send)

    return serve


if __name__ == "__main__":
    application = mcp.streamable_http_app()
    application = modern_only(application) if "modern" in sys.argv else application
    uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
