"""Attempts execute in the thread of whoever runs the graph, in the planned order, one by one.

So a debugger stops where the function stands, and a traceback begins with the caller. A time limit
cannot end a function here; one that took longer has timed out when it returns.
"""

import threading
from collections.abc import Collection, Sequence

from parallel_workers.bodies import Body, refuse_coroutines
from parallel_workers.driver import Driver
from parallel_workers.executors.attempts import attempt, in_time


class InlineExecutor:
    """Runs tasks in the calling thread; a run is over when its start returns."""

    def start(self, driver: Driver, bodies: Sequence[Body]) -> "Done":
        """Attempt all tasks.

        Raises:
            UsageError: Some function is a coroutine function.
            KeyboardInterrupt: There was one; nothing was started any more.
        """
        refuse_coroutines(driver.plan)
        bodies = list(bodies)
        for task in driver.plan.timeouts:
            bodies[task] = in_time(driver, task, bodies[task])
        changed = threading.Event()
        driver.on_change = changed.set
        try:
            tasks = driver.take((), 1)
            while not driver.over.is_set():
                if not tasks:  # all that could run is delayed
                    changed.wait()
                    changed.clear()
                    tasks = driver.take((), 1)
                    continue
                [task] = tasks
                code = attempt(driver, task, bodies[task])
                if code < 0 and isinstance(interrupt := driver.errors[task], KeyboardInterrupt):
                    driver.stop()
                    driver.take([code], 0)
                    raise interrupt
                tasks = driver.take([code], 1)
        except BaseException:  # an interrupt, wherever it came: there is nobody to go on
            driver.abandon()
            raise
        return Done()


class Done:
    """Workers that are gone already."""

    def cancel(self, tasks: Collection[int]) -> None:
        """Do nothing: nothing runs."""

    def join(self) -> None:
        """Do nothing: nothing runs."""
