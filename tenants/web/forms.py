"""Forms of organisations and people. Rules live in the services; a form only shapes what the page sends."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms

from core.errors import MarketplaceError
from tenants.choices import Role
from tenants.models import Membership, Team


class OrganisationForm(forms.Form):
    name = forms.CharField(
        max_length=200, widget=forms.TextInput(attrs={"autocomplete": "organization", "autofocus": True})
    )
    slug = forms.CharField(
        label="Short name",
        max_length=40,
        required=False,
        help_text="Lower-case letters, digits and hyphens; made of the name when left empty. It is part of your addresses "
        "and stays as it is.",
        widget=forms.TextInput(attrs={"autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}),
    )


class InvitationForm(forms.Form):
    email = forms.EmailField(
        label="Email address", max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "off"})
    )
    role = forms.ChoiceField(initial=Role.MEMBER)

    def __init__(self, data: Any = None, *, roles: list[str]) -> None:
        super().__init__(data, auto_id="invitation_%s")
        self.fields["role"].choices = [(role, Role(role).label) for role in roles]  # type: ignore[attr-defined]


class TeamForm(forms.Form):
    name = forms.CharField(label="Name", max_length=100, widget=forms.TextInput(attrs={"autocomplete": "off"}))

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, auto_id="team_%s")


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)


class TeamMemberForm(forms.Form):
    """Which member to put into a team or to take out."""

    member = forms.UUIDField()

    def member_id(self) -> UUID:
        return self.cleaned_data["member"]


def others_of(team: Team, members: list[Membership]) -> list[Membership]:
    """The members who are not in the team."""
    inside = {member.pk for member in team.members.all()}
    return [member for member in members if member.pk not in inside]


def show_error(form: forms.Form, error: MarketplaceError) -> None:
    """Put a service's refusal beside the field that it names, or above the form."""
    field = error.data.get("field")
    form.add_error(field if field in form.fields else None, f"{error.message} {error.next_step}")
