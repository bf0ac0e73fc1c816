"""Where the output of each attempt goes: a file of its own, named after the task.

Two kinds of places: one in which every log is kept, and one for a run of which nothing is kept when
all goes well. Creating thousands of files and deleting them again costs more than the rest of all
attempts (ext4 steps over each inode that was freed in the last minutes). So in a place of the other
kind an attempt writes to whatever file is free; if it wrote something, the file gets its name at
the end; if not, and nothing that it started can still be writing, the file serves the next attempt.
"""

import fcntl
import os
import re
import sys
from itertools import count
from typing import Protocol

_UNFIT = re.compile(r"[^\w.@+=-]+")
# A character may take four bytes, the name of a file has 255 at most, and numbers come to it.
_LONGEST_NAME = 50


def log_name(number: int, task: str) -> str:
    """Return how the logs of a task are called, without the number of the attempt.

    Args:
        number: A number that no other task of the run has.
        task: The task's name, which may hold what no file can be called.

    >>> log_name(7, "@ansible/machines/run")
    '7-@ansible_machines_run'
    """
    return f"{number}-{_UNFIT.sub('_', task[:_LONGEST_NAME])}"


class Logs(Protocol):
    """A place for the logs of one run.

    Attributes:
        trouble: What has become of logs that are not there any more; None while all are.
    """

    trouble: str | None

    def open(self, name: str, attempt: int) -> str:
        """Return the path that an attempt about to start should write to."""

    def close(self, path: str, name: str, attempt: int) -> tuple[str, int]:
        """Take back the log of an attempt that has ended.

        Args:
            path: What `open` returned.
            name: How the task's logs are called.
            attempt: The number of the attempt.

        Returns:
            The path of the log from now on, and its size in bytes.
        """

    def restore(self) -> bool:
        """Make the place again if somebody has deleted it; return whether that was so."""


class _Directory:
    """A directory of logs, which others can delete.

    Args:
        directory: Its path; it exists.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.trouble: str | None = None

    def restore(self) -> bool:
        """Make the directory again if somebody has deleted it; return whether that was so."""
        try:
            os.makedirs(self._directory, mode=0o700)
        except OSError:
            return False
        self.trouble = f"the logs in {self._directory} were deleted during the run"
        return True


class KeptLogs(_Directory):
    """A directory in which all logs are kept."""

    def open(self, name: str, attempt: int) -> str:
        """Return the path that an attempt about to start should write to."""
        return f"{self._directory}/{name}.{attempt}.log"

    def close(self, path: str, name: str, attempt: int) -> tuple[str, int]:
        """Return the path of the log of an attempt that has ended, and its size in bytes."""
        return path, _size(path)


class PassingLogs(_Directory):
    """A directory in which a log that nothing was written to serves the next attempt."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self._free: list[str] = []
        self._numbers = count(1)

    def open(self, name: str, attempt: int) -> str:
        """Return the path that an attempt about to start should write to."""
        try:
            return self._free.pop()
        except IndexError:
            return f"{self._directory}/{next(self._numbers)}.log"

    def close(self, path: str, name: str, attempt: int) -> tuple[str, int]:
        """Return the path of the log of an attempt that has ended, and its size in bytes."""
        size, free = _look_at(path)
        if free:
            self._free.append(path)
            return path, 0
        named = f"{self._directory}/{name}.{attempt}.log"
        try:
            os.rename(path, named)
        except OSError:
            return path, size
        return named, size


def _look_at(path: str) -> tuple[int, bool]:
    """Return the size of a log, and whether it is empty and is certain to stay so.

    Whoever can still write to it, a daemon too, has it open: it has left its group and its session,
    but not the files that it was started with. The system grants a lease for reading on a file
    that nobody has open for writing, and on no other.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0, False
    try:
        size = os.fstat(fd).st_size
        if size or sys.platform != "linux":
            return size, False
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        # A child that is being started has this file, too, until it is another program; as long as
        # that the lease would last, and break by a signal that ends us.
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return 0, False
    finally:
        os.close(fd)
    return 0, True


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
