"""Attempts execute in threads of this process. Each pulls its next task itself."""

import threading
from collections.abc import Sequence

from parallel_workers.bodies import Body
from parallel_workers.driver import Driver
from parallel_workers.errors import UsageError
from parallel_workers.executors.pulling import pull


class ThreadsExecutor:
    """Runs tasks in threads, which are started as they are needed."""

    def start(self, driver: Driver, bodies: Sequence[Body]) -> "Threads":
        """Start the first worker; the others follow when there is work for them.

        Raises:
            UsageError: The system allows no thread.
        """
        threads = Threads(driver, bodies)
        threads.start_one()
        return threads


class Threads:
    """The threads of one run.

    Args:
        driver: The driver of the run.
        bodies: By task, what an attempt does.
    """

    def __init__(self, driver: Driver, bodies: Sequence[Body]) -> None:
        self._driver = driver
        self._bodies = bodies
        self._most = min(driver.jobs or len(bodies), len(bodies))
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()

    def cancel(self) -> None:
        """Do nothing: no thread of Python can be ended from outside."""

    def join(self) -> None:
        """Wait until all workers are gone, which is soon after the run is over."""
        # The list grows while there are workers, and only they make it grow.
        for thread in self._threads:
            thread.join()

    def start_one(self) -> None:
        """Start another worker if there may be one more."""
        with self._starting:
            if len(self._threads) >= self._most:
                return
            worker = threading.Thread(
                target=pull,
                args=(self._driver, self._bodies, self._grow),
                name=f"worker {len(self._threads) + 1}",
                daemon=True,
            )
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

    def _grow(self) -> bool:
        """Start another worker; return whether there may be more."""
        self.start_one()
        return len(self._threads) < self._most
