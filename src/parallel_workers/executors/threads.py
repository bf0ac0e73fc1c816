"""Attempts execute in threads of this process. Each pulls its next task itself."""

import contextlib
import threading
from collections.abc import Collection, Sequence

from parallel_workers.bodies import Body, refuse_coroutines
from parallel_workers.driver import Driver
from parallel_workers.errors import UsageError
from parallel_workers.executors.attempts import no_thread
from parallel_workers.executors.deadlines import Deadlines
from parallel_workers.executors.pulling import pull


class ThreadsExecutor:
    """Runs tasks in threads, which are started as they are needed."""

    def start(self, driver: Driver, bodies: Sequence[Body]) -> "Threads":
        """Start the first worker; the others follow when there is work for them.

        Raises:
            UsageError: The system allows no thread, or some function is a coroutine function.
        """
        refuse_coroutines(driver.plan)
        threads = Threads(driver, bodies)
        threads.start_one()
        return threads


class Threads:
    """The threads of one run.

    A function that has a time limit and takes longer is told to have timed out, and its worker is
    replaced by another, for no thread can be ended from outside; what the function returns in the
    end is dropped.

    Args:
        driver: The driver of the run.
        bodies: By task, what an attempt does.
    """

    def __init__(self, driver: Driver, bodies: Sequence[Body]) -> None:
        self._driver = driver
        self._bodies = list(bodies)
        self._most = min(driver.jobs or len(bodies), len(bodies))
        self._threads: dict[threading.Thread, None] = {}
        self._started = 0
        self._starting = threading.Lock()
        self._deadlines = Deadlines(driver, self._replace)
        driver.on_change = self._grow_if_wanted
        for task in driver.plan.timeouts:
            self._bodies[task] = self._deadlines.limited(task, self._bodies[task])

    def cancel(self, tasks: Collection[int]) -> None:
        """Do nothing: no thread of Python can be ended from outside."""

    def join(self) -> None:
        """Wait until all workers are gone, save those that were given up."""
        while True:
            with self._starting:
                if not self._threads:
                    break
                thread = next(iter(self._threads))
            thread.join()
            with self._starting:
                self._threads.pop(thread, None)
        self._deadlines.close()

    def start_one(self) -> None:
        """Start another worker if there may be one more."""
        with self._starting:
            if len(self._threads) >= self._most:
                return
            self._started += 1
            worker = threading.Thread(
                target=pull,
                args=(self._driver, self._bodies, self._grow),
                name=f"worker {self._started}",
                daemon=True,
            )
            try:
                worker.start()
            except RuntimeError:
                # The system allows no more threads; those that there are do the work.
                if not self._threads:
                    raise no_thread("beside the first") from None
                self._most = len(self._threads)
                return
            self._threads[worker] = None

    def _grow(self) -> bool:
        """Start another worker; return whether there may be more."""
        self.start_one()
        return len(self._threads) < self._most

    def _grow_if_wanted(self) -> None:
        if self._driver.wants_worker and not self._driver.over.is_set():
            with contextlib.suppress(UsageError):  # those that there are do the work
                self.start_one()

    def _replace(self, code: int, worker: threading.Thread) -> None:
        """Tell that an attempt has timed out, and replace the worker that is still at it."""
        with self._starting:
            self._threads.pop(worker, None)
        self._driver.take([code], 0)
        try:
            self.start_one()
        except UsageError:
            # Nobody is left to do the rest.
            self._driver.stop()
