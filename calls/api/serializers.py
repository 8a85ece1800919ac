"""Calls for programs: the row as it is stored, with amounts as text."""

from __future__ import annotations

from rest_framework import serializers

from calls.models import Call
from calls.record import COLUMNS


class CallOut(serializers.ModelSerializer[Call]):
    class Meta:
        model = Call
        fields = [name for name, _ in COLUMNS] + ["recorded_at"]
        read_only_fields = fields
