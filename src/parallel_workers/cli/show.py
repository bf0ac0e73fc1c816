"""`show`: what became of a run, task by task."""

from collections import Counter
from collections.abc import Iterator, Sequence

import click

from parallel_workers.cli.console import show
from parallel_workers.cli.records import fit, format_time, run_argument, state_option, took
from parallel_workers.durations import format_duration
from parallel_workers.events import CommandResult, Outcome
from parallel_workers.history import AttemptRecord, History, RunRecord, TaskRecord
from parallel_workers.reports.phrases import ending, name_of
from parallel_workers.wording import one_line, plural, printable


@click.command(short_help="Show what became of a run.")
@run_argument
@state_option
@click.option("--json", "as_json", is_flag=True, help="For programs: all of it, as JSON.")
def command(run_id: str, state: str, as_json: bool) -> None:
    """Show every task of RUN: how it ended, when it began, how long it took, its attempts.

    RUN is the id of a run, the beginning of it, or `last`.
    """
    history = History.open(state)
    run = history.find_run(run_id)
    tasks = history.tasks(run)
    show(_as_json(run, tasks) if as_json else fit([*_summary(run, tasks), "", *_table(run, tasks)]))


def _as_json(run: RunRecord, tasks: Sequence[TaskRecord]) -> str:
    import json

    shown = {
        "run": run.id,
        "outcome": run.outcome,
        "file": run.file,
        "arguments": run.arguments,
        "graph": run.graph.hex(),
        "user": run.user,
        "host": run.host,
        "jobs": run.jobs,
        "started": run.started,
        "resumed": run.resumed,
        "ended": run.ended,
        "tasks": [
            {
                "name": task.name,
                "digest": task.digest.hex(),
                "outcome": task.outcome,
                "cause": task.cause,
                "forgiven": task.forgiven,
                "mark": task.mark and task.mark._asdict(),
                "attempts": [attempt._asdict() for attempt in task.attempts],
            }
            for task in tasks
        ],
    }
    return json.dumps(shown, ensure_ascii=False, indent=1)


def _summary(run: RunRecord, tasks: Sequence[TaskRecord]) -> Iterator[str]:
    yield f"run {run.id}, {run.outcome}: {printable(run.file) or 'made by a program'}"
    times = [f"started {format_time(run.started)}"]
    if run.resumed is not None:
        times.append(f"gone on with {format_time(run.resumed)}")
    if duration := took(run):
        times.append(f"{'for' if run.outcome == 'running' else 'took'} {duration}")
    jobs = f"{run.jobs:,} at once" if run.jobs else "no limit at once"
    yield f"{', '.join(times)}; {jobs}; by {run.user} on {run.host}"
    counts = Counter(_counted_as(run, task) for task in tasks)
    yield f"{plural(len(tasks), 'task')}: " + ", ".join(
        f"{count:,} {outcome}" for outcome, count in counts.most_common()
    )


def _table(run: RunRecord, tasks: Sequence[TaskRecord]) -> Iterator[str]:
    yield f"{'outcome':11}  {'started':19}  {'took':>9}  task"
    for task in tasks:
        last = task.attempts[-1] if task.attempts else None
        line = f"{_columns(_outcome_of(run, task), last)}  {name_of(task.name)}"
        allowed = "it may fail" if task.forgiven else ""
        remarks = [remark for remark in (_remark(task), _why(last), allowed) if remark]
        yield "  ".join([line, *remarks])
        for attempt in task.attempts[:-1]:
            line = f"{_columns(attempt.outcome or 'interrupted', attempt)}    "
            yield f"{line}attempt {attempt.number}  {_why(attempt)}".rstrip()


def _columns(outcome: str, attempt: AttemptRecord | None) -> str:
    started = "" if attempt is None else format_time(attempt.started)
    known = attempt is not None and attempt.seconds is not None
    seconds = format_duration(attempt.seconds or 0.0) if attempt is not None and known else ""
    return f"{outcome.replace('_', ' '):11}  {started:19}  {seconds:>9}"


def _outcome_of(run: RunRecord, task: TaskRecord) -> str:
    if task.outcome is not None:
        return task.outcome
    return "waiting" if run.outcome == "running" else "not run"


def _counted_as(run: RunRecord, task: TaskRecord) -> str:
    """Return what a task counts as, in the words of the report at the end of a run."""
    return "allowed to fail" if task.forgiven else _outcome_of(run, task).replace("_", " ")


def _remark(task: TaskRecord) -> str:
    """Return what is to be said of a task beside what its attempts say."""
    if task.mark is not None:
        return f"marked by {task.mark.user}, {format_time(task.mark.time)}"
    if task.outcome == Outcome.SKIPPED:
        return f"because of {name_of(task.cause)}" if task.cause is not None else "interrupted"
    return f"attempt {task.attempts[-1].number}" if len(task.attempts) > 1 else ""


def _why(attempt: AttemptRecord | None) -> str:
    """Return why an attempt did not succeed, in the words of the report at the end of a run."""
    if attempt is None or attempt.outcome != Outcome.FAILED:
        return ""
    if attempt.log is None:
        return one_line(attempt.error or "", 200)
    result = CommandResult("", attempt.status, attempt.log, 0, attempt.error)
    return ending(Outcome.FAILED, attempt.seconds or 0.0, result)
