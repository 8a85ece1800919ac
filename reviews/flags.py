"""Switches of reviews."""

from __future__ import annotations

from tenants.flags import Flag, Kind, declare

declare(
    "reviews",
    "Reviews",
    Flag("reviews_enabled", Kind.BOOL, True, "People may write reviews of servers that they use.", awaits="reviews"),
    Flag("ratings_enabled", Kind.BOOL, True, "Stars are asked for and shown.", awaits="reviews"),
    Flag(
        "review_moderation_enabled",
        Kind.BOOL,
        False,
        "A review appears only after an operator let it.",
        awaits="reviews",
    ),
    Flag(
        "min_install_time_for_review",
        Kind.INT,
        300,
        "How long a server must have been installed before its user may review it.",
        unit="seconds",
        awaits="reviews",
    ),
)
