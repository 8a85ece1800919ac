"""Answers about access for programs."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from access.models import Simulation
from access.types import Decision


class DecisionOut(serializers.Serializer[Any]):
    allowed = serializers.BooleanField()
    reason = serializers.CharField()
    grant_id = serializers.UUIDField(allow_null=True)
    side_effect = serializers.CharField(allow_blank=True)
    trust_required = serializers.CharField(allow_blank=True)
    trust_effective = serializers.CharField(allow_blank=True)


class HangsOut(DecisionOut):
    """Where address or arguments decide, the decision is the one for a call of which they are not known."""

    hangs_on = serializers.ListField(
        child=serializers.ChoiceField(["address", "arguments"]),
        help_text="What is not known of the call and decides it; empty when the decision is certain.",
    )


class StepOut(serializers.Serializer[Any]):
    check = serializers.CharField()
    outcome = serializers.ChoiceField(["passed", "failed", "skipped"])


class ShareOut(serializers.Serializer[Any]):
    grant_id = serializers.UUIDField()
    name = serializers.CharField()
    trust = serializers.CharField()
    asks = serializers.CharField(allow_blank=True, help_text="Trust that its rule asks for beyond the tool's own.")


class WouldOut(HangsOut):
    why = serializers.CharField()
    next_step = serializers.CharField(allow_blank=True)
    steps = StepOut(many=True)
    shares = ShareOut(many=True, help_text="Where several grants count together: what each of them adds.")


class ReachOut(HangsOut):
    who = serializers.CharField(help_text="user:<id>, key:<id>, team:<id> or agent:<name>")
    name = serializers.CharField()


class ReachedOut(HangsOut):
    server = serializers.CharField()
    tool = serializers.CharField()


class SimulationIn(serializers.Serializer[Any]):
    title = serializers.CharField(max_length=200, required=False, default="")
    days = serializers.IntegerField(required=False, default=7, help_text="1, 7, 30 or 90")
    change = serializers.JSONField(
        help_text="An object with a kind (grant, revoke, policy, tool, files) and what belongs to it."
    )


class SimulationOut(serializers.ModelSerializer[Simulation]):
    class Meta:
        model = Simulation
        fields = ["id", "title", "days", "change", "state", "percent", "problem", "result", "created_at", "finished_at"]
        read_only_fields = fields


def decision_out(decision: Decision) -> dict[str, Any]:
    return {
        "allowed": decision.allowed,
        "reason": str(decision.reason),
        "grant_id": str(decision.grant_id) if decision.grant_id else None,
        "side_effect": decision.side_effect,
        "trust_required": decision.trust_required,
        "trust_effective": decision.trust_effective,
    }
