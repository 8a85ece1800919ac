from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from catalog.choices import (
    AuthMode,
    Badge,
    Category,
    DriftEnd,
    DriftFinder,
    Health,
    ImportState,
    LabelSetter,
    Origin,
    PackageType,
    PolicyMode,
    Seen,
    SideEffect,
    SourceKind,
    SourceTrust,
    Status,
    Transport,
    TrustLevel,
    UpstreamAuth,
    UpstreamStatus,
    Visibility,
)
from catalog.claims.models import ListingClaim
from catalog.health.models import HealthCheck, HealthDay, HealthRun, Incident
from catalog.labels import LABELS
from core import clock
from core.ids import uuid7
from core.models import Record
from tenants.models.tenant import slug_validator

__all__ = [
    "CallDay",
    "CountedDay",
    "HealthCheck",
    "HealthDay",
    "HealthRun",
    "Incident",
    "ListingClaim",
    "Provider",
    "Server",
    "ServerVersion",
    "SourceEntry",
    "Tool",
    "ToolDrift",
    "ToolLabel",
]


class Provider(Record):
    """The publishing side of an organisation."""

    tenant = models.OneToOneField("tenants.Tenant", on_delete=models.CASCADE, related_name="provider")
    name = models.CharField(max_length=200)
    slug = models.CharField(max_length=40, unique=True, validators=[slug_validator])
    website = models.URLField(blank=True)
    verified_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name


