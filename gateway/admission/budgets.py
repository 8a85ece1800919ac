"""Closed: a priced call that a hard cap may not allow is refused, also when nobody can tell because Valkey is away for too long.

A quota or cap is a counter per day or month in Valkey, of which each process holds a lease: budget that is already counted as
used. A call reserves from the lease before it is sent and settles when its outcome is known: spent when it is billable, back in
the lease when not. What processes hold and have spent is added up in Valkey before more is leased, so a hard limit is never
overrun, whatever the processes do at the same time; what a dead process held stays counted until the sum is read from the calls
in Postgres again, at the start and every hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from access.limits import LimitKind, LimitRule, Window, window_of

IDLE_S = 60.0
# Far from a limit a process holds what it will spend in so many seconds, so that calls go on while Valkey is away.
OUTAGE_S = 30.0
_PACE_S = 2.0  # over which the pace of spending is smoothed


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose counter it is, for reading its sum from the calls."""

    tenant_id: UUID
    schema_name: str
    key_id: UUID | None
    server_id: UUID | None
    tool: str
    price_version_id: UUID | None = None  # of calls at one price


class Budget:
    """This process's part of one counter in one window. Units are calls or money by MONEY_SCALE."""

    __slots__ = (
        "active",
        "alone",
        "generation",
        "heard_spent",
        "known",
        "lease",
        "name",
        "need",
        "pace",
        "paced_at",
        "processes",
        "rebuilt_at",
        "recent",
        "reserved",
        "room",
        "rule",
        "short",
        "spent",
        "subject",
        "used",
        "used_at",
        "window",
    )

    def __init__(self, name: str, rule: LimitRule, subject: Subject, window: Window) -> None:
        self.name, self.rule, self.subject, self.window = name, rule, subject, window
        self.lease = self.reserved = self.spent = 0
        self.heard_spent = 0  # `spent` when Valkey last confirmed it
        self.generation = ""  # of the counter's base; another one means that Valkey lost its data
        self.room = 0  # what nobody holds, when last heard; negative when the limit is overdrawn
        self.used = 0
        self.known = False
        self.need = self.recent = self.short = self.alone = 0
        self.pace, self.paced_at = 0.0, 0.0  # units a second, and when that was reckoned
        self.rebuilt_at = -1e9
        self.processes = 1
        self.used_at = 0.0
        self.active = False

    @property
    def outstanding(self) -> int:
        return self.lease + self.reserved

    def reserve(self, now: float, amount: int) -> bool:
        self.used_at = now
        self.recent += amount
        self.need = amount
        if self.lease >= amount:
            self.lease -= amount
            self.reserved += amount
            return True
        self.short += amount
        return False

    def reserve_beyond(self, amount: int) -> None:
        """A soft limit lets the call pass whatever is left."""
        self.reserved += amount

    def reserve_alone(self, amount: int) -> bool:
        """While Valkey is away: a quota goes on within this process's share of what was left; a hard cap does not."""
        if self.rule.kind is LimitKind.CAP:
            return False
        left = self.room if self.known else self.rule.amount
        if self.alone + amount > max(0, left) // self.processes:
            return False
        self.alone += amount
        self.reserved += amount
        return True

    def settle(self, amount: int, *, billed: bool) -> None:
        self.reserved -= amount
        if billed:
            self.spent += amount
        else:
            self.lease += amount

    def wanted(self, now: float) -> tuple[int, int]:
        """How much to ask for, and how much of the lease to give back. Asking changes no budget."""
        self._reckon(now)
        if now - self.used_at > IDLE_S:
            return 0, self.lease
        # Far from the limit a while's worth ahead; near it only what is needed, so that nothing lies idle elsewhere.
        ahead = min(
            self.ample() // (16 * self.processes), max(int(OUTAGE_S * self.pace), 2 * self.recent, 8 * self.need)
        )
        if ahead < 2 * self.need:
            return max(0, self.short - self.lease), 0 if self.short else self.lease
        return max(0, self.short + ahead - self.lease) if self.lease <= ahead // 2 else 0, 0

    def ample(self) -> int:
        """Of how much nobody has to be careful."""
        return self.room

    def part(self, amount: int) -> None:
        """Give so much of the lease back; `keep` it when nobody could be told."""
        self.lease -= amount

    def keep(self, amount: int) -> None:
        self.lease += amount

    def owed(self) -> int:
        """Money that is on no call here, for whoever is granted something next."""
        return 0

    def renewed(self, granted: int, room: int, owed: int = 0) -> None:
        """What was given back has arrived, so much was leased and so much nobody holds; `owed` is money of others' calls."""
        self.lease += granted

    def _reckon(self, now: float) -> None:
        elapsed = now - self.paced_at
        if elapsed >= 0.05:
            share = min(1.0, elapsed / _PACE_S)
            self.pace += share * (self.recent / elapsed - self.pace)
            self.paced_at = now

    def heard(self, generation: str, room: int, used: int) -> None:
        """What Valkey said. A generation that is not ours had its base read after ours was lost: it knows our older calls."""
        if generation != self.generation:
            self.spent, self.generation = self.spent - self.heard_spent, generation
            self.heard_spent = 0
        self.room, self.used, self.known = room, used, True
        self.alone = 0


class Counter:
    """One quota or cap of one subject; its budget begins again with every day or month."""

    __slots__ = ("_name", "_subject", "budget", "ends", "rule", "used_at")

    def __init__(self, name: str, rule: LimitRule, subject: Subject) -> None:
        self._name, self._subject, self.rule = name, subject, rule
        self.ends = 0.0  # of the budget, in seconds of the epoch
        self.used_at = 0.0
        self.budget: Budget

    def at(self, moment: float) -> Budget:
        """The budget of a moment, in seconds of the epoch."""
        if moment >= self.ends:
            window = window_of(self.rule.period, datetime.fromtimestamp(moment, UTC))
            self.budget = self.begin(f"{self._name}:{window.name}", window)
            self.ends = window.ends_at.timestamp()
        return self.budget

    def begin(self, name: str, window: Window) -> Budget:
        return Budget(name, self.rule, self._subject, window)

    def set_rule(self, rule: LimitRule) -> None:
        """The limit was changed; what is used stays used."""
        if rule != self.rule:
            if rule.period is not self.rule.period:
                self.ends = 0.0
            self.rule = rule
            if self.ends:
                self.budget.rule = rule
