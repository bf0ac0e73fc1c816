"""Waiting for another process that has locked the state directory or its journal."""

import contextlib
import threading
from collections.abc import Iterator

from parallel_workers.cli.console import tell

_SILENT = 2.0
"""Seconds before it is said that there is a wait."""


@contextlib.contextmanager
def said_if_long(state: str) -> Iterator[None]:
    """Say what is waited for, if what is done inside takes long: it opens a journal to write to.

    Args:
        state: The state directory.
    """
    notice = f"waiting for another process, which has locked {state}"
    timer = threading.Timer(_SILENT, tell, [notice])
    timer.daemon = True
    # Where the system allows no thread, the wait is silent.
    with contextlib.suppress(RuntimeError):
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
