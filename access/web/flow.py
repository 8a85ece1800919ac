"""Pages of the flow rule: the rule, what sessions have touched, what a rule would have held back, and labels of tools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from access import flow, selectors
from access.flows import outlook, rules, state
from access.flows.rules import Terms
from access.models import FlowSession, OwnLabel
from access.models.flow import MODES, SCOPES, UNLABELLED, WINDOW_MOST_S
from access.types import READS, FlowLabel, FlowRule, Labels
from access.web.forms import ServiceForm
from access.web.grants import tabs
from access.web.viewing import get_server, servers_by_id, viewer_of
from audit import services as audit
from catalog.choices import LabelSetter
from catalog.models import Server, ToolLabel
from catalog.selectors import labels as confirmed
from catalog.selectors.listing import visible_to
from catalog.services import labelling
from core.errors import MarketplaceError
from tenants.choices import Right
from tenants.models import APIKey
from tenants.requests import OrganisationRequest
from tenants.services.rights import require, who_can

SESSIONS_SHOWN = 50
PREVIEW_DAYS = 7
_SERVERS_MAX = 500
LABEL_WORDS = [(label.value, text.capitalize()) for label, text in flow.WORDS.items()]
_PAIRS = [
    ("untrusted_input private_data external_output", "Untrusted input, private data and external output"),
    ("private_data external_output", "Private data and external output"),
    ("untrusted_input external_output", "Untrusted input and external output"),
    ("untrusted_input private_data", "Untrusted input and private data"),
]


class RuleForm(ServiceForm):
    mode = forms.ChoiceField(
        choices=MODES, widget=forms.RadioSelect, label="A call that would bring together what must not meet"
    )
    forbidden = forms.MultipleChoiceField(
        choices=_PAIRS,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="Must not meet in one session",
        help_text="Text that strangers wrote can turn an agent against you; with private data and a way out it can leak them.",
    )
    scope = forms.ChoiceField(
        choices=SCOPES,
        widget=forms.RadioSelect,
        label="One session is",
        help_text="The first is safer: a client chooses its sessions itself, and begins another one when it likes.",
    )
    window_s = forms.IntegerField(
        min_value=60,
        max_value=WINDOW_MOST_S,
        label="A session ends without a labelled call after (seconds)",
        help_text="An hour is 3600.",
    )
    unlabelled = forms.ChoiceField(choices=UNLABELLED, widget=forms.RadioSelect, label="Tools that nobody has labelled")
    exempt_agents = forms.CharField(
        required=False,
        label="Except for these agents",
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        help_text="One name a line. What they touch is remembered all the same.",
    )
    exempt_grants = forms.CharField(
        required=False,
        label="Except under these grants",
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        help_text="One a line, as namespace/name.",
    )

    def terms(self) -> Terms:
        data = self.cleaned_data
        return Terms(
            mode=data["mode"],
            forbidden=tuple(tuple(each.split()) for each in data["forbidden"]),
            scope=data["scope"],
            window_s=data["window_s"],
            unlabelled=data["unlabelled"],
            exempt_agents=tuple(data["exempt_agents"].splitlines()),
            exempt_grants=tuple(data["exempt_grants"].splitlines()),
        )

    def offer(self, held: Terms) -> None:
        """Combinations that a file or a program has set are offered as well, so that saving does not drop them."""
        field = self.fields["forbidden"]
        assert isinstance(field, forms.ChoiceField)
        known = {frozenset(name.split()) for name, _ in _PAIRS}
        more = [each for each in held.forbidden if frozenset(each) not in known]
        field.choices = [*_PAIRS, *((" ".join(each), flow.words(each).capitalize()) for each in more)]


@require_http_methods(["GET", "HEAD", "POST"])
def flow_rule(request: OrganisationRequest, org: str) -> HttpResponse:
    """A POST saves the rule, or with `act=try` shows what it would have held back."""
    held, can_manage = rules.terms(), request.membership.can(Right.MANAGE_ACCESS)
    form = RuleForm(request.POST or None, initial=_initial(held))
    form.offer(held)
    preview = None
    if request.method == "POST":
        require(request.membership, Right.MANAGE_ACCESS)
        if form.is_valid() and request.POST.get("act") == "try":
            preview = _preview(request, form.terms())
        elif form.is_valid() and _save(request, form):
            return redirect("org:flow", org)
    servers = _servers(request)
    context = {
        "tabs": tabs(request, org, "flow"),
        "form": form if can_manage else None,
        "facts": _facts(held),
        "helpers": "" if can_manage else who_can(request.membership, Right.MANAGE_ACCESS),
        "can_manage": can_manage,
        "sessions": _sessions(request),
        "servers": _labelled_rows(servers),
        "preview": preview,
    }
    return render(request, "access/flow.html", context)


@require_POST
def flow_forget(request: OrganisationRequest, org: str, session_id: UUID) -> HttpResponse:
    require(request.membership, Right.MANAGE_ACCESS)
    try:
        rules.forget(session_id=session_id, actor=request.user)
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}".strip())
    else:
        messages.success(request, "The session begins afresh, as if it had touched nothing.")
    return redirect("org:flow", org)


@require_http_methods(["GET", "HEAD", "POST"])
def flow_server(request: OrganisationRequest, org: str, slug: str) -> HttpResponse:
    """What the tools of a server touch: the word of its provider for everybody, and the organisation's for its own calls."""
    server = get_server(request, slug)
    can_manage = request.membership.can(Right.MANAGE_ACCESS)
    is_own = server.owner_tenant_id == request.organisation.pk
    may_confirm = is_own and can_manage and request.membership.can(Right.PUBLISH)
    if request.method == "POST":
        require(request.membership, Right.MANAGE_ACCESS)
        if request.POST.get("for") == "everybody":
            require(request.membership, Right.PUBLISH)
        if _label(request, server):
            return redirect("org:flow-server", org, server.slug)
    context = {
        "tabs": tabs(request, org, "flow"),
        "server": server,
        "rows": _tool_rows(server),
        "labels": LABEL_WORDS,
        "can_manage": can_manage,
        "may_confirm": may_confirm,
        "helpers": "" if can_manage else who_can(request.membership, Right.MANAGE_ACCESS),
    }
    return render(request, "access/flow_server.html", context)


