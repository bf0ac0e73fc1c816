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
import tty
from collections.abc import Callable, Iterator
from typing import Any, Protocol

LOOK = 0.1
"""Seconds between two looks at what sends no word: the size of the terminal, a question that has
become pointless."""

_CHUNK = 1 << 16

_YES = (b"y", b"yes")


class Display(Protocol):
    """What else is shown on the terminal."""

    def held(self) -> contextlib.AbstractContextManager[None]:
        """Show nothing while the context lasts, and then all that there was to show."""

    def seen(self, task: str) -> None:
        """Note that the output of the attempt of a task that is under way need not be shown."""


class Console:
    """A terminal with a person at it.

    Args:
        fd: A file descriptor of it, for reading and writing.
        display: What else is shown there.
    """

    def __init__(self, fd: int, display: Display) -> None:
        self._fd = fd
        self._display = display
        self._taken = threading.Lock()
        self._modes: list[Any] | None = None

    def ask(self, question: str, pointless: Callable[[], bool]) -> bool | None:
        """Ask a question that is answered by yes or no, when the terminal is free.

        Args:
            question: The question, in one line.
            pointless: Whether no answer is wanted any more; called again and again.

        Returns:
            Whether the answer was yes; None if none was wanted in the end.
        """
        while not self._taken.acquire(timeout=LOOK):
            if pointless():
                return None
        try:
            with self._display.held():
                return self._answer(question, pointless)
        finally:
            self._taken.release()

    def _answer(self, question: str, pointless: Callable[[], bool]) -> bool | None:
        # What was typed before cannot have been meant.
        termios.tcflush(self._fd, termios.TCIFLUSH)
        _write(self._fd, f"{question} [y/N] ".encode(errors="backslashreplace"))
        while not pointless():
            if _readable(self._fd, LOOK):
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
        """
        with self._taken, self._display.held():
            self._display.seen(task)
            ours, theirs = os.openpty()
            pump = _Pump(self._fd, ours, log)
            try:
                self._modes = termios.tcgetattr(self._fd)
                termios.tcsetattr(theirs, termios.TCSANOW, self._modes)
                tty.setraw(self._fd, termios.TCSANOW)
                with pump:
                    yield os.ttyname(theirs)
            finally:
                self.restore()
                if not pump.at_start_of_line:
                    _write(self._fd, b"\r\n")
                os.close(theirs)
                os.close(ours)

    def restore(self) -> None:
        """Give the terminal its modes back, if somebody has it and is not there to do so."""
        modes, self._modes = self._modes, None
        if modes is not None:
            termios.tcsetattr(self._fd, termios.TCSANOW, modes)


class _Pump:
    """Carries between two terminals, in a thread, while its context lasts.

    Args:
        outer: The one with a person at it.
        inner: The side of the other one that a person would be at.
        copy: Where what comes from there goes, too.

    Attributes:
        at_start_of_line: Whether what has come from there ends with a line.
    """

    def __init__(self, outer: int, inner: int, copy: int) -> None:
        self._outer = outer
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
        poll = select.poll()
        poll.register(self._over, select.POLLIN)
        poll.register(self._outer, select.POLLIN)
        while True:
            poll.register(self._inner, select.POLLIN | (select.POLLOUT if self._typed else 0))
            ready = dict(poll.poll(LOOK * 1000))
            self._match_size()
            if self._outer in ready:
                self._typed += self._read_typed()
                if not self._typed:  # it was hung up
                    poll.unregister(self._outer)
            if self._typed:
                self._carry_in()
            if not self._carry_out() and self._over in ready:
                # All that was written before the end has been carried.
                return

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
