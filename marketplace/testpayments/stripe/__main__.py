"""`python -m marketplace.testpayments.stripe`: the fake Stripe as a process. Its secrets come by the environment."""

from __future__ import annotations

import os

from marketplace.testpayments.serving import options, serve
from marketplace.testpayments.stripe.app import FakeStripe


def main() -> None:
    given = options("A Stripe for development and tests.").parse_args()
    secrets = {
        "key": os.environ["MARKETPLACE_STRIPE_KEY"],
        "webhook_secret": os.environ.get("MARKETPLACE_STRIPE_WEBHOOK_SECRETS", "").partition(",")[0],
    }
    serve(given, lambda store: FakeStripe(store, url=given.url, webhook_url=given.webhook, **secrets))


if __name__ == "__main__":
    main()
