from __future__ import annotations

from django.db import models

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
