"""The main thread of a run: it draws the status, hears signals, and sees to it that children end.

Interrupts. At the first signal nothing new starts, and all children are sent that signal at once,
SIGTERM when half of the grace is over, and SIGKILL at its end. SIGQUIT, or Ctrl-C after any signal,
kills at once; another SIGTERM or SIGHUP does not, since those come twice where nobody is in a
hurry: timeout(1) sends its signal to us and to our group, a terminal that is closed and its shell
both send SIGHUP.
Each worker still comes back with what its child did, so that every task has its outcome. A
handler does nothing but put the signal into the queue that this thread waits on. Where a worker
does not come back, since it tells of its task and whoever reads our output has stopped to read,
that is given up soon after the last child has ended.

A signal that was ignored when the program started (SIGHUP under nohup) stays ignored.
"""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from types import FrameType

from parallel_workers.children import Children
from parallel_workers.driver import Driver
from parallel_workers.events import Event, RunEnded

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""The signals that end a run in order."""


LONGEST_NAP = 0.2
"""Seconds that this thread sleeps at most. A signal that comes in the instant in which it falls
asleep wakes nobody: Python has looked for signals by then, and the system has nothing to interrupt.
"""

LAST_WORDS = 2.0
"""Seconds that there are, once children have been killed, to tell of their ends."""


class Attendant:
    """Waits for the end of a run, and brings it about when a signal asks for it.

    Args:
        children: The children of the run.
        tick: Draws the status; returns in how many seconds it wants to be called again, or None.

    Attributes:
        gave_up: Whether the run was left before all of it was told.
    """

    def __init__(self, children: Children, tick: Callable[[], float | None]) -> None:
        self._children = children
        self._tick = tick
        self._inbox: SimpleQueue[signal.Signals | None] = SimpleQueue()
        self._escalation: list[tuple[float, signal.Signals | None]] = []
        self.gave_up = False

    def listen(self, events: Sequence[Event]) -> None:
        """Take notice of the end of the run: a listener."""
        if isinstance(events[-1], RunEnded):
            self._inbox.put(None)

    def wait(self, driver: Driver) -> signal.Signals | None:
        """Wait until the run has ended, or has to be given up.

        Args:
            driver: The driver of the run, whose listeners this one's `listen` is among.

        Returns:
            The signal that ended the run early, if one did.
        """
        first: signal.Signals | None = None
        while True:
            try:
                message = self._inbox.get(timeout=self._patience())
            except Empty:
                self._escalate()
                if self.gave_up:
                    return first
                continue
            if message is None:
                return first
            if first is None:
                first = message
                driver.stop()
                self._begin_ending(message)
            elif message in (signal.SIGINT, signal.SIGQUIT):
                self._escalation = [(time.monotonic(), signal.SIGKILL)]

    def _patience(self) -> float:
        """Return the seconds until something is due here, after doing what is due now."""
        wait = self._tick()
        wait = LONGEST_NAP if wait is None else min(wait, LONGEST_NAP)
        if self._escalation:
            wait = min(wait, self._escalation[0][0] - time.monotonic())
        return max(0.0, wait)

    def _begin_ending(self, signum: signal.Signals) -> None:
        now, grace = time.monotonic(), self._children.grace
        if signum is signal.SIGQUIT:
            self._escalation = [(now, signal.SIGKILL)]
            return
        self._escalation = [(now + grace / 2, signal.SIGTERM), (now + grace, signal.SIGKILL)]
        self._children.tell_all(signum)

    def _escalate(self) -> None:
        now = time.monotonic()
        while self._escalation and self._escalation[0][0] <= now:
            _, signum = self._escalation.pop(0)
            if signum is None and not self._children.any_alive:
                self.gave_up = True
            elif signum is not None:
                self._children.tell_all(signum)
            if not self._escalation:
                self._escalation = [(now + LAST_WORDS, None)]

    @contextlib.contextmanager
    def hearing(self) -> Iterator[None]:
        """Hear signals while the context lasts."""

        def hear(signum: int, frame: FrameType | None) -> None:
            self._inbox.put(signal.Signals(signum))

        before = {
            signum: signal.signal(signum, hear)
            for signum in SIGNALS
            if signal.getsignal(signum) is not signal.SIG_IGN
        }
        # Where whoever started us ignores this one, the system reaps our children before we can.
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)
