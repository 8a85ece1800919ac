"""The form of a source. Rules live in the services; secrets go in and never back to the browser."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms

from repositories.adapters.registry import Adapter
from repositories.choices import AuthType, TrustLevel, Visibility
from repositories.models import INTERVAL_HOURS_MAX, Repository
from repositories.services.credentials import PARTS
from repositories.services.sources import PRIORITY_MAX, Draft
from repositories.web.desk import Desk

KEEP = "keep"
_SECRET = {"password", "token", "client_secret"}
_LABELS = {
    "user": "User name", "password": "Password", "token": "Token", "token_url": "Address for tokens",
    "client_id": "Client id", "client_secret": "Client secret", "scope": "Scope",
}  # fmt: skip
_TRUSTS_OF_ORGANISATION = {
    TrustLevel.COMMUNITY: "Community: nobody vouches for it",
    TrustLevel.ENTERPRISE: "Enterprise: our organisation vouches for it",
}


class SourceForm(forms.Form):
    """Fields of one kind of source with one kind of credential; both are chosen before, by links."""

    name = forms.CharField(max_length=100, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    url = forms.CharField(label="Address", max_length=2000, widget=forms.TextInput(attrs={"spellcheck": "false"}))
    trust_level = forms.ChoiceField(label="Trust level", choices=TrustLevel.choices)
    visibility = forms.ChoiceField(label="Who finds its entries", choices=Visibility.choices)
    allowed_teams = forms.MultipleChoiceField(
        label="Teams", required=False, widget=forms.CheckboxSelectMultiple, help_text="For “Chosen teams”."
    )
    staged = forms.BooleanField(
        label="Stage it",
        required=False,
        help_text="Only those who manage sources see its entries until it is released.",
    )
    priority = forms.IntegerField(
        min_value=0,
        max_value=PRIORITY_MAX,
        initial=100,
        help_text="Of two sources that list the same server, the higher one is believed; proof of its namespace beats both.",
    )
    sync_interval_hours = forms.IntegerField(
        label="Read every … hours",
        min_value=1,
        max_value=INTERVAL_HOURS_MAX,
        required=False,
        help_text="Empty: the platform's default.",
    )
    auto_sync = forms.BooleanField(label="Read it by itself", required=False, initial=True)
    enabled = forms.BooleanField(
        label="Turned on",
        required=False,
        initial=True,
        help_text="Entries of a source that is turned off are not listed.",
    )

    def __init__(self, data: Any = None, *, desk: Desk, adapter: Adapter, auth: str, source: Repository | None) -> None:
        super().__init__(data, initial=_initial(source, desk))
        self._adapter, self._auth = adapter, auth
        self.fields["url"].help_text = adapter.hint
        self._fit_to(desk)
        for part in PARTS.get(auth, ()):
            self.fields[part] = _part(part)

    def draft(self, source: Repository | None) -> Draft:
        data = self.cleaned_data
        is_kept = self._auth == KEEP and source is not None
        auth_type = source.auth_type if is_kept and source is not None else self._auth
        return Draft(
            name=data["name"],
            kind=self._adapter.kind,
            url=data["url"],
            auth_type=auth_type,
            secret=None if is_kept else {part: data[part] for part in PARTS[self._auth]},
            enabled=data["enabled"],
            trust_level=data["trust_level"],
            auto_sync=data["auto_sync"],
            sync_interval_hours=data["sync_interval_hours"],
            visibility=data["visibility"],
            allowed_teams=tuple(UUID(team) for team in data.get("allowed_teams", ())),
            priority=data["priority"],
            staged=data["staged"],
        )

    def _fit_to(self, desk: Desk) -> None:
        """An organisation has teams and vouches for itself; the platform has neither."""
        teams = desk.teams()
        seen = [choice for choice in Visibility.choices if choice[0] != Visibility.GROUP or teams]
        if not teams:
            del self.fields["allowed_teams"]
        else:
            self.fields["allowed_teams"].choices = teams  # type: ignore[attr-defined]
        if desk.org:
            seen = [(value, "Everybody here" if value == Visibility.PUBLIC else label) for value, label in seen]
            given = self.initial.get("trust_level")
            trusts = [*_TRUSTS_OF_ORGANISATION.items()]
            if given == TrustLevel.VERIFIED:
                trusts.append((TrustLevel.VERIFIED, TrustLevel.VERIFIED.label))
            self.fields["trust_level"].choices = trusts  # type: ignore[attr-defined]
        self.fields["visibility"].choices = seen  # type: ignore[attr-defined]


def auth_choices(source: Repository | None) -> list[tuple[str, str]]:
    kept = [(KEEP, "Keep the stored one")] if source is not None and source.auth_type != AuthType.NONE else []
    return [*kept, *AuthType.choices]


def _initial(source: Repository | None, desk: Desk) -> dict[str, Any]:
    if source is None:
        # Whoever saves without looking vouches for nothing.
        return {"trust_level": TrustLevel.COMMUNITY}
    names = (
        "name", "url", "trust_level", "visibility", "staged", "priority", "sync_interval_hours", "auto_sync", "enabled",
    )  # fmt: skip
    return {
        **{name: getattr(source, name) for name in names},
        "allowed_teams": [str(team) for team in source.allowed_teams],
    }


def _part(name: str) -> forms.CharField:
    if name in _SECRET:
        widget: forms.Widget = forms.PasswordInput(attrs={"autocomplete": "off", "spellcheck": "false"})
        help_text = "Sealed here and sent to this source alone. It is not shown again."
    else:
        widget, help_text = forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}), ""
    if name == "scope":
        help_text = "May stay empty."
    return forms.CharField(
        label=_LABELS[name], max_length=8000, required=name != "scope", widget=widget, help_text=help_text
    )
