"""The places where attempts execute, one file each.

An executor asks the driver what to attempt, calls the body of each such task, tells the driver how
it went, and decides nothing about which task is next. One that owns threads waits in
`Driver.step` (`pulling.pull` is the loop); one with a loop or an engine of its own asks by
`Driver.take`, whenever an attempt has ended, and never waits.

For each task that it was given it
  - sets `driver.started[task]` to `clock()`, calls `bodies[task]` in a copy of `driver.context`,
    and sets `driver.finished[task]`,
  - keeps what came back in `driver.values[task]`, or gives what was raised to `driver.failed`,
  - and tells the driver in its next `step` or `take`: the task, or what `failed` gave for it.
"""

from collections.abc import Sequence
from typing import Protocol

from parallel_workers.bodies import Body
from parallel_workers.driver import Driver


class Workers(Protocol):
    """What an executor has made for one run."""

    def cancel(self) -> None:
        """End the attempts under way, as far as that can be; the driver has been stopped."""

    def join(self) -> None:
        """Wait until nothing of it is left, which is soon after the run is over."""


class Executor(Protocol):
    """A place where attempts execute; it may serve several runs, also at once."""

    def start(self, driver: Driver, bodies: Sequence[Body]) -> Workers:
        """Begin to execute, and return at once.

        Args:
            driver: The driver of the run.
            bodies: By task, what an attempt does.

        Raises:
            UsageError: Some of this cannot be executed here.
        """
