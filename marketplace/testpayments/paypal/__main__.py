"""`python -m marketplace.testpayments.paypal`: the fake PayPal as a process. Its secrets come by the environment."""

from __future__ import annotations

import os

from marketplace.testpayments.paypal.app import FakePaypal
from marketplace.testpayments.serving import options, serve


def main() -> None:
    given = options("A PayPal for development and tests.").parse_args()
    known = {
        "client_id": os.environ["MARKETPLACE_PAYPAL_CLIENT_ID"],
        "secret": os.environ["MARKETPLACE_PAYPAL_SECRET"],
        "webhook_id": os.environ.get("MARKETPLACE_PAYPAL_WEBHOOK_ID", ""),
    }
    serve(given, lambda store: FakePaypal(store, url=given.url, webhook_url=given.webhook, **known))


if __name__ == "__main__":
    main()
