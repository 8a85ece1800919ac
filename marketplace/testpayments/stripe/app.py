"""The fake Stripe as an ASGI application."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from marketplace.testpayments import control
from marketplace.testpayments.deliveries import Postman
from marketplace.testpayments.serving import Provider
from marketplace.testpayments.store import Body, Kept, Store
from marketplace.testpayments.stripe import connect, customers, events, hosted, money, payments, setups
from marketplace.testpayments.stripe.api import Api, expand, resolve, shown
from marketplace.testpayments.stripe.errors import ApiError, invalid
from marketplace.testpayments.wire import Answer, Request, as_json, parse_form

RESOURCES = (connect, customers, events, money, payments, setups)


class FakeStripe(Provider):
    """Every request is one transaction; requests with the same idempotency key have one answer."""

    def __init__(self, store: Store, *, url: str, key: str, webhook_url: str = "", webhook_secret: str = "") -> None:
        postman = Postman(store, webhook_url, events.signer(store, webhook_secret)) if webhook_url else None
        super().__init__(store, postman)
        self._api, self._key = Api(store, url.rstrip("/")), key

    async def answer(self, request: Request) -> Answer:
        if request.path == "/healthz":
            return Answer(200, b"ok")
        if request.path.startswith("/hosted/"):
            with self.store.transaction(ApiError):
                return hosted.answer(
                    self._api, request.method, request.path, parse_form(request.body.decode("utf-8", "replace"))
                )
        if request.headers.get("authorization") != f"Bearer {self._key}":
            return as_json(401, {"error": {"type": "invalid_request_error", "message": "Invalid API Key provided."}})
        if request.path.startswith("/_test/"):
            return self._control(request)
        return await control.with_faults(self.store, request, lambda: self._once(request))

    def _control(self, request: Request) -> Answer:
        body: dict[str, Any] = json.loads(request.body or b"{}")
        if request.path == "/_test/disputes":
            with self.store.transaction():
                charge = self._api.find("charge", body["charge"])
                return as_json(200, shown(money.open_dispute(self._api, charge, body.get("reason", "fraudulent"))))
        if request.path == "/_test/payouts":
            with self.store.transaction():
                return as_json(200, shown(money.fail_payout(self._api, self._api.find("payout", body["payout"]))))
        return control.answer(self.store, request, body)

    def _once(self, request: Request) -> Answer:
        text = request.body.decode("utf-8", "replace") if request.method == "POST" else request.query
        parameters = parse_form(text)
        self.store.record(
            {"method": request.method, "path": request.path, "parameters": parameters, "headers": _kept(request)}
        )
        key = request.headers.get("idempotency-key", "") if request.method == "POST" else ""
        asked = hashlib.sha256(f"{request.method} {request.path} {text}".encode()).hexdigest()
        if key and (kept := self.store.kept(key)) is not None:
            return _repeat(kept, asked)
        status, body, keep = self._run(request, parameters)
        if key and keep:
            self.store.keep(key, Kept(asked, status, body))
        return as_json(status, body, {"request-id": f"req_{self.store.now()}"})

    def _run(self, request: Request, parameters: Body) -> tuple[int, Body, bool]:
        """Status, body, and whether the answer is kept: what never began to act may be asked again."""
        try:
            route, names = resolve(request.method, request.path)
            route.check(parameters)
        except ApiError as error:
            return error.status, error.body, False
        wanted = parameters.pop("expand", [])
        try:
            with self.store.transaction(ApiError):
                body = shown(route.handler(self._api, parameters, *names))
                return 200, shown(expand(self._api, body, wanted)), True
        except ApiError as error:
            return error.status, shown(error.body), True


def _repeat(kept: Kept, asked: str) -> Answer:
    if kept.request != asked:
        error = invalid(
            "Keys for idempotent requests can only be used with the same parameters they were first used with."
        )
        error.body["error"]["type"] = "idempotency_error"
        return as_json(error.status, error.body)
    return as_json(kept.status, kept.body, {"idempotent-replayed": "true"})


def _kept(request: Request) -> dict[str, str]:
    names = ("idempotency-key", "stripe-version", "stripe-account")
    return {name: request.headers[name] for name in names if name in request.headers}
