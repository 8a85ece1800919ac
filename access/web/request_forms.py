"""Forms of requests: asking, deciding, rules, absences and reviews. They check shape; the services keep the rules."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time
from typing import Any

from django import forms

from access.requests import routing
from access.requests.opening import Ask
from access.requests.rules import Terms
from access.requests.telling import duration_words
from access.types import SideEffect, Trust
from access.web.forms import ServiceForm, _tool_label
from access.web.subjects import Choices, chosen_subject
from access.web.terms import TRUST_LABELS
from catalog.models import Tool
from tenants.models import Team, Tenant
from tenants.selectors.people import list_members

DURATIONS = [1, 8, 24, 7 * 24, 30 * 24, 90 * 24]
DEFAULT_HOURS = 30 * 24
_ONE_OF_TWO = "Choose who would use it, or name an agent; one of the two."


class RequestForm(ServiceForm):
    """What to ask for. The trust and the side effects follow from the tools."""

    use_required_attribute = False

    tools = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="Which tools",
        help_text="None chosen: every tool of the server, with the most that any of them needs.",
    )
    subject = forms.ChoiceField(label="Who would use it", error_messages={"required": _ONE_OF_TWO})
    agent = forms.CharField(
        max_length=100, required=False, label="Or an agent by name", help_text="Any key that carries this agent name."
    )
    duration_h = forms.TypedChoiceField(
        label="For how long", coerce=int, choices=[], initial=DEFAULT_HOURS, help_text="Counted from the approval on."
    )
    reason = forms.CharField(
        max_length=1000,
        label="What for",
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Whoever decides reads this first.",
    )
    wants_session = forms.BooleanField(
        required=False,
        label="Open a session for an agent as well",
        help_text="For servers that ask callers to name a session.",
    )
    trust = forms.ChoiceField(
        required=False, choices=[("", ""), *((t.word, t.word) for t in Trust)], widget=forms.HiddenInput
    )
    effect = forms.ChoiceField(
        required=False, choices=[("", ""), *((e.value, e.value) for e in SideEffect)], widget=forms.HiddenInput
    )

    def __init__(self, *args: Any, subjects: Choices, tools: Iterable[Tool], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        hours = {int(self.initial.get("duration_h") or DEFAULT_HOURS), *DURATIONS}
        for name, choices in (
            ("subject", [("", "Choose…"), *subjects]),
            ("tools", [(tool.name, _tool_label(tool)) for tool in tools]),
            ("duration_h", [(number, duration_words(number)) for number in sorted(hours)]),
        ):
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)
            field.choices = choices
        # Who it is for comes from one of two fields, which no attribute of HTML can say.
        self.fields["subject"].required = not self.data.get("agent")
        self._subjects = subjects

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if bool(cleaned.get("subject")) == bool(cleaned.get("agent")) and "subject" not in self.errors:
            self.add_error("subject", _ONE_OF_TWO)
        return cleaned

    def ask(self) -> Ask:
        data = self.cleaned_data
        chosen = chosen_subject(self._subjects, data["subject"], data["agent"])
        parts = subject_parts(chosen)
        return Ask(
            tools=tuple(data["tools"]),
            reason=data["reason"],
            duration_h=data["duration_h"],
            label=chosen.label,
            wants_session=data["wants_session"],
            trust=data["trust"],
            effect=data["effect"],
            **parts,
        )


def subject_parts(subject: Any) -> dict[str, Any]:
    """The one part of a subject that is set, by its name."""
    return {kind: getattr(subject, kind) for kind in ("user", "agent", "team", "key") if getattr(subject, kind)}


class DecisionForm(ServiceForm):
    """Approve, as asked or less; the digest says what was read."""

    digest = forms.CharField(max_length=64, widget=forms.HiddenInput)
    tools = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple, label="Tools")
    max_trust = forms.ChoiceField(label="Up to which trust")
    side_effects = forms.MultipleChoiceField(widget=forms.CheckboxSelectMultiple, label="May")
    duration_h = forms.TypedChoiceField(label="For how long", coerce=int)
    comment = forms.CharField(
        max_length=1000, required=False, label="Comment", widget=forms.Textarea(attrs={"rows": 2})
    )

    def __init__(self, *args: Any, left: Terms, digest: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial = {**left.as_json(), "digest": digest}
        trusts = [(word, label) for word, label in TRUST_LABELS if Trust.parse(word) <= Trust.parse(left.max_trust)]
        hours = sorted({left.duration_h, *(each for each in DURATIONS if each < left.duration_h)})
        for name, choices in (
            ("tools", [(tool, tool) for tool in left.tools]),
            ("max_trust", trusts),
            ("side_effects", [(effect, effect.capitalize()) for effect in left.side_effects]),
            ("duration_h", [(number, duration_words(number)) for number in hours]),
        ):
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)
            field.choices = choices
        if not left.tools:
            del self.fields["tools"]
        else:
            self.fields["tools"].required = True

    def terms(self) -> Terms:
        data = self.cleaned_data
        return Terms.of(data.get("tools", []), data["max_trust"], data["side_effects"], data["duration_h"])


class RuleForm(ServiceForm):
    name = forms.CharField(max_length=100, help_text="Such as “Destructive tools”.")
    server = forms.ChoiceField(required=False, label="For requests on")
    min_trust = forms.ChoiceField(label="That ask for at least", choices=TRUST_LABELS, initial=Trust.LOW.word)
    side_effect = forms.ChoiceField(
        required=False,
        label="And for this side effect",
        choices=[("", "Any"), *((effect.value, effect.value.capitalize()) for effect in SideEffect)],
    )
    first = forms.MultipleChoiceField(label="First decides one of", widget=forms.CheckboxSelectMultiple)
    second = forms.MultipleChoiceField(label="Then one of", required=False, widget=forms.CheckboxSelectMultiple)
    third = forms.MultipleChoiceField(label="Last one of", required=False, widget=forms.CheckboxSelectMultiple)
    target_h = forms.IntegerField(label="Decided within hours", min_value=1, max_value=720, initial=24)
    escalate_h = forms.IntegerField(label="Escalated after hours", min_value=1, max_value=720, initial=24)

    def __init__(self, *args: Any, tenant: Tenant, servers: Iterable[Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        groups = [(name, label) for name, label in routing.GROUP_LABELS.items() if name != routing.PROVIDER]
        groups += [(f"team:{team.pk}", f"Team {team.name}") for team in Team.objects.filter(tenant=tenant)]
        groups += [(f"user:{member.user_id}", member.user.email) for member in list_members(tenant)]
        choices: dict[str, Any] = dict.fromkeys(("first", "second", "third"), groups)
        choices["server"] = [("", "Any server"), *((server.slug, server.name) for server in servers)]
        for name, values in choices.items():
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)
            field.choices = values

    def stages(self) -> list[list[str]]:
        return [self.cleaned_data[name] for name in ("first", "second", "third") if self.cleaned_data.get(name)]


class AbsenceForm(ServiceForm):
    deputy = forms.ChoiceField(label="Who decides instead of you")
    until = forms.DateField(label="Until the end of", widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, *args: Any, colleagues: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["deputy"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", "Choose…"), *colleagues]

    def moment(self) -> datetime:
        return end_of(self.cleaned_data["until"])


class CampaignForm(ServiceForm):
    name = forms.CharField(max_length=100, help_text="Such as “Autumn review”.")
    due_at = forms.DateField(label="Until the end of", widget=forms.DateInput(attrs={"type": "date"}))
    revoke_unanswered = forms.BooleanField(required=False, label="Revoke what nobody has confirmed by then")

    def moment(self) -> datetime:
        return end_of(self.cleaned_data["due_at"])


def end_of(day: Any) -> datetime:
    """The last moment of a day, UTC."""
    return datetime.combine(day, time(23, 59, 59), UTC)
