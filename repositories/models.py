from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from core.models import Record
from repositories.choices import OPEN_STATES, AuthType, RunReason, RunState, SyncStatus, TrustLevel, Visibility
from tenants.models.vault import SealedField

INTERVAL_HOURS_MAX = 24 * 365


class Repository(Record):
    """A source of listings. Without an owner it is the platform's, else private to that organisation."""

    owner_tenant = models.ForeignKey(
        "tenants.Tenant", on_delete=models.CASCADE, null=True, blank=True, related_name="repositories", editable=False
    )
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=8)
    url = models.CharField(max_length=2000)
    auth_type = models.CharField(max_length=5, choices=AuthType.choices, default=AuthType.NONE)
    credentials = SealedField(default=b"")
    credentials_at = models.DateTimeField(null=True, editable=False)
    enabled = models.BooleanField(default=True)
    trust_level = models.CharField(max_length=10, choices=TrustLevel.choices, default=TrustLevel.COMMUNITY)
    auto_sync = models.BooleanField(default=True)
    # Blank follows the platform's `default_repository_sync_interval`.
    sync_interval_hours = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(INTERVAL_HOURS_MAX)]
    )
    visibility = models.CharField(max_length=6, choices=Visibility.choices, default=Visibility.PUBLIC)
    allowed_teams = ArrayField(models.UUIDField(), default=list, blank=True)
    # Of two sources that list the same server the one with the higher number is believed, unless the other proves its namespace.
    priority = models.PositiveSmallIntegerField(default=100, validators=[MaxValueValidator(1000)])
    # Only those who manage the source see its entries, until somebody releases them.
    staged = models.BooleanField(default=False)
    released_at = models.DateTimeField(null=True, editable=False)
    # Gone for everybody, and deleted once its entries are withdrawn.
    removed_at = models.DateTimeField(null=True, editable=False)
    # The source that the platform's settings name: changed there.
    from_settings = models.BooleanField(default=False, editable=False)

    last_sync = models.DateTimeField(null=True, editable=False)
    sync_status = models.CharField(max_length=11, choices=SyncStatus.choices, default=SyncStatus.NEVER, editable=False)
    sync_error = models.CharField(max_length=500, blank=True, editable=False)
    failures = models.PositiveSmallIntegerField(default=0, editable=False)  # in a row
    failing_told_at = models.DateTimeField(null=True, editable=False)  # of the present row of failures
    next_sync = models.DateTimeField(null=True, editable=False)
    server_count = models.PositiveIntegerField(default=0, editable=False)
    # How an unchanged answer is recognised (ETag, Last-Modified), by address; bounded by the fetcher.
    validators = models.JSONField(default=dict, editable=False)
    # The next incremental reading asks for what changed since this moment of the source's clock.
    watermark = models.DateTimeField(null=True, editable=False)
    last_full_sync = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "repositories"
        constraints = [
            models.UniqueConstraint(
                fields=["owner_tenant", "name"],
                condition=models.Q(removed_at=None),
                name="repository_name_unique_in_owner",
                nulls_distinct=False,
            ),
            models.UniqueConstraint(
                fields=["from_settings"], condition=models.Q(from_settings=True), name="repository_one_from_settings"
            ),
            models.CheckConstraint(
                condition=models.Q(visibility="group") | models.Q(allowed_teams=[]), name="repository_teams_of_group"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class SyncRun(Record):
    """One reading of a source, with everything that is needed to go on after a crash.

    Whoever works on it holds a lease; a worker whose lease was taken over cannot keep another batch.
    """

    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="runs")
    owner_tenant = models.ForeignKey("tenants.Tenant", on_delete=models.CASCADE, null=True, related_name="+")
    reason = models.CharField(max_length=9, choices=RunReason.choices)
    asked_by = models.CharField(max_length=254, blank=True)
    full = models.BooleanField()
    since = models.DateTimeField(null=True)
    state = models.CharField(max_length=9, choices=RunState.choices, default=RunState.WAITING)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    resume_at = models.DateTimeField(null=True)
    cursor = models.TextField(blank=True)
    total = models.PositiveIntegerField(null=True)  # entries, when the source says
    batches = models.PositiveIntegerField(default=0)
    read = models.PositiveIntegerField(default=0)
    created = models.PositiveIntegerField(default=0)
    updated = models.PositiveIntegerField(default=0)
    unchanged = models.PositiveIntegerField(default=0)
    merged = models.PositiveIntegerField(default=0)
    removed = models.PositiveIntegerField(default=0)
    problem_count = models.PositiveIntegerField(default=0)
    problems = models.JSONField(default=list)  # the first of them: {file, entry, field, reason}
    validators = models.JSONField(default=dict)  # the source's, once the run has succeeded
    newest = models.DateTimeField(null=True)  # the last change that the source told of, by its clock
    certain = models.BooleanField(default=True)  # whether what was not seen is gone, as far as the reading can tell
    attempts = models.PositiveSmallIntegerField(default=0)  # since the last batch
    note = models.CharField(max_length=500, blank=True)
    lease = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["repository"], condition=models.Q(state__in=OPEN_STATES), name="sync_run_one_open"
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=OPEN_STATES) | models.Q(ended_at__isnull=False), name="sync_run_end_dated"
            ),
        ]
        # The sweep looks for what is open; the page of a source for its newest runs.
        indexes = [
            models.Index(fields=["resume_at"], condition=models.Q(state__in=OPEN_STATES), name="sync_run_open"),
            models.Index(fields=["repository", "-created_at"], name="sync_run_history"),
        ]

    def __str__(self) -> str:
        return f"{self.repository_id} {self.created_at:%Y-%m-%d %H:%M}"

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES


class SeenName(models.Model):
    """A name that the open full run has met. What the source had and the run did not meet is withdrawn at its end."""

    run = models.ForeignKey(SyncRun, on_delete=models.CASCADE, related_name="seen")
    owner_tenant = models.ForeignKey("tenants.Tenant", on_delete=models.CASCADE, null=True, related_name="+")
    name = models.CharField(max_length=300)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "name"], name="seen_name_once")]

    def __str__(self) -> str:
        return self.name
