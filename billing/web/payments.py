"""Pages of cards and payments, and the addresses that payment providers call."""

from __future__ import annotations

from django.urls import URLPattern

urls: list[URLPattern] = []
operations: list[URLPattern] = []
callbacks: list[URLPattern] = []
