"""Forms of keys and grants. They check shape and visibility; the services keep the rules."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils.html import format_html
from django.utils.safestring import SafeString

from access.selectors import ListedTool
from access.types import SideEffect, Trust
from access.web.loads import BYTES_PER_TOKEN, OWN_TOOLS, Loads
from access.web.subjects import Choices
from access.web.terms import DEFAULT_EXPIRY, DEFAULT_LEVEL, EFFECT_CHOICES, EXPIRIES, LEVELS, TRUST_LABELS
from catalog.models import Server, Tool
from catalog.selectors.sizes import definition_sizes
from core.addresses import RangeInvalidError, parse_ranges
from core.errors import MarketplaceError
from core.ids import uuid7
from tenants.choices import ListForm, Scope

# More than fit a page; further servers are reached from their own page.
SERVERS_SHOWN = 60
TOOLS_SHOWN = 500
PUBLIC_KEYS_MAX = 16 * 1024

_SCOPE_LABELS = [
    (Scope.INVOKE.value, "Call servers"),
    (Scope.CATALOG_READ.value, "Read the catalog through the API"),
    (Scope.ADMIN.value, "Administer the organisation through the API, its call log included"),
]


_CONDITIONS_EXAMPLE = '{"networks": ["203.0.113.0/24"], "hours": [{"days": ["mon"], "from": "08:00", "to": "18:00"}]}'
_ONE_OF_TWO = "Choose who the grant is for, or name an agent; one of the two."


class ServiceForm(forms.Form):
    """A form whose service may refuse: the refusal stands beside the field that it is about."""

    def refuse(self, error: MarketplaceError) -> None:
        field = error.data.get("field")
        self.add_error(field if field in self.fields else None, f"{error.message} {error.next_step}".strip())


class KeyForm(ServiceForm):
    name = forms.CharField(max_length=100, help_text="What it is for, such as “Invoice agent, staging”.")
    servers = forms.ModelMultipleChoiceField(
        queryset=Server.objects.none(),
        required=False,
        label="Servers it may call",
        widget=forms.CheckboxSelectMultiple,
        help_text="None chosen: the key can call nothing until somebody gives it, its agent or its creator access.",
    )
    level = forms.ChoiceField(
        label="What it may do there",
        choices=[(name, level.label) for name, level in LEVELS.items()],
        initial=DEFAULT_LEVEL,
        widget=forms.RadioSelect,
        help_text="Calls beyond this are refused and recorded. Finer choices are made under Access.",
    )
    only_these = forms.BooleanField(
        label="Refuse this key on every other server",
        required=False,
        initial=True,
        help_text="Without this, it may also use servers that its creator or its agent is granted.",
    )
    agent = forms.CharField(
        max_length=100,
        required=False,
        label="Agent name",
        help_text="The agent that will use it; shown with every call.",
    )
    kind = forms.ChoiceField(
        label="What it signs in with",
        choices=[
            ("key", "An API key, sent with every call"),
            ("client", "An OAuth client: its id and secret get tokens that live for ten minutes"),
            ("signing", "An OAuth client that signs with a key of its own: no secret is shared with us"),
        ],
        initial="key",
        widget=forms.RadioSelect,
        required=False,
    )
    public_keys = forms.CharField(
        required=False,
        max_length=PUBLIC_KEYS_MAX,
        label="Its public keys",
        widget=forms.Textarea(
            attrs={"rows": 3, "placeholder": "https://agent.example/jwks.json", "spellcheck": "false", "class": "mono"}
        ),
        help_text="For a client that signs: the https address of its JWK set, or the set, or one public key as JWK or PEM.",
    )
    lists = forms.ChoiceField(
        label="At one address for all servers it lists",
        choices=[
            (ListForm.ALL.value, "All tools: every definition of the servers, and three to search and call"),
            (ListForm.SEARCH.value, f"Search only: {OWN_TOOLS} definitions, to search, describe and call the others"),
            (ListForm.CHOSEN.value, "Chosen tools: you choose them on the next page, and until then it is search only"),
        ],
        initial=ListForm.ALL,
        widget=forms.RadioSelect,
        required=False,
        help_text="A model reads each definition that is listed. What the key may call is the same in every form. "
        "OAuth clients list all tools.",
    )
    environment = forms.CharField(
        max_length=40,
        required=False,
        help_text="What the key is for, such as production or staging. Grants may hold for some environments alone.",
    )
    asserts_identity = forms.BooleanField(
        required=False,
        label="May say for whom it calls",
        help_text="For adapters that many people or agents call through: it names them in X-MCP-Human-ID, X-MCP-Agent-ID and "
        "X-MCP-Team-ID, at servers that take them, and then has what they are granted. Whoever holds such a key can act as "
        "anybody of the organisation there.",
    )
    networks = forms.CharField(
        required=False,
        label="Addresses it may be used from",
        widget=forms.Textarea(attrs={"rows": 2, "placeholder": "203.0.113.0/24", "spellcheck": "false"}),
        help_text="Ranges or single addresses, one per line. None: any address.",
    )
    expiry = forms.ChoiceField(label="Expires", choices=EXPIRIES, initial=DEFAULT_EXPIRY)
    scopes = forms.MultipleChoiceField(
        choices=_SCOPE_LABELS,
        initial=[Scope.INVOKE, Scope.CATALOG_READ],
        widget=forms.CheckboxSelectMultiple,
    )

    # Names this very form: sent a second time, by a reload, it makes no second key.
    once = forms.CharField(max_length=32, initial=lambda: uuid7().hex, widget=forms.HiddenInput)

    def __init__(self, *args: Any, servers: QuerySet[Server], first: Iterable[Server] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.offered = _in_order(servers, first)
        self.more = max(servers.count() - len(self.offered), 0)
        field = self.fields["servers"]
        assert isinstance(field, forms.ModelMultipleChoiceField)
        field.queryset = servers
        sizes = definition_sizes(self.offered)
        field.choices = [(server.pk, _server_label(server, *sizes.get(server.pk, (0, 0)))) for server in self.offered]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        signs, keys = data.get("kind") == "signing", data.get("public_keys", "")
        if signs and not keys and "public_keys" not in self.errors:
            self.add_error("public_keys", "A client that signs needs its public keys.")
        if keys and not signs:
            self.add_error("kind", "Public keys are for a client that signs. Choose that, or leave the keys out.")
        return data

    def clean_networks(self) -> list[str]:
        try:
            return parse_ranges(self.cleaned_data["networks"].replace(",", "\n").splitlines())
        except RangeInvalidError as error:
            raise forms.ValidationError(f"{error.message} {error.next_step}") from error


class ListsForm(ServiceForm):
    """What one address lists for a key."""

    form = forms.ChoiceField(label="It lists", widget=forms.RadioSelect)
    tools = forms.MultipleChoiceField(
        required=False,
        label="Chosen tools",
        widget=forms.CheckboxSelectMultiple,
        help_text="Listed when “Chosen tools” is selected. Everything else is still found by search.",
    )

    def __init__(self, *args: Any, offered: Sequence[ListedTool], kept: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        whole = Loads.of(ListForm.ALL, offered, ())
        chosen = Loads.of(ListForm.CHOSEN, offered, kept)
        labels = {
            ListForm.ALL: (
                f"All tools: {whole.definitions} definitions, three of them to search and call; the others are about "
                f"{whole.search_saves_tokens:,} tokens"
            ),
            ListForm.SEARCH: (
                f"Search only: {OWN_TOOLS} definitions, to search, describe and call the others; saves about "
                f"{whole.search_saves_tokens:,} tokens"
            ),
            ListForm.CHOSEN: (
                f"Chosen tools: {chosen.definitions} definitions, {chosen.listed} of them chosen; saves about "
                f"{chosen.saved_tokens:,} tokens"
                if kept
                else "Chosen tools: those chosen below, and three to search and call the others"
            ),
        }
        choices = [(tool.name, tool.name) for tool in offered[:TOOLS_SHOWN]]
        choices += [(name, f"{name} (not callable at present)") for name in kept if name not in dict(choices)]
        for name, values in (("form", [(form.value, label) for form, label in labels.items()]), ("tools", choices)):
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)
            field.choices = values


class GrantForm(ServiceForm):
    # Who it is for comes from one of two fields, which no attribute of HTML can say.
    use_required_attribute = False

    subject = forms.ChoiceField(label="Who", error_messages={"required": _ONE_OF_TWO})
    agent = forms.CharField(
        max_length=100, required=False, label="Or an agent by name", help_text="Any key that carries this agent name."
    )
    tools = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="Only these tools",
        help_text="None chosen: every tool that the rest of the grant allows, later ones included.",
    )
    approved = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="A person approves each call of",
        help_text="Of the tools chosen above. The call waits until somebody who manages access has looked at its arguments.",
    )
    denied = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="Never these tools",
        help_text="Refused to them whatever other grants allow. A grant that only denies allows nothing.",
    )
    side_effects = forms.MultipleChoiceField(
        choices=EFFECT_CHOICES, initial=[SideEffect.READ], widget=forms.CheckboxSelectMultiple, label="May"
    )
    max_trust = forms.ChoiceField(
        choices=TRUST_LABELS,
        initial=Trust.LOW.word,
        widget=forms.RadioSelect,
        label="Up to which trust",
        help_text="A tool that needs more is refused.",
    )
    expiry = forms.ChoiceField(label="Ends", choices=EXPIRIES, initial=DEFAULT_EXPIRY)
    conditions = forms.CharField(
        max_length=64_000,
        required=False,
        label="Only under these conditions",
        widget=forms.Textarea(
            attrs={"rows": 3, "spellcheck": "false", "class": "mono", "placeholder": _CONDITIONS_EXAMPLE}
        ),
        help_text="JSON with hours, networks, environments, or a JSON Schema for the arguments of a tool. Empty: always.",
    )
    name = forms.CharField(
        max_length=253,
        required=False,
        label="Name",
        help_text="Lower-case letters, digits and hyphens; files and the API find the grant by it. Empty: one is made up.",
    )
    note = forms.CharField(
        max_length=500, required=False, label="Why", help_text="Kept with the grant, for the next reader."
    )

    def __init__(self, *args: Any, subjects: Choices, tools: Iterable[Tool], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        subject, named, denied, approved = (self.fields[name] for name in ("subject", "tools", "denied", "approved"))
        assert isinstance(subject, forms.ChoiceField)
        assert isinstance(named, forms.ChoiceField)
        assert isinstance(denied, forms.ChoiceField)
        assert isinstance(approved, forms.ChoiceField)
        subject.required = not self.data.get("agent")
        subject.choices = [("", "Choose…"), *subjects]
        named.choices = denied.choices = approved.choices = [(tool.name, _tool_label(tool)) for tool in tools]

    def clean_conditions(self) -> Any:
        text = self.cleaned_data["conditions"].strip()
        try:
            return json.loads(text) if text else None
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError("This is no JSON.") from error

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if bool(cleaned.get("subject")) == bool(cleaned.get("agent")) and "subject" not in self.errors:
            self.add_error("subject", _ONE_OF_TWO)
        if set(cleaned.get("tools", ())) & set(cleaned.get("denied", ())):
            self.add_error("denied", "A tool is either allowed or denied by a grant.")
        if set(cleaned.get("approved", ())) - set(cleaned.get("tools", ())):
            self.add_error("approved", "Choose the tool under “Only these tools” as well.")
        return cleaned


def _in_order(servers: QuerySet[Server], first: Iterable[Server]) -> list[Server]:
    """The wanted ones on top, then the others by name, as many as fit."""
    ordered = {server.pk: server for server in first}
    for server in servers.order_by("name")[:SERVERS_SHOWN]:
        ordered.setdefault(server.pk, server)
    return list(ordered.values())[:SERVERS_SHOWN]


def _server_label(server: Server, number: int, size: int) -> SafeString:
    return format_html(
        '<span>{} <span class="muted">by {} · {} tool{}, about {} tokens</span></span>',
        server.name,
        server.publisher,
        number,
        "" if number == 1 else "s",
        f"{size // BYTES_PER_TOKEN:,}",
    )


def _tool_label(tool: Tool) -> SafeString:
    needs = (
        f"{tool.get_side_effect_display() if tool.side_effect else 'Effect unknown'}, needs {tool.required_trust} trust"
    )
    return format_html('<span><code>{}</code> <span class="muted">{}</span></span>', tool.name, needs)
