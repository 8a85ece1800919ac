"""The frame around every page, built once a request and only when a template asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from django_tenants.utils import schema_context

from notifications import selectors as notifications
from tenants.choices import Right
from tenants.elevated import elevation_of
from tenants.models import Membership

# Pages that belong to an entry of the rail without standing under its address.
_BELONGS = {"org:access": ("org:connections",)}
_DISCOVER = ("/servers/", "/tools/", "/compare/")
# label, url name, icon, right that it needs (None: every member)
_RAIL: tuple[tuple[str, str, str, Right | None], ...] = (
    ("Calls", "org:calls", "activity", Right.VIEW_CALLS),
    ("Live", "org:live", "gauge", Right.VIEW_CALLS),
    ("Keys", "org:keys", "key", None),
    ("Access", "org:access", "shield", None),
    ("Playground", "org:playground", "play", Right.RUN_TOOLS),
    ("Requests", "org:requests", "inbox", None),
    ("Sources", "org:sources", "download", None),
    ("Published", "org:servers", "server", Right.PUBLISH),
    ("Billing", "org:billing", "card", Right.VIEW_BILLING),
    ("Earnings", "org:earnings", "chart", Right.VIEW_BILLING),
    ("People", "org:people", "people", None),
    ("Audit", "org:audit", "history", Right.VIEW_AUDIT),
    ("Settings", "org:settings", "settings", Right.MANAGE_SETTINGS),
)


# How many things wait behind an entry of the rail, by its URL name: told by the apps that know.
Count = Callable[[Membership], int]
_counts: dict[str, Count] = {}


def register_count(name: str, count: Count) -> None:
    """Let an entry of the rail show how many things wait there. Asked inside the organisation's schema."""
    _counts[name] = count


def build_frame(request: HttpRequest) -> Any:
    return SimpleLazyObject(lambda: _build(request))


def _build(request: HttpRequest) -> dict[str, Any]:
    user = getattr(request, "user", None)
    organisation = getattr(request, "organisation", None)
    membership = getattr(request, "membership", None)
    if user is None or not user.is_authenticated:
        return {
            "user": None,
            "organisation": None,
            "membership": None,
            "organisations": [],
            "rail": [],
            "unread": 0,
            "operator": False,
            "suggest_url": reverse("catalog:suggest"),
        }
    return {
        "user": user,
        "organisation": organisation,
        "membership": membership,
        "organisations": [
            {"name": m.tenant.name, "slug": m.tenant.slug, "role": m.get_role_display()} for m in _memberships(user)
        ],
        "rail": _rail(request, membership),
        "unread": notifications.count_unread(organisation.schema_name, user.pk) if organisation else 0,
        "operator": user.is_staff,
        "elevation": elevation_of(request),
        "suggest_url": reverse("catalog:suggest"),
    }


def _memberships(user: Any) -> QuerySet[Membership]:
    return (
        Membership.objects.select_related("tenant")
        .filter(user=user, tenant__suspended_at=None)
        .order_by("tenant__name")
    )


def _rail(request: HttpRequest, membership: Membership | None) -> list[dict[str, Any]]:
    items = [_item(request, "Discover", reverse("catalog:home"), "search", exact=True)]
    if membership is not None:
        org = membership.tenant.slug
        items += [
            _item(
                request,
                label,
                reverse(name, args=[org]),
                icon,
                also=[reverse(n, args=[org]) for n in _BELONGS.get(name, ())],
            )
            | {"count": _count(name, membership)}
            for label, name, icon, right in _RAIL
            if right is None or membership.can(right)
        ]
    if request.user.is_staff:
        items.append(_item(request, "Operations", reverse("admin:index"), "operations"))
    return items


def _count(name: str, membership: Membership) -> int:
    if name not in _counts:
        return 0
    with schema_context(membership.tenant.schema_name):
        return _counts[name](membership)


def _item(
    request: HttpRequest, label: str, url: str, icon: str, *, exact: bool = False, also: Sequence[str] = ()
) -> dict[str, Any]:
    under = request.path.startswith((url, *also))
    here = request.path == url or request.path.startswith(_DISCOVER) if exact else under
    return {"label": label, "url": url, "icon": icon, "active": here, "section": label.lower()}
