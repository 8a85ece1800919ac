"""How calls are counted into months."""

from marketplace.settings import env

BILLING_CLOSE_GRACE_HOURS = env.integer(
    "MARKETPLACE_BILLING_CLOSE_GRACE_HOURS",
    "Hours after a month's end until it is closed; calls that were under way at its end still join it.",
    default=6,
    minimum=0,
)
