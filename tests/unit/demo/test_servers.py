"""The demo servers, asked by the official client."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from mcp import Client
from mcp.server.mcpserver import MCPServer

from marketplace.demo.servers import payments, text


def ask(server: MCPServer, question: Callable[[Client], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with Client(server) as client:
            return await question(client)

    return anyio.run(main)


def call(server: MCPServer, tool: str, **arguments: Any) -> Any:
    return ask(server, lambda client: client.call_tool(tool, arguments))


def test_every_tool_says_what_it_does_and_describes_each_argument() -> None:
    for server in (payments.server, text.server):
        tools = ask(server, lambda client: client.list_tools()).tools
        for tool in tools:
            assert tool.title
            assert tool.description
            assert tool.output_schema
            assert all(field["description"] for field in tool.input_schema["properties"].values())


def test_only_the_refund_is_marked_destructive() -> None:
    tools = ask(payments.server, lambda client: client.list_tools()).tools
    tools += ask(text.server, lambda client: client.list_tools()).tools
    assert [tool.name for tool in tools if tool.annotations.destructive_hint] == ["refund_invoice"]
    assert [tool.name for tool in tools if not tool.annotations.read_only_hint] == ["refund_invoice"]


def test_invoices_are_filtered_limited_and_counted() -> None:
    listed = call(payments.server, "list_invoices", status="overdue", limit=3).structured_content
    assert len(listed["invoices"]) == 3
    assert {invoice["status"] for invoice in listed["invoices"]} == {"overdue"}
    assert listed["total_count"] > 3


def test_an_invoice_is_refunded_in_parts_until_nothing_is_left() -> None:
    [invoice] = call(payments.server, "list_invoices", status="paid", limit=1).structured_content["invoices"]
    total = invoice["amount_cents"]
    part = call(payments.server, "refund_invoice", invoice_id=invoice["id"], amount=100).structured_content
    assert part == {
        "invoice_id": invoice["id"],
        "refunded_cents": 100,
        "remaining_cents": total - 100,
        "status": "paid",
    }
    too_much = call(payments.server, "refund_invoice", invoice_id=invoice["id"], amount=total)
    assert too_much.is_error
    rest = call(payments.server, "refund_invoice", invoice_id=invoice["id"], amount=total - 100).structured_content
    assert rest["status"] == "refunded"


def test_an_unknown_invoice_is_an_error_with_the_next_step() -> None:
    answer = call(payments.server, "refund_invoice", invoice_id="INV-1", amount=1)
    assert answer.is_error
    assert "list_invoices" in answer.content[0].text


def test_words_are_counted() -> None:
    counts = call(text.server, "count_words", text="The well-known cat.\nThe cat's hat").structured_content
    assert counts == {"words": 6, "distinct_words": 5, "characters": 33, "lines": 2}


def test_a_slug_is_plain_and_cut_at_a_word() -> None:
    assert call(text.server, "slugify", text="Crème brûlée — the best!").structured_content == {
        "result": "creme-brulee-the-best"
    }
    assert call(text.server, "slugify", text="one two three", max_length=9).structured_content == {"result": "one-two"}


def test_paragraphs_are_measured_with_progress() -> None:
    heard: list[tuple[float, float | None]] = []

    async def progress(done: float, total: float | None, _message: str | None) -> None:
        heard.append((done, total))

    arguments = {"text": "one two three\n\nfour"}
    answer = ask(
        text.server, lambda client: client.call_tool("summarise_lengths", arguments, progress_callback=progress)
    )
    assert heard == [(1, 2), (2, 2)]
    assert answer.structured_content["longest_position"] == 1
    assert answer.structured_content["average_words"] == 2.0
