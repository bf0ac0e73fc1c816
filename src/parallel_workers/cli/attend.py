"""The main thread of a run: it draws the status, hears signals, and sees to it that children end.

Time limit. When that of the run is over, the run is ended as by SIGTERM. What came first counts.

Interrupts. At the first signal nothing new starts, and all children are sent that signal at once,
SIGTERM when half of the grace is over, and SIGKILL at its end; so is every process of the run that
has left the sessions of its children, and the run does not end before those have. Ctrl-C after any
signal kills at once; another SIGTERM or SIGHUP does not, since those come twice where nobody is in
a hurry: timeout(1) sends its signal to us and to our group, a terminal that is closed and its shell
both send SIGHUP.
Each worker still comes back with what its child did, so that every task has its outcome. A
handler does nothing but put the signal into the queue that this thread waits on. Where the end of
the run is not told, since whoever reads what we write has stopped to read, that reader is given up
once children have been killed; if even this does not help, the run is left.

Ctrl-Z. Children do not hear it, since they have no terminal. They are stopped first, and we then as
if nobody had heard the signal, so that the shell sees what it waits for. SIGCONT lets all go on.

SIGQUIT (Ctrl-\\) says where the run stands, and the run goes on.

A signal that was ignored when the program started (SIGHUP under nohup) stays ignored.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from types import FrameType

from parallel_workers.children import Child, Children
from parallel_workers.cli.console import tell
from parallel_workers.driver import Driver, clock
from parallel_workers.durations import format_duration
from parallel_workers.events import Event, RunEnded
from parallel_workers.guardian import Guardian, send
from parallel_workers.reports.output import Output
from parallel_workers.reports.phrases import name_of
from parallel_workers.reports.progress import Progress
from parallel_workers.wording import plural, printable

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end a run in order."""

SIGNALS = (*ENDING, signal.SIGQUIT, signal.SIGTSTP, signal.SIGCONT)

TIMED_OUT = 124
"""The exit status where the time limit has ended the run."""

LONGEST_NAP = 0.2
"""Seconds that this thread sleeps at most. A signal that comes in the instant in which it falls
asleep wakes nobody: Python has looked for signals by then, and the system has nothing to interrupt.
"""

PAUSE = 0.05
"""Seconds between two looks at what has left its session, while it is all that is left."""

PATIENCE = 0.5
"""Seconds to wait until the status can be taken from a terminal; one that is stuck keeps it."""

LAST_WORDS = 2.0
"""Seconds that there are, once children have been killed, to tell of their ends; readers that take
nothing have half of it."""


