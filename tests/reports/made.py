"""Events, logs and a clock, made by hand; what is written is read back from real descriptors."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from parallel_workers.events import (
    CommandResult,
    Event,
    Outcome,
    RunEnded,
    RunStarted,
    TaskEnded,
    TaskRetried,
    TaskStarted,
)

EPOCH = 1_700_000_000.0


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Logs:
    """Makes logs of commands that have ended."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0

    def result(
        self, output: bytes = b"", *, status: int | None = 0, command: str = "make"
    ) -> CommandResult:
        self._count += 1
        log = self._directory / f"{self._count}.log"
        log.write_bytes(output)
        return CommandResult(command, status, str(log), len(output))


def run_started(tasks: int = 10, work: float | None = None, time: float = 0.0) -> RunStarted:
    return RunStarted(EPOCH + time, "run", tasks, float(tasks) if work is None else work, 2)


def started(task: str, *, attempt: int = 1, time: float = 0.0) -> TaskStarted:
    return TaskStarted(EPOCH + time, task, attempt)


def retried(
    task: str, result: object, *, attempt: int = 1, outcome: Outcome = Outcome.FAILED
) -> TaskRetried:
    return TaskRetried(EPOCH, task, attempt, outcome, 1.25, result)


def ended(
    task: str,
    outcome: Outcome = Outcome.SUCCEEDED,
    result: object = None,
    *,
    attempt: int = 1,
    seconds: float = 1.25,
    time: float = 0.0,
) -> TaskEnded:
    return TaskEnded(EPOCH + time, task, attempt, outcome, seconds, 1.0, result)


def skipped(task: str, cause: str | None) -> TaskEnded:
    return TaskEnded(EPOCH, task, 0, Outcome.SKIPPED, 0.0, 1.0, None, cause)


def run_ended(time: float = 0.0) -> RunEnded:
    return RunEnded(EPOCH + time)


def written_to_a_file(path: Path, write: Callable[[int], object]) -> bytes:
    """Return what `write` writes to the descriptor that it is given."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        write(fd)
    finally:
        os.close(fd)
    return path.read_bytes()


def many(count: int) -> Sequence[Event]:
    """Return the events of so many tasks that succeed one after the other, a millisecond each."""
    events: list[Event] = []
    for number in range(count):
        time = number / 1000
        events += [
            started(f"task {number}", time=time),
            ended(f"task {number}", seconds=0.001, time=time + 0.001),
        ]
    return events
