"""What people ran in the playground, for as long as they keep it."""

from __future__ import annotations

from datetime import timedelta

from django.db import models

from core import clock
from core.models import Record
from tenants.models.vault import SealedField

# A run that has not ended by then was interrupted: longer than any call may take.
INTERRUPTED_AFTER = timedelta(minutes=10)


class RunState(models.TextChoices):
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    CANCELLED = "cancelled", "Cancelled"


class RunShows(models.TextChoices):
    """What of the arguments colleagues see of a run that is shared with them."""

    MASKED = "masked", "Arguments with what looks like a secret hidden"
    NOTHING = "nothing", "No arguments"
    ALL = "all", "Arguments as they were sent"


class PlaygroundRun(Record):
    """One run of a tool by a person: what was sent and what came back, sealed. The call itself is a `Call` like any other.

    Only its person sees it, and whom they share it with; it goes when `expires_at` has come.
    """

    user_id = models.UUIDField(editable=False)
    user_label = models.CharField(max_length=254, editable=False)
    key_id = models.UUIDField(null=True, editable=False)  # as which key; None: as the person
    as_label = models.CharField(max_length=254, editable=False)
    server_id = models.UUIDField(editable=False)
    server_slug = models.CharField(max_length=128, editable=False)
    tool = models.CharField(max_length=128, editable=False)
    state = models.CharField(max_length=9, choices=RunState.choices, default=RunState.RUNNING, editable=False)
    outcome = models.CharField(max_length=12, blank=True, editable=False)  # ok | tool_error | refused | no_answer
    progress = models.CharField(max_length=300, blank=True, editable=False)
    progress_percent = models.PositiveSmallIntegerField(null=True, editable=False)
    cancel_requested = models.BooleanField(default=False, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)
    call_id = models.UUIDField(null=True, editable=False)
    content = SealedField(default=b"")
    name = models.CharField(max_length=100, blank=True)
    shared = models.BooleanField(default=False)
    shows = models.CharField(max_length=7, choices=RunShows.choices, default=RunShows.MASKED)
    shows_result = models.BooleanField(default=True)
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["user_id", "-created_at"], name="run_by_person"),
            models.Index(fields=["expires_at"], name="run_by_end"),
        ]
        constraints = [
            # Whoever shares a run has named it: a colleague must be able to tell what it is.
            models.CheckConstraint(condition=models.Q(shared=False) | ~models.Q(name=""), name="run_shared_has_name"),
        ]

    @property
    def is_running(self) -> bool:
        return self.state == RunState.RUNNING and not self.is_interrupted

    @property
    def is_interrupted(self) -> bool:
        return self.state == RunState.RUNNING and clock.now() - self.created_at > INTERRUPTED_AFTER
