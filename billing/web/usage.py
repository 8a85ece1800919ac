"""Pages of what is being spent."""

from __future__ import annotations

from django.urls import URLPattern

urls: list[URLPattern] = []
operations: list[URLPattern] = []
