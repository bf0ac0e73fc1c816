"""The terminal that a run has: asked for an answer, or lent to one command at a time.

A command that has the console gets a pseudo-terminal of its own, as the terminal of its session.
What is typed at ours goes there as it is, and what it writes comes back, and into its log as well.
So the run itself stays what it is: no process group of another session could read from our
terminal, and Ctrl-C reaches the command by its own.
"""

import contextlib
import fcntl
import os
import select
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from typing import Any, Protocol

LOOK = 0.1
"""Seconds between two looks at what sends no word: the size of the terminal, a question that has
become pointless."""

HUNG_UP = (OSError, termios.error)
"""What is raised by a terminal that was hung up."""

_CHUNK = 1 << 16

_YES = (b"y", b"yes")


class Display(Protocol):
    """What else is shown on the terminal."""

    def held(
        self, aside: Callable[[], contextlib.AbstractContextManager[None]]
    ) -> contextlib.AbstractContextManager[None]:
        """Show nothing while the context lasts, and then all that there was to show.

        Args:
            aside: Entered where something has to be said all the same, or the run is stopped.
        """

    def seen(self, task: str) -> None:
        """Note that the output of the attempt of a task that is under way need not be shown."""


class Console:
    """A terminal with a person at it, who is asked or lent it by one task at a time.

    Args:
        fd: A file descriptor of it, for reading and writing.
        display: What else is shown there.
    """

    def __init__(self, fd: int, display: Display) -> None:
        self._fd = fd
        self._display = display
        self._setting = threading.Lock()
        # Its modes before it was made raw, while it is; whether it is to be, as it is lent.
        self._modes: list[Any] | None = None
        self._lent = False
        # Whether somebody else has it for a moment, and nobody has had since it was made ready.
        self._away = False
        self._ready = False

    def ask(self, question: str, pointless: Callable[[], bool]) -> bool | None:
        """Ask a question that is answered by yes or no.

        Args:
            question: The question, in one line.
            pointless: Whether no answer is wanted any more; called again and again.

        Returns:
            Whether the answer was yes; None if none was wanted in the end.
        """
        try:
            with self._display.held(self._aside):
                return self._answer(question, pointless)
        except HUNG_UP:
            return False

    def _answer(self, question: str, pointless: Callable[[], bool]) -> bool | None:
        prompt = f"{question} [y/N] ".encode(errors="backslashreplace")
        self._ready = False
        while not pointless():
            if not self._is_ours():
                time.sleep(LOOK)
            elif not self._ready:
                self._ready = True
                # What was typed before cannot have been meant.
                termios.tcflush(self._fd, termios.TCIFLUSH)
                _write(self._fd, prompt)
            elif _readable(self._fd, LOOK):
                answer = os.read(self._fd, _CHUNK)
                if not answer.endswith(b"\n"):
                    _write(self._fd, b"\n")
                return answer.strip().lower() in _YES
        _write(self._fd, b"\n")
        return None

    @contextlib.contextmanager
    def lend(self, task: str, log: int) -> Iterator[str]:
        """Lend the terminal to a command while the context lasts.

        Args:
            task: The name of its task.
            log: A file descriptor that gets what it writes, too.

        Yields:
            The path of the terminal that it is to have.

        Raises:
            OSError: There is none for it.
        """
        with self._display.held(self._aside):
            self._display.seen(task)
            ours, theirs = os.openpty()
            pump = _Pump(self._fd, ours, log, self._make_ready)
            try:
                with contextlib.suppress(termios.error):
                    termios.tcsetattr(theirs, termios.TCSANOW, termios.tcgetattr(self._fd))
                self._ready, self._lent = False, True
                # Before the command can start: from then on, what is typed is meant for it.
                with contextlib.suppress(*HUNG_UP):
                    self._make_ready()
                with pump:
                    yield os.ttyname(theirs)
            finally:
                self.restore()
                if not pump.at_start_of_line:
                    _write(self._fd, b"\r\n")
                os.close(theirs)
                os.close(ours)

    def restore(self) -> None:
        """Give the terminal its modes back for good, if somebody has it."""
        with self._setting:
            self._lent = False
            self._set_back()

    def _make_ready(self) -> bool:
        """Return whether the terminal is ours at this moment, made raw for whom it is lent to.

        Raises:
            OSError: It was hung up.
        """
        with self._setting:
            if not self._is_ours():
                return False
            if self._lent and not self._ready:
                self._modes = termios.tcgetattr(self._fd)
                tty.setraw(self._fd, termios.TCSANOW)
                self._ready = True
            return True

    def _is_ours(self) -> bool:
        """Return whether we may use it: nobody else does, and we are in its foreground."""
        return not self._away and os.tcgetpgrp(self._fd) == os.getpgrp()

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """Leave the terminal, as it was, to somebody else while the context lasts."""
        with self._setting:
            self._away = True
            self._set_back()
        try:
            if self._ready:
                _write(self._fd, b"\r\n")
            yield
        finally:
            self._ready = self._away = False

    def _set_back(self) -> None:
        modes, self._modes = self._modes, None
        # Who is not in the foreground would be stopped; and whoever is has set it anew.
        with contextlib.suppress(*HUNG_UP):
            if modes is not None and os.tcgetpgrp(self._fd) == os.getpgrp():
                termios.tcsetattr(self._fd, termios.TCSANOW, modes)


