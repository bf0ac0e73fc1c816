"""`logs`: what a task of a run has written."""

import os
import sys
import time

import click

from parallel_workers.cli.completion import complete_logs
from parallel_workers.cli.console import tell
from parallel_workers.cli.patterns import typed
from parallel_workers.cli.records import find_recorded, run_argument, state_option
from parallel_workers.errors import UsageError
from parallel_workers.history import AttemptRecord, History, RunRecord, TaskRecord
from parallel_workers.reports.log_files import CHUNK
from parallel_workers.wording import at_most, plural, shorten

_PAUSE = 0.1
"""Seconds between looks at a log that grows."""


@click.command(short_help="Show what a task wrote.")
@run_argument
@click.argument("pattern", metavar="TASK", shell_complete=complete_logs)
@state_option
@click.option("-f", "--follow", is_flag=True, help="Go on with what it writes, until it has ended.")
@click.option(
    "--attempt", type=click.IntRange(min=1), metavar="N", help="Which attempt. Default: the last."
)
def command(run_id: str, pattern: str, state: str, follow: bool, attempt: int | None) -> None:
    """Show the log of TASK of RUN, also while it runs.

    RUN is the id of a run, the beginning of it, or `last`. TASK is a name, or a pattern that fits
    that of one task.
    """
    history = History.open(state)
    run = history.find_run(run_id)
    name = _only(history, run, pattern)
    try:
        if follow:
            _follow(history, run, name, attempt)
        else:
            [task] = history.tasks(run, name)
            _copy(_log_of(_chosen(run, task, attempt), task.name), 0)
    except BrokenPipeError:
        # Whoever read it has seen enough.
        _leave_output()


def _only(history: History, run: RunRecord, pattern: str) -> str:
    """Return the name of the task that is meant.

    Raises:
        UsageError: None is, or several.
    """
    names = find_recorded(history, run, [pattern])
    if len(names) > 1:
        listed = ", ".join(at_most([shorten(name) for name in names], "task"))
        raise UsageError(f"{typed(pattern)} means {plural(len(names), 'task')}; name one: {listed}")
    return names[0]


def _chosen(run: RunRecord, task: TaskRecord, number: int | None) -> AttemptRecord:
    attempts = {attempt.number: attempt for attempt in task.attempts}
    if not attempts:
        raise UsageError(f"{shorten(task.name)} has not been attempted in run {run.id}")
    if number is not None and number not in attempts:
        there = ", ".join(map(str, attempts))
        raise UsageError(f"{shorten(task.name)} has no attempt {number}; there is {there}")
    return attempts[max(attempts) if number is None else number]


def _log_of(attempt: AttemptRecord, name: str) -> str:
    """Return the path of the log of an attempt.

    Raises:
        UsageError: It has none.
    """
    if attempt.log is None:
        raise UsageError(f"attempt {attempt.number} of {shorten(name)} has no log")
    if attempt.outcome is None and not os.path.exists(attempt.log):
        return _renumbered(attempt.log)
    return attempt.log


def _renumbered(log: str) -> str:
    """Return the log that has the same name but for the number of the task.

    A task has another number where the run was gone on with, and the graph is another.
    """
    directory, name = os.path.split(log)
    ending = name[name.index("-") :]
    try:
        found = [
            file
            for file in os.listdir(directory)
            if file.endswith(ending) and file.removesuffix(ending).isdigit()
        ]
    except OSError:
        return log
    return f"{directory}/{found[0]}" if len(found) == 1 else log


def _copy(log: str, start: int) -> int:
    """Write a log to standard output from a place on; return where it ends."""
    try:
        fd = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"the log {log} cannot be read: {error.strerror}") from None
    out = sys.stdout.buffer
    try:
        while chunk := os.pread(fd, CHUNK, start):
            start += len(chunk)
            out.write(chunk)
    finally:
        os.close(fd)
    out.flush()
    return start


def _follow(history: History, run: RunRecord, name: str, number: int | None) -> None:
    """Write the log of a task as it grows, attempt after attempt, until the task has ended."""
    shown, place = number, 0
    while True:
        # Asked before the log is read: all that was written before the end is seen then.
        running = history.is_running(run.id)
        [task] = history.tasks(history.find_run(run.id), name)
        ended = not running or task.outcome not in (None, "running")
        if task.attempts or ended:
            attempt = _chosen(run, task, shown)
            shown = attempt.number
            log = _log_of(attempt, name)
            if ended or os.path.exists(log):
                place = _copy(log, place)
            over = attempt.outcome is not None
            if over and number is None and task.attempts[-1].number > shown:
                shown, place = shown + 1, 0
                tell(f"attempt {shown}:")
                continue
            if ended or (over and number is not None):
                return
        time.sleep(_PAUSE)


def _leave_output() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
