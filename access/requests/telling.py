"""Telling people about requests: on the web and by mail, and programs by webhooks. In the transaction of what happened."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.urls import reverse

from access.models import AccessRequest, ProviderReview
from access.requests import links, routing
from access.requests.events import open_terms
from access.requests.routing import Approver
from access.requests.rules import Terms
from notifications import services as notifications
from notifications.services import webhooks
from tenants.models import Membership, Tenant, User

_HOURS_A_DAY = 24
# What happened, as the approver and the requester read it in the subject of a mail.
_TO_APPROVER = {
    "opened": "{who} asks for access to {server}",
    "answered": "{who} answered about access to {server}",
    "escalated": "Nobody has decided yet: {who} asks for access to {server}",
}
_TO_REQUESTER = {
    "asked": "A question about your request for {server}",
    "approved": "You have access to {server}",
    "rejected": "Your request for {server} was rejected",
    "expired": "Nobody decided about your request for {server}",
}


def tell_approvers(tenant: Tenant, request: AccessRequest, what: str, comment: str = "") -> None:
    """Everybody who may decide the present step."""
    routing.keep_deciders(tenant, request)
    tell_people(tenant, request, routing.approvers(tenant, request), what, comment)


def tell_people(
    tenant: Tenant, request: AccessRequest, people: Iterable[Approver], what: str, comment: str = ""
) -> None:
    """Approvers, each with a link of their own in the mail."""
    title = _TO_APPROVER[what].format(who=request.requester_label, server=request.server_name)
    body = "\n".join([*([comment, ""] if comment else []), *facts(request, open_terms(request))])
    for approver in people:
        token = links.mint(request, approver.user.pk)
        behalf = f"\nYou decide for {approver.on_behalf_of}, who is away." if approver.on_behalf_of else ""
        _inbox(f"access.request_{what}", title, body + behalf, page_of(tenant, request), approver.user)
        _mail(
            f"access.request_{what}",
            title,
            f"{body}{behalf}\n\nThe link is for {approver.user.email} alone, works once, and asks before anything happens.",
            reverse("org:request-by-mail", args=[tenant.slug, token]),
            approver.user,
        )


def tell_requester(
    tenant: Tenant, request: AccessRequest, what: str, comment: str = "", ends: datetime | None = None
) -> None:
    person = Membership.objects.filter(tenant=tenant, user_id=request.requester_id).select_related("user").first()
    lines = [comment, ""] if comment else []
    if ends is not None:
        lines += [f"Calls work from now on, until {ends:%-d %B %Y, %H:%M} UTC.", ""]
    body = "\n".join([*lines, *facts(request, open_terms(request))])
    if person is not None:
        title = _TO_REQUESTER[what].format(server=request.server_name)
        _inbox(f"access.request_{what}", title, body, page_of(tenant, request), person.user)
        _mail(f"access.request_{what}", title, body, page_of(tenant, request), person.user)
    emitted(tenant, request, what)


def tell_provider(owner: Tenant, asking: Tenant, request: AccessRequest, people: Iterable[User]) -> None:
    """Inside the provider's schema: that another organisation asks for its restricted server."""
    title = f"{asking.name} asks for access to {request.server_name}"
    url = reverse("org:provider-request", args=[owner.slug, request.pk])
    for person in people:
        _inbox("access.provider_asked", title, request.reason, url, person)
        _mail("access.provider_asked", title, request.reason, url, person)


def facts(request: AccessRequest | ProviderReview, terms: Terms) -> list[str]:
    """What is asked, one line each."""
    subject = getattr(request, "subject_label", "")
    return [
        *([f"For: {subject}"] if subject else []),
        f"Tools: {', '.join(terms.tools) or 'every tool'}",
        f"May: {', '.join(terms.side_effects)}, up to {terms.max_trust} trust",
        f"For how long: {duration_words(terms.duration_h)}",
        f"Why: {request.reason}",
    ]


def duration_words(hours: int) -> str:
    if hours % _HOURS_A_DAY:
        return f"{hours} hour{'' if hours == 1 else 's'}"
    days = hours // _HOURS_A_DAY
    return f"{days} day{'' if days == 1 else 's'}"


def page_of(tenant: Tenant, request: AccessRequest) -> str:
    return reverse("org:request", args=[tenant.slug, request.pk])


def emitted(tenant: Tenant, request: AccessRequest, what: str) -> None:
    """Tell the organisation's webhooks."""
    data = {
        "request_id": str(request.pk),
        "server": request.server_name,
        "subject": request.subject_label,
        "requester": request.requester_label,
        "tools": request.tool_names,
        "max_trust": request.max_trust,
        "side_effects": list(request.side_effects),
        "duration_h": request.duration_h,
        "state": request.state,
        "grant_id": str(request.grant_id or ""),
        "url": page_of(tenant, request),
    }
    webhooks.emit(tenant.pk, f"access.request.{what}", data)


def _inbox(kind: str, title: str, body: str, url: str, person: User) -> None:
    notifications.notify(kind=kind, title=title, body=body, url=url, recipient_id=person.pk)


def _mail(kind: str, title: str, body: str, url: str, person: User) -> None:
    """Apart from the inbox: what is mailed to an address alone forgets its link once it is sent."""
    notifications.notify(kind=kind, title=title, body=body, url=url, email=person.email)
