"""A file descriptor that people read, written to in a way that no run ends by it."""

import os


class Output:
    """Where results go. The first write that cannot be done is noted, and is the last.

    Args:
        fd: The file descriptor; it may be non-blocking, and may be anything: a terminal, a file, a
            pipe whose reader has gone.

    Attributes:
        broken: Why nothing more can be written; None while all is well.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.broken: str | None = None

    def write(self, data: bytes) -> None:
        """Write all of `data`, waiting for a reader that is slow; nothing once it is broken."""
        while data and self.broken is None:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                self._wait(None)
            except OSError as error:
                self.broken = error.strerror or str(error)

    def ready(self) -> bool:
        """Return whether a short write would not have to wait: no reader is slow or stopped."""
        return self._wait(0)

    def _wait(self, milliseconds: int | None) -> bool:
        import select

        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(milliseconds))
