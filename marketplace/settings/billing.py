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
BILLING_ALONE_MINOR = env.integer(
    "MARKETPLACE_CREDIT_ALONE_MINOR",
    "Minor units of an invoice that one operator may give back alone, its credit notes together; beyond it another one decides.",
    default=10_000,
)
BILLING_SIMULATION_CUSTOMERS_MIN = env.integer(
    "MARKETPLACE_SIMULATION_CUSTOMERS_MIN",
    "Organisations that must have called a server before its provider sees sums over all of their calls.",
    default=3,
    minimum=1,
)
