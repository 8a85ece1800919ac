"""The REST API of invoices."""

from __future__ import annotations

from django.urls import URLPattern

urls: list[URLPattern] = []
