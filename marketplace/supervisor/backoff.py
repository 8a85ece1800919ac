"""How long to wait before a process that died is started again."""

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 5.0
# A process that lived this long was healthy: its next death is a new story, not a crash loop.
HEALTHY_AFTER_S = 30.0


class Backoff:
    """Doubles the wait with every quick death, up to a limit; a healthy run starts it over."""

    def __init__(self) -> None:
        self._next_delay_s = FIRST_DELAY_S

    def next_delay_s(self, *, ran_for_s: float) -> float:
        if ran_for_s >= HEALTHY_AFTER_S:
            self._next_delay_s = FIRST_DELAY_S
        delay_s = self._next_delay_s
        self._next_delay_s = min(delay_s * 2, LONGEST_DELAY_S)
        return delay_s
