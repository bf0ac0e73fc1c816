"""Attempts execute in threads of this process. Each pulls its next task itself."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from parallel_workers.driver import Driver
from parallel_workers.errors import UsageError
from parallel_workers.events import Outcome

Body: TypeAlias = Callable[[int], tuple[Outcome, Any]]
"""Given the number of the attempt, from 1, does the work; returns how it ended and what it gave."""


class ThreadsExecutor:
    """Runs a plan's tasks in threads, which are started as they are needed.

    Args:
        driver: The driver of the run.
        bodies: By task, its body.
        jobs: The most threads; 0 for no limit.
    """

    def __init__(self, driver: Driver, bodies: Sequence[Body], jobs: int) -> None:
        self._driver = driver
        self._bodies = bodies
        self._most = min(jobs or len(bodies), len(bodies))
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()

    def start(self) -> None:
        """Start the first worker; the others follow when there is work for them.

        Raises:
            UsageError: The system allows no thread.
        """
        self._start_worker()

    def join(self) -> None:
        """Wait until all workers are gone, which is soon after the run is over."""
        # The list grows while there are workers, and only they make it grow.
        for thread in self._threads:
            thread.join()

    def _start_worker(self) -> None:
        with self._starting:
            if len(self._threads) >= self._most:
                return
            worker = threading.Thread(target=self._work, name=f"worker {len(self._threads) + 1}")
            try:
                worker.start()
            except RuntimeError:
                # The system allows no more threads; those that there are do the work.
                if not self._threads:
                    raise UsageError(
                        "the system allows no thread beside the first: "
                        "raise the limit of processes (ulimit -u)"
                    ) from None
                self._most = len(self._threads)
                return
            self._threads.append(worker)

    def _work(self) -> None:
        driver, ended = self._driver, list[int]()
        while started := driver.step(ended, 1):
            if driver.wants_workers() and len(self._threads) < self._most:
                self._start_worker()
            ended = [self._attempt(task) for task in started]

    def _attempt(self, task: int) -> int:
        driver = self._driver
        try:
            outcome, result = self._bodies[task](driver.attempts[task])
        except BaseException as error:  # a worker outlives whatever a body does
            outcome, result = Outcome.FAILED, error
        return driver.note(task, outcome, result)
