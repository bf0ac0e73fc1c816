"""The places where attempts execute, one file each; `WorkGraph.run(on=…)` takes others, too.

An executor asks the driver what to attempt, calls the body of each such task, tells the driver how
it went, and decides nothing about which task is next. One that owns threads waits in
`Driver.step` (`pulling.pull` is the loop). One with a loop or an engine of its own asks by
`Driver.take`, whenever an attempt has ended, which never waits, but calls the listeners of the run.
What follows is for that kind.

When it is started, it
  - refuses what it cannot execute: `bodies.refuse_coroutines(driver.plan)`, if it awaits nothing,
  - sets `driver.on_change` to what wakes it; that is called in any thread,
  - has room for `driver.jobs` attempts at once; 0 is no limit, `len(bodies)` is enough for all,
  - and takes as many tasks as it can begin at once. `driver.over` may be set from the beginning.

Each task that it was given it attempts once, `attempts.attempt` in a thread. Whoever does that
elsewhere
  - sets `driver.started[task]` to the time (by `clock` of `driver.py`), calls `bodies[task]` in a
    copy of `driver.context`, and sets `driver.finished[task]`,
  - keeps what came back in `driver.values[task]`, or gives what was raised, be it `SystemExit`, to
    `driver.failed`; what cannot call the whole of a body goes by `bodies.Wrapper`,
  - and fails with `attempts.timed_out` what takes longer than `driver.plan.timeouts[task]`, if it
    is there, and drops what comes of it later. It ends it, or leaves its thread (`deadlines`), or
    tells when it comes back (`attempts.in_time`). Commands have their limits in their bodies.

Then it tells the driver, by `take`: the task where it succeeded, else what `failed` gave for it.
What it took and has not begun when `driver.recalls` comes to be another number goes to
`driver.take_back`. When `on_change` was called, it takes once more, even with no room: that
tells the listeners what a stop has ended. When `driver.over` is set after a `take`, there is
nothing more to do.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from parallel_workers.bodies import Body
from parallel_workers.driver import Driver


class Workers(Protocol):
    """What an executor has made for one run."""

    def cancel(self, tasks: Collection[int]) -> None:
        """End attempts under way, as far as that can be, and return at once.

        What is ended has failed with `Cancelled`. Any thread may call this, and more than once; the
        driver is stopped or closing by then.

        Args:
            tasks: The tasks whose attempts are meant; some may have ended, or not have begun.
        """

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
