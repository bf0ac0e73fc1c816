"""What is told of a run while it happens.

Events come in batches, in order, to whoever listens: the journal first, then progress and reports.
They are plain facts; a listener needs nothing else to do its work.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias


class Outcome(StrEnum):
    """How a task ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    CACHED = "cached"
    PARKED = "parked"


GOOD = frozenset({Outcome.SUCCEEDED, Outcome.CACHED})
"""The outcomes of a task that has been done."""


class LetGo:
    """Stands where a value was that is not kept."""

    def __repr__(self) -> str:
        return "<let go>"


LET_GO = LetGo()


class CommandResult(NamedTuple):
    """What is left of a command that has ended; the value of a command task.

    Attributes:
        command: What was run, as a person would type it.
        status: The exit status; for one that a signal ended, minus the number of the signal; None
            if it could not be started at all.
        log: The path of the file that holds its output; it may be gone if the output is empty.
        size: The size of its output in bytes, when it ended.
        error: Why it could not be started, or what happened to it beside its exit; else None.
        cpu: Seconds that processors worked for it, and for what it waited for; None if it could
            not be started.
        memory: The most bytes of memory that it, or one of those, had; None if that is unknown,
            as it is where it was less than the runner has had.
    """

    command: str
    status: int | None
    log: str
    size: int
    error: str | None = None
    cpu: float | None = None
    memory: int | None = None

    @property
    def ending(self) -> str:
        """How it ended, in words.

        >>> CommandResult("make", -11, "make.log", 0).ending
        'killed by SIGSEGV'
        """
        error = self.error or "not started"
        if self.status is None:
            return error
        how = f"exit status {self.status}"
        if self.status < 0:
            how = f"killed by {_signal_name(-self.status)}"
        return f"{how}; {error}" if self.error else how


def _signal_name(number: int) -> str:
    from signal import Signals

    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"


class RunStarted(NamedTuple):
    """A run begins.

    Attributes:
        time: Seconds since the epoch; so in all events.
        run: The id of the run.
        tasks: How many tasks it has.
        work: The sum of their expected durations in seconds, 1 for one that has none.
        jobs: How many may run at once; 0 for no limit.
    """

    time: float
    run: str
    tasks: int
    work: float
    jobs: int


class TaskStarted(NamedTuple):
    """An attempt begins; attempts count from 1.

    It is told when it happens, but for the later ones of several short tasks that a worker took at
    once: those are told together with their ends.

    Attributes:
        worker: The number of the worker that makes it, from 1; 0 where workers have none.
    """

    time: float
    task: str
    attempt: int
    worker: int = 0


class TaskRetried(NamedTuple):
    """An attempt did not succeed, and there will be another.

    Attributes:
        outcome: How the attempt ended: failed or timed out.
        seconds: How long it took.
        result: A `CommandResult`, or the exception of a function.
        delay: After how many seconds the other may start.
    """

    time: float
    task: str
    attempt: int
    outcome: Outcome
    seconds: float
    result: Any
    delay: float = 0.0


class ServiceReady(NamedTuple):
    """A service is up; it ends after all that needs it.

    Attributes:
        seconds: How long it took to come up.
    """

    time: float
    task: str
    attempt: int
    seconds: float


class TaskEnded(NamedTuple):
    """A task has its outcome.

    Attributes:
        attempt: The last attempt; 0 where there was none.
        outcome: How the task ended.
        seconds: How long the last attempt took.
        work: The task's expected duration in seconds, 1 if it has none.
        result: A `CommandResult`, the value of a function or its exception; None for a skipped one.
        cause: For a skipped task, the name of the task whose end is the reason; None if the run
            was interrupted.
        forgiven: Whether it failed, and that counts as a success for the run and its successors.
    """

    time: float
    task: str
    attempt: int
    outcome: Outcome
    seconds: float
    work: float
    result: Any = None
    cause: str | None = None
    forgiven: bool = False


class RunEnded(NamedTuple):
    """Every task of the run has its outcome."""

    time: float


Event: TypeAlias = RunStarted | TaskStarted | TaskRetried | ServiceReady | TaskEnded | RunEnded
Listener: TypeAlias = Callable[[Sequence[Event]], None]
