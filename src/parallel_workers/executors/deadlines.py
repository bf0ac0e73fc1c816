"""Time limits for functions in threads, which nothing can end: they are told to have ended.

One thread waits for all deadlines of a run. It starts with the first attempt that has one.
"""

import threading
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from parallel_workers.bodies import Body, halves
from parallel_workers.driver import Driver, clock
from parallel_workers.executors.attempts import Expired, timed_out


class Deadlines:
    """Watches attempts that have a time limit.

    Args:
        driver: The driver of the run.
        give_up: Called by the watching thread where an attempt has taken too long: gets what the
            driver is to be told, and the thread that is still at it.
    """

    def __init__(self, driver: Driver, give_up: Callable[[int, threading.Thread], object]) -> None:
        self._driver = driver
        self._give_up = give_up
        self._changed = threading.Condition()
        self._attempts: list[tuple[float, int, _Attempt]] = []
        self._count = 0
        self._watching = False
        self._closed = False

    def limited(self, task: int, body: Body) -> Body:
        """Return the body of a task with its time limit, if it has one.

        That raises `Expired` where its attempt has taken too long and was given up.
        """
        seconds = self._driver.plan.timeouts.get(task)
        if seconds is None:
            return body
        call, arrived = halves(body)

        def attempt() -> Any:
            watched = self._begin(task, seconds)
            try:
                value = call()
            finally:
                if self._end(watched):
                    raise Expired
            # Not where it comes too late: what this attempt has read the next one reads again.
            return arrived(value)

        return attempt

    def close(self) -> None:
        """Watch no more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _begin(self, task: int, seconds: float) -> "_Attempt":
        attempt = _Attempt(task, seconds)
        with self._changed:
            self._count += 1
            heappush(self._attempts, (clock() + seconds, self._count, attempt))
            self._changed.notify()
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="deadlines", daemon=True).start()
        return attempt

    def _end(self, attempt: "_Attempt") -> bool:
        """Note the end of an attempt; return whether it came too late."""
        with self._changed:
            attempt.over = True
            return attempt.expired

    def _watch(self) -> None:
        while (attempt := self._next_expired()) is not None:
            self._driver.finished[attempt.task] = clock()
            code = self._driver.failed(attempt.task, timed_out(attempt.seconds))
            self._give_up(code, attempt.thread)

    def _next_expired(self) -> "_Attempt | None":
        """Wait for the next attempt that takes too long; return None once closed."""
        with self._changed:
            while not self._closed:
                wait = None
                if self._attempts:
                    deadline, _, attempt = self._attempts[0]
                    wait = deadline - clock()
                    if attempt.over or wait <= 0:
                        heappop(self._attempts)
                        if not attempt.over:
                            attempt.expired = True
                            return attempt
                        continue
                self._changed.wait(wait)
        return None


class _Attempt:
    __slots__ = ("expired", "over", "seconds", "task", "thread")

    def __init__(self, task: int, seconds: float) -> None:
        self.task = task
        self.seconds = seconds
        self.thread = threading.current_thread()
        self.over = False
        self.expired = False
