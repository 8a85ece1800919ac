from __future__ import annotations

from django.db import models

from core import clock
from core.models import Record


class JobRun(Record):
    """Work of a job that was done for an organisation's month, written in the transaction of that work: once, for good."""

    job = models.CharField(max_length=60)
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.CASCADE, related_name="+")
    period_id = models.IntegerField()
    key = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["job", "tenant", "period_id", "key"], name="job_run_once"),
        ]

    def __str__(self) -> str:
        return f"{self.job} {self.period_id}"


class JobFailure(Record):
    """A job of billing that ended in an error and has not succeeded since with the same arguments (ids, as JSON).

    `error` is its code or its class, never its text, which may quote what somebody sent.
    """

    job = models.CharField(max_length=100)
    arguments = models.CharField(max_length=500)
    error = models.CharField(max_length=100)
    times = models.PositiveIntegerField(default=1)
    failed_at = models.DateTimeField(default=clock.now)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-failed_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["job", "arguments"], condition=models.Q(ended_at=None), name="job_failure_one_open"
            ),
        ]

    def __str__(self) -> str:
        return self.job
