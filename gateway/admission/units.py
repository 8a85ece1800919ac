"""Open: what a price that depends on the month's calls costs this call; the most it can cost when nobody can tell.

The calls of an organisation at one price in one month are counted as quotas are, without a limit: each process leases numbers of
calls, and the number says what the call adds to the bill (`billing.core.curves`). Near a number from which calls add something
else a process holds what it needs at that moment only, so that numbers do not lie idle. One that comes back, because its
call was not billed, is used by the next call here; when it is given back to the others, who count on from the highest number,
the difference in money is owed, and whoever is granted a number next takes it over. So what calls are counted at, what lies
idle and what is owed sum to the bill of all numbers that are out, which is never less than the bill of what was called.

A call passes a cap only where there is room for the most that it could be, whichever of the calls under way were to fail
(`room_for`): else a call that opens a package could be refused, and others pass as if it had been paid.
"""

from __future__ import annotations

from access.limits import MONEY_SCALE, LimitKind, LimitRule, LimitScope, Period, Window, to_units
from billing.core.curves import Curve
from billing.core.rating import PriceModel, quote
from gateway.admission.budgets import Budget, Counter, Subject

COUNTED_MAX = 10**12
RULE = LimitRule("units", "Calls at one price", LimitScope.ORGANISATION, LimitKind.QUOTA, COUNTED_MAX, Period.MONTH)
ALONE = -1  # in place of an amount: a call that was counted at the most, because its number is not known


class Units(Budget):
    """This process's part of the numbers of one price in one month."""

    __slots__ = ("_carry", "_curve", "_highest", "_idle", "_left", "_mark", "_most", "_parting", "_told", "taken")

    def __init__(self, name: str, subject: Subject, window: Window, curve: Curve, most: int) -> None:
        super().__init__(name, RULE, subject, window)
        self._curve, self._most = curve, most
        self._idle: list[tuple[int, int]] = []  # (what a call adds, how many); `lease` of them, the next one last
        self._parting: list[tuple[int, int]] = []  # what is being given back
        self._carry = self._told = 0  # owed: known here only, and told in the round under way
        self._highest = self._mark = 0  # number that is out; `spent` when the others were last heard of
        self._left = 0  # how many numbers after the highest add the same
        self.taken = 0  # what the last reservation is counted at, or ALONE

    @property
    def carry(self) -> int:
        """Money that is on no call yet; negative when calls were counted at more than they add."""
        return self._carry + self._told

    def owed(self) -> int:
        self._carry, self._told = 0, self._carry + self._told
        return self._told

    def room_for(self, amount: int) -> int:
        """How much room a call that is counted at `amount` needs: it may be any after those that are surely billed."""
        billed = self.used + self.spent - self._mark
        if amount == self._most or not self.known:
            return self._most
        return max(amount, self._curve.most(billed, self._highest - billed))

    def heard(self, generation: str, room: int, used: int) -> None:
        is_ours = generation == self.generation
        super().heard(generation, room, used)
        self._mark = self.heard_spent if is_ours else self.spent

    @property
    def idle_worth(self) -> int:
        return sum(amount * count for amount, count in self._idle)

    def money(self, taken: int) -> int:
        """What a reservation is counted at."""
        return self._most if taken == ALONE else taken

    def reserve(self, now: float, amount: int) -> bool:
        if not super().reserve(now, amount):
            return False
        each, count = self._idle.pop()
        if count > 1:
            self._idle.append((each, count - 1))
        self.taken = min(self._most, max(0, each + self._carry))
        self._carry += each - self.taken
        return True

    def reserve_alone(self, amount: int) -> bool:
        self.reserved += amount
        self.taken = ALONE
        return True

    def settle(self, amount: int, *, billed: bool) -> None:
        """`amount` is what the reservation had `taken`."""
        self.reserved -= 1
        if billed:
            self.spent += 1
        elif amount != ALONE:
            self.lease += 1
            self._idle.append((amount, 1))

    def part(self, count: int) -> None:
        super().part(count)
        while count:
            each, held = self._idle.pop(0)
            given = min(held, count)
            self._parting.append((each, given))
            if held > given:
                self._idle.insert(0, (each, held - given))
            count -= given

    def keep(self, count: int) -> None:
        super().keep(count)
        self._idle[:0] = self._parting
        self._parting = []
        self._carry, self._told = self._carry + self._told, 0

    def renewed(self, granted: int, room: int, owed: int = 0) -> None:
        super().renewed(granted, room)
        highest = self._highest = COUNTED_MAX - room
        self._carry, self._told = self._carry + owed, 0
        if self._parting:
            given, worth = sum(count for _, count in self._parting), sum(each * n for each, n in self._parting)
            self._carry += worth - self._curve.cost(highest, given)
            self._parting = []
        if granted:
            self._idle[:0] = reversed(self._curve.runs(highest - granted, granted))
        self._left = self._curve.left(highest)

    def ample(self) -> int:
        return min(self.room, self._left)


class UnitCounter(Counter):
    """The calls of one organisation at one price; begins again with every month."""

    __slots__ = ("_curve", "_most")

    def __init__(self, name: str, subject: Subject, model: PriceModel) -> None:
        super().__init__(name, RULE, subject)
        self._curve, self._most = Curve(model, MONEY_SCALE), to_units(quote(model))

    def begin(self, name: str, window: Window) -> Units:
        return Units(name, self._subject, window, self._curve, self._most)

    def units(self, moment: float) -> Units:
        budget = self.at(moment)
        assert isinstance(budget, Units)
        return budget
