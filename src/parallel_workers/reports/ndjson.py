"""The events of a run as lines of JSON, written while they happen.

Each line is an object with `event` (`run_started`, `task_started`, `task_retried`, `service_ready`,
`task_ended`, `run_ended`), `run` (its id) and `time` (seconds since the epoch). Those of tasks have
`task` and `attempt`; the last three of them also `seconds`, and `task_retried` and `task_ended`
`outcome`, and of a command `status` (the exit status, or minus the number of a signal) and `log`.
`run_started` has `tasks` and `jobs`; `task_retried` has `delay`, the seconds before the next
attempt; `task_ended` of a skipped task `cause`, if the end of another is the reason, and of one
that failed, as it may, `forgiven`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from parallel_workers.events import (
    CommandResult,
    Event,
    RunEnded,
    RunStarted,
    ServiceReady,
    TaskEnded,
    TaskRetried,
    TaskStarted,
)
from parallel_workers.wording import encodable

NAMES = {
    RunStarted: "run_started",
    TaskStarted: "task_started",
    TaskRetried: "task_retried",
    ServiceReady: "service_ready",
    TaskEnded: "task_ended",
    RunEnded: "run_ended",
}
"""What each kind of event is called."""


class EventLines:
    """Writes events as lines: a listener.

    Args:
        run: The id of the run.
        write: Takes bytes; a batch of lines at a time.
    """

    def __init__(self, run: str, write: Callable[[bytes], object]) -> None:
        from msgspec.json import Encoder

        self._run = run
        self._write = write
        self._encode = Encoder().encode

    def __call__(self, events: Sequence[Event]) -> None:
        """Write a line for each event."""
        lines = [self._encode(self._fields(event)) for event in events]
        self._write(b"".join(line + b"\n" for line in lines))

    def _fields(self, event: Event) -> dict[str, Any]:
        fields: dict[str, Any] = {"event": NAMES[type(event)], "run": self._run, "time": event.time}
        if isinstance(event, RunStarted):
            return {**fields, "tasks": event.tasks, "jobs": event.jobs}
        if isinstance(event, RunEnded):
            return fields
        fields |= {"task": event.task, "attempt": event.attempt}
        if isinstance(event, TaskStarted):
            return fields
        fields["seconds"] = event.seconds
        if isinstance(event, ServiceReady):
            return fields
        fields["outcome"] = str(event.outcome)
        if isinstance(event.result, CommandResult):
            fields |= {"status": event.result.status, "log": encodable(event.result.log)}
        if isinstance(event, TaskRetried):
            fields["delay"] = event.delay
        elif event.cause is not None:
            fields["cause"] = event.cause
        elif event.forgiven:
            fields["forgiven"] = True
        return fields
