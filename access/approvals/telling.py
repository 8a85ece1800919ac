"""Telling people and programs about calls that wait for approval. In the transaction of what happened."""

from __future__ import annotations

from django.urls import reverse

from access.models import CallApproval
from notifications import services as notifications
from notifications.services import webhooks
from tenants.choices import Right
from tenants.models import Tenant, User
from tenants.selectors.people import holders


def deciders(tenant: Tenant, row: CallApproval) -> list[User]:
    """Who may decide: whoever manages access, but for the people whose call it is."""
    return [person for person in holders(tenant, Right.MANAGE_ACCESS) if person.pk not in row.barred]


def tell_approvers(tenant: Tenant, row: CallApproval) -> None:
    """The arguments stay on the page: mail is forwarded and archived."""
    title = f"{row.agent or row.key_label} waits to call {row.tool} at {row.server_name}"
    lines = [
        f"Key: {row.key_label}",
        f"Tool: {row.tool} ({row.side_effect or 'effect unknown'})",
        f"Until: {row.expires_at:%-d %B %Y, %H:%M} UTC",
        "",
        "Look at the arguments, then approve or reject this one call.",
    ]
    for person in deciders(tenant, row):
        notifications.notify(
            kind="access.call_approval",
            title=title[:200],
            body="\n".join(lines),
            url=page_of(tenant, row),
            recipient_id=person.pk,
            email=person.email,
        )
    emit(tenant, row, "approval_requested")


def emit(tenant: Tenant, row: CallApproval, what: str) -> None:
    webhooks.emit(tenant.pk, f"access.call.{what}", {**row.facts(), "url": page_of(tenant, row)})


def page_of(tenant: Tenant, row: CallApproval) -> str:
    return reverse("org:call-approval", args=[tenant.slug, row.pk])
