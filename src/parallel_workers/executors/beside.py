"""Threads beside an executor that executes elsewhere: they run the bodies that belong in a thread.

Such an executor has a loop of its own, which decides when a task is attempted and learns of its
end; so nothing waits here but threads that have nothing to do.
"""

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from parallel_workers.bodies import Body
from parallel_workers.driver import Driver, clock
from parallel_workers.executors.attempts import Expired, attempt, no_thread
from parallel_workers.executors.deadlines import Deadlines


class Beside:
    """Attempts tasks in threads, as many at once as it is given, for one loop.

    A function that takes longer than it may is told to have timed out, and its thread is given up.

    Args:
        driver: The driver of the run.
        bodies: By task, what an attempt does.
        done: Told in a thread, or while `attempt` is called, that an attempt has ended: gets what
            `driver.take` is to be given.
    """

    def __init__(
        self, driver: Driver, bodies: Sequence[Body], done: Callable[[int], object]
    ) -> None:
        self._driver = driver
        self._bodies = bodies
        self._done = done
        self._threads: list[threading.Thread] = []
        self._tasks: SimpleQueue[int | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._deadlines = Deadlines(driver, self._give_up)

    def attempt(self, task: int) -> None:
        """Attempt a task that the driver has handed out; return at once."""
        if self._idle.acquire(blocking=False) or self._start_one() or self._threads:
            self._tasks.put(task)
            return
        self._driver.started[task] = self._driver.finished[task] = clock()
        self._done(self._driver.failed(task, no_thread("for it")))

    def join(self) -> None:
        """Wait until all threads are gone but those given up; nothing is attempted any more."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()
        self._deadlines.close()

    def _start_one(self) -> bool:
        name = f"beside {len(self._threads) + 1}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._threads.append(thread)
        try:
            thread.start()
        except RuntimeError:  # the system allows no more threads; those that there are do the work
            self._threads.remove(thread)
            return False
        return True

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            body = self._deadlines.limited(task, self._bodies[task])
            try:
                code = attempt(self._driver, task, body)
            except Expired:
                return
            self._idle.release()
            self._done(code)

    def _give_up(self, code: int, thread: threading.Thread) -> None:
        """Tell that an attempt has timed out, and let go the thread that is still at it."""
        self._threads.remove(thread)
        self._done(code)
