"""The fake Stripe and the fake PayPal as processes of their own, with what a test asks of them beside their interface."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import stripe

from billing.gateways.stripe import Transport
from marketplace.supervisor.ports import LOOPBACK, free_port
from marketplace.testpayments.stripe.api import VERSION
from tests.support.processes import wait_until

ROOT = Path(__file__).resolve().parents[2]
STRIPE_KEY = "sk_test_of_the_tests"
WEBHOOK_SECRET = "whsec_of_the_tests"
PAYPAL = {"client_id": "client-of-the-tests", "secret": "secret-of-the-tests", "webhook_id": "WEBHOOKOFTHETESTS"}


@dataclass
class Fake:
    """One provider's process."""

    kind: str
    data: Path
    webhook: str = ""
    port: int = field(default_factory=lambda: free_port(avoid=()))
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> Fake:
        argv = [
            sys.executable,
            "-m",
            f"marketplace.testpayments.{self.kind}",
            "--port",
            str(self.port),
            "--url",
            self.url,
        ]
        argv += ["--data", str(self.data / f"{self.kind}.sqlite3"), "--webhook", self.webhook]
        env = {
            **os.environ,
            "MARKETPLACE_STRIPE_KEY": STRIPE_KEY,
            "MARKETPLACE_STRIPE_WEBHOOK_SECRETS": WEBHOOK_SECRET,
            "MARKETPLACE_PAYPAL_CLIENT_ID": PAYPAL["client_id"],
            "MARKETPLACE_PAYPAL_SECRET": PAYPAL["secret"],
            "MARKETPLACE_PAYPAL_WEBHOOK_ID": PAYPAL["webhook_id"],
        }
        self.process = subprocess.Popen(argv, cwd=ROOT, env=env)
        wait_until(self.answers, f"the fake {self.kind}")
        return self

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=2, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def control(self, what: str, **body: Any) -> Any:
        headers = {"authorization": f"Bearer {STRIPE_KEY}"} if self.kind == "stripe" else {}
        auth = None if self.kind == "stripe" else (PAYPAL["client_id"], PAYPAL["secret"])
        answer = httpx.post(
            f"{self.url}/_test/{what}", json=body, headers=headers, auth=auth, timeout=10, trust_env=False
        )
        assert answer.is_success, answer.text
        return answer.json()

    def switch(self, name: str, *, method: str = "", path: str = "", times: int = 1, value: float = 0) -> None:
        self.control("switches", name=name, method=method, path=path, times=times, value=value)


def client(fake: Fake, *, retries: int = 2) -> stripe.StripeClient:
    """The SDK as it is, pointed at the fake."""
    return stripe.StripeClient(
        STRIPE_KEY,
        stripe_version=VERSION,
        base_addresses={"api": fake.url},
        max_network_retries=retries,
        http_client=Transport(frozenset({(LOOPBACK, fake.port)}), 10),
    )


def save_card(sdk: stripe.StripeClient, customer: str, number: str = "4242424242424242") -> Any:
    """A card attached to a customer, as the hosted page leaves it."""
    card: Any = {"number": number, "exp_month": 12, "exp_year": 2040, "cvc": "123"}
    made = sdk.v1.payment_methods.create({"type": "card", "card": card})
    return sdk.v1.payment_methods.attach(made.id, {"customer": customer})
