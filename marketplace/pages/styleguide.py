"""`/styleguide/`: every piece of the interface with sample values, in development only (the URL is not routed elsewhere).

The samples include the awkward ones: a 200-character name, unknown states, gaps in a series, nothing at all.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from core import clock
from core.ui.icons import ICONS

LONG_NAME = "reconciliation-and-settlement-of-international-invoices-" * 3 + "with-a-name-of-200-characters-xx"

SHELL_SNIPPET = """curl https://marketplace.example/v1/invoke \\
  -H "Authorization: Bearer $MARKETPLACE_API_KEY" \\
  -d '{"server": "payments", "tool": "list_invoices", "arguments": {"limit": 5}}'"""
JSON_SNIPPET = """{
  "mcpServers": {
    "payments": {
      "type": "http",
      "url": "https://marketplace.example/mcp/payments",
      "headers": { "Authorization": "Bearer ${MARKETPLACE_API_KEY}" }
    }
  }
}"""
PYTHON_SNIPPET = """async with Client("https://marketplace.example/mcp/payments", headers=headers) as client:
    result = await client.call_tool("list_invoices", {"limit": 5})"""


class SampleForm(forms.Form):
    """One field of each kind; the styleguide shows it with errors."""

    name = forms.CharField(help_text="Lower case, at most 40 characters. It becomes part of the address.")
    email = forms.EmailField(label="Email address", required=False)
    expiry = forms.ChoiceField(choices=[("30", "30 days"), ("90", "90 days"), ("never", "Never")])
    note = forms.CharField(widget=forms.Textarea, required=False, label="Reason")
    scopes = forms.MultipleChoiceField(
        choices=[("invoke", "Call tools"), ("catalog:read", "Read the catalog")], widget=forms.CheckboxSelectMultiple
    )
    agree = forms.BooleanField(label="Revoke the old key at once")


def show(request: HttpRequest) -> HttpResponse:
    context = {
        **_governance(),
        **_series(),
        **_histories(),
        "icons": sorted(ICONS),
        "form": SampleForm({"name": "", "email": "not-an-address", "scopes": ["invoke"]}),
        "page": Paginator(range(1, 138), 25).get_page(request.GET.get("page")),
        "snippets": [
            {"label": "Claude Code", "code": JSON_SNIPPET, "caption": ".mcp.json"},
            {"label": "Python", "code": PYTHON_SNIPPET, "caption": "client.py"},
            {"label": "curl", "code": SHELL_SNIPPET, "caption": "shell"},
        ],
        "json_value": _json_value(),
    }
    return render(request, "styleguide/show.html", context)


def _governance() -> dict[str, Any]:
    measured = clock.now() - timedelta(minutes=3)
    payments = {
        "name": "payments",
        "slug": "payments",
        "url": "#cards",
        "provider": "Initech",
        "category": "Finance",
        "description": "Lists and refunds invoices. Reads are open to medium trust; refunds need an explicit grant.",
        "approval": "approved",
        "status": "ok",
        "status_at": measured,
        "trust": "high",
        "auth": "OAuth",
        "tool_count": 2,
        "side_effects": ["read", "destructive"],
        "price": {"amount": Decimal("0.02"), "currency": "USD", "unit": "call"},
        "rating": 4.3,
        "rating_count": 18,
        "action": {"label": "Request access", "url": "#cards", "primary": True},
    }
    text = payments | {
        "name": "text",
        "category": "Utilities",
        "description": "Counts words and changes case.",
        "approval": "observe",
        "status": "degraded",
        "trust": "low",
        "auth": "No sign-in",
        "tool_count": 1,
        "side_effects": ["read"],
        "price": None,
        "rating": None,
        "action": {"label": "Open", "url": "#cards", "primary": False},
    }
    unknown = text | {
        "name": LONG_NAME,
        "description": "",
        "status": "unknown",
        "status_at": None,
        "trust": "",
        "approval": "experimental",
        "tool_count": 1204,
    }
    return {
        "servers": [payments, text, unknown],
        "measured": measured,
        "states": ["ok", "degraded", "down", "unknown"],
        "levels": ["low", "medium", "high", ""],
        "effects": ["read", "write", "destructive"],
        "approvals": ["approved", "restricted", "observe", "experimental", "deprecated", "pending"],
        "outcomes": ["ok", "tool_error", "upstream_error", "timeout", "denied", "unknown"],
        "chips": [
            {"label": "Finance", "url": "#filters", "active": True, "count": 12, "removable": True},
            {"label": "Utilities", "url": "#filters", "count": 340},
            {"label": "Data", "url": "#filters", "count": 0},
        ],
        "options": [
            {"label": "Healthy", "url": "#filters", "count": 212, "active": True},
            {"label": "Degraded", "url": "#filters", "count": 9},
            {"label": "Unknown", "url": "#filters", "count": 31},
        ],
        "tabs": [
            {"label": "Overview", "url": "#navigation", "active": True},
            {"label": "Tools", "url": "#navigation", "count": 12},
            {"label": "Access", "url": "#navigation"},
        ],
        "crumbs": [{"label": "Discover", "url": "/"}, {"label": "payments", "url": "#"}, {"label": "refund_invoice"}],
    }


def _series() -> dict[str, Any]:
    days = [f"{day} Nov" for day in range(1, 22)]
    calls = [120, 180, 90, 240, 310, 150, 60, 220, 260, 280, None, 340, 180, 120, 300, 410, 380, 290, 350, 420, 515]
    states = ["ok"] * 12 + ["degraded", "ok", "down", "down", "unknown", "ok", "ok", "ok", "ok"]
    return {
        "calls": list(zip(days, calls, strict=True)),
        "trend": [value for value in calls if value is not None],
        "latency": [(day, value and value / 3) for day, value in zip(days, calls, strict=True)],
        "decided": [
            (day, [value or 0, (value or 0) // 9, (value or 0) // 30]) for day, value in zip(days, calls, strict=True)
        ],
        "decisions": ["allowed", "denied", "failed"],
        "health": list(zip(days, states, strict=True)),
        "load": list(zip(days, calls, strict=True)),
    }


def _histories() -> dict[str, Any]:
    moment = clock.now()
    return {
        "trace": [
            {
                "label": "The key is valid and unexpired",
                "state": "passed",
                "detail": "mk_live_7f3a…, acme, scope invoke",
            },
            {"label": "The server is approved for acme", "state": "passed"},
            {
                "label": "A grant covers refund_invoice",
                "state": "failed",
                "detail": "Needs high trust; your grant gives medium. Ask an administrator of acme.",
                "deciding": True,
            },
            {"label": "Rate, quota and spend", "state": "skipped"},
        ],
        "events": [
            {
                "at": moment - timedelta(minutes=4),
                "title": "Grant revoked",
                "actor": "alice@acme.example",
                "kind": "bad",
                "icon": "x",
            },
            {
                "at": moment - timedelta(hours=5),
                "title": "Access approved for 30 days",
                "actor": "alice@acme.example",
                "kind": "ok",
                "icon": "check",
                "detail": "list_invoices, medium trust",
            },
            {"at": moment - timedelta(days=70), "title": "Server published", "actor": "diana@initech.example"},
        ],
        "steps": [
            {"label": "Fetch the package", "state": "done", "detail": "2.1 MB"},
            {"label": "Scan", "state": "current", "detail": "14 of 60 rules"},
            {"label": "Start", "state": "todo"},
        ],
        "log": "fetch  2.1 MB from the package index\nscan   14 of 60 rules, no finding",
        "moments": [
            moment,
            moment - timedelta(minutes=5),
            moment - timedelta(days=3),
            moment + timedelta(hours=2),
            None,
        ],
    }


def _json_value() -> dict[str, Any]:
    return {
        "content": [{"type": "text", "text": "2 invoices"}],
        "structuredContent": {
            "invoices": [
                {
                    "id": f"inv_{number}",
                    "amount": 1200 + number,
                    "currency": "USD",
                    "paid": number % 2 == 0,
                    "due": None,
                }
                for number in range(1, 6)
            ],
            "next": None,
        },
        "isError": False,
        "_meta": {},
    }