# ------------------------------------------------------------------------------------------------------------------ the rule


def _initial(held: Terms) -> dict[str, Any]:
    return {
        "mode": held.mode,
        "forbidden": [" ".join(each) for each in held.forbidden],
        "scope": held.scope,
        "window_s": held.window_s,
        "unlabelled": held.unlabelled,
        "exempt_agents": "\n".join(held.exempt_agents),
        "exempt_grants": "\n".join(held.exempt_grants),
    }


def _facts(held: Terms) -> list[dict[str, Any]]:
    met = "; ".join(flow.words(each) for each in held.forbidden)
    return [
        {"label": "Must not meet", "value": met or "nothing is forbidden"},
        {"label": "Then", "value": dict(MODES)[held.mode]},
        {"label": "One session is", "value": dict(SCOPES)[held.scope]},
        {"label": "It ends after", "value": f"{held.window_s} seconds without a labelled call"},
        {"label": "Tools without labels", "value": dict(UNLABELLED)[held.unlabelled]},
        {"label": "Exceptions", "value": ", ".join([*held.exempt_agents, *held.exempt_grants]) or "none"},
    ]


def _save(request: OrganisationRequest, form: RuleForm) -> bool:
    try:
        rules.change(tenant=request.organisation, wanted=form.terms(), actor=request.user)
    except MarketplaceError as error:
        form.refuse(error)
        return False
    messages.success(request, "The flow rule is saved. Gateways follow within a second.")
    return True


def _preview(request: OrganisationRequest, wanted: Terms) -> outlook.Preview:
    rule = rules.compile_rule(wanted.normal())
    found = _labels(_servers(request), rule) if rule is not None else {}
    return outlook.preview(rule, found, days=PREVIEW_DAYS)


def _labels(servers: Iterable[Server], rule: FlowRule) -> dict[UUID, Mapping[str, Labels]]:
    own = rules.own_labels()
    found = {
        server.pk: flow.flowing(selectors.compile_policy(server), rule, own.get(server.pk, {})) for server in servers
    }
    return {server_id: flows for server_id, flows in found.items() if flows}


