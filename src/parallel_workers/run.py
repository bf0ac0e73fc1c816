"""What a user holds of a run: values and outcomes, waiting, cancelling, results as they come."""

import contextlib
import signal
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from queue import SimpleQueue
from types import FrameType, MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from parallel_workers.driver import Driver
from parallel_workers.durations import format_duration
from parallel_workers.errors import (
    Cancelled,
    GraphError,
    NoValueError,
    RunFailed,
    TaskRaised,
    UnknownTaskError,
)
from parallel_workers.events import GOOD, LET_GO, CommandResult, Event, Listener, Outcome, TaskEnded
from parallel_workers.executors import Workers
from parallel_workers.executors.attempts import no_thread
from parallel_workers.graph import WorkGraph
from parallel_workers.tasks import Task, TaskGroup
from parallel_workers.wording import at_most, plural, shorten, suggestion

if TYPE_CHECKING:
    from parallel_workers.capture import TaskOutput
    from parallel_workers.shield import Shield
    from parallel_workers.starting import Commands

T = TypeVar("T")


def _nothing(outcome: Outcome) -> Sequence[str]:
    """Return that nothing is to be told, as nothing was recorded."""
    return ()


class Beginning(NamedTuple):
    """What a run begins with.

    Attributes:
        run: Its id.
        place: The directory in which the logs of commands are kept; None for one that goes.
        done: The tasks that an earlier run has done.
        earlier: By task, how many attempts earlier runs made.
        values: By task that is done, its value.
        listeners: Who is told of all events before anybody else, in order.
        close: Told how the run ended, when it has; returns what is to be told of its record.
    """

    run: str
    place: str | None = None
    done: Collection[int] = frozenset()
    earlier: Mapping[int, int] = MappingProxyType({})
    values: Mapping[int, Any] = MappingProxyType({})
    listeners: Sequence[Listener] = ()
    close: Callable[[Outcome], Sequence[str]] = _nothing


