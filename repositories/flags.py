"""Switches of sources."""

from __future__ import annotations

from tenants.flags import Flag, Kind, Scope, declare

_HOURS_MAX = 24 * 365

declare(
    "repositories",
    "Repositories",
    Flag(
        "default_repository_sync_interval",
        Kind.INT,
        24,
        "How often a repository is read that states no interval of its own.",
        minimum=1,
        maximum=_HOURS_MAX,
        unit="hours",
    ),
    Flag(
        "allow_untrusted_repositories",
        Kind.BOOL,
        False,
        "Organisations may add repositories that nobody vouches for (trust level community).",
        Scope.BOTH,
    ),
    Flag("enable_github_repositories", Kind.BOOL, True, "GitHub repositories may be added and are read."),
    Flag("enable_docker_repositories", Kind.BOOL, True, "Container registries may be added and are read."),
    Flag("enable_local_repositories", Kind.BOOL, True, "Folders of this machine may be added and are read."),
    Flag(
        "enable_public_marketplace",
        Kind.BOOL,
        True,
        "The public marketplace that public_marketplace_url names is read as a repository.",
    ),
    Flag(
        "public_marketplace_url",
        Kind.TEXT,
        "",
        "Address of another marketplace or registry whose public servers are listed here too.",
    ),
    Flag(
        "marketplace_cache_ttl",
        Kind.INT,
        3600,
        "How long what was read from a repository counts as fresh, so that nothing is asked again by schedule.",
        unit="seconds",
    ),
)
