"""Attempts execute in the thread of whoever runs the graph, in the planned order, one by one.

So a debugger stops where the function stands, and a traceback begins with the caller.
"""

from collections.abc import Sequence

from parallel_workers.bodies import Body
from parallel_workers.driver import Driver, clock


class InlineExecutor:
    """Runs tasks in the calling thread; a run is over when its start returns."""

    def start(self, driver: Driver, bodies: Sequence[Body]) -> "Done":
        """Attempt all tasks.

        Raises:
            KeyboardInterrupt: There was one; nothing was started any more.
        """
        tasks = driver.take((), 1)
        while tasks:
            tasks = driver.take([_attempt(driver, tasks[0], bodies[tasks[0]])], 1)
        return Done()


def _attempt(driver: Driver, task: int, body: Body) -> int:
    driver.started[task] = clock()
    try:
        driver.values[task] = driver.context.copy().run(body)
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
