"""Template tags that every page may use: `{% load ui %}`. Documented with examples in docs/ui.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import template
from django.forms import BoundField, CheckboxInput
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from core import clock
from core.browsers import describe_browser
from core.money import Money
from core.ui import charts, formats, icons, jsonview, markdown

register = template.Library()

COPY_MAX_CHARS = 20_000


@register.simple_tag
def icon(name: str, label: str = "", classes: str = "") -> SafeString:
    """An inline drawing; decoration unless a label names what it says."""
    drawing = mark_safe(icons.ICONS.get(name, icons.ICONS[icons.FALLBACK]))  # noqa: S308 - our own constant
    voice = format_html('role="img" aria-label="{}"', label) if label else 'aria-hidden="true"'
    return format_html(
        '<svg class="{}" viewBox="0 0 16 16" width="16" height="16" stroke-width="1.5" stroke-linecap="round" '
        'stroke-linejoin="round" focusable="false" {}>{}</svg>',
        f"icon {classes}".strip(),
        mark_safe(voice),  # noqa: S308 - escaped just above
        drawing,
    )


@register.simple_tag
def reltime(moment: datetime | None, missing: str = "unknown") -> SafeString:
    """How long ago, with the exact time on hover; a script keeps it current."""
    if moment is None:
        return format_html('<span class="quiet">{}</span>', missing)
    return format_html(
        '<time datetime="{}" title="{}" data-relative>{}</time>',
        moment.isoformat(),
        formats.exact_time(moment),
        formats.relative_time(moment, clock.now()),
    )


@register.simple_tag
def money(amount: Money | Decimal | str | int | None, currency: str = "") -> SafeString:
    """An amount in major units (or a Money) with its currency; the exact value on hover."""
    if amount is None:
        return mark_safe('<span class="quiet">unknown</span>')
    if isinstance(amount, Money):
        exact, currency = amount.major, amount.currency
    else:
        exact = Decimal(amount)
    return format_html(
        '<data class="money" value="{}" title="{}">{}<span class="money__currency"> {}</span></data>',
        f"{exact:f}",
        formats.exact_amount(exact, currency),
        formats.short_amount(exact, currency),
        currency,
    )


register.filter("browser", describe_browser)
register.filter("markdown", markdown.render)


@register.filter
def compact(value: float | None) -> str:
    """4321 as 4.3k; for tiles."""
    return "unknown" if value is None else formats.compact_number(float(value))


@register.inclusion_tag("components/_field.html")
def field(bound: BoundField, label: str = "", hint: str = "") -> dict[str, Any]:
    """A form field with label, help, errors and the aria attributes that tie them together."""
    widget = bound.field.widget
    kind = "check" if isinstance(widget, CheckboxInput) else "group" if bound.use_fieldset else "line"
    # A placeholder that repeats the label disappears on typing and says nothing before.
    repeats = widget.attrs.get("placeholder") == bound.label
    return {
        "field": bound,
        "label": label or bound.label,
        "hint": hint,
        "kind": kind,
        "control": bound.as_widget(attrs={"placeholder": False} if repeats else None),
    }


@register.inclusion_tag("components/_form_fields.html")
def form_fields(form: Any) -> dict[str, Any]:
    """Every field of a form in order, with the errors that belong to no field above them."""
    return {"form": form}


@register.inclusion_tag("components/_json.html", name="jsonview")
def json_view(value: object, label: str = "JSON") -> dict[str, Any]:
    """A collapsible, searchable JSON value; short ones can be copied whole."""
    raw = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    return {
        "label": label,
        "tree": jsonview.render(value),
        "raw": raw if len(raw) <= COPY_MAX_CHARS else "",
        "searchable": isinstance(value, (Mapping, list)) and len(raw) > 400,
    }


@register.inclusion_tag("components/_bar_chart.html")
def bar_chart(points: Sequence[Any], label: str, unit: str = "", names: Sequence[str] = ()) -> dict[str, Any]:
    """Bars, or stacks when a point has several values (then `names` says what they are)."""
    rows = _pairs(points)
    return {
        "chart": charts.bars(rows, names, unit),
        "points": rows,
        "label": label,
        "unit": unit,
        "names": names,
    }


@register.inclusion_tag("components/_line_chart.html")
def line_chart(points: Sequence[Any], label: str, unit: str = "") -> dict[str, Any]:
    rows = _pairs(points)
    return {"chart": charts.line(rows), "points": rows, "label": label, "unit": unit}


@register.inclusion_tag("components/_sparkline.html")
def sparkline(values: Sequence[float | None], label: str = "Trend") -> dict[str, Any]:
    """A line without axes for a tile; screen readers hear lowest, highest and latest."""
    return {"chart": charts.line([("", value) for value in values]), "label": label}


@register.inclusion_tag("components/_heat_strip.html")
def heat_strip(points: Sequence[Any], label: str, unit: str = "") -> dict[str, Any]:
    rows = _pairs(points)
    return {"cells": charts.heat(rows, unit), "points": rows, "label": label}


def _pairs(points: Sequence[Any]) -> list[tuple[str, Any]]:
    """Points as (label, value), whether they came as pairs or as mappings with those keys."""
    return [
        (str(point["label"]), point["value"]) if isinstance(point, Mapping) else (str(point[0]), point[1])
        for point in points
    ]
