"""What this process has open, for tests that something of theirs is not left so."""

import contextlib
import os
import time

PATIENCE = 5.0
"""For how many seconds what was opened may stay so: a file that is left open stays for ever."""


def open_files() -> set[tuple[str, str]]:
    """Return what is open: the number, and the path or what else the system calls it."""
    found: set[tuple[str, str]] = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the directory itself, while it was listed
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return found


def assert_closed_since(before: set[tuple[str, str]]) -> None:
    """Assert that all is closed that was not open before.

    What other tests have forgotten may be closed or opened meanwhile, by their threads or by the
    collector of garbage.
    """
    deadline = time.monotonic() + PATIENCE
    while (left := open_files() - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left
