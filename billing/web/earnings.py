"""Pages of what providers earn."""

from __future__ import annotations

from django.urls import URLPattern

urls: list[URLPattern] = []
operations: list[URLPattern] = []