def _servers(request: OrganisationRequest) -> list[Server]:
    """Servers of the organisation, those that it gave access to, and those that it labelled."""
    ids = set(selectors.live_grants().values_list("server_id", flat=True))
    ids |= set(OwnLabel.objects.values_list("server_id", flat=True))
    own = visible_to(viewer_of(request)).filter(owner_tenant=request.organisation).exclude(current_version=None)
    found = {server.pk: server for server in [*own[:_SERVERS_MAX], *servers_by_id(request, ids).values()]}
    return sorted(found.values(), key=lambda server: server.name)


def _labelled_rows(servers: list[Server]) -> list[dict[str, Any]]:
    own, rows = rules.own_labels(), []
    said: dict[UUID, set[str]] = {}
    for server_id, tool in ToolLabel.objects.filter(server__in=servers).values_list("server_id", "tool"):
        said.setdefault(server_id, set()).add(tool)
    for server in servers:
        tools = set(server.current_version.tools.values_list("name", flat=True)) if server.current_version else set()
        labelled = (said.get(server.pk, set()) | set(own.get(server.pk, {}))) & tools
        rows.append({"server": server, "tools": len(tools), "labelled": len(labelled)})
    return rows


# --------------------------------------------------------------------------------------------------------------- the sessions


def _sessions(request: OrganisationRequest) -> list[dict[str, Any]]:
    """All of them for whoever manages access; others see those of keys that they made."""
    rows = state.live()
    if not request.membership.can(Right.MANAGE_ACCESS):
        mine = APIKey.objects.filter(tenant=request.organisation, created_by=request.user)
        rows = rows.filter(api_key_id__in=list(mine.values_list("pk", flat=True)))
    found = list(rows[:SESSIONS_SHOWN])
    keys = APIKey.objects.filter(tenant=request.organisation).in_bulk({row.api_key_id for row in found})
    return [{"row": row, "key": keys.get(row.api_key_id), "touched": _touched(row)} for row in found]


def _touched(row: FlowSession) -> list[dict[str, Any]]:
    return [
        {"label": text, **row.touched[label.value]}
        for label, text in flow.WORDS.items()
        if isinstance(row.touched.get(label.value), dict)
    ]


# ----------------------------------------------------------------------------------------------------------------- the labels


def _tool_rows(server: Server) -> list[dict[str, Any]]:
    """Tools in their order, and resources and prompts. `number` names a row's fields in the form."""
    said, own = confirmed.of_server(server.pk), rules.own_labels_at(server.pk)
    tools = list(server.current_version.tools.all()) if server.current_version else []
    named: list[tuple[str, frozenset[str], str]] = [
        (tool.name, confirmed.suggested(tool), tool.definition_digest) for tool in tools
    ]
    rows = []
    for number, (name, suggested, digest) in enumerate([*named, (READS, frozenset(), "")]):
        row, mine = said.get(name), own.get(name)
        held = mine.labels if mine is not None else frozenset(row.labels) if row is not None else frozenset()
        rows.append(
            {
                "number": number,
                "tool": name,
                "suggested": flow.words(suggested),
                "confirmed": None if row is None else flow.words(row.labels) or "nothing",
                "is_operators": row is not None and row.set_by == LabelSetter.OPERATOR,
                "is_stale": (row is not None and row.definition_digest != digest)
                or (mine is not None and mine.definition != digest),
                "own": None if mine is None else flow.words(mine.labels) or "nothing",
                "boxes": [(label, text, label in set(held)) for label, text in LABEL_WORDS],
            }
        )
    return rows


def _label(request: OrganisationRequest, server: Server) -> bool:
    """Take the boxes of one tool."""
    tool, act = request.POST.get("tool", ""), request.POST.get("act")
    chosen = [name for name in request.POST.getlist("labels") if name in set(FlowLabel)]
    wanted = {tool: None if act == "take-back" else chosen}
    try:
        if request.POST.get("for") == "everybody":
            party = audit.Party("user", str(request.user.pk), request.user.email)
            labelling.confirm(server_id=server.pk, owner_id=request.organisation.pk, wanted=wanted, actor=party)
        else:
            rules.label(tenant=request.organisation, server=server, wanted=wanted, actor=request.user)
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}".strip())
        return False
    messages.success(request, f"Saved for {tool or 'resources and prompts'}. Gateways follow within a second.")
    return True
