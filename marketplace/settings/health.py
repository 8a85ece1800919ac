"""How often servers are checked, and for how long the checks are kept."""

from marketplace.settings import env

HEALTH_INTERVAL_S = env.integer(
    "MARKETPLACE_HEALTH_SECONDS",
    "Seconds from one round of health checks to the next. A result older than three rounds counts as unknown.",
    default=300,
    minimum=30,
)
HEALTH_KEEP_DAYS = env.integer(
    "MARKETPLACE_HEALTH_KEEP_DAYS",
    "Days for which each health check is kept; counts per day and incidents stay longer.",
    default=8,
    minimum=8,
)
HEALTH_CHECK_IMPORTED = env.flag(
    "MARKETPLACE_HEALTH_IMPORTED",
    "Servers that are only known from a source are checked too, when they can be asked without a credential.",
    default=False,
)
