"""What the verbs about earlier runs have in common: where these are kept, and how times look."""

import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from parallel_workers.cli.completion import complete_runs
from parallel_workers.cli.patterns import find_names, matrices_in
from parallel_workers.durations import format_duration
from parallel_workers.errors import UnknownTaskError, UsageError
from parallel_workers.reports.terminal import cut, find_terminal
from parallel_workers.state import STATE_DIRECTORY

if TYPE_CHECKING:
    from parallel_workers.history import History, RunRecord

state_option = click.option(
    "--state",
    metavar="DIR",
    envvar="PARALLEL_WORKERS_STATE",
    default=STATE_DIRECTORY,
    show_default=True,
    help="Where runs are kept.",
)
run_argument = click.argument("run_id", metavar="RUN", shell_complete=complete_runs)


def find_recorded(history: "History", run: "RunRecord", patterns: Iterable[str]) -> list[str]:
    """Return the names of the tasks of a run that are meant, each once.

    Args:
        history: What is known of runs.
        run: The run.
        patterns: Names of its tasks or matrices, or patterns of these.

    Raises:
        UsageError: One of them means no task of that run.
    """
    names = history.task_ids(run)
    try:
        return find_names(patterns, names, matrices_in(names))
    except (UsageError, UnknownTaskError) as error:
        raise UsageError(f"run {run.id}: {error}") from None


def format_time(seconds: float) -> str:
    """Return a time as the clock on the wall shows it.

    Args:
        seconds: Since the epoch.
    """
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def took(run: "RunRecord") -> str:
    """Return how long a run took the last time, or has taken so far; "" if nobody knows."""
    end = time.time() if run.outcome == "running" else run.ended
    if end is None:
        return ""
    return format_duration(max(0.0, end - (run.resumed or run.started)))


def fit(lines: Sequence[str]) -> str:
    """Return lines, cut to the width of the terminal if standard output is one."""
    terminal = find_terminal(sys.stdout.fileno(), os.environ)
    if terminal is not None:
        width = terminal.width()
        lines = [cut(line, width) for line in lines]
    return "\n".join(lines)
