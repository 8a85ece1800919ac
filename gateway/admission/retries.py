"""Closed: what may have had an effect is never sent twice, and repeats stay a small part of what a server gets.

Sent again, once: anything that never left us because no connection came about; and lists, reads and tools that are approved
as reading and say that repeating changes nothing, when the server answers 502, 503 or 504, or 429 with a time to come back, or
closes a kept connection without a word. At most a fifth of the calls under way at a server, and three in any case, are repeats.
"""

from __future__ import annotations

import random

from access.engine import METHOD_RULES, MethodRule
from access.types import SideEffect
from gateway.context import CallContext
from gateway.upstream.http1 import UpstreamBrokenError

MAX_ATTEMPTS = 2
_AGAIN = frozenset({502, 503, 504})
_HARMLESS = frozenset({MethodRule.HANDSHAKE, MethodRule.LIST, MethodRule.READ})
_WITH_STATE = frozenset({"initialize", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"})
_SHARE, _FLOOR = 0.2, 3
_PAUSE_S = (0.05, 0.5)
_PATIENCE_S = 2.0  # a server that asks for a longer pause is not asked again within the call


def is_repeatable(call: CallContext) -> bool:
    """Whether sending the request twice does no more than sending it once."""
    message, server = call.message, call.server
    if message is None or server is None:
        return False
    if message.method == "tools/call":
        rule = server.policy.tools.get(call.tool)
        return rule is not None and rule.side_effect is SideEffect.READ and rule.idempotent
    if message.method == "tasks/get":
        return True
    return METHOD_RULES.get(message.method) in _HARMLESS and message.method not in _WITH_STATE


def is_harmless(call: CallContext, failure: UpstreamBrokenError) -> bool:
    """Whether a request that failed so may be sent again: it never left, or it came too late and twice is no more than once."""
    return not failure.sent or (failure.stale and is_repeatable(call))


def pause_after(call: CallContext, status: int) -> float | None:
    """Seconds until the next attempt after an answer with this status; None when there is to be none."""
    if status not in _AGAIN and not (status == 429 and call.retry_after_s):
        return None
    if call.attempts >= MAX_ATTEMPTS or call.retry_after_s > _PATIENCE_S or not is_repeatable(call):
        return None
    return max(jitter(), call.retry_after_s)


def jitter() -> float:
    return random.uniform(*_PAUSE_S)  # noqa: S311 - no secret


class Budget:
    """Repeats under way at one server."""

    __slots__ = ("under_way",)

    def __init__(self) -> None:
        self.under_way = 0

    def take(self, calls: int) -> bool:
        if self.under_way >= max(_FLOOR, _SHARE * calls):
            return False
        self.under_way += 1
        return True

    def give(self) -> None:
        self.under_way -= 1
