"""What is kept of checks: every one for some days, their counts per day for a year, and incidents."""

from __future__ import annotations

from django.contrib.postgres.indexes import BrinIndex
from django.db import models

from catalog.choices import Cause, Health
from core.ids import uuid7


class HealthCheck(models.Model):
    """One check: what it found by itself, before damping. Kept as long as the setting says."""

    server = models.ForeignKey("catalog.Server", on_delete=models.CASCADE, related_name="health_checks")
    checked_at = models.DateTimeField()
    outcome = models.CharField(max_length=8, choices=Health.choices)
    cause = models.CharField(max_length=11, choices=Cause.choices, blank=True)
    took_ms = models.PositiveIntegerField(null=True)  # the request that lists the tools, connection included
    protocol = models.CharField(max_length=20, blank=True)

    class Meta:
        ordering = ["-checked_at"]
        indexes = [
            models.Index(fields=["server", "-checked_at"], name="health_check_of_server"),
            BrinIndex(fields=["checked_at"], name="health_check_age", pages_per_range=32),
        ]

    def __str__(self) -> str:
        return f"{self.checked_at:%Y-%m-%d %H:%M} {self.outcome}"


class HealthDay(models.Model):
    """The checks of one server on one day (UTC), counted. A check that failed by itself counts nowhere."""

    server = models.ForeignKey("catalog.Server", on_delete=models.CASCADE, related_name="health_days")
    day = models.DateField()
    ready = models.PositiveIntegerField(default=0)
    degraded = models.PositiveIntegerField(default=0)
    down = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["day"]
        constraints = [models.UniqueConstraint(fields=["server", "day"], name="health_day_once")]

    def __str__(self) -> str:
        return f"{self.day:%Y-%m-%d}"


class HealthRun(models.Model):
    """One round of checks. Two never run at once; one that was killed is closed by the next."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    began_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    due = models.PositiveIntegerField(default=0)
    ready = models.PositiveIntegerField(default=0)
    degraded = models.PositiveIntegerField(default=0)
    down = models.PositiveIntegerField(default=0)
    unknown = models.PositiveIntegerField(default=0)
    doubted = models.BooleanField(default=False)  # nearly nothing answered, so the fault was taken for ours

    class Meta:
        ordering = ["-began_at"]
        constraints = [
            models.UniqueConstraint(models.Value(1), condition=models.Q(ended_at=None), name="health_run_one_at_a_time")
        ]

    def __str__(self) -> str:
        return f"{self.began_at:%Y-%m-%d %H:%M}"

    @property
    def counts(self) -> dict[str, int]:
        return {"ready": self.ready, "degraded": self.degraded, "down": self.down, "unknown": self.unknown}

    @property
    def checked(self) -> int:
        return sum(self.counts.values())


class Incident(models.Model):
    """From the change of a server's shown state to a bad one until it is ready again. At most one is open."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    server = models.ForeignKey("catalog.Server", on_delete=models.CASCADE, related_name="incidents")
    severity = models.CharField(max_length=8, choices=Health.choices)  # the worst that it came to
    cause = models.CharField(max_length=11, choices=Cause.choices, blank=True)
    detail = models.CharField(max_length=300, blank=True)
    began_at = models.DateTimeField()  # of the first bad check
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    told_opened_at = models.DateTimeField(null=True)
    told_closed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-began_at"]
        indexes = [models.Index(fields=["server", "-began_at"], name="incident_of_server")]
        constraints = [
            models.UniqueConstraint(fields=["server"], condition=models.Q(closed_at=None), name="incident_one_open"),
        ]

    def __str__(self) -> str:
        return f"{self.severity} since {self.began_at:%Y-%m-%d %H:%M}"
