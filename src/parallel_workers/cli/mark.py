"""`mark`: record what a person knows of tasks."""

from collections.abc import Sequence

import click

from parallel_workers.cli.completion import complete_recorded
from parallel_workers.cli.console import show
from parallel_workers.cli.records import find_recorded, run_argument, state_option
from parallel_workers.cli.waiting import said_if_long
from parallel_workers.errors import UsageError
from parallel_workers.events import Outcome
from parallel_workers.upkeep import Upkeep
from parallel_workers.wording import plural, shorten


@click.command(short_help="Record that tasks succeeded, or failed.")
@run_argument
@click.argument(
    "tasks", nargs=-1, required=True, metavar="TASK...", shell_complete=complete_recorded
)
@state_option
@click.option("--succeeded", is_flag=True, help="They need not be done again.")
@click.option("--failed", is_flag=True, help="They are to be done again.")
def command(run_id: str, tasks: Sequence[str], state: str, succeeded: bool, failed: bool) -> None:
    """Record how TASKs of RUN ended, by your own word; it counts when RUN goes on,
    unless a later run of the same file has had them, too.

    RUN is the id of a run, the beginning of it, or `last`. A TASK is a name, or a pattern of whole
    names such as 'test/*'; that of a task with a matrix means all that it has become.
    """
    if succeeded == failed:
        raise UsageError("say what became of them: --succeeded or --failed")
    outcome = Outcome.SUCCEEDED if succeeded else Outcome.FAILED
    with said_if_long(state):
        upkeep = Upkeep.open(state)
    run = upkeep.find_run(run_id)
    names = find_recorded(upkeep, run, tasks)
    upkeep.mark(run, names, outcome)
    what = shorten(names[0]) if len(names) == 1 else plural(len(names), "task")
    show(f"run {run.id}: {what} marked as {outcome}")
