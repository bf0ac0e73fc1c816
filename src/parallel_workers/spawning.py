"""Starting a process as a session of its own, with nothing to read and its output in a file."""

import os
import signal
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

# To truncate a file costs even if it is empty, and a log always is when its attempt starts.
LOG_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND
LOG_MODE = 0o600

RESET = (signal.SIGPIPE, signal.SIGXFSZ)
"""The signals that Python ignores on its own account; a child must not inherit that."""


Environment: TypeAlias = Mapping[bytes, bytes]


class Starter(Protocol):
    """Starts a process."""

    def __call__(
        self, program: str, words: tuple[str, ...], base: Environment, own: Environment, log: str
    ) -> int:
        """Start a process.

        Args:
            program: The path of the program.
            words: Its arguments, the name it is called by first.
            base: The environment that it shares with others, always the same object.
            own: What it has in its environment over that.
            log: The path of the file for its output and errors; there is none, or it is empty.

        Returns:
            The process id.

        Raises:
            OSError: It cannot be started.
        """


class TerminalStarter:
    """Starts processes whose terminal is another than that of this process, by `os.posix_spawn`.

    Args:
        path: The path of the terminal; what they read comes from there, and what they write goes
            there and not into a log.
        passed: Other file descriptors that they get, under the same numbers.
    """

    def __init__(self, path: str, passed: Sequence[int] = ()) -> None:
        self._path = path
        self._passed = passed

    def __call__(
        self, program: str, words: tuple[str, ...], base: Environment, own: Environment, log: str
    ) -> int:
        """Start a process; as `Starter` has it, but for the log."""
        actions = [
            # The first terminal that the leader of a new session opens becomes that session's.
            (os.POSIX_SPAWN_OPEN, 0, self._path, os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 0, 1),
            (os.POSIX_SPAWN_DUP2, 0, 2),
            *[(os.POSIX_SPAWN_DUP2, fd, fd) for fd in self._passed],
        ]
        return os.posix_spawn(
            program, words, {**base, **own}, file_actions=actions, setsid=True, setsigdef=RESET
        )


class PlainStarter:
    """Starts processes by `os.posix_spawn`.

    Args:
        null: A file descriptor that they get as standard input.
        passed: Other file descriptors that they get, under the same numbers.
    """

    def __init__(self, null: int, passed: Sequence[int] = ()) -> None:
        self._null = null
        # A descriptor that is duplicated onto itself is one that the program inherits.
        self._passed = [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in passed]

    def __call__(
        self, program: str, words: tuple[str, ...], base: Environment, own: Environment, log: str
    ) -> int:
        """Start a process; as `Starter` has it."""
        actions = [
            (os.POSIX_SPAWN_DUP2, self._null, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, LOG_FLAGS, LOG_MODE),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            *self._passed,
        ]
        return os.posix_spawn(
            program, words, {**base, **own}, file_actions=actions, setsid=True, setsigdef=RESET
        )
