"""What says that a time has come: one thread, which is there only while some alarm is set."""

import threading
import time
from collections.abc import Callable, Sequence
from heapq import heappop, heappush


class Alarms:
    """Calls back when times have come.

    Args:
        ring: Called in a thread of its own with the numbers of all alarms whose time has come.
        clock: What tells the time, in seconds.
    """

    def __init__(
        self, ring: Callable[[Sequence[int]], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ring = ring
        self._clock = clock
        self._set: list[tuple[float, int]] = []
        self._changed = threading.Condition()
        self._waiting = False

    def set(self, seconds: float, number: int) -> bool:
        """Set an alarm.

        Args:
            seconds: In how many seconds its time comes.
            number: What `ring` is told.

        Returns:
            Whether it is set; not where the system allows no thread that could wait for it.
        """
        with self._changed:
            if not self._waiting and not self._start_waiting():
                return False
            heappush(self._set, (self._clock() + seconds, number))
            self._changed.notify()
        return True

    def _start_waiting(self) -> bool:
        try:
            threading.Thread(target=self._wait, name="alarms", daemon=True).start()
        except RuntimeError:
            return False
        self._waiting = True
        return True

    def clear(self) -> None:
        """Forget all alarms."""
        with self._changed:
            self._set.clear()
            self._changed.notify()

    def _wait(self) -> None:
        while due := self._next():
            self._ring(due)

    def _next(self) -> list[int]:
        """Wait for the next alarms, and return them; none if no alarm is set any more."""
        due: list[int] = []
        with self._changed:
            while self._set and not due:
                self._changed.wait(min(self._set[0][0] - self._clock(), threading.TIMEOUT_MAX))
                while self._set and self._set[0][0] <= self._clock():
                    due.append(heappop(self._set)[1])
            self._waiting = bool(due)
        return due
