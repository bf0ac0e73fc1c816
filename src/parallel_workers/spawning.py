"""Starting a process as a session of its own, with nothing to read and its output in a file."""

import os
import signal
import sys
from collections.abc import Mapping
from functools import partial
from typing import Protocol

MANY = 250
"""From how many children on it is worth to import what starts them faster."""

LOG_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
LOG_MODE = 0o600

_RESET = (signal.SIGPIPE, signal.SIGXFSZ)
"""The signals that Python ignores on its own account; a child must not inherit that."""


class Starter(Protocol):
    """Starts a process."""

    def __call__(
        self, program: str, words: tuple[str, ...], env: Mapping[bytes, bytes], log: str
    ) -> int:
        """Start a process.

        Args:
            program: The path of the program.
            words: Its arguments, the name it is called by first.
            env: Its whole environment.
            log: The path of the file for its output and errors, which is made anew.

        Returns:
            The process id.

        Raises:
            OSError: It cannot be started.
        """


def starter(null: int, expected: int) -> Starter:
    """Return what starts processes best.

    Args:
        null: A file descriptor that they get as standard input.
        expected: About how many will be started.
    """
    if expected >= MANY and sys.platform == "linux":
        from parallel_workers.libc_spawn import LibcStarter

        return LibcStarter(null, _RESET)
    return partial(_start, null)


def _start(
    null: int, program: str, words: tuple[str, ...], env: Mapping[bytes, bytes], log: str
) -> int:
    actions = [
        (os.POSIX_SPAWN_DUP2, null, 0),
        (os.POSIX_SPAWN_OPEN, 1, log, LOG_FLAGS, LOG_MODE),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(program, words, env, file_actions=actions, setsid=True, setsigdef=_RESET)
