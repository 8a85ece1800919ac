"""The flow rule of an organisation, what it says of tools for its own calls, and what sessions have touched."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models

from access.types import FlowLabel, FlowMode, FlowScope
from core import clock
from core.models import Record

MODES = [
    (FlowMode.OFF.value, "Off"),
    (FlowMode.OBSERVE.value, "Observe: the call passes and is marked"),
    (FlowMode.ESCALATE.value, "Ask: a person approves that single call"),
    (FlowMode.STOP.value, "Stop: the call is refused"),
]
SCOPES = [
    (FlowScope.CALLER.value, "Everything that one key does, for each of those for whom it calls"),
    (FlowScope.SESSION.value, "Each session of an agent or of the protocol by itself, and for the rest the key"),
]
UNLABELLED = [("nothing", "Touch nothing"), ("suggested", "Touch what is suggested for them")]
WINDOW_LEAST_S, WINDOW_MOST_S = 60, 86_400


def trifecta() -> list[list[str]]:
    """What is forbidden where an organisation has said nothing."""
    return [[label.value for label in FlowLabel]]


class FlowPolicy(Record):
    """What must not meet in one session. One row an organisation; without one the defaults hold."""

    is_only = models.BooleanField(default=True, unique=True, editable=False)
    mode = models.CharField(max_length=8, choices=MODES, default=FlowMode.ESCALATE.value)
    forbidden = models.JSONField(default=trifecta, help_text="Lists of labels.")
    scope = models.CharField(max_length=7, choices=SCOPES, default=FlowScope.CALLER.value)
    window_s = models.PositiveIntegerField(default=3_600)
    unlabelled = models.CharField(max_length=9, choices=UNLABELLED, default="nothing")
    exempt_agents = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    exempt_grants = ArrayField(models.CharField(max_length=320), default=list, blank=True)
    changed_by_label = models.CharField(max_length=254, blank=True, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(is_only=True), name="flow_policy_only_one"),
            models.CheckConstraint(
                condition=models.Q(window_s__gte=WINDOW_LEAST_S, window_s__lte=WINDOW_MOST_S),
                name="flow_policy_window_fits",
            ),
        ]


class OwnLabel(Record):
    """What the organisation says that a tool touches, for its own calls. A blank tool stands for resources and prompts.

    While the tool's definition is the one that was looked at, this word counts alone; afterwards it only adds.
    """

    server = models.ForeignKey("catalog.Server", on_delete=models.PROTECT, related_name="+")
    tool = models.CharField(max_length=128, blank=True)
    labels = ArrayField(models.CharField(max_length=20), default=list, blank=True)
    definition_digest = models.CharField(max_length=64, blank=True)
    changed_by_label = models.CharField(max_length=254, blank=True, editable=False)

    class Meta:
        ordering = ["server_id", "tool"]
        constraints = [
            models.UniqueConstraint(fields=["server", "tool"], name="own_label_once"),
            models.CheckConstraint(
                condition=models.Q(labels__contained_by=[label.value for label in FlowLabel]),
                name="own_label_of_the_list",
            ),
        ]


class FlowSession(Record):
    """What one session has touched: for each label the first call that did. Read and written under the row's lock.

    `scope` is the digest of what makes the session (`access.flows.state`). The row ends with `ends_at` and is used again by the
    next session of the same caller.
    """

    scope = models.CharField(max_length=64, unique=True, editable=False)
    kind = models.CharField(max_length=8, editable=False, help_text="caller, agent or protocol")
    api_key_id = models.UUIDField(editable=False)
    agent = models.CharField(max_length=200, blank=True, editable=False)
    agent_session_id = models.UUIDField(null=True, editable=False)
    touched = models.JSONField(default=dict, editable=False, help_text="{label: {call, server, tool, at}}")
    began_at = models.DateTimeField(editable=False)
    last_at = models.DateTimeField(editable=False)
    ends_at = models.DateTimeField(editable=False)

    class Meta:
        ordering = ["-last_at"]
        indexes = [models.Index(fields=["ends_at"], name="flow_session_by_end")]

    @property
    def is_over(self) -> bool:
        return self.ends_at <= clock.now()

    def facts(self) -> dict[str, Any]:
        return {"kind": self.kind, "agent": self.agent, "labels": sorted(self.touched)}
