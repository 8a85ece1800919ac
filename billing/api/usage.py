"""The REST API of what is being spent."""

from __future__ import annotations

from django.urls import URLPattern

urls: list[URLPattern] = []
