"""The form of a price: a kind, its numbers, and tiers as lines of text."""

from __future__ import annotations

from typing import Any

from django import forms

from billing.core import rating
from core.errors import InvalidError

KINDS = (
    (rating.Kind.PER_UNIT.value, "Per call: each costs the same"),
    (rating.Kind.PACKAGE.value, "Packages: so much for each so many calls that are begun"),
    (rating.Kind.GRADUATED.value, "Graduated: each call at the rate of its tier"),
    (rating.Kind.VOLUME.value, "Volume: all calls of the month at the rate that their number reaches"),
)
_TIERED = (rating.Kind.GRADUATED.value, rating.Kind.VOLUME.value)


class PriceForm(forms.Form):
    tool = forms.ChoiceField(required=False, label="What it is for", help_text="A tool's price beats the server's.")
    kind = forms.ChoiceField(choices=KINDS, label="How calls cost", widget=forms.RadioSelect, initial="per_unit")
    rate = forms.CharField(
        required=False,
        max_length=40,
        label="Amount in USD",
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
        help_text="Per call, or per package. Up to ten digits behind the point; 0 is free.",
    )
    size = forms.IntegerField(required=False, min_value=1, max_value=rating.MAX_UNITS, label="Calls in a package")
    tiers = forms.CharField(
        required=False,
        max_length=2000,
        label="Tiers",
        widget=forms.Textarea(
            attrs={"rows": 4, "class": "mono", "spellcheck": "false", "placeholder": "1000 0.02\nmore 0.01"}
        ),
        help_text="For graduated and volume. One a line: up to which call, USD per call, optionally USD once. The last: more.",
    )
    free = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=rating.MAX_UNITS,
        label="Free calls of each organisation and month",
        help_text="You give them; they earn nothing.",
    )
    effective_from = forms.DateTimeField(
        required=False,
        label="Holds from (UTC)",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="Empty: as early as the rules allow.",
    )

    def __init__(self, *args: Any, tools: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [("", "The whole server"), *((name, f"The tool {name}") for name in tools)]
        self.fields["tool"].choices = choices  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                data["model"] = rating.parse(_terms(data))
            except InvalidError as error:
                field = str(error.data.get("field", "")).partition("[")[0]
                self.add_error(field if field in self.fields else None, f"{error.message}")
        return data


def _terms(data: dict[str, Any]) -> dict[str, Any]:
    terms: dict[str, Any] = {"kind": data["kind"], "free": data["free"] or 0}
    if data["kind"] in _TIERED:
        return {**terms, "tiers": [_tier(line) for line in data["tiers"].splitlines() if line.strip()]}
    terms["rate"] = data["rate"].strip()
    if data["kind"] == rating.Kind.PACKAGE.value:
        terms["size"] = data["size"]
    return terms


def _tier(line: str) -> dict[str, Any]:
    """`1000 0.02` or `more 0.01 5`. What is missing is refused by the model, which names the tier."""
    words = line.replace(",", " ").split()
    tier: dict[str, Any] = {"up_to": None if words[0] == "more" else words[0]}
    tier["rate"] = words[1] if len(words) > 1 else None
    if len(words) > 2:
        tier["flat"] = words[2]
    return tier


def initial_of(model: rating.PriceModel) -> dict[str, Any]:
    """A model as the form shows it."""
    lines = (
        " ".join(
            [str(tier.up_to or "more"), rating.plain(tier.rate), *([rating.plain(tier.flat)] if tier.flat else [])]
        )
        for tier in model.tiers
    )
    return {
        "kind": model.kind.value,
        "rate": rating.plain(model.rate) if not model.tiers else "",
        "size": model.size if model.kind is rating.Kind.PACKAGE else None,
        "tiers": "\n".join(lines),
        "free": model.free or None,
    }
