"""A terminal with somebody at it, and the program started there."""

import fcntl
import os
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.reports.screen import Pty
from tests.support.program import Running, started


class Keyboard(Pty):
    """A terminal that can be typed at, and hung up."""

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def bottom(self) -> str:
        """The last row, without what the terminal wrote for a key."""
        return self.screen().rows[-1]


@contextmanager
def at(
    terminal: int,
    directory: Path,
    *arguments: str,
    term: str = "xterm",
    before: Sequence[str] = (),
) -> Iterator[Running]:
    """Start the program as a shell would, with the terminal as its own.

    Args:
        terminal: A file descriptor of it.
        directory: Where it is started.
        arguments: Those of the program.
        term: What the terminal is called.
        before: A shell that starts it, with the arguments that come before ours.
    """
    with started(
        directory,
        *arguments,
        before=before,
        env={"TERM": term},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as program:
        yield program
