"""`runs`: list the runs that are kept, and forget old ones."""

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from parallel_workers.cli.console import show
from parallel_workers.cli.records import fit, format_time, state_option, took
from parallel_workers.durations import parse_duration
from parallel_workers.errors import UsageError
from parallel_workers.history import History, RunRecord
from parallel_workers.wording import SHOWN_ITEMS, plural, printable

if TYPE_CHECKING:
    from parallel_workers.upkeep import Upkeep


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

    Only what neither --keep nor --older keeps is forgotten. Logs of a journal that was lost go
    likewise, by when their runs began.
    """
    from parallel_workers.cli.waiting import said_if_long
    from parallel_workers.upkeep import Upkeep

    if keep is None and older is None:
        raise UsageError("say what to keep, with --keep N or --older TIME")
    with said_if_long(state):
        upkeep = Upkeep.open(state)
    latest = math.inf if older is None else time.time() - _seconds(older)
    runs, unknown = _old_runs(upkeep, keep, latest), _old_unknown(upkeep, keep, latest)
    pruned = upkeep.prune(runs)
    told = f"{plural(len(pruned), 'run')} forgotten, {upkeep.count():,} kept"
    if deleted := upkeep.delete_unrecorded(unknown):
        told += f"; logs of {plural(len(deleted), 'unknown run')} deleted"
    show(told)


def _old_runs(upkeep: "Upkeep", keep: int | None, latest: float) -> list[RunRecord]:
    """Return the runs that are not to be kept.

    Args:
        upkeep: What knows of all.
        keep: How many of the latest are; None for no such number.
        latest: What began from then on is, in seconds since the epoch.
    """
    kept = {run.id for run in upkeep.runs(keep)} if keep is not None else set()
    return [run for run in upkeep.runs() if _moment(run) < latest and run.id not in kept]


def _old_unknown(upkeep: "Upkeep", keep: int | None, latest: float) -> list[str]:
    """Return the runs that nothing is known of and that are not to be kept; arguments as above.

    They count among the latest, by when they began: what was recorded of them may be set aside.
    """
    unknown = upkeep.unrecorded()
    if keep is not None and unknown:
        moments = sorted([*map(_moment, upkeep.runs()), *unknown.values()])
        latest = min(latest, _oldest(moments, keep))
    return [run for run, moment in unknown.items() if moment < latest]


def _moment(run: RunRecord) -> float:
    return run.resumed or run.started


def _oldest(moments: Sequence[float], keep: int) -> float:
    """Return when the oldest of the latest runs began, of as many of these as are to be kept."""
    if not keep:
        return math.inf
    return moments[-keep] if keep <= len(moments) else -math.inf


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
