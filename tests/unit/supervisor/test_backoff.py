from marketplace.supervisor.backoff import Backoff


def test_waits_twice_as_long_after_every_quick_death_up_to_five_seconds() -> None:
    backoff = Backoff()
    delays = [backoff.next_delay_s(ran_for_s=0.1) for _ in range(7)]
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_starts_over_after_a_healthy_run() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.next_delay_s(ran_for_s=0.1)
    assert backoff.next_delay_s(ran_for_s=30.0) == 0.2
    assert backoff.next_delay_s(ran_for_s=0.1) == 0.4
