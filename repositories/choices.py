"""Closed vocabularies of sources. Kinds are open: see `repositories.adapters.registry`."""

from django.db import models


class AuthType(models.TextChoices):
    NONE = "none", "None"
    BASIC = "basic", "User name and password"
    TOKEN = "token", "Token"
    OAUTH = "oauth", "OAuth client"


class TrustLevel(models.TextChoices):
    """Who answers for what a source lists."""

    COMMUNITY = "community", "Community"
    VERIFIED = "verified", "Verified"
    ENTERPRISE = "enterprise", "Enterprise"


class Visibility(models.TextChoices):
    """Who finds a source's entries. Everybody means everybody in the organisation when the source is an organisation's."""

    PUBLIC = "public", "Everybody"
    ADMIN = "admin", "Those who manage sources"
    GROUP = "group", "Chosen teams"


class SyncStatus(models.TextChoices):
    NEVER = "never", "Never read"
    SUCCESS = "success", "Read"
    FAILED = "failed", "Failed"
    IN_PROGRESS = "in_progress", "Being read"


class RunState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    SUCCESS = "success", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class RunReason(models.TextChoices):
    SCHEDULED = "scheduled", "By schedule"
    ASKED = "asked", "Asked for"


OPEN_STATES = (RunState.WAITING, RunState.RUNNING, RunState.PAUSED)
