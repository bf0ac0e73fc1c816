"""`plan`: show what follows from a graph before anything runs."""

from collections.abc import Sequence

import click

from parallel_workers.cli.console import show
from parallel_workers.cli.inputs import (
    find_input,
    format_option,
    jobs_option,
    load_graph,
    strict_option,
    tasks_argument,
)
from parallel_workers.cli.records import state_option
from parallel_workers.cli.selection import Choice, select, selection_options
from parallel_workers.cores import usable_cores
from parallel_workers.durations import format_duration
from parallel_workers.plan import Plan
from parallel_workers.simulate import Slot, simulate
from parallel_workers.wording import plural, shorten

_MOST_ROWS = 60
_BAR = 30


@click.command(short_help="Show the plan of a file.")
@tasks_argument
@selection_options
@format_option
@strict_option
@jobs_option
@click.option("--json", "as_json", is_flag=True, help="For programs: all of it, as JSON.")
@state_option
def command(
    file_and_tasks: Sequence[str],
    format_name: str | None,
    strict: bool,
    jobs: int | None,
    as_json: bool,
    choice: Choice,
    state: str,
) -> None:
    """Show how FILE would run: its critical path, its bounds, and who would do what when.

    With TASKs, the plan for those and what they need. Durations are those that FILE gives; a
    task without one counts as one second.
    """
    path, names = find_input(file_and_tasks)
    graph = load_graph(path, format_name, strict)
    plan = Plan(select(graph, names, choice, path, state).graph)
    jobs = usable_cores() if jobs is None else jobs
    slots = simulate(plan, jobs)
    show(_as_json(plan, jobs, slots) if as_json else _as_text(plan, jobs, slots))


def _makespan(slots: Sequence[Slot]) -> float:
    return max((slot.finish for slot in slots), default=0.0)


def _as_json(plan: Plan, jobs: int, slots: Sequence[Slot]) -> str:
    import json

    shown = {
        "tasks": plan.tasks,
        "edges": plan.edges,
        "width": plan.width,
        "work": plan.work,
        "span": plan.span,
        "critical_path": plan.critical_path,
        "jobs": jobs,
        "lower_bound": plan.lower_bound(jobs),
        "makespan": _makespan(slots),
        "schedule": [
            {
                "task": plan.names[slot.task],
                "position": plan.positions[slot.task],
                "duration": plan.durations[slot.task],
                "worker": slot.worker,
                "start": slot.start,
                "finish": slot.finish,
            }
            for slot in slots
        ],
    }
    return json.dumps(shown, ensure_ascii=False, indent=1)


def _as_text(plan: Plan, jobs: int, slots: Sequence[Slot]) -> str:
    if not plan.tasks:
        return "0 tasks: there is nothing to run"
    lines = [*_summary(plan, jobs, slots), "", *_path(plan), "", *_schedule(plan, slots)]
    return "\n".join(lines)


def _summary(plan: Plan, jobs: int, slots: Sequence[Slot]) -> list[str]:
    makespan = _makespan(slots)
    workers = f"{plural(jobs, 'worker')}" if jobs else "no limit of workers"
    bound = format_duration(plan.lower_bound(jobs))
    unknown = sum(definition.duration is None for definition in plan.definitions)
    lines = [
        f"{plural(plan.tasks, 'task')}, {plural(plan.edges, 'edge')}, "
        f"{plural(len(set(plan.positions)), 'position')}; at most {plan.width:,} on one position",
        f"work {format_duration(plan.work)}, critical path {format_duration(plan.span)}",
        f"with {workers}: {format_duration(makespan)} planned, {bound} at the least"
        + (
            f", {plan.work / makespan:.1f} times as fast as one after the other" if makespan else ""
        ),
    ]
    if unknown:
        counts = "counts" if unknown == 1 else "count"
        lines.append(f"{plural(unknown, 'task')} without a duration {counts} as 1 s")
    return lines


def _path(plan: Plan) -> list[str]:
    names = [shorten(name) for name in plan.critical_path]
    if len(names) > _MOST_ROWS:
        half = _MOST_ROWS // 2
        names[half:-half] = [f"… {len(names) - 2 * half} more …"]
    return ["critical path", *(f"  {name}" for name in names)]


def _schedule(plan: Plan, slots: Sequence[Slot]) -> list[str]:
    end = _makespan(slots) or 1.0
    rows = [f"{'start':>9}  {'finish':>9}  worker  {'':{_BAR}}  task"]
    for slot in slots[:_MOST_ROWS]:
        first = min(int(slot.start / end * _BAR), _BAR - 1)
        last = max(round(slot.finish / end * _BAR), first + 1)
        bar = f"{'':{first}}{'━' * (last - first)}"
        rows.append(
            f"{format_duration(slot.start):>9}  {format_duration(slot.finish):>9}  "
            f"{slot.worker + 1:>6}  {bar:{_BAR}}  {shorten(plan.names[slot.task])}"
        )
    if len(slots) > _MOST_ROWS:
        rows.append(f"… and {len(slots) - _MOST_ROWS:,} more; --json has them all")
    return rows
