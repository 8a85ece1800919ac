"""What a change of access would have meant for the calls of the last days."""

from __future__ import annotations

from django.db import models

from core.models import Record


class SimulationState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


class Simulation(Record):
    """A proposed change, replayed against real calls by a job. Nothing of it takes effect. `access.proposals` reads `change`."""

    user_id = models.UUIDField(null=True, editable=False)
    user_label = models.CharField(max_length=254, editable=False)
    title = models.CharField(max_length=200, editable=False)
    change = models.JSONField(editable=False)
    days = models.PositiveSmallIntegerField(editable=False)
    state = models.CharField(
        max_length=7, choices=SimulationState.choices, default=SimulationState.WAITING, editable=False
    )
    percent = models.PositiveSmallIntegerField(default=0, editable=False)
    problem = models.CharField(max_length=500, blank=True, editable=False)
    result = models.JSONField(default=dict, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-created_at"]

    @property
    def is_over(self) -> bool:
        return self.state in {SimulationState.DONE, SimulationState.FAILED}