class TaskRun:
    """One task of a run: what has become of it so far.

    Attributes:
        name: Its name.
    """

    __slots__ = ("_driver", "_run", "_task", "name")

    def __init__(self, run: "Run", driver: Driver, task: int) -> None:
        self._run = run
        self._driver = driver
        self._task = task
        self.name = driver.plan.names[task]

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None if it has not."""
        return self._driver.outcome(self._task)

    @property
    def attempts(self) -> int:
        """How many attempts have begun."""
        return self._driver.attempts(self._task)

    @property
    def started(self) -> float | None:
        """When its last attempt began, in seconds since the epoch; None if none has."""
        return self._time(self._driver.started)

    @property
    def finished(self) -> float | None:
        """When its last attempt ended, in seconds since the epoch; None if none has."""
        return self._time(self._driver.finished)

    def _time(self, readings: Sequence[float]) -> float | None:
        reading = readings[self._task]
        return self._driver.time_of(reading) if reading else None

    @property
    def error(self) -> BaseException | None:
        """What its last attempt raised; None if that succeeded, or there was none."""
        outcome = self.outcome
        if outcome in GOOD or outcome is Outcome.SKIPPED:
            return None
        return self._driver.error(self._task, outcome)

    @property
    def output(self) -> str | None:
        """What it wrote; None if that was not kept.

        Of a function that is what it has printed and logged so far, in all attempts, if the run
        was started with `output="task"`. Of a command it is the log of the last attempt, once that
        has ended. Of more than a megabyte it is the end, below a line that says so.
        """
        kept = self._run.outputs.get(self._task)
        if kept is not None:
            return kept.text
        result = self._command_result()
        if result is None:
            return None
        from parallel_workers.capture import text_of_log

        try:
            return text_of_log(result.log)
        except OSError:
            return None if result.size else ""

    def _command_result(self) -> CommandResult | None:
        driver, task = self._driver, self._task
        if driver.plan.functions[task] is not None:
            return None
        found = driver.values[task] or getattr(driver.errors.get(task), "result", None)
        return found if isinstance(found, CommandResult) else None

    @property
    def cause(self) -> str | None:
        """For a skipped task, the name of the task whose end is the reason, if one is."""
        cause = self._driver.cause(self._task)
        return None if cause is None else self._driver.plan.names[cause]

    def __repr__(self) -> str:
        how = "to go" if self.outcome is None else _words(self.outcome)
        return f"<TaskRun {self.name!r} {how}>"


class TaskRuns(Mapping[str, TaskRun]):
    """The tasks of a run by name, in the order in which they were added to the graph."""

    def __init__(self, run: "Run", driver: Driver) -> None:
        self._run = run
        self._driver = driver

    def __getitem__(self, key: str | Task[Any]) -> TaskRun:
        return TaskRun(self._run, self._driver, self._run.number(key))

    def __iter__(self) -> Iterator[str]:
        return iter(self._driver.plan.by_name)

    def __len__(self) -> int:
        return self._driver.plan.tasks


class Run:
    """One execution of a work graph.

    Attributes:
        id: Its id; ids sort by time.
        graph: What is run.
        outputs: By the number of a task in the plan, its output, if that is kept.
        timed_out: Whether its time limit has ended it.
    """

    def __init__(
        self,
        beginning: Beginning,
        graph: WorkGraph,
        driver: Driver,
        begin: Callable[[], Workers],
        commands: "Commands | None",
        shields: Sequence["Shield"],
        outputs: Mapping[int, "TaskOutput"],
    ) -> None:
        self.id = beginning.run
        self.graph = graph
        self.outputs = outputs
        self.timed_out = False
        self._timeout: float | None = None
        self._driver = driver
        self._begin = begin
        self._workers: Workers | None = None
        self._cancelled: set[int] = set()
        self._commands = commands
        self._shields = shields
        self._close = beginning.close
        self._joined = False

    @overload
    def __getitem__(self, key: Task[T]) -> T: ...

    @overload
    def __getitem__(self, key: TaskGroup[T]) -> list[T]: ...

    @overload
    def __getitem__(self, key: str) -> Any: ...

    def __getitem__(self, key: Task[Any] | TaskGroup[Any] | str) -> Any:
        """Return the value of a task, or the list of those of a group.

        Raises:
            UnknownTaskError: There is no such task.
            NoValueError: It has not ended, did not succeed, or its value was let go.
        """
        if isinstance(key, TaskGroup):
            return [self[task] for task in key]
        task = self.number(key)
        outcome, value = self._driver.outcome(task), self._driver.values[task]
        if outcome in GOOD and value is not LET_GO:
            return value
        if outcome is None:
            how = "has not ended"
        else:
            how = f"has no value: {'let go' if outcome in GOOD else _words(outcome)}"
        name = shorten(self._driver.plan.names[task])
        raise NoValueError(f"the task {name} {how}") from self._driver.errors.get(task)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return self._driver.plan.tasks

    def number(self, key: Task[Any] | str) -> int:
        """Return the number in the plan of a task.

        Raises:
            UnknownTaskError: There was no such task when the run began.
            GraphError: The task is of another graph.
        """
        plan = self._driver.plan
        if isinstance(key, Task):
            if key.graph is not self.graph:
                raise GraphError(f"the task {shorten(key.name)} is of another graph")
            if key.number < len(plan.numbers):
                return plan.numbers[key.number]
            key = key.name
        if key not in plan.by_name:
            hint = suggestion(key, plan.by_name) if isinstance(key, str) else ""
            raise UnknownTaskError(f"there is no task named {shorten(str(key))}{hint}")
        return plan.by_name[key]

    @property
    def tasks(self) -> TaskRuns:
        """What has become of each task, by name."""
        return TaskRuns(self, self._driver)

    @property
    def over(self) -> bool:
        """Whether every task has its outcome."""
        return self._driver.over.is_set()

    @property
    def outcomes(self) -> Counter[Outcome]:
        """How many tasks have ended with each outcome."""
        found = (self._driver.outcome(task) for task in range(self._driver.plan.tasks))
        return Counter(outcome for outcome in found if outcome is not None)

    @property
    def succeeded(self) -> bool:
        """Whether every task has ended, and ended well."""
        if not self.over:
            return False
        if self._driver.spotless:
            return True
        outcomes, driver = self.outcomes, self._driver
        forgiven = sum(map(driver.forgiven, driver.plan.forgiven))
        return sum(outcomes[good] for good in GOOD) + forgiven == len(self)

    @property
    def seconds(self) -> float:
        """Seconds from the start of the first attempt to the end of the last one."""
        begun = [reading for reading in self._driver.started if reading]
        return max(0.0, max(self._driver.finished) - min(begun)) if begun else 0.0

    def begin(self) -> None:
        """Begin to execute, once.

        Raises:
            UsageError: The executor cannot do this.
        """
        self._workers = self._begin()
        # While it began; nobody could be told of them.
        if self._cancelled:
            self._workers.cancel(tuple(self._cancelled))

    def limit(self, seconds: float) -> None:
        """Have the run ended if it is not over after some seconds; it has just begun.

        Raises:
            UsageError: The system allows no thread.
        """
        self._timeout = seconds
        try:
            threading.Thread(target=self._end_late, name="time limit", daemon=True).start()
        except RuntimeError:
            raise no_thread("for the time limit of the run") from None

    def _end_late(self) -> None:
        if not self._driver.over.wait(self._timeout) and not self._driver.stopped:
            self.timed_out = True
            self.cancel()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until every task has its outcome.

        Args:
            timeout: Seconds to wait at most; None for as long as it takes.

        Returns:
            Whether the run is over.
        """
        if not self._driver.over.wait(timeout):
            return False
        if not self._joined:
            if self._workers is not None:
                self._workers.join()
            self._driver.wait_until_told()
            self._joined = True
            if self._commands is not None:
                self._commands.close()
            told = self._close(Outcome.SUCCEEDED if self.succeeded else Outcome.FAILED)
            # Nothing is left to be done: a warning may be an error to whoever is warned.
            _warn(told)
            for shield in self._shields:
                if shield.trouble is not None:
                    warnings.warn(shield.trouble, stacklevel=4)
        return True

    def cancel(self) -> None:
        """Let nothing start any more, and end what can be ended; return at once.

        Commands are sent SIGTERM, and SIGKILL after some seconds; coroutines are cancelled, worker
        processes killed. A function that runs in a thread cannot be ended, and is waited for.
        """
        self._stop(signal.SIGTERM)
        self._cancel_workers()

    def _stop(self, signum: signal.Signals) -> None:
        self._driver.stop()
        if self._commands is not None and not self.over:
            self._commands.end(signum)

    def end_attempts(self, tasks: Collection[int]) -> None:
        """End what can be ended of attempts that are under way, or about to be; return at once.

        Args:
            tasks: The tasks, none of which will be attempted again.
        """
        if self._commands is not None:
            self._commands.cancel(tasks)
        self._cancel_in_workers(tasks)

    def _cancel_workers(self) -> None:
        self._cancel_in_workers(self._driver.running())

    def _cancel_in_workers(self, tasks: Collection[int]) -> None:
        self._cancelled.update(tasks)
        if self._workers is not None:
            self._workers.cancel(tasks)

    def attend(self) -> None:
        """Begin, and wait for the end: Ctrl-C ends it in order, twice at once.

        Raises:
            KeyboardInterrupt: There was one. At the first, nothing starts any more and what runs
                is waited for; a second one names what it leaves running.
        """
        try:
            self.begin()
            self.wait()
        except KeyboardInterrupt:
            try:
                self._stop(signal.SIGINT)
                self.wait()
            except KeyboardInterrupt:
                self._cancel_workers()
                names = [self._driver.plan.names[task] for task in self._driver.running()]
                if not names:
                    raise
                told = ", ".join(at_most([shorten(name) for name in names], "task"))
                raise KeyboardInterrupt(f"left running: {told}") from None
            raise

    def as_completed(self) -> Iterator[TaskRun]:
        """Yield each task as it ends, those that have ended already first."""
        told: SimpleQueue[Sequence[Event]] = SimpleQueue()
        plan = self._driver.plan
        seen = set()
        for task in self._driver.listen(told.put):
            seen.add(plan.names[task])
            yield self.tasks[plan.names[task]]
        while len(seen) < plan.tasks:
            for event in told.get():
                if isinstance(event, TaskEnded) and event.task not in seen:
                    seen.add(event.task)
                    yield self.tasks[event.task]
        self.wait()

    def check(self) -> None:
        """Raise if some task has not succeeded.

        Raises:
            RunFailed: A group of what the tasks raised, each with a note that names its task.
            BaseException: What the listener raised, where all tasks succeeded.
        """
        driver, names = self._driver, self._driver.plan.names
        if driver.spotless:
            self._check_listeners()
            return
        failed = [
            task
            for task in sorted(driver.errors, key=driver.finished.__getitem__)
            if driver.outcome(task) not in GOOD and not driver.forgiven(task)
        ]
        outcomes = self.outcomes
        skipped, parked = outcomes[Outcome.SKIPPED], outcomes[Outcome.PARKED]
        if not failed and not skipped and not parked:
            self._check_listeners()
            return
        errors = [_told(driver.errors[task], names[task]) for task in failed]
        message = f"{len(failed):,} of {plural(len(names), 'task')} failed"
        if skipped:
            message += f", {skipped:,} skipped"
        if parked:
            message += f", {parked:,} parked: run(yes=True) confirms what has to be"
            held = [task for task in driver.parked if driver.outcome(task) is Outcome.PARKED]
            errors += [_told(driver.parked[task], names[task]) for task in held]
        why = "the run was cancelled"
        if self.timed_out and self._timeout is not None:
            why = f"its time limit of {format_duration(self._timeout)} ended the run"
            message = f"{why}: {message}"
        failure = RunFailed(message, errors or [Cancelled(why)])
        failure.run = self
        raise failure

    def _check_listeners(self) -> None:
        for shield in self._shields:
            if shield.error is not None:
                raise shield.error

    def _repr_html_(self) -> str:
        from parallel_workers.drawing import html_of

        plan = self._driver.plan
        tasks = [TaskRun(self, self._driver, task) for task in range(plan.tasks)]
        return html_of(f"Run {self.id}", plan, tasks, self.seconds)

    def __repr__(self) -> str:
        outcomes = self.outcomes
        counts = [f"{count:,} {_words(outcome)}" for outcome, count in outcomes.items()]
        left = self._driver.plan.tasks - outcomes.total()
        counts += [f"{left:,} to go"] if left else []
        return f"<Run {self.id}: {', '.join(counts) or 'nothing to do'}>"


def _words(outcome: Outcome) -> str:
    return outcome.replace("_", " ")


def _told(error: BaseException, task: str) -> Exception:
    """Return an error as a group holds it: with the name of its task, without our own frames."""
    frames = error.__traceback__
    while frames is not None and _is_ours(frames.tb_frame):
        frames = frames.tb_next
    error = error.with_traceback(frames)
    note = f"task {shorten(task)}"
    if note not in getattr(error, "__notes__", ()):
        # Some classes of errors let nobody set anything.
        with contextlib.suppress(Exception):
            error.add_note(note)
    if isinstance(error, Exception):
        return error
    raised = TaskRaised(f"task {shorten(task)} raised {type(error).__name__}")
    raised.__cause__ = error
    return raised


def _warn(told: Sequence[str]) -> None:
    """Warn whoever called us from outside this package."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and _is_ours(frame):
        frame, level = frame.f_back, level + 1
    for warning in told:
        warnings.warn(warning, stacklevel=level)


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith("parallel_workers.")
