"""`payments`: an accounting system as an agent sees it. Reading is harmless, a refund is not.

The book is made up, the same at every start, and lives in memory: refunds are forgotten with the process.
"""

from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

from marketplace.demo.servers.serving import main

_CUSTOMERS = ("Aurora Foods", "Blue Harbour Logistics", "Cedar Clinics", "Delta Print", "Evergreen Energy")
_FIRST_ISSUE = date(2026, 1, 5)
_INVOICE_COUNT = 40


class InvoiceStatus(StrEnum):
    OPEN = "open"
    PAID = "paid"
    OVERDUE = "overdue"
    REFUNDED = "refunded"


class Invoice(BaseModel):
    id: str = Field(description="Number of the invoice, for example INV-1001.")
    customer: str = Field(description="Company that owes or paid the invoice.")
    status: InvoiceStatus = Field(description="Where the invoice stands.")
    issued_on: date = Field(description="Day the invoice was issued.")
    due_on: date = Field(description="Last day to pay without a reminder.")
    amount_cents: int = Field(description="Total in cents.", ge=0)
    refunded_cents: int = Field(description="What was paid back so far, in cents.", ge=0)
    currency: str = Field(description="ISO 4217 code of the currency.")


class InvoiceList(BaseModel):
    invoices: list[Invoice] = Field(description="The invoices, the newest first.")
    total_count: int = Field(description="How many invoices match, also beyond the limit.")


class Refund(BaseModel):
    invoice_id: str = Field(description="The invoice that was paid back.")
    refunded_cents: int = Field(description="What this refund paid back, in cents.")
    remaining_cents: int = Field(description="What could still be paid back, in cents.")
    status: InvoiceStatus = Field(description="Status of the invoice after the refund.")


server = MCPServer(
    "payments",
    title="Payments",
    description="Invoices of a small company: list them, and pay them back.",
    instructions="Amounts are whole cents. A refund moves money and cannot be taken back.",
    version="1.0.0",
)


def _invoice(position: int) -> Invoice:
    issued_on = _FIRST_ISSUE + timedelta(days=7 * position)
    # Mostly paid, as books are; the cycle lengths have no common factor, so the columns look unrelated.
    status = (InvoiceStatus.PAID, InvoiceStatus.PAID, InvoiceStatus.OPEN, InvoiceStatus.PAID, InvoiceStatus.OVERDUE)
    return Invoice(
        id=f"INV-{1001 + position}",
        customer=_CUSTOMERS[position * 3 % len(_CUSTOMERS)],
        status=status[position * 7 % len(status)],
        issued_on=issued_on,
        due_on=issued_on + timedelta(days=30),
        amount_cents=4_900 + position * 1_733 % 90_000,
        refunded_cents=0,
        currency="USD",
    )


_book = {invoice.id: invoice for invoice in map(_invoice, range(_INVOICE_COUNT))}


@server.tool(
    title="List invoices",
    annotations=ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False),
)
def list_invoices(
    status: Annotated[
        InvoiceStatus | None, Field(description="Only invoices with this status; all without it.")
    ] = None,
    limit: Annotated[int, Field(description="At most this many invoices.", ge=1, le=100)] = 20,
) -> InvoiceList:
    """List invoices, the newest first, with customer, status, dates and amounts."""
    matching = [invoice for invoice in reversed(_book.values()) if status is None or invoice.status == status]
    return InvoiceList(invoices=matching[:limit], total_count=len(matching))


@server.tool(
    title="Refund an invoice",
    annotations=ToolAnnotations(
        read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=False
    ),
)
def refund_invoice(
    invoice_id: Annotated[str, Field(description="Number of the invoice, for example INV-1001.")],
    amount: Annotated[int, Field(description="What to pay back, in cents; at most the rest of the invoice.", ge=1)],
) -> Refund:
    """Pay a paid invoice back, in part or in full. Money leaves the account; this cannot be undone."""
    invoice = _book.get(invoice_id)
    if invoice is None:
        message = f"There is no invoice {invoice_id}; list_invoices shows the numbers."
        raise ToolError(message)
    remaining = invoice.amount_cents - invoice.refunded_cents
    if invoice.status is not InvoiceStatus.PAID or amount > remaining:
        message = f"{invoice_id} is {invoice.status} and at most {remaining} cents of a paid invoice can be refunded."
        raise ToolError(message)
    invoice.refunded_cents += amount
    invoice.status = InvoiceStatus.REFUNDED if amount == remaining else InvoiceStatus.PAID
    return Refund(
        invoice_id=invoice_id, refunded_cents=amount, remaining_cents=remaining - amount, status=invoice.status
    )


if __name__ == "__main__":
    main(server)
