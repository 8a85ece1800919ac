"""Pages of limits: what may be called and spent, how much of it is used, setting and removing."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from access import selectors
from access.limits import LimitKind, LimitRule, LimitScope, Period, from_units, window_of
from access.models import Limit
from access.services import limits
from access.services.limits import Terms
from access.web.forms import ServiceForm
from access.web.grants import tabs
from access.web.viewing import viewer_of
from calls import selectors as calls
from catalog.models import Server
from catalog.selectors.listing import visible_to
from core import clock
from core.errors import MarketplaceError, NotFoundError
from tenants.choices import Right
from tenants.models import APIKey
from tenants.requests import OrganisationRequest
from tenants.services.rights import require, who_can

_SERVERS_SHOWN = 500
_PER = {
    Period.SECOND: "a second",
    Period.MINUTE: "a minute",
    Period.HOUR: "an hour",
    Period.DAY: "a day",
    Period.MONTH: "a month",
}
WHAT = [
    (f"{kind}:{period}", words)
    for kind, period, words in (
        (LimitKind.CAP, Period.MONTH, "USD spent in a month"),
        (LimitKind.CAP, Period.DAY, "USD spent in a day"),
        (LimitKind.QUOTA, Period.MONTH, "Successful tool calls in a month"),
        (LimitKind.QUOTA, Period.DAY, "Successful tool calls in a day"),
        (LimitKind.RATE, Period.SECOND, "Requests a second"),
        (LimitKind.RATE, Period.MINUTE, "Requests a minute"),
        (LimitKind.RATE, Period.HOUR, "Requests an hour"),
        (LimitKind.RATE, Period.DAY, "Requests a day"),
    )
]


@dataclass(frozen=True, slots=True)
class LimitRow:
    """A limit with what is used of it; `used` is None for rates, which are whole again within their period."""

    rule: LimitRule
    whom: str
    limit: Limit | None  # None for the platform's default
    used: Decimal | None
    amount: Decimal

    @property
    def origin(self) -> str:
        """Whose it is, where the organisation did not set it itself."""
        if self.limit is not None:
            return ""
        return "Part of your plan" if self.rule.limit_id.startswith("plan-") else "Default of the platform"

    @property
    def text(self) -> str:
        if self.rule.kind is LimitKind.CAP:
            return f"{self.amount:.2f} {self.rule.currency} {_PER[self.rule.period]}"
        noun = "requests" if self.rule.kind is LimitKind.RATE else "tool calls"
        return f"{self.amount:,.0f} {noun} {_PER[self.rule.period]}"

    @property
    def used_text(self) -> str:
        if self.used is None:
            return ""
        money = self.rule.kind is LimitKind.CAP
        return f"{self.used:.2f} {self.rule.currency}" if money else f"{self.used:,.0f} calls"

    @property
    def percent(self) -> int:
        return min(100, int(self.used * 100 / self.amount)) if self.used is not None and self.amount else 0


def limit_rows(kinds: Collection[LimitKind] = tuple(LimitKind)) -> list[LimitRow]:
    """The limits of some kinds with what is used of them, the platform's defaults included. Inside the organisation's scope."""
    own = {str(limit.pk): limit for limit in selectors.list_limits()}
    return [_row(rule, own.get(rule.limit_id)) for rule in selectors.compile_limits() if rule.kind in kinds]


@require_safe
def limit_list(request: OrganisationRequest, org: str, beside: Iterable[LimitRule] = ()) -> HttpResponse:
    """`beside` are limits that gateways hold calls against and that nobody sets here, such as those of a plan."""
    can_manage = request.membership.can(Right.MANAGE_ACCESS)
    context = {
        "rows": [*limit_rows(), *(_row(rule, None) for rule in beside)],
        "tabs": tabs(request, org, "limits"),
        "can_manage": can_manage,
        "helpers": "" if can_manage else who_can(request.membership, Right.MANAGE_ACCESS),
    }
    return render(request, "access/limits.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def limit_create(request: OrganisationRequest, org: str) -> HttpResponse:
    require(request.membership, Right.MANAGE_ACCESS)
    return _edit(request, org, None)


@require_http_methods(["GET", "HEAD", "POST"])
def limit_change(request: OrganisationRequest, org: str, limit_id: UUID) -> HttpResponse:
    require(request.membership, Right.MANAGE_ACCESS)
    return _edit(request, org, _find(limit_id))


@require_http_methods(["GET", "HEAD", "POST"])
def limit_remove(request: OrganisationRequest, org: str, limit_id: UUID) -> HttpResponse:
    require(request.membership, Right.MANAGE_ACCESS)
    limit = _find(limit_id)
    if request.method == "POST":
        limits.remove(tenant=request.organisation, limit_id=limit_id, actor=request.user)
        messages.success(request, f"The limit “{limit.name}” is removed.")
        return redirect("org:limits", org)
    return render(request, "access/limit_remove.html", {"limit": limit})


class LimitForm(ServiceForm):
    name = forms.CharField(max_length=100, help_text="Shown in refusals and notices, such as “Monthly budget”.")
    whom = forms.ChoiceField(label="Applies to")
    tool = forms.CharField(
        max_length=128, required=False, label="Only the tool", help_text="A tool of the chosen server; empty for all."
    )
    what = forms.ChoiceField(label="Counts", choices=WHAT)
    amount = forms.DecimalField(max_digits=20, decimal_places=10, min_value=0)
    hard = forms.TypedChoiceField(
        label="When it is used up",
        choices=[("yes", "Refuse further calls"), ("no", "Only tell people")],
        coerce=lambda value: value == "yes",
        initial="yes",
        widget=forms.RadioSelect,
        help_text="People who manage access are told at 50, 75, 90 and 100 % of a cap or quota.",
    )

    def __init__(self, *args: Any, keys: list[APIKey], servers: list[Server], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.keys, self.servers = {str(key.pk): key for key in keys}, {str(each.pk): each for each in servers}
        whom: Any = self.fields["whom"]
        whom.choices = [
            ("organisation", "The whole organisation"),
            ("key", "Each key by itself"),
            *([("One key", [(f"key:{pk}", key.name) for pk, key in self.keys.items()])] if keys else []),
            *([("One server", [(f"server:{pk}", each.name) for pk, each in self.servers.items()])] if servers else []),
        ]

    def terms(self) -> Terms:
        data = self.cleaned_data
        whom, _, identity = data["whom"].partition(":")
        kind, _, period = data["what"].partition(":")
        server, key = self.servers.get(identity), self.keys.get(identity)
        scope = LimitScope.TOOL if server is not None and data["tool"] else LimitScope(whom)
        label = server.name if server is not None else key.name if key is not None else ""
        return Terms(
            name=data["name"],
            scope=scope,
            kind=LimitKind(kind),
            amount=data["amount"],
            period=Period(period),
            hard=data["hard"],
            key_id=key.pk if key is not None else None,
            server=server,
            tool=data["tool"] if server is not None else "",
            subject_label=label,
        )


def _edit(request: OrganisationRequest, org: str, limit: Limit | None) -> HttpResponse:
    keys = list(selectors.list_keys(request.organisation).filter(revoked_at=None))
    servers = list(visible_to(viewer_of(request)).order_by("name")[:_SERVERS_SHOWN])
    form = LimitForm(request.POST or None, initial=_initial(limit), keys=keys, servers=servers)
    if request.method == "POST" and form.is_valid():
        try:
            terms = form.terms()
            if limit is None:
                limits.add(tenant=request.organisation, terms=terms, actor=request.user)
            else:
                limits.change(tenant=request.organisation, limit_id=limit.pk, terms=terms, actor=request.user)
        except MarketplaceError as error:
            form.refuse(error)
        else:
            messages.success(request, f"The limit “{terms.name}” holds from this moment on.")
            return redirect("org:limits", org)
    return render(request, "access/limit_form.html", {"form": form, "limit": limit})


def _initial(limit: Limit | None) -> dict[str, Any]:
    if limit is None:
        return {}
    identity = limit.key_id or limit.server_id
    whom = "server" if limit.scope == LimitScope.TOOL else limit.scope
    return {
        "name": limit.name,
        "whom": f"{whom}:{identity}" if identity else whom,
        "tool": limit.tool,
        "what": f"{limit.kind}:{limit.period}",
        "amount": f"{limit.amount.normalize():f}",
        "hard": "yes" if limit.hard else "no",
    }


def _find(limit_id: UUID) -> Limit:
    limit = selectors.list_limits().filter(pk=limit_id).first()
    if limit is None:
        raise NotFoundError("There is no such limit in this organisation.")
    return limit


def _row(rule: LimitRule, limit: Limit | None) -> LimitRow:
    amount = from_units(rule.amount) if rule.kind is LimitKind.CAP else Decimal(rule.amount)
    whom = {
        LimitScope.ORGANISATION: "The whole organisation",
        LimitScope.KEY: "Each key by itself" if rule.key_id is None else "Key",
        LimitScope.SERVER: "Server",
        LimitScope.TOOL: f"Tool {rule.tool} of",
    }[rule.scope]
    label = limit.subject_label if limit is not None else ""
    return LimitRow(rule, f"{whom} {label}".strip(), limit, _used(rule), amount)


def _used(rule: LimitRule) -> Decimal | None:
    """From the rows of calls; None where one number would mean nothing: rates, and limits that each key has for itself."""
    if rule.kind is LimitKind.RATE or (rule.scope is LimitScope.KEY and rule.key_id is None):
        return None
    window = window_of(rule.period, clock.now())
    count, money = calls.billed_since(
        window.starts_at,
        window.ends_at,
        currency=rule.currency,
        key_id=rule.key_id,
        server_id=rule.server_id,
        tool=rule.tool,
    )
    return Decimal(count) if rule.kind is LimitKind.QUOTA else money
