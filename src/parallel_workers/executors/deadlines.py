"""Time limits for functions in threads, which nothing can end: they are told to have ended.

One thread waits for all deadlines of a run. It starts with the first attempt that has one.
"""

import threading
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from parallel_workers.bodies import Body, Passing
from parallel_workers.driver import clock
from parallel_workers.executors.pulling import Expired


class Deadlines:
    """Watches attempts that have a time limit.

    Args:
        expire: Told the task of an attempt that took too long, its limit in seconds and the thread
            that is at it, by the watching thread.
    """

    def __init__(self, expire: Callable[[int, float, threading.Thread], None]) -> None:
        self._expire = expire
        self._changed = threading.Condition()
        self._attempts: list[tuple[float, int, _Attempt]] = []
        self._count = 0
        self._watching = False
        self._closed = False

    def limited(self, task: int, body: Body, seconds: float) -> Body:
        """Return a body that raises `Expired` if its attempt took too long and was told of."""
        if isinstance(body, Passing):
            # What is read by an attempt that was given up is read again by the next one.
            return body.around(self.limited(task, body.body, seconds))

        def attempt() -> Any:
            watched = self._begin(task, seconds)
            try:
                return body()
            finally:
                if self._end(watched):
                    raise Expired

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
            self._expire(attempt.task, attempt.seconds, attempt.thread)

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
