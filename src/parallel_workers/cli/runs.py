"""`runs`: list the runs that are kept, and forget old ones."""

import time
from collections.abc import Sequence

import click

from parallel_workers.cli.console import show
from parallel_workers.cli.records import fit, format_time, state_option, took
from parallel_workers.durations import parse_duration
from parallel_workers.errors import UsageError
from parallel_workers.history import History, RunRecord
from parallel_workers.wording import SHOWN_ITEMS, plural, printable


@click.group(invoke_without_command=True, short_help="List earlier runs, or forget old ones.")
@state_option
@click.option("--all", "all_runs", is_flag=True, help="All runs, not only the latest.")
@click.pass_context
def command(ctx: click.Context, state: str, all_runs: bool) -> None:
    """List the runs that are kept, the latest last."""
    ctx.obj = state
    if ctx.invoked_subcommand is None:
        history = History.open(state)
        runs = history.runs(-1 if all_runs else SHOWN_ITEMS)
        show(_as_text(runs, history.count() - len(runs)))


@command.command()
@click.option("--keep", type=click.IntRange(min=0), metavar="N", help="Keep the latest N.")
@click.option(
    "--older", metavar="TIME", help="Keep what began in the last TIME: 30d, 12h; also with --keep."
)
@click.pass_obj
def prune(state: str, keep: int | None, older: str | None) -> None:
    """Forget old runs, with their logs; never one that is running.

    Only what neither --keep nor --older keeps is forgotten.
    """
    from parallel_workers.cli.waiting import said_if_long
    from parallel_workers.upkeep import Upkeep

    if keep is None and older is None:
        raise UsageError("say what to keep, with --keep N or --older TIME")
    with said_if_long(state):
        upkeep = Upkeep.open(state)
    runs = upkeep.runs()
    if older is not None:
        latest = time.time() - _seconds(older)
        runs = [run for run in runs if (run.resumed or run.started) < latest]
    if keep is not None:
        kept = {run.id for run in upkeep.runs(keep)}
        runs = [run for run in runs if run.id not in kept]
    pruned = upkeep.prune(runs)
    show(f"{plural(len(pruned), 'run')} forgotten, {upkeep.count():,} kept")


def _seconds(older: str) -> float:
    try:
        return parse_duration(older)
    except ValueError as error:
        raise UsageError(f"--older {older}: {error}") from None


def _as_text(runs: Sequence[RunRecord], earlier: int) -> str:
    if not runs:
        return "no run is kept"
    lines = [f"{'run':8}  {'started':19}  {'took':>9}  {'outcome':11}  {'tasks':>7}  file"]
    if earlier:
        lines.append(f"… {plural(earlier, 'earlier run')}; --all lists them")
    lines += [
        f"{run.id:8}  {format_time(run.started)}  {took(run):>9}  {run.outcome:11}  "
        f"{run.tasks:>7,}  {printable(run.file)}"
        for run in runs
    ]
    return fit(lines)
