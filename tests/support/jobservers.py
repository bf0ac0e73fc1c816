"""Pipes of tokens, as a make leaves them to what it starts."""

import contextlib
import os
import select
from collections.abc import Iterator

from parallel_workers.jobserver import MOST, Jobserver, join, serve


class Pipe:
    """A pipe of tokens, as a make leaves it to what it starts."""

    def __init__(self, tokens: bytes = b"") -> None:
        self.reading, self.writing = os.pipe()
        os.set_inheritable(self.reading, True)
        os.set_inheritable(self.writing, True)
        self.put(tokens)

    def put(self, tokens: bytes) -> None:
        os.write(self.writing, tokens)

    def tokens(self) -> bytes:
        """Take out all that are in there, and put them back."""
        readable, _, _ = select.select([self.reading], [], [], 0)
        found = os.read(self.reading, MOST) if readable else b""
        self.put(found)
        return found

    def flags(self, option: str = "--jobserver-auth") -> str:
        return f"{option}={self.reading},{self.writing}"

    def close(self) -> None:
        for fd in (self.reading, self.writing):
            with contextlib.suppress(OSError):
                os.close(fd)


def joined(makeflags: str) -> Jobserver:
    jobserver = join(makeflags)
    assert jobserver is not None
    return jobserver


@contextlib.contextmanager
def served(style: str, jobs: int, makeflags: str = "") -> Iterator[tuple[Jobserver, str]]:
    """Serve a jobserver; give the MAKEFLAGS of children, too."""
    jobserver = serve(style, jobs, makeflags)
    yield jobserver, jobserver.env[b"MAKEFLAGS"].decode()
    jobserver.close()
