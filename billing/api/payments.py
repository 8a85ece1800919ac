"""The REST API of cards and payments."""

from __future__ import annotations

from django.urls import URLPattern

urls: list[URLPattern] = []
