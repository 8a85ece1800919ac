"""When and how providers are paid. Amounts are minor units of the currency of a payout."""

from marketplace.settings import env

PAYOUT_HOLDBACK_DAYS = env.integer(
    "MARKETPLACE_PAYOUT_HOLDBACK_DAYS",
    "Days after the payment of an invoice before providers have their shares of it at their disposal.",
    default=14,
)
PAYOUT_RESERVE_BPS = env.integer(
    "MARKETPLACE_PAYOUT_RESERVE_BPS",
    "What of a new provider's shares is kept longer, in hundredths of a percent.",
    default=1000,
)
PAYOUT_RESERVE_DAYS = env.integer(
    "MARKETPLACE_PAYOUT_RESERVE_DAYS",
    "For how many days a provider is new, and for how many days after an invoice was paid the reserve is kept.",
    default=90,
)
PAYOUT_DAY = env.integer(
    "MARKETPLACE_PAYOUT_DAY",
    "The day of the month, 1 to 28, from which on the payouts of a month are put together.",
    default=10,
    minimum=1,
)
PAYOUT_MINIMUM = {
    "paypal": env.integer(
        "MARKETPLACE_PAYOUT_MINIMUM_PAYPAL",
        "The smallest payout by PayPal; less waits for the next month.",
        default=2000,
    ),
    "connect": env.integer(
        "MARKETPLACE_PAYOUT_MINIMUM_CONNECT",
        "The smallest payout to a bank account; less waits for the next month.",
        default=2500,
    ),
}
PAYOUT_REST_HOURS = env.integer(
    "MARKETPLACE_PAYOUT_REST_HOURS",
    "Hours that a payout method rests after it was changed, so that its owners hear of a change that is not theirs.",
    default=72,
)

FRAUD_MULTIPLE = env.integer(
    "MARKETPLACE_FRAUD_MULTIPLE",
    "How many times its usual paid calls of a day an organisation or key may make before its payments are looked at.",
    default=10,
    minimum=2,
)
FRAUD_CALLS_MIN = env.integer(
    "MARKETPLACE_FRAUD_CALLS_MIN",
    "Paid calls of a day below which no pace is looked at.",
    default=1000,
    minimum=1,
)
FRAUD_NEWCOMER_MINOR = env.integer(
    "MARKETPLACE_FRAUD_NEWCOMER_SPEND",
    "What an organisation may use and owe before its first paid invoice is looked at, in the currency's smallest unit.",
    default=10_000,
)
