"""A run of a work graph from Python: the parts, put together.

A library is a guest in somebody's program: nothing here changes how that process hears signals,
what its terminal does, or what becomes of its other children.
"""

import os
import signal
import threading
import time
import weakref
from collections.abc import Collection
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias, cast

from parallel_workers.bodies import (
    Body,
    command_bodies,
    function_bodies,
    let_go_early,
)
from parallel_workers.children import PAUSE, Children
from parallel_workers.commands import CommandRunner, CommandText
from parallel_workers.cores import usable_cores
from parallel_workers.driver import Driver
from parallel_workers.durations import parse_duration
from parallel_workers.errors import GraphError, UsageError
from parallel_workers.events import Listener, Outcome
from parallel_workers.executors import Executor, Workers
from parallel_workers.frontier import Frontier
from parallel_workers.graph import Keep, Listen, Output, WorkGraph
from parallel_workers.logs import KeptLogs
from parallel_workers.outputs import Outputs, written_in
from parallel_workers.plan import Plan
from parallel_workers.policy import most_failures, unconfirmed
from parallel_workers.run import Beginning, Run
from parallel_workers.shield import Shield
from parallel_workers.state import new_passing_run, remove_run, run_id
from parallel_workers.wording import at_most, plural, shorten, shown, suggestion

if TYPE_CHECKING:
    from parallel_workers.capture import Capture

GRACE = 5.0
"""Seconds that a command has to end when the run is cancelled."""

EXECUTORS = {
    "threads": "ThreadsExecutor",
    "inline": "InlineExecutor",
    "processes": "ProcessesExecutor",
    "asyncio": "AsyncioExecutor",
}
"""By the module of `executors` that it stands in, the executor of that name."""

Place: TypeAlias = str | Executor
"""Where attempts execute: the name of one of `EXECUTORS`, or an executor."""


def prepare(
    graph: WorkGraph,
    *,
    jobs: int | None,
    on: Place,
    keep_going: bool,
    max_failures: int | None,
    fail_fast: bool,
    yes: bool,
    timeout: float | str | None,
    listen: Listen | None,
    keep: Keep,
    output: Output | None,
    journal: str | os.PathLike[str] | None,
    resume: bool,
) -> Run:
    """Return a run that has yet to begin; the arguments are those of `WorkGraph.run`.

    Raises:
        GraphError: The graph cannot be run.
        UsageError: An argument is wrong.
    """
    executor = executor_for(on)
    jobs = checked_jobs(jobs)
    most = most_failures(keep_going=keep_going, max_failures=max_failures, fail_fast=fail_fast)
    limit = _seconds_of(timeout)
    _check_answer(yes)
    _check_keeping(keep, output)
    if resume and journal is None:
        raise UsageError("resume=True needs the journal of the earlier run: journal=PATH")
    plan = graph.compiled()
    # Before anything is recorded: a run that cannot begin is none.
    _check_bodies(plan)
    shields = [] if listen is None else [_shielded(listen)]
    beginning = _beginning(plan, jobs, journal, resume=resume)
    parked = {} if yes else unconfirmed(plan, beginning.done)
    frontier = Frontier.of(plan, parked=parked, most_failures=most, done=beginning.done)
    listeners: list[Listener] = [*beginning.listeners, *shields]
    driver = Driver(plan, frontier, jobs, listeners, beginning.done, beginning.earlier)
    driver.parked = parked
    for task, value in beginning.values.items():
        driver.values[task] = value
    bodies, commands = _bodies_of(plan, driver, beginning)
    capture = None if output is None else _capture(plan, driver, bodies)
    if keep == "leaves":
        let_go_early(plan, bodies, driver.values)

    def begin() -> Workers:
        try:
            driver.begin(beginning.run)
            if limit is not None:
                run.limit(limit)
            return executor.start(driver, bodies)
        except BaseException:
            driver.stop()
            if capture is not None:
                capture.end()
            beginning.close(Outcome.CANCELLED)
            raise

    graph.runs.append(driver.over)
    outputs = {} if capture is None else capture.outputs
    run = Run(beginning, graph, driver, begin, commands, shields, outputs)
    driver.on_failure = run.end_attempts if fail_fast else None
    return run


def _beginning(
    plan: Plan, jobs: int, journal: str | os.PathLike[str] | None, *, resume: bool
) -> Beginning:
    if journal is None:
        beginning = Beginning(run_id(time.time(), int.from_bytes(os.urandom(2))))
    else:
        from parallel_workers.recorded import record

        beginning = record(plan, os.path.abspath(journal), jobs, resume=resume)
    needless = plan.not_needed(beginning.done)
    return beginning._replace(done={*beginning.done, *needless}) if needless else beginning


def _capture(plan: Plan, driver: Driver, bodies: list[Body]) -> "Capture":
    from parallel_workers.capture import Capture

    capture = Capture(plan, bodies)
    driver.listen(capture)
    return capture


def _check_keeping(keep: Keep, output: Output | None) -> None:
    if keep not in ("all", "leaves"):
        raise UsageError(f'keep={shown(keep)}: give "all" or "leaves"')
    if output not in (None, "task"):
        raise UsageError(f'output={shown(output)}: give "task" to keep what each task prints')