class Server(Record):
    """The listing of one MCP server, governed by a provider here or only known from a source.

    Rows of every organisation share the table; a row policy of Postgres hides what is not public from everybody but the
    owner and the platform. Without an owner it belongs to the platform's shared catalog. `slug` is the name in gateway paths:
    unique among the owner's servers and among public ones. `revision` grows with every change that a gateway must know.
    Counts are denormalised from the current version; None means that nobody knows.
    """

    owner_tenant = models.ForeignKey(  # a unique constraint has its index
        "tenants.Tenant", on_delete=models.PROTECT, null=True, blank=True, related_name="servers", db_index=False
    )
    owner_team = models.ForeignKey(
        "tenants.Team", on_delete=models.SET_NULL, null=True, blank=True, related_name="servers"
    )
    provider = models.ForeignKey(Provider, on_delete=models.PROTECT, null=True, blank=True, related_name="servers")
    registry_name = models.CharField(
        max_length=200, blank=True, help_text="Name in registries, namespace/name; empty for servers registered here."
    )
    slug = models.CharField(max_length=40, validators=[slug_validator])
    name = models.CharField(max_length=200)
    summary = models.CharField(max_length=300, blank=True)
    description = models.TextField(blank=True)
    visibility = models.CharField(max_length=6, choices=Visibility.choices, default=Visibility.TENANT)
    allowed_teams = ArrayField(
        models.UUIDField(), default=list, blank=True, help_text="The owner's teams that see it when chosen teams do."
    )
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.DRAFT)
    badge = models.CharField(max_length=12, choices=Badge.choices, default=Badge.EXPERIMENTAL)
    category = models.CharField(max_length=12, choices=Category.choices, blank=True)
    tags = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    transport = models.CharField(max_length=15, choices=Transport.choices, default=Transport.STREAMABLE_HTTP)
    auth_mode = models.CharField(
        max_length=6, choices=AuthMode.choices, default=AuthMode.NONE, blank=True, help_text="Empty: unknown."
    )
    upstream_auth = models.CharField(
        max_length=18,
        choices=UpstreamAuth.choices,
        default=UpstreamAuth.HEADER,
        help_text="How the marketplace's signed token reaches the server.",
    )
    identity_headers = models.BooleanField(
        default=False,
        help_text="Takes the word of keys that may say for whom they call, as servers with auth mode header do.",
    )
    required_trust = models.CharField(
        max_length=6, choices=TrustLevel.choices, default=TrustLevel.LOW, blank=True, help_text="Empty: nobody said."
    )
    policy_mode = models.CharField(max_length=10, choices=PolicyMode.choices, default=PolicyMode.ALLOW_LIST)
    policy_settings = models.JSONField(default=dict, blank=True, help_text="catalog.policies.PolicySettings")
    gateway_enabled = models.BooleanField(default=True)
    url = models.URLField(
        max_length=500,
        blank=True,
        help_text="Where the server itself answers; never shown to callers. Empty for servers that are only packages.",
    )
    further_urls = ArrayField(
        models.URLField(max_length=500),
        default=list,
        blank=True,
        size=8,
        help_text="Other addresses of the same server; calls go round all of them.",
    )
    rate_per_caller = models.PositiveIntegerField(
        null=True, blank=True, help_text="Requests per minute of each organisation that calls; empty for no limit."
    )
    rate_in_all = models.PositiveIntegerField(
        null=True, blank=True, help_text="Requests per minute of all organisations together; empty for no limit."
    )
    timeout_s = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        help_text="Seconds until an answer must begin, at most 300; empty for what the gateway gives.",
    )
    current_version = models.ForeignKey(
        "catalog.ServerVersion", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    health = models.CharField(max_length=8, choices=Health.choices, default=Health.UNKNOWN)
    health_checked_at = models.DateTimeField(null=True, blank=True)
    health_detail = models.CharField(max_length=300, blank=True)
    health_since = models.DateTimeField(null=True, blank=True)
    health_latency_ms = models.PositiveIntegerField(null=True, blank=True)
    tls_expires_at = models.DateTimeField(null=True, blank=True)
    approved_at = models.DateTimeField(null=True, blank=True)
    origin = models.CharField(max_length=9, choices=Origin.choices, default=Origin.PUBLISHED)
    source_id = models.UUIDField(null=True, blank=True)
    source_name = models.CharField(max_length=100, blank=True)
    source_kind = models.CharField(max_length=8, choices=SourceKind.choices, blank=True)
    source_trust = models.CharField(max_length=10, choices=SourceTrust.choices, blank=True)
    upstream_status = models.CharField(
        max_length=10, choices=UpstreamStatus.choices, default=UpstreamStatus.ACTIVE, help_text="Said by the publisher."
    )
    publisher_name = models.CharField(max_length=200, blank=True, help_text="As the publisher calls itself; a claim.")
    namespace_proven = models.BooleanField(default=False)
    is_verified = models.BooleanField(default=False)
    is_featured = models.BooleanField(default=False)
    website_url = models.URLField(max_length=500, blank=True)
    documentation_url = models.URLField(max_length=500, blank=True)
    repository_url = models.URLField(max_length=500, blank=True)
    icon_url = models.URLField(max_length=500, blank=True)
    icon_digest = models.CharField(
        max_length=32,
        blank=True,
        editable=False,
        help_text="Of the picture that came with its listing; blank without one.",
    )
    license = models.CharField(max_length=100, blank=True)
    package_types = ArrayField(models.CharField(max_length=6, choices=PackageType.choices), default=list, blank=True)
    tool_count = models.PositiveIntegerField(null=True, blank=True)
    resource_count = models.PositiveIntegerField(null=True, blank=True)
    prompt_count = models.PositiveIntegerField(null=True, blank=True)
    has_tasks = models.BooleanField(default=False)
    calls_30d = models.PositiveBigIntegerField(default=0, editable=False)
    trend = models.PositiveBigIntegerField(
        default=0, editable=False, help_text="Calls of the last 7 days beyond what the mean of 30 days makes of them."
    )
    installs = models.PositiveIntegerField(default=0, editable=False)
    downloads = models.PositiveBigIntegerField(null=True, blank=True)
    published_at = models.DateTimeField(null=True, blank=True)
    content_updated_at = models.DateTimeField(null=True, blank=True)
    entry_changed_at = models.DateTimeField(
        default=clock.now,
        editable=False,
        help_text="When what the registry API says of it changed here; kept by triggers.",
    )
    revision = models.BigIntegerField(default=0, editable=False)

    class Meta:
        ordering = ["name"]
        indexes = [
            models.Index(fields=["name"], condition=models.Q(is_featured=True), name="server_featured"),
            models.Index(fields=["name"], condition=models.Q(is_verified=True), name="server_verified"),
            models.Index(fields=["-trend", "name"], condition=models.Q(trend__gt=0), name="server_trending"),
            # The order of the registry API, and its `updated_since`.
            models.Index(fields=["registry_name", "slug", "id"], name="server_registry_order"),
            models.Index(fields=["entry_changed_at"], name="server_entry_changed"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["owner_tenant", "slug"], name="server_slug_unique_in_owner"),
            models.UniqueConstraint(
                fields=["slug"],
                condition=models.Q(visibility=Visibility.PUBLIC) & ~models.Q(status=Status.REMOVED),
                name="server_slug_unique_in_public",
            ),
            # Entries of the same name with different audiences stay apart, so that a merge never shows what was for fewer.
            models.UniqueConstraint(
                fields=["owner_tenant", "registry_name", "visibility", "allowed_teams"],
                condition=~models.Q(registry_name=""),
                nulls_distinct=False,
                name="server_registry_name_unique",
            ),
            models.CheckConstraint(
                condition=~models.Q(required_trust="") | models.Q(status__in=[Status.LISTED, Status.REMOVED]),
                name="server_trust_known_when_governed",
            ),
            models.CheckConstraint(
                condition=models.Q(origin=Origin.IMPORTED)
                | models.Q(owner_tenant__isnull=False, provider__isnull=False),
                name="server_published_by_somebody",
            ),
            models.CheckConstraint(
                condition=models.Q(rate_per_caller=None) | models.Q(rate_per_caller__gte=1),
                name="server_rate_per_caller_counts",
            ),
            models.CheckConstraint(
                condition=models.Q(rate_in_all=None) | models.Q(rate_in_all__gte=1), name="server_rate_in_all_counts"
            ),
            models.CheckConstraint(
                condition=models.Q(timeout_s=None) | models.Q(timeout_s__range=(1, 300)), name="server_timeout_fits"
            ),
            models.CheckConstraint(
                condition=~models.Q(status=Status.APPROVED) | models.Q(approved_at__isnull=False),
                name="server_approval_dated",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def publisher(self) -> str:
        """Who publishes it: the provider here, else what the source claims, else the namespace of its name."""
        if self.provider is not None:
            return self.provider.name
        return self.publisher_name or self.registry_name.partition("/")[0] or self.source_name


class ServerVersion(models.Model):
    """A release of a server: what it said of itself when it was read, or what a source said of it.

    Immutable but for what its publisher says of it later: whether it is the latest, and its status.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    server = models.ForeignKey(  # its unique constraint has the index
        Server, on_delete=models.PROTECT, related_name="versions", db_index=False
    )
    version = models.CharField(max_length=255)
    protocol = models.CharField(max_length=20, blank=True, help_text="Empty: never read from the server itself.")
    server_info = models.JSONField(default=dict)
    instructions = models.TextField(blank=True)
    capabilities = models.JSONField(default=dict)
    inventory_digest = models.CharField(max_length=64)
    tool_count = models.PositiveIntegerField(null=True, default=0)
    resource_count = models.PositiveIntegerField(null=True)
    prompt_count = models.PositiveIntegerField(null=True)
    manifest = models.JSONField(default=dict, blank=True, help_text="catalog.formats.normal.Entry, for imported ones.")
    released_at = models.DateTimeField(null=True, blank=True)
    is_latest = models.BooleanField(default=False)
    upstream_status = models.CharField(max_length=10, choices=UpstreamStatus.choices, default=UpstreamStatus.ACTIVE)
    status_message = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["server", "version", "inventory_digest"], name="server_version_unique"),
        ]

    def __str__(self) -> str:
        return self.version


class Tool(models.Model):
    """A callable of a server version: its definition as the server gave it, and what the policy needs of it. Immutable."""

    id = models.UUIDField(primary_key=True, editable=False)
    version = models.ForeignKey(  # as above
        ServerVersion, on_delete=models.PROTECT, related_name="tools", db_index=False
    )
    position = models.PositiveIntegerField()
    name = models.CharField(max_length=128)
    title = models.CharField(max_length=200, blank=True)
    description = models.TextField(blank=True)
    definition = models.JSONField()
    definition_digest = models.CharField(max_length=64)
    required_trust = models.CharField(max_length=6, choices=TrustLevel.choices)
    side_effect = models.CharField(max_length=11, choices=SideEffect.choices, blank=True)
    seen = models.CharField(max_length=8, choices=Seen.choices, default=Seen.LIVE)

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["version", "name"], name="tool_name_unique_in_version")]

    def __str__(self) -> str:
        return self.name


class ToolDrift(models.Model):
    """A tool whose definition at the server differs from the approved one: it is in quarantine until somebody approves it.

    One open row per tool. `found_definition` is what would be approved, as the server gave it.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    server = models.ForeignKey(Server, on_delete=models.PROTECT, related_name="drifts")
    tool_name = models.CharField(max_length=128)
    approved_digest = models.CharField(max_length=64)
    found_digest = models.CharField(max_length=64)
    found_definition = models.JSONField()
    found_at = models.DateTimeField()
    found_by = models.CharField(max_length=7, choices=DriftFinder.choices)
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_as = models.CharField(max_length=8, choices=DriftEnd.choices, blank=True)
    closed_by = models.CharField(max_length=254, blank=True)

    class Meta:
        ordering = ["-found_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["server", "tool_name"], condition=models.Q(closed_at=None), name="tool_drift_one_open"
            ),
            models.CheckConstraint(
                condition=models.Q(closed_at=None, closed_as="")
                | models.Q(closed_at__isnull=False) & ~models.Q(closed_as=""),
                name="tool_drift_closed_for_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return self.tool_name


class ToolLabel(Record):
    """What somebody confirmed that a tool touches (`catalog.labels`); a blank tool stands for resources and prompts.

    It belongs to the tool's name and stays when another version is published; `definition_digest` says what was looked at.
    No row: nobody has labelled the tool, which is another thing than a row without labels.
    """

    server = models.ForeignKey(Server, on_delete=models.PROTECT, related_name="labels")
    tool = models.CharField(max_length=128, blank=True)
    labels = ArrayField(models.CharField(max_length=20), default=list, blank=True)
    definition_digest = models.CharField(max_length=64, blank=True)
    set_by = models.CharField(max_length=8, choices=LabelSetter.choices)
    set_by_label = models.CharField(max_length=254, blank=True, editable=False)

    class Meta:
        ordering = ["server_id", "tool"]
        constraints = [
            models.UniqueConstraint(fields=["server", "tool"], name="tool_label_once"),
            models.CheckConstraint(
                condition=models.Q(labels__contained_by=list(LABELS)), name="tool_label_of_the_list"
            ),
        ]

    def __str__(self) -> str:
        return self.tool or "resources and prompts"


class SourceEntry(models.Model):
    """One version of one entry as a source gave it, with the server that it was recognised as.

    `wins` marks the source whose words the server shows; what other sources say stays visible here. `audience` names who may
    see the entry (owner, visibility, teams): entries are only ever merged within one audience.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    server = models.ForeignKey(Server, on_delete=models.CASCADE, related_name="source_entries")
    source_id = models.UUIDField()
    source_name = models.CharField(max_length=100)
    source_kind = models.CharField(max_length=8, choices=SourceKind.choices)
    source_trust = models.CharField(max_length=10, choices=SourceTrust.choices)
    source_priority = models.IntegerField(default=0, help_text="Higher wins.")
    audience = models.CharField(max_length=64)
    external_id = models.CharField(max_length=300)
    registry_name = models.CharField(max_length=200, blank=True)
    version = models.CharField(max_length=255, blank=True)
    digest = models.CharField(max_length=64)
    manifest = models.JSONField(default=dict)
    identity = ArrayField(
        models.CharField(max_length=64),
        default=list,
        help_text="Digests by which duplicates are found; triggers keep a row for each.",
    )
    says_latest = models.BooleanField(null=True, help_text="The source's own flag; None when it has none.")
    is_latest = models.BooleanField(default=False)
    is_proven = models.BooleanField(
        default=False, help_text="The source proves that the publisher holds the namespace."
    )
    is_vouched = models.BooleanField(default=False, help_text="An organisation here proved that the entry is its own.")
    wins = models.BooleanField(default=False)
    status = models.CharField(max_length=10, choices=UpstreamStatus.choices, default=UpstreamStatus.ACTIVE)
    published_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "source entries"
        ordering = ["source_name", "external_id", "-seen_at"]
        constraints = [
            models.UniqueConstraint(fields=["source_id", "external_id", "version"], name="source_entry_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.external_id} {self.version}".strip()


class CallDay(models.Model):
    """How often tools of a server were called on one day (UTC), by everybody together: who called is not kept here."""

    server = models.ForeignKey(Server, on_delete=models.CASCADE, related_name="call_days")
    day = models.DateField()
    calls = models.PositiveBigIntegerField()

    class Meta:
        ordering = ["day"]
        constraints = [models.UniqueConstraint(fields=["day", "server"], name="call_day_once")]

    def __str__(self) -> str:
        return f"{self.day:%Y-%m-%d} {self.calls}"


class CountedDay(models.Model):
    """A day whose calls were counted in every organisation. Rows may come late, so a count on the day itself is not the last."""

    day = models.DateField(primary_key=True)
    counted_at = models.DateTimeField()

    class Meta:
        ordering = ["day"]

    def __str__(self) -> str:
        return f"{self.day:%Y-%m-%d}"


class SavedSearch(Record):
    """A search that somebody keeps, as the address of the page says it. Of one person in one organisation."""

    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey("tenants.User", on_delete=models.CASCADE, related_name="saved_searches")
    name = models.CharField(max_length=80)
    query = models.CharField(max_length=2000)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["tenant", "user", "name"], name="saved_search_name_unique")]

    def __str__(self) -> str:
        return self.name


class ImportRun(Record):
    """One import of a file or a folder by an operator: what was asked for, how far it is, and what became of it.

    An uploaded file is kept here until it is taken, so that any worker can take it.
    """

    source_name = models.CharField(max_length=100)
    source_kind = models.CharField(max_length=8, choices=SourceKind.choices, default=SourceKind.LOCAL)
    source_trust = models.CharField(max_length=10, choices=SourceTrust.choices, default=SourceTrust.COMMUNITY)
    priority = models.IntegerField(default=0)
    file_name = models.CharField(max_length=300, help_text="Name of the uploaded file, or path of the folder.")
    content = models.BinaryField(null=True, editable=False)
    state = models.CharField(max_length=7, choices=ImportState.choices, default=ImportState.WAITING)
    requested_by = models.CharField(max_length=254)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    files_total = models.PositiveIntegerField(null=True)
    files_done = models.PositiveIntegerField(default=0)
    entries_read = models.PositiveIntegerField(default=0)
    created = models.PositiveIntegerField(default=0)
    updated = models.PositiveIntegerField(default=0)
    unchanged = models.PositiveIntegerField(default=0)
    servers = models.PositiveIntegerField(default=0)
    merged = models.PositiveIntegerField(default=0)
    removed = models.PositiveIntegerField(default=0)
    problem_count = models.PositiveIntegerField(default=0)
    problems = models.JSONField(default=list, help_text="The first ones, each with file, entry, field and reason.")
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.file_name
