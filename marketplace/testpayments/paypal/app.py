"""The fake PayPal as an ASGI application."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

from marketplace.testpayments import control
from marketplace.testpayments.deliveries import Postman
from marketplace.testpayments.paypal import rules
from marketplace.testpayments.serving import Provider
from marketplace.testpayments.store import Body, Store
from marketplace.testpayments.wire import Answer, Request, as_json

_BATCH = re.compile(r"/v1/payments/payouts/([A-Z0-9]+)")
_ITEM = re.compile(r"/v1/payments/payouts-item/([A-Z0-9]+)(/cancel)?")
_TOKEN_LIVES_S = 32_400
_PAGE_MOST = 1000


class PaypalError(Exception):
    def __init__(self, status: int, name: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.answer = as_json(status, {"name": name, "message": message, "debug_id": secrets.token_hex(6), **more})


class FakePaypal(Provider):
    """Payouts whose states follow from a clock and from the receivers' addresses."""

    def __init__(
        self, store: Store, *, url: str, client_id: str, secret: str, webhook_id: str = "", webhook_url: str = ""
    ) -> None:
        postman = Postman(store, webhook_url, self._signed) if webhook_url else None
        super().__init__(store, postman)
        self._url, self._client, self._secret, self._webhook_id = url.rstrip("/"), client_id, secret, webhook_id

    async def answer(self, request: Request) -> Answer:
        if request.path == "/healthz":
            return Answer(200, b"ok")
        if request.path.startswith("/_test/"):
            if request.headers.get("authorization") != self._basic():
                return as_json(401, {})
            return control.answer(self.store, request, json.loads(request.body or b"{}"))
        return await control.with_faults(self.store, request, lambda: self._once(request))

    def _once(self, request: Request) -> Answer:
        kept = request.path != "/v1/oauth2/token"
        if kept:
            self.store.record(
                {
                    "method": request.method,
                    "path": request.path,
                    "query": request.query,
                    "media": request.headers.get("content-type", ""),
                    "body": request.body.decode("utf-8", "replace"),
                }
            )
        try:
            with self.store.transaction(PaypalError):
                return self._route(request)
        except rules.NotDescribedError as error:
            return _not_described(error).answer
        except PaypalError as error:
            return error.answer

    def _route(self, request: Request) -> Answer:
        if (request.method, request.path) == ("POST", "/v1/oauth2/token"):
            _check(request)
            return self._token(request)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        held = self.store.get("token", token) if token else None
        if held is None or held["until"] < self.store.now():
            raise PaypalError(
                401, "AUTHENTICATION_FAILURE", "Authentication failed due to invalid authentication credentials."
            )
        _check(request)
        fixed: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("POST", "/v1/payments/payouts"): self._create,
            ("POST", "/v1/notifications/verify-webhook-signature"): self._verify,
        }
        if serve := fixed.get((request.method, request.path)):
            return serve(request)
        if request.method == "GET" and (match := _BATCH.fullmatch(request.path)):
            return self._show(match[1], request.query)
        if (match := _ITEM.fullmatch(request.path)) and (request.method == "POST") == bool(match[2]):
            return self._cancel(match[1]) if match[2] else as_json(200, self._item(self._find("item", match[1])))
        raise PaypalError(404, "RESOURCE_NOT_FOUND", "The specified resource does not exist.")

    def _basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self._client}:{self._secret}".encode()).decode()

    def _token(self, request: Request) -> Answer:
        if request.headers.get("authorization") != self._basic():
            raise PaypalError(401, "invalid_client", "Client Authentication failed", error="invalid_client")
        token = f"A21AA{secrets.token_urlsafe(40)}"
        self.store.put("token", {"id": token, "until": self.store.now() + _TOKEN_LIVES_S})
        return as_json(
            200, {"access_token": token, "token_type": "Bearer", "expires_in": _TOKEN_LIVES_S, "scope": "payouts"}
        )

    def _create(self, request: Request) -> Answer:
        asked: Body = json.loads(request.body)
        header = asked["sender_batch_header"]
        name = header["sender_batch_id"]
        if before := self.store.get("sender_batch", f"sender:{name}"):
            link = {"href": f"{self._url}/v1/payments/payouts/{before['batch']}", "rel": "self", "method": "GET"}
            message = "Batch with given sender_batch_id already exists."
            raise PaypalError(400, "USER_BUSINESS_ERROR", message, links=[link])
        batch = {"id": secrets.token_hex(7).upper()[:13], "at": self.store.now(), "header": header, "items": []}
        for item in asked["items"]:
            made = {"id": secrets.token_hex(7).upper()[:13], "batch": batch["id"], "at": batch["at"], "asked": item}
            batch["items"].append(self.store.put("item", {**made, "cancelled": False})["id"])
        self.store.put("batch", batch)
        self.store.put("sender_batch", {"id": f"sender:{name}", "batch": batch["id"]})
        self._event("PAYMENT.PAYOUTSBATCH.PROCESSING", batch)
        return as_json(201, {"batch_header": self._header(batch, brief=True), "links": self._links(batch)})

    def _links(self, batch: Body) -> list[Body]:
        return [{"href": f"{self._url}/v1/payments/payouts/{batch['id']}", "rel": "self", "method": "GET"}]

    def _header(self, batch: Body, *, brief: bool = False) -> Body:
        age = self.store.now() - batch["at"]
        status = "PENDING" if age < rules.STARTS_S else "PROCESSING" if age < rules.DECIDED_S else "SUCCESS"
        sender = {"sender_batch_id": batch["header"]["sender_batch_id"]}
        shown: Body = {"payout_batch_id": batch["id"], "batch_status": status, "sender_batch_header": sender}
        if brief:
            return shown
        items = [self._find("item", each)["asked"] for each in batch["items"]]
        total = sum((Decimal(item["amount"]["value"]) for item in items), Decimal(0))
        fees = sum((Decimal(rules.fee(item["amount"]["value"])) for item in items), Decimal(0))
        currency = items[0]["amount"]["currency"]
        moment = datetime.fromtimestamp(batch["at"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            **shown,
            "time_created": moment,
            **({"time_completed": moment} if status == "SUCCESS" else {}),
            "amount": {"currency": currency, "value": str(total)},
            "fees": {"currency": currency, "value": str(fees)},
        }

    def _show(self, identifier: str, query: str) -> Answer:
        batch = self._find("batch", identifier)
        asked = parse_qs(query)
        size = min(int(asked.get("page_size", ["1000"])[0]), _PAGE_MOST)
        page = int(asked.get("page", ["1"])[0])
        ids = batch["items"][(page - 1) * size : page * size]
        counts = {"total_items": len(batch["items"]), "total_pages": -(-len(batch["items"]) // size)}
        items = [self._item(self._find("item", each)) for each in ids]
        return as_json(
            200, {"batch_header": self._header(batch), "items": items, "links": self._links(batch), **counts}
        )

    def _item(self, item: Body) -> Body:
        batch = self._find("batch", item["batch"])
        found = rules.outcome(item["asked"]["receiver"], self.store.now() - item["at"], cancelled=item["cancelled"])
        done = found.status == "SUCCESS"
        shown = {
            "payout_item_id": item["id"],
            "payout_batch_id": item["batch"],
            "sender_batch_id": batch["header"]["sender_batch_id"],
            "transaction_status": found.status,
            "payout_item_fee": {
                "currency": item["asked"]["amount"]["currency"],
                "value": rules.fee(item["asked"]["amount"]["value"]) if done else "0.00",
            },
            "payout_item": item["asked"],
            "links": [{"href": f"{self._url}/v1/payments/payouts-item/{item['id']}", "rel": "item", "method": "GET"}],
        }
        if found.status != "PENDING":
            shown["transaction_id"] = f"{item['id']}T"
        if found.error:
            shown["errors"] = {"name": found.error, "message": found.error.replace("_", " ").capitalize() + "."}
        return shown

    def _cancel(self, identifier: str) -> Answer:
        item = self._find("item", identifier)
        if self._item(item)["transaction_status"] != "UNCLAIMED":
            raise PaypalError(400, "ITEM_CANCELLATION_FAILED", "Only unclaimed items can be cancelled.")
        self.store.put("item", {**item, "cancelled": True})
        return as_json(200, self._item({**item, "cancelled": True}))

    def _find(self, kind: str, identifier: str) -> Body:
        found = self.store.get(kind, identifier)
        if found is None:
            raise PaypalError(404, "INVALID_RESOURCE_ID", "Requested resource ID was not found.")
        return found

    def _event(self, kind: str, batch: Body) -> None:
        """An event of a batch; like PayPal's it carries no items."""
        body = {
            "id": f"WH-{uuid4().hex.upper()[:17]}",
            "event_version": "1.0",
            "create_time": datetime.fromtimestamp(self.store.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "resource_type": "payouts",
            "event_type": kind,
            "summary": "Payouts batch",
            "resource": {"batch_header": self._header(batch)},
        }
        self.store.put("event", body)
        self.store.queue(str(body["id"]))

    def _signed(self, identifier: str) -> tuple[bytes, dict[str, str]] | None:
        event = self.store.get("event", identifier)
        if event is None:
            return None
        body = json.dumps(event).encode()
        transmission, moment = str(uuid4()), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return body, {
            "PAYPAL-TRANSMISSION-ID": transmission,
            "PAYPAL-TRANSMISSION-TIME": moment,
            "PAYPAL-TRANSMISSION-SIG": self._signature(transmission, moment, self._webhook_id, body),
            "PAYPAL-CERT-URL": f"{self._url}/v1/notifications/certs/TEST",
            "PAYPAL-AUTH-ALGO": "SHA256withRSA",
        }

    def _signature(self, transmission: str, moment: str, webhook_id: str, body: bytes) -> str:
        """Over the same parts as PayPal's: transmission, moment, webhook and the CRC-32 of the very bytes."""
        signed = f"{transmission}|{moment}|{webhook_id}|{zlib.crc32(body)}".encode()
        return base64.b64encode(hmac.new(self._secret.encode(), signed, hashlib.sha256).digest()).decode()

    def _verify(self, request: Request) -> Answer:
        asked: Body = json.loads(request.body)
        parts = (asked["transmission_id"], asked["transmission_time"], asked["webhook_id"])
        expected = self._signature(*parts, _bytes_of("webhook_event", request.body))
        matches = hmac.compare_digest(expected, asked["transmission_sig"]) and asked["webhook_id"] == self._webhook_id
        return as_json(200, {"verification_status": "SUCCESS" if matches else "FAILURE"})


def _check(request: Request) -> None:
    rules.check(request.method, request.path, request.query, request.headers.get("content-type", ""), request.body)


_SAID = {
    rules.Fault.UNKNOWN: (404, "The specified resource does not exist."),
    rules.Fault.MEDIA: (415, "The server does not support the request payload's media type."),
    rules.Fault.UNREADABLE: (400, "The request JSON is not well formed."),
    rules.Fault.INVALID: (400, "Invalid request - see details."),
}


def _not_described(error: rules.NotDescribedError) -> PaypalError:
    status, message = _SAID[error.fault]
    details = [{"field": error.field, "issue": error.issue}] if error.fault is rules.Fault.INVALID else []
    return PaypalError(status, error.fault.value, message, **({"details": details} if details else {}))


def _bytes_of(member: str, body: bytes) -> bytes:
    """The bytes of one member's value as they stand: to verify is to look at what was sent, not at what it means."""
    text = body.decode()
    start = text.index(f'"{member}"') + len(member) + 2
    start = text.index(":", start) + 1
    while text[start].isspace():
        start += 1
    _, end = json.JSONDecoder().raw_decode(text, start)
    return text[start:end].encode()
