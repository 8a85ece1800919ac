from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from core import clock, ids

START = datetime(2020, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(0, 80 * 365 * 24 * 3600 * 10**6).map(lambda us: START + timedelta(microseconds=us))


def to_ms(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


class TestUuid7:
    def test_it_has_the_version_and_variant_of_rfc_9562(self):
        made = [ids.uuid7() for _ in range(5000)]

        assert {value.version for value in made} == {7}
        assert {value.int >> 62 & 0b11 for value in made} == {0b10}

    def test_ids_of_one_process_grow_and_never_repeat(self):
        made = [ids.uuid7() for _ in range(20_000)]

        assert made == sorted(made)
        assert len(set(made)) == len(made)

    def test_a_forked_process_does_not_mint_the_ids_of_its_parent(self):
        ids.uuid7()
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write, ids.uuid7().bytes)
            os._exit(0)
        mine = ids.uuid7()
        os.close(write)
        theirs = UUID(bytes=os.read(read, 16))
        os.close(read)
        os.waitpid(child, 0)

        assert mine.int & (1 << 62) - 1 != theirs.int & (1 << 62) - 1

    def test_more_ids_than_the_counter_holds_in_one_millisecond_still_grow(self):
        with clock.frozen(clock.now() + timedelta(seconds=5)):
            made = [ids.uuid7() for _ in range(10_000)]

        assert made == sorted(made)
        assert len(set(made)) == len(made)

    def test_a_clock_that_steps_back_a_little_does_not_turn_the_order_around(self):
        ahead = clock.now() + timedelta(minutes=1)
        with clock.frozen(ahead):
            before = ids.uuid7()
        with clock.frozen(ahead - timedelta(seconds=5)):
            after = ids.uuid7()

        assert before < after

    def test_a_clock_that_was_set_back_is_followed(self):
        ahead = clock.now() + timedelta(days=40)
        with clock.frozen(ahead):
            ids.uuid7()
        with clock.frozen(ahead - timedelta(days=40)):
            after = ids.uuid7()

        assert abs(ids.moment_of(after) - (ahead - timedelta(days=40))) < timedelta(seconds=1)

    def test_threads_never_get_the_same_id(self):
        made: list[list[UUID]] = [[] for _ in range(8)]

        def work(mine: list[UUID]) -> None:
            mine.extend(ids.uuid7() for _ in range(2000))

        threads = [threading.Thread(target=work, args=(mine,)) for mine in made]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len({value for mine in made for value in mine}) == 16_000
        assert all(mine == sorted(mine) for mine in made)


class TestSeveralAtOnce:
    def test_they_go_on_where_single_ones_were(self):
        before, several, after = ids.uuid7(), ids.uuid7s(10_000), ids.uuid7()

        assert [before, *several, after] == sorted({before, *several, after})
        assert {value.version for value in several} == {7}

    def test_none_are_none(self):
        assert ids.uuid7s(0) == []


class TestMoments:
    @given(MOMENTS)
    def test_a_bound_carries_its_moment_to_the_millisecond(self, moment):
        assert ids.moment_of(ids.lowest_at(moment)) == to_ms(moment)

    def test_every_millisecond_of_a_second_has_a_bound_of_its_own(self):
        second = datetime(2039, 6, 14, 0, 11, 28, tzinfo=UTC)
        moments = [second + timedelta(milliseconds=ms) for ms in range(1000)]

        assert [ids.moment_of(ids.lowest_at(moment)) for moment in moments] == moments

    @given(MOMENTS, MOMENTS)
    def test_bounds_are_ordered_as_their_moments_are(self, one, other):
        assert (ids.lowest_at(one) <= ids.lowest_at(other)) == (to_ms(one) <= to_ms(other))

    @given(MOMENTS)
    def test_a_bound_sorts_before_every_id_of_its_millisecond_and_after_those_before(self, moment):
        bound = ids.lowest_at(moment)
        tail = 0xFFF << 64 | (1 << 64) - 1
        first = UUID(int=bound.int | 0x7 << 76 | 0b10 << 62)
        last_before = UUID(int=ids.lowest_at(to_ms(moment) - timedelta(milliseconds=1)).int | 0x7 << 76 | tail)

        assert last_before < bound < first

    def test_an_id_tells_when_it_was_minted(self):
        moment = clock.now() + timedelta(hours=1)
        with clock.frozen(moment):
            minted = ids.uuid7()

        assert abs(ids.moment_of(minted) - moment) < timedelta(seconds=1)
