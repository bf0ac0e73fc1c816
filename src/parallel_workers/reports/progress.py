"""What is shown while a run goes on: each task as it ends, and on a terminal a live status.

The output of a task is shown whole, when its attempt has ended. On a terminal, lines are kept back
until the status is redrawn, a tenth of a second at most: written at once, thousands of short tasks
would each wipe the status away before anybody could read it.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from parallel_workers.durations import format_duration
from parallel_workers.events import (
    CommandResult,
    Event,
    Outcome,
    RunEnded,
    ServiceReady,
    TaskEnded,
    TaskRetried,
)
from parallel_workers.reports.log_files import CHUNK, chunks
from parallel_workers.reports.output import Output
from parallel_workers.reports.phrases import command_of, ending, name_of
from parallel_workers.reports.status import Status
from parallel_workers.reports.style import Style
from parallel_workers.reports.terminal import (
    CLEAR_LINE,
    SANE,
    WRAP_OFF,
    WRAP_ON,
    Terminal,
)
from parallel_workers.wording import printable

REDRAW_SECONDS = 0.1
"""The least time between two drawings of the status."""

_UNTOLD = frozenset({Outcome.SKIPPED, Outcome.CACHED, Outcome.PARKED})
"""The outcomes of tasks that were not attempted, of which no line of their own is written."""


class Progress:
    """Shows a run while it goes on: a listener.

    It is called by workers, and `tick` by the main thread; nothing of it by a signal handler.

    Args:
        out: Where everything goes.
        style: How lines look.
        terminal: The terminal that `out` is, if a status is to be kept there.
        clock: Tells the time in seconds, from any start, never backwards.
    """

    def __init__(
        self,
        out: Output,
        style: Style,
        terminal: Terminal | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out = out
        self._style = style
        self._terminal = terminal
        self._clock = clock
        self._lock = threading.Lock()
        self._pending = bytearray()
        self._status = None if terminal is None else Status(clock())
        self._status_shown = b""
        self._next_redraw = clock()
        self._retried: dict[str, int] = {}
        self._held = False
        self._aside: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
        # What has happened while nothing was to be shown.
        self._waiting: list[Event] = []
        # By task whose last attempt had the terminal itself, so that its output is known.
        self._seen: set[str] = set()

    @property
    def broken(self) -> str | None:
        """Why nothing more can be shown; None while all is well."""
        return self._out.broken

    def __call__(self, events: Sequence[Event]) -> None:
        """Show what happened."""
        with self._lock:
            if self._held:
                self._waiting += events
            else:
                self._show(events)

    def _show(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, TaskEnded):
                self._tell_ended(event)
            elif isinstance(event, TaskRetried):
                self._tell_retried(event)
            elif isinstance(event, ServiceReady):
                self._tell_ready(event)
            elif isinstance(event, RunEnded):
                self._status = None
        if self._status is not None:
            self._status.note(events)
        self._refresh()

    def tick(self) -> float | None:
        """Redraw the status if it is time, but never wait for a terminal that is slow or stopped.

        Returns:
            The seconds until it is time again; None when there is no status.
        """
        if self._status is None or self._held or self._out.broken is not None:
            return None
        # Who holds the lock draws as well, or is held up by the terminal itself.
        if self._lock.acquire(blocking=False):
            try:
                if self._out.ready():
                    self._refresh()
            finally:
                self._lock.release()
        left = self._next_redraw - self._clock()
        return left if left > 0 else REDRAW_SECONDS

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Keep the terminal clear of the status, for a message by another way, while it lasts."""
        with self._lock:
            self._flush()
            with self._aside():
                yield

    @contextlib.contextmanager
    def held(
        self, aside: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
    ) -> Iterator[None]:
        """Show nothing while the context lasts, and then all that there was to show.

        Args:
            aside: Entered by `paused`, to have the terminal from whoever it is held for.
        """
        with self._lock:
            self._flush()
            self._held = True
            self._aside = aside
        try:
            yield
        finally:
            with self._lock:
                self._release()

    def seen(self, task: str) -> None:
        """Note that the output of the attempt of a task that is under way need not be shown."""
        with self._lock:
            self._seen.add(task)

    def _release(self) -> None:
        self._held = False
        self._aside = contextlib.nullcontext
        waiting, self._waiting = self._waiting, []
        self._show(waiting)

    def close(self) -> None:
        """Show what has not been shown, and take the status away for good."""
        with self._lock:
            self._release()
            self._status = None
            self._flush()

    def _tell_ended(self, event: TaskEnded) -> None:
        outcome = event.outcome
        if outcome is Outcome.SUCCEEDED:
            name, lasted = name_of(event.task), format_duration(event.seconds)
            self._tell(f"{self._style.succeeded} {name}  {lasted}\n", self._unseen(event))
        elif outcome is Outcome.CACHED and event.attempt:
            self._tell(f"{self._style.succeeded} {name_of(event.task)}  done already\n", None)
        elif outcome not in _UNTOLD:
            line = self._failure(self._style.mark(outcome), event)
            # Its output is known already, if it was to be tried again when the run was stopped.
            known = self._retried.get(event.task) == event.attempt
            self._tell(line, None if known else self._unseen(event))

    def _tell_retried(self, event: TaskRetried) -> None:
        self._retried[event.task] = event.attempt
        self._tell(self._failure(self._style.retried, event), self._unseen(event))

    def _unseen(self, event: TaskEnded | TaskRetried) -> Any:
        """Return the result of an attempt; None where its output has been seen."""
        if event.task not in self._seen:
            return event.result
        self._seen.discard(event.task)
        return None

    def _tell_ready(self, event: ServiceReady) -> None:
        line = f"{self._style.ready} {name_of(event.task)}  up after "
        self._tell(f"{line}{format_duration(event.seconds)}\n", None)

    def _failure(self, mark: str, event: TaskEnded | TaskRetried) -> str:
        how = ending(event.outcome, event.seconds, event.result)
        if isinstance(event, TaskRetried):
            when = f" in {format_duration(event.delay)}" if event.delay else ""
            how = f"attempt {event.attempt}: {how}; trying again{when}"
        elif event.forgiven:
            how = f"{how}; it may fail"
        command = command_of(event.result)
        line = f"{mark} {name_of(event.task)}  {how}\n"
        return line if command is None else f"{line}  $ {command}\n"

    def _tell(self, line: str, result: Any) -> None:
        """Show a line, and below it the output of the attempt that it tells of."""
        self._put(self._style.encode(line))
        if not isinstance(result, CommandResult) or not result.size:
            return
        try:
            log = os.open(result.log, os.O_RDONLY)
        except OSError as error:
            self._tell_unreadable(result.log, error)
            return
        try:
            self._copy(log, result.size)
        except OSError as error:
            self._tell_unreadable(result.log, error)
        finally:
            os.close(log)

    def _tell_unreadable(self, log: str, error: OSError) -> None:
        self._put(
            self._style.encode(f"  its log cannot be read: {error.strerror}: {printable(log)}\n")
        )

    def _copy(self, log: int, size: int) -> None:
        """Show output as it is; and see to it that what follows is not disfigured by it."""
        last, escapes = b"\n", False
        try:
            for chunk in chunks(log, size):
                if self._out.broken is not None:
                    return
                self._put(chunk)
                last = chunk[-1:]
                escapes = escapes or b"\x1b" in chunk
        finally:
            if escapes and self._terminal is not None:
                self._put(SANE)
            if last != b"\n":
                self._put(b"\n")

    def _put(self, data: bytes) -> None:
        self._pending += data
        if len(self._pending) > CHUNK:
            self._flush()

    def _refresh(self) -> None:
        """Write what is pending: at once without a status, else when it is time to redraw that."""
        if self._held:
            return
        if self._status is None or self._terminal is None:
            self._flush()
            return
        now = self._clock()
        if now < self._next_redraw:
            return
        self._next_redraw = now + REDRAW_SECONDS
        # A column stays free: on some terminals the last one leads to the next line.
        line = self._style.fit(self._status.text(now), self._terminal.width() - 1)
        self._flush(WRAP_OFF + line + WRAP_ON)

    def _flush(self, status: bytes = b"") -> None:
        """Write what is pending, and below it `status` instead of what was there.

        One write does it all, so that nobody sees the terminal in between.
        """
        if not self._pending and status == self._status_shown:
            return
        data = (CLEAR_LINE if self._status_shown else b"") + self._pending + status
        self._pending.clear()
        self._status_shown = status
        self._out.write(data)
