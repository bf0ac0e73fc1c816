"""Attempts execute in the thread of whoever runs the graph, in the planned order, one by one.

So a debugger stops where the function stands, and a traceback begins with the caller. A time limit
cannot end a function here; one that took longer has timed out when it returns.
"""

from collections.abc import Sequence

from parallel_workers.bodies import Body, refuse_coroutines
from parallel_workers.driver import Driver, clock
from parallel_workers.durations import format_duration
from parallel_workers.errors import TimedOut


class InlineExecutor:
    """Runs tasks in the calling thread; a run is over when its start returns."""

    def start(self, driver: Driver, bodies: Sequence[Body]) -> "Done":
        """Attempt all tasks.

        Raises:
            UsageError: Some function is a coroutine function.
            KeyboardInterrupt: There was one; nothing was started any more.
        """
        refuse_coroutines(driver.plan)
        try:
            tasks = driver.take((), 1)
            while tasks:
                tasks = driver.take([_attempt(driver, tasks[0], bodies[tasks[0]])], 1)
        except BaseException:  # an interrupt, wherever it came: there is nobody to go on
            driver.abandon()
            raise
        return Done()


def _attempt(driver: Driver, task: int, body: Body) -> int:
    driver.started[task] = begun = clock()
    limit = driver.plan.timeouts.get(task)
    try:
        value = driver.context.copy().run(body)
        if limit is not None and clock() - begun > limit:
            raise TimedOut(f"took longer than {format_duration(limit)}")
        driver.values[task] = value
        return task
    except KeyboardInterrupt as interrupt:
        driver.stop()
        driver.finished[task] = clock()
        driver.take([driver.failed(task, interrupt)], 0)
        raise
    except BaseException as error:  # the run goes on by its own rules
        return driver.failed(task, error)
    finally:
        driver.finished[task] = clock()


class Done:
    """Workers that are gone already."""

    def cancel(self) -> None:
        """Do nothing: nothing runs."""

    def join(self) -> None:
        """Do nothing: nothing runs."""
