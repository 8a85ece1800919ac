"""What money is like on this installation."""

from marketplace.settings import env
from marketplace.settings.base import DEVELOPMENT

BILLING_PRICE_NOTICE_DAYS = env.integer(
    "MARKETPLACE_PRICE_NOTICE_DAYS", "Days between telling that a price rises and its rise.", default=14
)
BILLING_DEFAULT_PLAN = env.text(
    "MARKETPLACE_DEFAULT_PLAN",
    "Plan, by its short name, of organisations that chose none; empty: they are on none, and only other limits hold.",
    "" if DEVELOPMENT else "free",
)
BILLING_SIMULATION_CUSTOMERS_MIN = env.integer(
    "MARKETPLACE_SIMULATION_CUSTOMERS_MIN",
    "Organisations that must have called a server before its provider sees sums over all of their calls.",
    default=3,
    minimum=1,
)
