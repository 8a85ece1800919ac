"""The policy of a server: what holds for this organisation at this moment, and for its owner what to change about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from access import document, rendering, selectors
from access.approvals import guards
from access.document import DocumentInvalidError
from access.web.forms import ServiceForm
from access.web.grants import tabs
from access.web.viewing import get_server, servers_by_id, viewer_of
from audit import services as audit
from catalog.choices import PolicyMode
from catalog.models import Server
from catalog.policies import COMPATS, DEFAULT_HEADER, ENFORCE_ON, LONGEST_S, PolicySettings
from catalog.selectors.listing import visible_to
from catalog.services import policies
from core.errors import MarketplaceError
from tenants.choices import Right
from tenants.requests import OrganisationRequest
from tenants.services.rights import require

_SERVERS_SHOWN = 500
_MODES = [
    (PolicyMode.ALLOW_LIST.value, "Allow-list: nothing passes that no grant allows"),
    (PolicyMode.OBSERVE.value, "Observe: your own agents may call everything, and every call is recorded"),
]
_DEFAULTS = [
    ("deny", "Refused"),
    ("allow", "Allowed to your own agents; what a grant denies stays denied"),
]
_ENFORCED = dict(
    zip(
        ENFORCE_ON,
        ("All: reading resources and prompts as well", "Tool calls alone; for the rest any live grant is enough"),
        strict=True,
    )
)
_COMPATS = dict(
    zip(
        COMPATS,
        ("Strict", "As MCP Runtime reads it, for your own agents; others are held to the strict reading"),
        strict=True,
    )
)


class PolicyForm(ServiceForm):
    mode = forms.ChoiceField(choices=_MODES, widget=forms.RadioSelect)
    default_decision = forms.ChoiceField(
        choices=_DEFAULTS, widget=forms.RadioSelect, label="What no grant speaks for is"
    )
    enforce_on = forms.ChoiceField(
        choices=list(_ENFORCED.items()), widget=forms.RadioSelect, label="Trust and side effects are looked at for"
    )
    session_required = forms.BooleanField(
        required=False, label="Every call belongs to a session of an agent", help_text="Holds for every organisation."
    )
    session_header = forms.CharField(
        max_length=62, label="Header in which callers name their session", help_text=f"Usually {DEFAULT_HEADER}."
    )
    session_max_lifetime_s = forms.IntegerField(
        min_value=60, max_value=LONGEST_S, label="A session lives at most (seconds)", help_text="A day is 86400."
    )
    session_idle_timeout_s = forms.IntegerField(
        min_value=60, max_value=LONGEST_S, label="It ends without a call after (seconds)", help_text="An hour is 3600."
    )
    policy_version = forms.CharField(
        max_length=63, label="Version", help_text="Your own name for this policy; stored with each call."
    )
    identity_headers = forms.BooleanField(
        required=False,
        label="Keys that may do so say for whom they call",
        help_text="In X-MCP-Human-ID, X-MCP-Agent-ID and X-MCP-Team-ID. Other keys are never heard there.",
    )
    compat = forms.ChoiceField(
        choices=list(_COMPATS.items()), widget=forms.RadioSelect, label="Where policies can be read in two ways"
    )


class GuardForm(ServiceForm):
    """What this organisation asks of its own calls of a server's tools, whoever publishes it."""

    approvals = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="A person approves each call of",
        help_text="The call waits until somebody who manages access has looked at its arguments. Nobody decides about calls of "
        "their own keys.",
    )

    def __init__(self, *args: Any, tools: Iterable[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["approvals"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(tool, tool) for tool in tools]


@require_safe
def policy_list(request: OrganisationRequest, org: str) -> HttpResponse:
    """Servers of the organisation, and those that it has given access to."""
    granted = set(selectors.live_grants().values_list("server_id", flat=True))
    servers = list(servers_by_id(request, granted).values())
    own = visible_to(viewer_of(request)).filter(owner_tenant=request.organisation).exclude(current_version=None)
    found = {server.pk: server for server in [*own[:_SERVERS_SHOWN], *servers]}
    context = {
        "tabs": tabs(request, org, "policy"),
        "servers": sorted(found.values(), key=lambda server: server.name),
        "own": {server.pk for server in found.values() if server.owner_tenant_id == request.organisation.pk},
    }
    return render(request, "access/policies.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def policy_detail(request: OrganisationRequest, org: str, slug: str) -> HttpResponse:
    server = get_server(request, slug)
    is_own = server.owner_tenant_id == request.organisation.pk
    may_change = is_own and request.membership.can(Right.MANAGE_ACCESS) and request.membership.can(Right.PUBLISH)
    settings = PolicySettings.of(server)
    initial = asdict(settings) | {"mode": server.policy_mode, "identity_headers": server.identity_headers}
    is_guarding = request.POST.get("form") == "guards"
    form = PolicyForm(None if is_guarding else request.POST or None, initial=initial) if may_change else None
    guard_form = _guard_form(request, server, bound=is_guarding)
    if is_guarding:
        require(request.membership, Right.MANAGE_ACCESS)
        if guard_form is not None and guard_form.is_valid() and _guard(request, server, guard_form):
            return redirect("org:server-policy", org, server.slug)
    elif request.method == "POST":
        require(request.membership, Right.MANAGE_ACCESS)
        require(request.membership, Right.PUBLISH)
        if form is not None and form.is_valid() and _save(request, server, form):
            return redirect("org:server-policy", org, server.slug)
    rendered = rendering.render(request.organisation, server)
    context = {
        "tabs": tabs(request, org, "policy"),
        "server": server,
        "form": form,
        "guard_form": guard_form,
        "guarded": sorted(name for name, guard in guards.guards_at(server.pk).items() if guard.needs_approval),
        "is_own": is_own,
        "facts": _facts(server, settings, rendered.revision),
        "document": rendered.document,
        "left_out": rendered.left_out,
        "problem": _problem(rendered.document),
    }
    return render(request, "access/policy.html", context)


def _guard_form(request: OrganisationRequest, server: Server, *, bound: bool) -> GuardForm | None:
    """None for whom it is not to change, and where the server has no tools."""
    held = [name for name, guard in guards.guards_at(server.pk).items() if guard.needs_approval]
    tools = server.current_version.tools.values_list("name", flat=True) if server.current_version else ()
    names = sorted({*tools, *held})
    if not names or not request.membership.can(Right.MANAGE_ACCESS):
        return None
    return GuardForm(request.POST if bound else None, initial={"approvals": held}, tools=names)


def _guard(request: OrganisationRequest, server: Server, form: GuardForm) -> bool:
    try:
        guards.set_approvals(
            tenant=request.organisation, server=server, tools=form.cleaned_data["approvals"], actor=request.user
        )
    except MarketplaceError as error:
        form.refuse(error)
        return False
    messages.success(request, f"Saved for your calls of {server.name}. Gateways follow within a second.")
    return True


def _save(request: OrganisationRequest, server: Server, form: PolicyForm) -> bool:
    data = dict(form.cleaned_data)
    mode, takes_identity = data.pop("mode"), data.pop("identity_headers")
    actor = audit.Party("user", str(request.user.pk), request.user.email)
    try:
        policies.change(
            server_id=server.pk,
            owner_id=request.organisation.pk,
            policy=policies.Policy(mode, PolicySettings(**data), takes_identity),
            actor=actor,
        )
    except MarketplaceError as error:
        form.refuse(error)
        return False
    messages.success(request, f"The policy of {server.name} is saved. Gateways follow within a second.")
    return True


def _facts(server: Server, settings: PolicySettings, revision: str) -> list[dict[str, Any]]:
    session = "needed for every call" if settings.session_required else "not needed"
    return [
        {"label": "Mode", "value": server.get_policy_mode_display()},
        {
            "label": "Without a grant",
            "value": "allowed to the owner's agents" if settings.default_decision == "allow" else "refused",
        },
        {
            "label": "Trust looked at for",
            "value": "tool calls" if settings.enforce_on == "call_tool" else "every method",
        },
        {"label": "Session", "value": f"{session}, named in {settings.session_header}"},
        {"label": "Reading", "value": "as MCP Runtime" if settings.compat != "strict" else "strict"},
        {"label": "Version", "value": settings.policy_version},
        {"label": "Schema", "value": document.SCHEMA_VERSION},
        {"label": "Revision", "value": revision},
    ]


def _problem(rendered: dict[str, Any]) -> str:
    try:
        document.validate(rendered)
    except DocumentInvalidError as error:
        return str(error)
    return ""
