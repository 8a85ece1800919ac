"""The payment providers: who collects and who pays out, and where they are asked."""

from marketplace.settings import env
from marketplace.settings.base import TESTING

TEST_PAYMENTS = env.flag(
    "MARKETPLACE_TEST_PAYMENTS",
    "Payments are those of our own test providers, and pages say so. `scripts/up` sets it where no keys are configured.",
    default=TESTING,
)
STRIPE_KEY = env.secret("MARKETPLACE_STRIPE_KEY", "Stripe's secret key; no cards are taken without it.", "", minimum=0)
STRIPE_URL = env.text("MARKETPLACE_STRIPE_URL", "Where Stripe's API is; Stripe's own address when empty.", "").rstrip(
    "/"
)
STRIPE_WEBHOOK_SECRETS = env.secrets(
    "MARKETPLACE_STRIPE_WEBHOOK_SECRETS",
    "Secrets that Stripe signs webhooks with; several while one is being replaced.",
    minimum=16,
)
PAYPAL_URL = env.text("MARKETPLACE_PAYPAL_URL", "Where PayPal's API is.", "https://api-m.paypal.com").rstrip("/")
PAYPAL_CLIENT_ID = env.text("MARKETPLACE_PAYPAL_CLIENT_ID", "PayPal's client id; no payouts by PayPal without it.", "")
PAYPAL_SECRET = env.secret("MARKETPLACE_PAYPAL_SECRET", "The secret of that client.", "", minimum=0)
PAYPAL_WEBHOOK_ID = env.text(
    "MARKETPLACE_PAYPAL_WEBHOOK_ID", "The id of our webhook at PayPal; others' are refused.", ""
)
PAYMENT_TIMEOUT_S = env.integer(
    "MARKETPLACE_PAYMENT_SECONDS", "How long a payment provider may take to answer.", default=30, minimum=1
)
DUNNING_DAYS = [
    int(day)
    for day in env.items(
        "MARKETPLACE_DUNNING_DAYS", "Days after an invoice is open on which its payment is tried.", "0,1,3,7,14"
    )
]
PAYMENT_BLOCK_DAYS = env.integer(
    "MARKETPLACE_PAYMENT_BLOCK_DAYS", "Days after which an unpaid invoice stops paid tools.", default=14, minimum=1
)
PAYMENT_UNCOLLECTIBLE_DAYS = env.integer(
    "MARKETPLACE_PAYMENT_UNCOLLECTIBLE_DAYS", "Days after which an unpaid invoice is given up.", default=30, minimum=2
)
TOP_UP_MIN = env.integer(
    "MARKETPLACE_TOP_UP_MIN",
    "The least credit that is bought at once, in minor units (cents).",
    default=500,
    minimum=50,
)
TOP_UP_MAX = env.integer(
    "MARKETPLACE_TOP_UP_MAX", "The most credit that is bought at once, in minor units.", default=500_000, minimum=50
)
TOP_UP_DAY_MAX = env.integer(
    "MARKETPLACE_TOP_UP_DAY_MAX",
    "The most that an organisation may let be bought in a day without anybody asking, in minor units.",
    default=1_000_000,
    minimum=50,
)