class Attendant:
    """Waits for the end of a run, and brings it about when a signal asks for it.

    Args:
        children: The children of the run.
        guardian: The guardian of the run.
        progress: What draws the status.
        outputs: What is written to while the run goes on.
        delay: Returns why the run cannot be recorded at present; None while it can be.
        timeout: Seconds after which the run is ended, by the clock of its children; None for never.

    Attributes:
        gave_up: Whether the run was left before all of it was told.
        time_over: That the time limit has ended the run, in a line; None if it has not.
    """

    def __init__(
        self,
        children: Children,
        guardian: Guardian,
        progress: Progress,
        outputs: Sequence[Output],
        delay: Callable[[], str | None],
        timeout: float | None,
    ) -> None:
        self._children = children
        self._guardian = guardian
        self._progress = progress
        self._outputs = outputs
        self._delay = delay
        self._timeout = timeout
        self._deadline: float | None = None
        self._told_delay: str | None = None
        self._attends = False
        self._inbox: SimpleQueue[signal.Signals | None] = SimpleQueue()
        self._escalation: list[tuple[float, signal.Signals | None]] = []
        self._first: signal.Signals | None = None
        self._all_told = False
        self._left = False
        self.gave_up = False
        self.time_over: str | None = None

    def listen(self, events: Sequence[Event]) -> None:
        """Take notice of the end of the run: a listener."""
        if isinstance(events[-1], RunEnded):
            self._inbox.put(None)

    def wait(self, driver: Driver) -> int | None:
        """Wait until the run has ended, or has to be given up.

        Args:
            driver: The driver of the run, whose listeners this one's `listen` is among.

        Returns:
            The exit status where the run was ended early: 128 and the number of the signal, or
            124, as timeout(1) has it, where it was the time limit. None where nothing ended it.
        """
        self._attends = True
        if self._timeout is not None:
            self._deadline = self._children.clock() + self._timeout
        while not self._left:
            try:
                message = self._inbox.get(timeout=self._patience())
            except Empty:
                self._end_late(driver)
                self._escalate()
            else:
                self._heed(message, driver)
            if self._all_told and not self._anything_left():
                break
        if self._first is None:
            return None
        return 128 + self._first if self.time_over is None else TIMED_OUT

    def _heed(self, message: signal.Signals | None, driver: Driver) -> None:
        if message is None:
            self._all_told = True
        elif message is signal.SIGTSTP:
            self._stop()
        elif message is signal.SIGCONT:
            self._children.continue_all()
        elif message is signal.SIGQUIT:
            self._tell_where(driver)
        elif self._first is None:
            self._begin_ending(message, driver)
        elif message is signal.SIGINT:
            self._escalation = [(self._children.clock(), signal.SIGKILL)]

    def _patience(self) -> float:
        """Return the seconds until something is due here, after doing what is due now."""
        self._guardian.keep()
        self._tell_delay()
        wait = self._progress.tick()
        wait = LONGEST_NAP if wait is None else min(wait, LONGEST_NAP)
        if self._deadline is not None:
            wait = min(wait, self._deadline - self._children.clock())
        if self._escalation:
            wait = min(wait, self._escalation[0][0] - self._children.clock())
        if self._all_told:
            wait = min(wait, PAUSE)
        return max(0.0, wait)

    def _end_late(self, driver: Driver) -> None:
        """End a run whose time limit is over, unless it is ending, or has ended."""
        if self._deadline is not None and self._children.clock() >= self._deadline:
            self._deadline = None
            if self._timeout and self._first is None and not driver.over.is_set():
                limit = format_duration(self._timeout)
                self.time_over = f"the run was ended by its time limit: --timeout '{limit}'"
                self._begin_ending(signal.SIGTERM, driver)

    def _begin_ending(self, signum: signal.Signals, driver: Driver) -> None:
        self._first = signum
        driver.stop()
        now, grace = self._children.clock(), self._children.grace
        self._escalation = [(now + grace / 2, signal.SIGTERM), (now + grace, signal.SIGKILL)]
        self._tell_all(signum)

    def _escalate(self) -> None:
        now = self._children.clock()
        while self._escalation and self._escalation[0][0] <= now:
            _, signum = self._escalation.pop(0)
            if signum is not None:
                self._tell_all(signum)
            elif not self._children.any_alive:
                self._left = True
                self.gave_up = not self._all_told
            if not self._escalation:
                self._escalation = [(now + LAST_WORDS, None)]

    def _tell_all(self, signum: signal.Signals) -> None:
        if signum is signal.SIGKILL:
            self._hurry_readers()
        self._children.tell_all(signum)
        for pid in self._guardian.escaped(self._children.alive):
            send(signum, pid)

    def _hurry_readers(self) -> None:
        for output in self._outputs:
            output.patience = LAST_WORDS / 2

    def _anything_left(self) -> bool:
        """Return whether a process is left of an interrupted run; if it has had its time, kill it.

        After any other end, what is left is left on purpose.
        """
        if self._first is None:
            return False
        left = self._guardian.escaped(())
        if self._children.told is signal.SIGKILL:
            for pid in left:
                send(signal.SIGKILL, pid)
        return bool(left)

    def _stop(self) -> None:
        with self._terminal_clear():
            self._children.stop_all()
            handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTSTP)
            # Here again after SIGCONT; or at once, where nobody is there who could send it.
            signal.signal(signal.SIGTSTP, handler)
            self._children.continue_all()

    @contextlib.contextmanager
    def _terminal_clear(self) -> Iterator[None]:
        """Keep the terminal clear of the status, but do not wait long for one that is stuck."""
        clear, done = threading.Event(), threading.Event()

        def hold() -> None:
            with self._progress.paused():
                clear.set()
                done.wait()

        if _start_aside(hold):
            clear.wait(PATIENCE)
        try:
            yield
        finally:
            done.set()

    def _tell_where(self, driver: Driver) -> None:
        self._tell_aside(standing(driver, self._children.alive))

    def _tell_delay(self) -> None:
        """Say so when the run cannot be recorded, once for each reason."""
        delay = self._delay()
        if delay is not None and delay != self._told_delay:
            self._told_delay = delay
            self._tell_aside(f"warning: {delay}")

    def _tell_aside(self, text: str) -> None:
        """Say something, without waiting for whoever does not read it."""

        def tell_it() -> None:
            with self._terminal_clear():
                tell(text)

        _start_aside(tell_it)

    @contextlib.contextmanager
    def hearing(self) -> Iterator[None]:
        """Hear signals while the context lasts."""

        def hear(signum: int, frame: FrameType | None) -> None:
            self._inbox.put(signal.Signals(signum))
            # Nobody looks into the inbox yet: this thread may itself be held up by a reader.
            if signum in ENDING and not self._attends:
                self._hurry_readers()

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


def _start_aside(call: Callable[[], None]) -> bool:
    """Call something in a thread that nobody waits for; return whether the system allows one."""
    try:
        threading.Thread(target=call, daemon=True).start()
    except RuntimeError:
        return False
    return True


def standing(driver: Driver, alive: dict[int, Child]) -> str:
    """Return the lines that say which tasks run, for how long, in which process, into which log.

    Args:
        driver: The driver of the run.
        alive: The children, by process id.
    """
    now = clock()
    processes = {child.own.get(b"PW_TASK"): (pid, child.log) for pid, child in alive.items()}
    running = sorted(driver.running(), key=driver.started.__getitem__)
    lines = [f"{plural(len(running), 'task')} running"]
    for task in running:
        name = driver.plan.names[task]
        line = f"  {name_of(name)}  {format_duration(now - (driver.started[task] or now))}"
        if found := processes.get(name.encode()):
            line += f"  process {found[0]}  log {printable(os.path.relpath(found[1]))}"
        lines.append(line)
    return "\n".join(lines)