def _seconds_of(timeout: float | str | None) -> float | None:
    """Return the time limit of a run in seconds; None where it has none.

    Raises:
        UsageError: It is no length of time, or none at all.
    """
    if timeout is None:
        return None
    try:
        seconds = parse_duration(timeout)
    except ValueError as error:
        raise UsageError(f"timeout={shown(timeout)}: {error}") from None
    if not seconds:
        raise UsageError("timeout=0 would let nothing run; leave it out for no limit")
    return seconds


def _check_answer(yes: object) -> None:
    if not isinstance(yes, bool):
        raise UsageError(f"yes={shown(yes)}: give True to confirm what has to be, or False")


def checked_jobs(jobs: int | None) -> int:
    """Return how many tasks may run at once, the usable cores if None.

    Raises:
        UsageError: It is no whole number from 0.
    """
    if jobs is None:
        return usable_cores()
    if jobs.__class__ is not int or jobs < 0:
        raise UsageError(f"jobs={shown(jobs)}: give a whole number, or 0 for no limit")
    return jobs


def _check_bodies(plan: Plan) -> None:
    """Refuse tasks with nothing to run.

    Raises:
        GraphError: There are some.
    """
    lacking = [
        shorten(plan.names[task])
        for task, function in enumerate(plan.functions)
        if function is None and plan.definitions[task].command is None
    ]
    if lacking:
        raise GraphError(
            f"{plural(len(lacking), 'task')} with nothing to run; give each a function or a "
            f"command: {', '.join(at_most(lacking, 'task'))}"
        )


def _bodies_of(
    plan: Plan, driver: Driver, beginning: Beginning
) -> tuple[list[Body], "Commands | None"]:
    """Return, by task, what it runs, and what all commands share if there are any."""
    bodies = function_bodies(plan, driver.values)
    if None not in bodies:
        return cast(list[Body], bodies), None
    texts = {
        task: plan.definitions[task].command for task, body in enumerate(bodies) if body is None
    }
    commands = Commands(beginning.run, plan.tasks, beginning.place)
    given = cast(dict[int, CommandText], texts)
    written = written_in(commands.place, plan, beginning.done)
    outputs = Outputs(plan, commands.place, written)
    found = command_bodies(plan, given, commands.runner, driver, outputs)
    for task, body in found.items():
        bodies[task] = body
    return cast(list[Body], bodies), commands


class _Log(str):
    """The path of a log that is there as long as somebody has this path."""

    def __new__(cls, path: str, place: "_LentLogs") -> "_Log":
        log = super().__new__(cls, path)
        log.place = place
        return log

    place: "_LentLogs"

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)  # another process must not let the log go


class _LentLogs(KeptLogs):
    """A directory of logs that goes with the last path of one."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        weakref.finalize(self, remove_run, directory)

    def close(self, path: str, name: str, attempt: int) -> tuple[str, int]:
        """Return the path of the log of an attempt that has ended, and its size in bytes."""
        path, size = super().close(path, name, attempt)
        return _Log(path, self), size


class Commands:
    """What the commands of one run share; their logs last as long as this, or their results.

    Args:
        run: The id of the run.
        expected: About how many commands there are.
        place: The directory in which their logs are kept for good; None for one that goes.

    Attributes:
        place: That directory, or the one that goes.

    Raises:
        UsageError: There is no place for logs.
    """

    def __init__(self, run: str, expected: int, place: str | None) -> None:
        self.place = place or new_passing_run()[1]
        logs = _LentLogs(self.place) if place is None else KeptLogs(place)
        self._children = Children(GRACE, expected)
        env = {**os.environb, b"PW_RUN": run.encode()}
        self.runner = CommandRunner(self._children, logs, env)
        # The runner lasts as long as a run goes on, also where nobody holds that any more.
        weakref.finalize(self.runner, _end_at_exit, self._children)

    def end(self, signum: signal.Signals) -> None:
        """Send a signal to all commands, and SIGKILL when they have had their time."""
        self._children.tell_all(signum)
        killer = threading.Timer(GRACE, self._children.tell_all, [signal.SIGKILL])
        killer.daemon = True
        killer.start()

    def cancel(self, tasks: Collection[int]) -> None:
        """End the commands of tasks, none of which will be attempted again; return at once."""
        self.runner.cancel(tasks)

    def close(self) -> None:
        """Let go of what was held open; no command runs any more."""
        self._children.close()


def _end_at_exit(children: Children) -> None:
    """End what a program leaves running that ends without waiting for its run."""
    if not children.any_alive:
        return
    children.tell_all(signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while children.any_alive and time.monotonic() < deadline:
        time.sleep(PAUSE)
    children.tell_all(signal.SIGKILL)


def _shielded(listen: Listen) -> Shield:
    return Shield(lambda events: listen(list(events)), "listen=")


def executor_for(on: Place) -> Executor:
    """Return the executor that is meant: a new one for a name.

    Raises:
        UsageError: There is none.
    """
    if isinstance(on, str):
        return _executor_named(on)
    if isinstance(on, type) or not hasattr(on, "start"):
        raise UsageError(
            f"on={on!r} is no executor; give one of {', '.join(EXECUTORS)}, or an executor object"
        )
    return on


def _executor_named(name: str) -> Executor:
    if name not in EXECUTORS:
        hint = suggestion(name, EXECUTORS) or f"; there are {', '.join(EXECUTORS)}"
        raise UsageError(f"there is no executor {shown(name)}{hint}")
    executor: Executor = getattr(
        import_module(f"parallel_workers.executors.{name}"), EXECUTORS[name]
    )()
    return executor
