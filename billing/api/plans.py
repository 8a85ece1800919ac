"""The REST API of plans and prices."""

from __future__ import annotations

from django.urls import URLPattern

urls: list[URLPattern] = []
