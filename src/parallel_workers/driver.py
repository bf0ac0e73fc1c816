"""The one place where a run's threads meet: it steps the frontier, tells the time, keeps the facts.

Workers pull: each comes back with what it did and waits here until there is something to do. What
happened goes to the listeners in batches and in order, by whichever thread finds nobody else at it;
the others go on with their work, so that a slow terminal holds up one worker and not all.

Costs: one lock operation an attempt. A sleeping worker is woken only when more is ready than the
worker that freed it can take.
"""

import threading
import time
from collections.abc import Sequence
from typing import Any

from parallel_workers.events import (
    Event,
    Listener,
    Outcome,
    RunEnded,
    RunStarted,
    TaskEnded,
    TaskRetried,
    TaskStarted,
)
from parallel_workers.frontier import FAILED, SUCCEEDED, Frontier
from parallel_workers.plan import Plan


class Driver:
    """Drives one run.

    Args:
        plan: What is run.
        frontier: Its state machine, at the beginning.
        listeners: Who is told; each gets every batch before the next one gets it.

    Attributes:
        attempts: By task, how many attempts have begun.
        outcomes: By task, how its last attempt ended; None before.
        results: By task, what its last attempt gave.
    """

    def __init__(self, plan: Plan, frontier: Frontier, listeners: Sequence[Listener] = ()) -> None:
        self._plan = plan
        self._frontier = frontier
        self._listeners = listeners
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._idle = 0
        self._over = False
        self._events: list[Event] = []
        self._delivering = threading.Lock()
        self._epoch = time.time() - time.monotonic()
        self._started = [0.0] * plan.tasks
        self._seconds = [0.0] * plan.tasks
        self.attempts = [0] * plan.tasks
        self.outcomes: list[Outcome | None] = [None] * plan.tasks
        self.results: list[Any] = [None] * plan.tasks

    def begin(self, run: str, jobs: int) -> None:
        """Tell that the run begins.

        Args:
            run: Its id.
            jobs: How many attempts may run at once; 0 for no limit.
        """
        plan = self._plan
        with self._lock:
            self._events.append(RunStarted(self._now(), run, plan.tasks, plan.work, jobs))
            self._end_if_over()
        self._deliver()

    def note(self, task: int, outcome: Outcome, result: Any) -> int:
        """Note how the running attempt of `task` ended. Called by its worker, without the lock.

        Args:
            task: A task that `step` handed to this worker.
            outcome: How the attempt ended.
            result: What it gave: a `CommandResult`, a value, an exception.

        Returns:
            What `step` is to be given for it.
        """
        self._seconds[task] = time.monotonic() - self._started[task]
        self.outcomes[task] = outcome
        self.results[task] = result
        return task if outcome is Outcome.SUCCEEDED else ~task

    def step(self, ended: Sequence[int], room: int) -> list[int]:
        """Give back what ended, and wait for what to run next.

        Args:
            ended: What `note` returned for each attempt that ended since the last call.
            room: How many attempts the caller can take.

        Returns:
            Tasks to attempt now; none when the run is over.
        """
        with self._lock:
            started = self._advance(ended, room)
        self._deliver()
        if started or not self._frontier.unfinished:
            return started
        with self._lock:
            while not (started := self._advance((), room)) and self._frontier.unfinished:
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
        self._deliver()
        return started

    def wants_workers(self) -> bool:
        """Return whether something is ready that no worker is coming for."""
        return self._frontier.has_ready and not self._idle

    def stop(self) -> None:
        """Let nothing start any more; what runs may end in its own time.

        The events of this are delivered by the workers, so that the caller never waits for a
        listener: there is always a worker that has yet to step.
        """
        with self._lock:
            self._frontier.stop()
            self._tell_given_up()
            self._tell_skipped()
            self._end_if_over()

    def _now(self) -> float:
        return self._epoch + time.monotonic()

    def _advance(self, ended: Sequence[int], room: int) -> list[int]:
        frontier = self._frontier
        started = frontier.step(ended, room)
        for code in ended:
            self._tell_ended(code if code >= 0 else ~code)
        if frontier.given_up:
            self._tell_given_up()
        if frontier.skipped:
            self._tell_skipped()
        for task in started:
            self._begin_attempt(task)
        if not frontier.unfinished:
            self._end_if_over()
        if self._idle and frontier.has_ready:
            self._changed.notify()
        return started

    def _begin_attempt(self, task: int) -> None:
        self._started[task] = now = time.monotonic()
        self.attempts[task] = attempt = self.attempts[task] + 1
        self._events.append(TaskStarted(self._epoch + now, self._plan.names[task], attempt))

    def _tell_ended(self, task: int) -> None:
        if task in self._frontier.given_up:
            return
        outcome = self.outcomes[task]
        assert outcome is not None
        if self._frontier.state[task] in (SUCCEEDED, FAILED):
            self._events.append(self._ended(task, outcome))
            return
        name, attempt, seconds = self._plan.names[task], self.attempts[task], self._seconds[task]
        ended_at = self._epoch + self._started[task] + seconds
        self._events.append(
            TaskRetried(ended_at, name, attempt, outcome, seconds, self.results[task])
        )

    def _tell_given_up(self) -> None:
        for task in self._frontier.given_up:
            outcome = self.outcomes[task]
            assert outcome is not None
            self._events.append(self._ended(task, outcome))
        self._frontier.given_up.clear()

    def _tell_skipped(self) -> None:
        frontier = self._frontier
        for task in frontier.skipped:
            self.outcomes[task] = Outcome.SKIPPED
            cause = frontier.cause.get(task)
            name = None if cause is None else self._plan.names[cause]
            self._events.append(self._ended(task, Outcome.SKIPPED, cause=name))
        frontier.skipped.clear()

    def _ended(self, task: int, outcome: Outcome, cause: str | None = None) -> TaskEnded:
        attempt, seconds = self.attempts[task], self._seconds[task]
        return TaskEnded(
            self._epoch + self._started[task] + seconds if attempt else self._now(),
            self._plan.names[task],
            attempt,
            outcome,
            seconds,
            self._plan.durations[task],
            self.results[task],
            cause,
        )

    def _end_if_over(self) -> None:
        if not self._frontier.unfinished and not self._over:
            self._over = True
            self._events.append(RunEnded(self._now()))
            self._changed.notify_all()

    def _deliver(self) -> None:
        # Whoever comes while another delivers leaves its events to that one, which looks again
        # after it has let go: none is left behind, and none overtakes another.
        while self._events and self._delivering.acquire(blocking=False):
            try:
                with self._lock:
                    batch, self._events = self._events, []
                # Another may have delivered everything since we looked.
                for listener in self._listeners if batch else ():
                    listener(batch)
            finally:
                self._delivering.release()
