"""What executors share: one attempt of a task in a thread, and the words for what went wrong."""

from typing import Any

from parallel_workers.bodies import Body, halves
from parallel_workers.driver import Driver, clock
from parallel_workers.durations import format_duration
from parallel_workers.errors import TimedOut, UsageError


class Expired(BaseException):
    """Raised by a body whose end was told long ago: its worker was given up for another."""


def attempt(driver: Driver, task: int, body: Body) -> int:
    """Attempt a task in this thread, whatever it does there.

    Args:
        driver: The driver of the run.
        task: A task that it has handed out.
        body: What the attempt does.

    Returns:
        What the driver is to be told of it.

    Raises:
        Expired: The attempt was told of already.
    """
    driver.started[task] = clock()
    try:
        driver.values[task] = driver.context.copy().run(body)
        code = task
    except Expired:
        raise
    except BaseException as error:  # whoever attempts a task outlives what it does
        code = driver.failed(task, error)
    driver.finished[task] = clock()
    return code


def in_time(driver: Driver, task: int, body: Body) -> Body:
    """Return the body of a task, which fails where it comes back later than its task may.

    For executors that can neither end an attempt nor leave it to itself.
    """
    seconds = driver.plan.timeouts.get(task)
    if seconds is None:
        return body
    call, arrived = halves(body)

    def call_in_time() -> Any:
        begun = clock()
        value = call()
        if clock() - begun > seconds:
            raise TimedOut(f"took longer than {format_duration(seconds)}")
        return arrived(value)

    return call_in_time


def timed_out(seconds: float) -> TimedOut:
    """Return the error of an attempt that has taken longer than it may."""
    return TimedOut(f"timed out after {format_duration(seconds)}")


def no_thread(wanted: str) -> UsageError:
    """Return the error where the system refuses a thread; says what it was wanted for."""
    return UsageError(
        f"the system allows no thread {wanted}: raise the limit of processes (ulimit -u)"
    )
