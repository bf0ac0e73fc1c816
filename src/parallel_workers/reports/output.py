"""A file descriptor that people read, written to in a way that no run ends by it."""

import os
import stat
import time

_LOOK = 100
"""Milliseconds between two looks at whether a slow reader is to be waited for any longer."""

_PAUSE = 0.001
"""Seconds to wait where poll(2) knows of room, and there is not enough of it: a terminal with room
for one byte takes no line break."""


class Output:
    """Where results go. The first write that cannot be done is noted, and is the last.

    Args:
        fd: The file descriptor; it may be non-blocking, and may be anything: a terminal, a file, a
            pipe whose reader has gone.

    Attributes:
        broken: Why nothing more can be written; None while all is well.
        patience: For how many seconds a reader may take nothing before it is given up, if `fd` is
            non-blocking; None for any time.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.broken: str | None = None
        self.patience: float | None = None

    def write(self, data: bytes) -> None:
        """Write all of `data`, waiting for a reader that is slow; nothing once it is broken."""
        since = time.monotonic()
        while data and self.broken is None:
            try:
                data = data[os.write(self._fd, data) :]
                since = time.monotonic()
            except BlockingIOError:
                self._wait_for_reader(since)
            except OSError as error:
                self.broken = error.strerror or str(error)

    def ready(self) -> bool:
        """Return whether a short write would not have to wait: no reader is slow or stopped."""
        return self._has_room(0)

    def _wait_for_reader(self, since: float) -> None:
        if self.patience is not None and time.monotonic() - since > self.patience:
            self.broken = "nobody reads it"
        elif self._has_room(0):
            time.sleep(_PAUSE)
        else:
            self._has_room(_LOOK)

    def _has_room(self, milliseconds: int) -> bool:
        import select

        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(milliseconds))


def non_blocking(fd: int) -> int:
    """Return a descriptor of the same pipe or terminal on which no write waits.

    It is opened anew, since others who have `fd` open would find theirs non-blocking, too.

    Args:
        fd: Any file descriptor.

    Returns:
        `fd` itself, where it is something else or the system does not let it be opened again.
    """
    try:
        mode = os.fstat(fd).st_mode
        if not (stat.S_ISFIFO(mode) or os.isatty(fd)):
            return fd
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(f"/proc/self/fd/{fd}", flags)
    except OSError:
        return fd
