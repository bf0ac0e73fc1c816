"""The live status: what is going on in a run, in one line that is true at this moment."""

import math
from collections.abc import Sequence

from parallel_workers.durations import format_duration
from parallel_workers.events import (
    Event,
    Outcome,
    RunStarted,
    ServiceReady,
    TaskEnded,
    TaskRetried,
    TaskStarted,
)
from parallel_workers.reports.phrases import name_of

_FIRST_ESTIMATE_SECONDS = 2.0
_FIRST_ESTIMATE_SHARE = 0.02
"""Before that much time, and that share of the work, an estimate would be a guess."""


class Status:
    """Keeps count of a run, in O(1) an event and O(running) memory.

    Args:
        now: Seconds on the clock that `text` is told the time of, which may be another than that
            of the events.

    >>> status = Status(now=50.0)
    >>> status.note([RunStarted(1e9, "r", 40, 40.0, 2), TaskStarted(1e9, "build", 1)])
    >>> status.text(now=51.5)
    '0 of 40 done, 1 running; oldest 1.5 s: build'
    """

    def __init__(self, now: float) -> None:
        self._now = now
        self._offset = 0.0
        self._started = 0.0
        self._tasks = 0
        self._done = 0
        self._failed = 0
        self._skipped = 0
        self._parked = 0
        self._work = 0.0
        self._work_left = 0.0
        self._work_done = 0.0
        # By task, when its attempt began. Attempts begin in order, so the first is the oldest.
        self._running: dict[str, float] = {}
        self._serving: set[str] = set()

    def note(self, events: Sequence[Event]) -> None:
        """Take in what happened."""
        running = self._running
        for event in events:
            if isinstance(event, TaskStarted):
                running[event.task] = event.time
            elif isinstance(event, TaskEnded):
                running.pop(event.task, None)
                self._serving.discard(event.task)
                self._note_end(event)
            elif isinstance(event, TaskRetried):
                running.pop(event.task, None)
            elif isinstance(event, ServiceReady):
                running.pop(event.task, None)
                self._serving.add(event.task)
            elif isinstance(event, RunStarted):
                self._offset = event.time - self._now
                self._started = event.time
                self._tasks = event.tasks
                self._work = self._work_left = event.work

    def _note_end(self, event: TaskEnded) -> None:
        self._work_left -= event.work
        if event.outcome is Outcome.SKIPPED:
            self._skipped += 1
            return
        if event.outcome is Outcome.PARKED:
            self._parked += 1
            return
        self._done += 1
        if event.attempt:
            self._work_done += event.work
        if event.outcome in (Outcome.FAILED, Outcome.TIMED_OUT) and not event.forgiven:
            self._failed += 1

    def text(self, now: float) -> str:
        """Return the line; what matters most comes first, as it may be cut.

        Args:
            now: The time, in seconds.
        """
        now += self._offset
        parts = [f"{self._done:,} of {self._tasks:,} done"]
        for count, word in (
            (self._failed, "failed"),
            (self._skipped, "skipped"),
            (self._parked, "parked"),
            (len(self._serving), "serving"),
            (len(self._running), "running"),
        ):
            if count:
                parts.append(f"{count:,} {word}")
        parts += self._estimate(now - self._started)
        text = ", ".join(parts)
        for task, started in self._running.items():
            return f"{text}; oldest {format_duration(max(0.0, now - started))}: {name_of(task)}"
        return text

    def _estimate(self, elapsed: float) -> list[str]:
        """Return how long it will take yet, if what has been done so far can tell."""
        if (
            elapsed < _FIRST_ESTIMATE_SECONDS
            or self._work_done < _FIRST_ESTIMATE_SHARE * self._work
            or min(self._work_done, self._work_left) <= 0
        ):
            return []
        seconds = math.ceil(elapsed * self._work_left / self._work_done)
        return [f"about {format_duration(seconds).replace('.0 s', ' s')} left"]
