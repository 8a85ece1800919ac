"""Closed: without a token the call is refused. Without Valkey each process allows its share of the limit.

A rate is a token bucket in Valkey, of which each process holds a lease of some tokens. Taking a token is a subtraction in
memory; leases are renewed beside the calls, sized by what was lately used. Tokens on lease count as if they were still in the
bucket, so however many processes there are, no more than `amount + elapsed * amount / period` calls pass. A lease that is not
used for a second goes back. Only a call that finds the lease empty while the bucket may hold tokens waits for one round trip.
"""

from __future__ import annotations

import math
import time

from access.limits import RATE_SECONDS, LimitRule

IDLE_S = 1.0
REPORT_S = 1.0
# Once the bucket is known to be empty, nobody asks again sooner than this.
_CLOSED_AT_LEAST_S = 0.02


class Bucket:
    """This process's part of one rate limit. `now` is a monotonic clock in seconds."""

    __slots__ = (
        "active",
        "arrived",
        "capacity",
        "closed_until",
        "demand",
        "given",
        "granted",
        "local_at",
        "name",
        "per_s",
        "processes",
        "remaining",
        "reported_at",
        "rule",
        "tokens",
        "used_at",
    )

    def __init__(self, name: str, rule: LimitRule) -> None:
        self.name, self.rule = name, rule
        self.capacity = rule.amount
        self.per_s = rule.amount / RATE_SECONDS[rule.period]
        self.tokens = 0.0
        self.demand = 0  # calls since the last renewal
        self.used_at = self.closed_until = self.reported_at = 0.0
        self.local_at = -math.inf  # since when, or up to when, tokens of this process alone were counted
        self.processes = 1
        self.remaining = self.capacity  # in the shared bucket, when last heard
        self.active = False
        # In all, from a number on that no earlier bucket of the process has reached: given back, of that what has arrived,
        # and granted. An answer of Valkey that is lost leaves no doubt then about what it did.
        self.given = self.arrived = self.granted = time.monotonic_ns() // 1000

    def set_rule(self, rule: LimitRule) -> None:
        """The limit was changed."""
        if rule != self.rule:
            self.rule, self.capacity = rule, rule.amount
            self.per_s = rule.amount / RATE_SECONDS[rule.period]
            self.tokens, self.closed_until = min(self.tokens, rule.amount), 0.0

    def take(self, now: float) -> bool:
        self.demand += 1
        self.used_at = now
        if self.tokens >= 1:
            self.tokens -= 1
            return True
        return False

    def give(self) -> None:
        """A call that was refused for another reason takes nothing."""
        self.tokens += 1

    def take_alone(self, now: float) -> bool:
        """While Valkey is away: from a bucket of this process's share."""
        share = self.capacity / self.processes
        if self.local_at == -math.inf:
            self.tokens = max(self.tokens, 1.0)
        else:
            self.tokens += max(0.0, now - self.local_at) * self.per_s / self.processes
        self.tokens = min(self.tokens, max(share, 1.0))
        self.local_at = now
        return self.take(now)

    def wanted(self, now: float) -> tuple[int, int]:
        """How many tokens to ask for, and how many to give back. Asking changes nothing."""
        held = int(self.tokens)
        if now - self.used_at > IDLE_S:
            return 0, held
        least = max(1, self.capacity // (10 * self.processes))
        most = max(1, self.capacity // (2 * self.processes))
        target = min(max(2 * self.demand, least), most)
        if now < self.closed_until or held > target // 2:
            return 0, 0
        return target - held, 0

    def is_due(self, now: float) -> bool:
        """Whether Valkey is to be told or asked something; a lease is confirmed every second, so that it counts as alive."""
        return any(self.wanted(now)) or now - self.reported_at > REPORT_S

    def give_back(self, tokens: int) -> None:
        """To everybody, with the next question."""
        self.tokens -= tokens
        self.given += tokens

    def renewed(self, now: float, granted: int, remaining: int, wait_s: float, *, asked: bool) -> None:
        """What Valkey said."""
        self.tokens += granted
        self.granted += granted
        self.remaining, self.demand, self.reported_at, self.local_at = remaining, 0, now, -math.inf
        if asked and granted == 0:
            # However long it takes to refill, others may give back what they hold.
            self.closed_until = now + min(max(wait_s, _CLOSED_AT_LEAST_S), IDLE_S)

    def wait_s(self, now: float) -> float:
        """When the next token can be expected."""
        return max(self.closed_until - now, 1 / self.per_s)
