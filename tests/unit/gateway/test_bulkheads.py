"""So many at once, the rest in line for a bounded time, and no slot is ever lost."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.admission.bulkheads import Slots


def test_a_full_bulkhead_gives_nothing_at_once_and_nothing_beyond_its_queue() -> None:
    async def run() -> None:
        slots = Slots(1, queue=1)
        assert slots.take()
        assert not slots.take()
        first = asyncio.create_task(slots.wait(5))
        await asyncio.sleep(0)
        assert slots.waiting == 1
        assert not await slots.wait(5)  # the line is full: no waiting at all
        slots.give()
        assert await first
        assert slots.taken == 1

    asyncio.run(run())


def test_waiting_ends_after_its_time_without_a_slot() -> None:
    async def run() -> None:
        slots = Slots(1, queue=4)
        slots.take()
        assert not await slots.wait(0.01)
        assert (slots.taken, slots.waiting) == (1, 0)

    asyncio.run(run())


def test_whoever_leaves_the_line_does_not_take_the_slot_along() -> None:
    async def run() -> None:
        slots = Slots(1, queue=4)
        slots.take()
        leaver, stayer = asyncio.create_task(slots.wait(5)), asyncio.create_task(slots.wait(5))
        await asyncio.sleep(0)
        slots.give()  # handed to the one who leaves at this moment
        leaver.cancel()
        assert await stayer
        assert slots.taken == 1

    asyncio.run(run())


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4), st.integers(0, 6), st.integers(0, 2**32))
def test_never_more_than_the_limit_and_in_the_end_all_are_back(limit: int, queue: int, seed: int) -> None:
    chance = random.Random(seed)

    async def run() -> None:
        slots, inside = Slots(limit, queue), 0

        async def visit() -> None:
            nonlocal inside
            if not await slots.wait(0.002):
                return
            inside += 1
            assert inside <= limit
            try:
                await asyncio.sleep(chance.choice([0, 0, 0.001]))
            finally:
                inside -= 1
                slots.give()

        tasks = []
        for _ in range(30):
            tasks.append(asyncio.create_task(visit()))
            if chance.random() < 0.3:
                chance.choice(tasks).cancel()
            await asyncio.sleep(0)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (slots.taken, slots.waiting) == (0, 0)

    asyncio.run(run())
