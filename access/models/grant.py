from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models

from access.types import SideEffect, SubjectKind, Trust
from core import clock
from core.models import Record

TRUST_CHOICES = [(trust.word, trust.word.capitalize()) for trust in Trust]


class Origin(models.TextChoices):
    """How a right came about."""

    PAGE = "page", "Page"
    REQUEST = "request", "Request"
    API = "api", "API"
    IMPORT = "import", "Import"
    ADAPTER = "adapter", "Adapter"


class Grant(Record):
    """The right of a subject to use a server: which tools, with which side effects, up to which trust, when, until when.

    Lives in the organisation's schema. Every part of the subject that is set must match the caller. No `tool_rules` means every
    tool; with rules, only the tools that they allow, and one that denies beats every other grant. A grant is never edited or
    removed, only switched off and revoked, so that a call can always be traced to the grant that allowed it: a change revokes
    it and makes its successor of the same name.
    """

    server = models.ForeignKey("catalog.Server", on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=253, help_text="Unique among the grants of its namespace that are not revoked.")
    namespace = models.CharField(max_length=63)
    subject_user = models.CharField(max_length=200, blank=True)
    subject_agent = models.CharField(max_length=200, blank=True)
    subject_team = models.CharField(max_length=200, blank=True)
    subject_key = models.CharField(max_length=200, blank=True)
    for_everyone = models.BooleanField(default=False, help_text="Everybody and everything of the organisation.")
    subject_label = models.CharField(max_length=254, blank=True)
    tool_rules = models.JSONField(default=list, blank=True, help_text="[{name, decision, required_trust, approval}]")
    conditions = models.JSONField(default=dict, blank=True, help_text="access.conditions")
    max_trust = models.CharField(max_length=6, choices=TRUST_CHOICES)
    side_effects = ArrayField(
        models.CharField(max_length=11, choices=[(e.value, e.value.capitalize()) for e in SideEffect]), blank=True
    )
    policy_version = models.CharField(max_length=63, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    replaced_by = models.UUIDField(null=True, editable=False)
    request_id = models.UUIDField(null=True, editable=False, help_text="The request that it came from.")
    origin = models.CharField(max_length=7, choices=Origin.choices, default=Origin.PAGE, editable=False)
    granted_by_id = models.UUIDField(null=True, editable=False)
    granted_by_label = models.CharField(max_length=254, blank=True, editable=False)
    note = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["server", "subject_key"], name="grant_by_server")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    for_everyone=True, subject_user="", subject_agent="", subject_team="", subject_key=""
                )
                | models.Q(for_everyone=False)
                & ~models.Q(subject_user="", subject_agent="", subject_team="", subject_key=""),
                name="grant_has_a_subject",
            ),
            # A file may leave them out; such a grant allows no tool, and whoever imports it is told.
            models.CheckConstraint(
                condition=models.Q(side_effects__len__gt=0) | models.Q(origin=Origin.IMPORT),
                name="grant_allows_a_side_effect",
            ),
            models.CheckConstraint(
                condition=models.Q(max_trust__in=["low", "medium", "high"]), name="grant_trust_known"
            ),
            models.UniqueConstraint(
                fields=["namespace", "name"], condition=models.Q(revoked_at=None), name="grant_name_unique"
            ),
        ]

    @property
    def state(self) -> str:
        if self.revoked_at:
            return "revoked"
        if self.expires_at and self.expires_at <= clock.now():
            return "expired"
        return "disabled" if self.disabled_at else "active"

    @property
    def tools(self) -> list[str]:
        """The names of the tools that its rules allow; none where it has no rules, which means every tool."""
        return [rule["name"] for rule in self.tool_rules if rule.get("decision", "allow") != "deny"]

    @property
    def denied_tools(self) -> list[str]:
        return [rule["name"] for rule in self.tool_rules if rule.get("decision") == "deny"]

    @property
    def approved_tools(self) -> list[str]:
        """The tools of which a person approves each call."""
        return [rule["name"] for rule in self.tool_rules if rule.get("approval") is True]

    @property
    def parts(self) -> list[tuple[SubjectKind, str]]:
        """The parts of the subject that are set, by kind."""
        return subject_parts(self) or [(SubjectKind.ORGANISATION, "")]

    @property
    def kind_words(self) -> str:
        """What the subject is, in words: "agent", or "user and agent"."""
        return " and ".join(kind.value for kind, _ in self.parts)

    @property
    def who(self) -> str:
        return self.subject_label or ", ".join(value for _, value in self.parts if value) or "everybody"


def subject_parts(row: Any) -> list[tuple[SubjectKind, str]]:
    """The parts of a grant's or session's subject that are set."""
    parts = [
        (SubjectKind.USER, row.subject_user),
        (SubjectKind.AGENT, row.subject_agent),
        (SubjectKind.TEAM, row.subject_team),
        (SubjectKind.KEY, getattr(row, "subject_key", "")),
    ]
    return [(kind, value) for kind, value in parts if value]
