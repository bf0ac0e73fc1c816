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
