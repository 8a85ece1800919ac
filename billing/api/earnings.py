"""The REST API of what providers earn."""

from __future__ import annotations

from django.urls import URLPattern

urls: list[URLPattern] = []
