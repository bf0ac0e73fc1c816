"""The terminal that a run may have: for tasks that want it, and to ask whether others may start."""

import sys
from collections.abc import Collection
from typing import TYPE_CHECKING

from parallel_workers.plan import Plan
from parallel_workers.reports.progress import Progress

if TYPE_CHECKING:
    from parallel_workers.console import Console


def console_for(
    plan: Plan, asked: Collection[int], fd: int, progress: Progress
) -> "Console | None":
    """Return the terminal, if some task wants it and there is one with somebody at it.

    Args:
        plan: What is run; its tasks use the terminal one after the other from now on.
        asked: Tasks that a person is asked about.
        fd: The file descriptor that results are written to.
        progress: What is shown there beside.
    """
    if not asked and not plan.consoles:
        return None
    from parallel_workers.console import find_console

    console = find_console(sys.stdin.fileno(), fd, progress)
    if console is not None:
        plan.have_console(asked)
    return console
