"""The rails of payouts over PayPal and over Stripe Connect.

To say that a payout was refused lets its money be paid again, so it is said only of what a provider has surely not taken: of
everything else the outcome is unknown, and the same is asked again under the same id.
"""

from __future__ import annotations

from collections.abc import Sequence

from billing.gateways import paypal, rails, stripe
from billing.gateways.protocols import RefusedError, TryLaterError
from billing.gateways.rails import Answer, BatchOrder, ItemState, ItemStatus, PayoutOrder
from core.errors import NotFoundError
from core.money import Money

_NO_FUNDS = "billing.refused.balance_insufficient"


class PaypalRail:
    def submit(self, batch: BatchOrder) -> Answer:
        lines = [
            paypal.PayoutLine(str(order.item_id), order.destination, Money(order.minor, order.currency))
            for order in batch.orders
        ]
        note = batch.orders[0].note if batch.orders else ""
        return Answer(paypal.gateway().submit(str(batch.batch_id), lines, note=note))

    def poll(self, batch: BatchOrder) -> Sequence[ItemState]:
        ours = {str(order.item_id): order.item_id for order in batch.orders}
        return [
            ItemState(ours[found.item], _status(found.state), found.external_id, found.error, found.fee_minor)
            for found in paypal.gateway().items(batch.external_id)
            if found.item in ours
        ]


def _status(word: str) -> ItemStatus:
    """A word that we do not know is one to wait at."""
    try:
        return ItemStatus(word.upper())
    except ValueError:
        return ItemStatus.PENDING


class ConnectRail:
    """Transfers know no batches: each item is one, and is looked for before it is made."""

    def submit(self, batch: BatchOrder) -> Answer:
        gateway = stripe.gateway()
        return Answer(str(batch.batch_id), tuple(self._pay(gateway, order) for order in batch.orders))

    def _pay(self, gateway: stripe.StripeGateway, order: PayoutOrder) -> ItemState:
        there = self._state(gateway, order)
        if there is not None:
            return there
        try:
            made = gateway.transfer(
                account=order.destination, minor=order.minor, currency=order.currency, item=str(order.item_id)
            )
        except (RefusedError, NotFoundError) as error:
            if error.error_code == _NO_FUNDS:
                # Payments that are on their way to us will cover it.
                raise TryLaterError from error
            return ItemState(order.item_id, ItemStatus.FAILED, reason=error.error_code)
        return ItemState(order.item_id, ItemStatus.SUCCESS, made)

    def poll(self, batch: BatchOrder) -> Sequence[ItemState]:
        gateway = stripe.gateway()
        found = (self._state(gateway, order) for order in batch.orders)
        return [state for state in found if state is not None]

    def _state(self, gateway: stripe.StripeGateway, order: PayoutOrder) -> ItemState | None:
        found = gateway.transfer_of(str(order.item_id))
        if found is None:
            return None
        identifier, minor, reversed_minor = found
        status = ItemStatus.REVERSED if reversed_minor >= minor else ItemStatus.SUCCESS
        return ItemState(order.item_id, status, identifier)


def register() -> None:
    rails.register("paypal", PaypalRail)
    rails.register("connect", ConnectRail)