class _Pump:
    """Carries between two terminals, in a thread, while its context lasts.

    Args:
        outer: The one with a person at it.
        inner: The side of the other one that a person would be at.
        copy: Where what comes from there goes, too.
        make_ready: Returns whether what is typed at the outer one is meant for us, after it has
            seen to that.

    Attributes:
        at_start_of_line: Whether what has come from there ends with a line.
    """

    def __init__(self, outer: int, inner: int, copy: int, make_ready: Callable[[], bool]) -> None:
        self._outer = outer
        self._make_ready = make_ready
        self._inner = inner
        self._copy = copy
        self.at_start_of_line = True
        self._size = b""
        # What was typed and has no room on the other side yet, while nobody reads there.
        self._typed = b""
        os.set_blocking(inner, False)
        self._over, self._end = os.pipe()
        self._thread = threading.Thread(target=self._carry, name="console", daemon=True)

    def __enter__(self) -> None:
        self._match_size()
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        os.close(self._end)
        self._thread.join()
        os.close(self._over)

    def _carry(self) -> None:
        while True:
            reads = self._may_read()
            poll = select.poll()
            poll.register(self._over, select.POLLIN)
            poll.register(self._inner, select.POLLIN | (select.POLLOUT if self._typed else 0))
            if reads:
                poll.register(self._outer, select.POLLIN)
            ready = dict(poll.poll(LOOK * 1000))
            self._match_size()
            if self._outer in ready:
                self._typed += self._read_typed()
            if self._typed:
                self._carry_in()
            if not self._carry_out() and self._over in ready:
                # All that was written before the end has been carried.
                return

    def _may_read(self) -> bool:
        """Return whether to read what is typed; nothing is where it was hung up."""
        try:
            return self._make_ready() and len(self._typed) < _CHUNK
        except HUNG_UP:
            return False

    def _read_typed(self) -> bytes:
        try:
            return os.read(self._outer, _CHUNK)
        except OSError:
            return b""

    def _carry_in(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._typed = self._typed[os.write(self._inner, self._typed) :]

    def _carry_out(self) -> bool:
        """Carry what was written; return whether there was something."""
        try:
            data = os.read(self._inner, _CHUNK)
        except BlockingIOError:
            return False
        _write(self._copy, data)
        _write(self._outer, data)
        self.at_start_of_line = data[-1:] == b"\n"
        return bool(data)

    def _match_size(self) -> None:
        """Let the inner terminal be as large as the outer one is at this moment."""
        with contextlib.suppress(OSError):
            size = fcntl.ioctl(self._outer, termios.TIOCGWINSZ, b"\0" * 8)
            if size != self._size:
                self._size = size
                fcntl.ioctl(self._inner, termios.TIOCSWINSZ, size)


def find_console(fd_in: int, fd_out: int, display: Display) -> Console | None:
    """Return the console, if both are a terminal in whose foreground this process is.

    Args:
        fd_in: The file descriptor that is read from.
        fd_out: The one that results are written to.
        display: What else is shown there.
    """
    if not (os.isatty(fd_in) and os.isatty(fd_out)):
        return None
    try:
        if os.tcgetpgrp(fd_in) != os.getpgrp():
            return None
        return Console(os.open(os.ttyname(fd_out), os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC), display)
    except OSError:
        return None


def _readable(fd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _write(fd: int, data: bytes) -> None:
    """Write all of `data`; where that cannot be done, nobody is there to read it."""
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(fd, data) :]
