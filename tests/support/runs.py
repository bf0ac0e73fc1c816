"""Runs of small graphs in every way that there is to run them, for tests of behaviour.

What a task should do is given by a `Script`; what it did comes back as `Trace`s, the same from a
simulated run, from functions on every executor and from real commands.
"""

import asyncio
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from parallel_workers.definition import PLAIN, Definition
from parallel_workers.events import Event, ServiceReady, TaskEnded, TaskRetried, TaskStarted
from parallel_workers.executors.tokens import TokenExecutor
from parallel_workers.frontier import STATES, Frontier
from parallel_workers.graph import WorkGraph
from parallel_workers.plan import Plan
from parallel_workers.run import Run
from parallel_workers.simulate import simulate
from parallel_workers.starting import Place
from tests.support.futures import FuturesExecutor
from tests.support.jobservers import served
from tests.support.work import (
    LIMIT,
    PATIENCE,
    Script,
    perform,
    perform_late,
    perform_on_loop,
    write_down,
)


class Trace(NamedTuple):
    """An attempt that was made, by the task's own account; times only compare with each other."""

    task: str
    attempt: int
    start: float
    finish: float


class Result(NamedTuple):
    """What a run came to.

    Attributes:
        traces: Of all attempts, save those that hang; a service's attempt is over when it is up.
        attempts: By task, how many attempts the run says that there were.
        service_ends: By service that noted it, when it went.
    """

    traces: list[Trace]
    outcomes: dict[str, str]
    attempts: dict[str, int]
    events: list[Event]
    service_ends: dict[str, float]

    def of(self, task: str) -> list[Trace]:
        return [trace for trace in self.traces if trace.task == task]

    def most_at_once(self, tasks: Collection[str] | None = None) -> int:
        """The most attempts that were under way at one time, of some tasks or of all."""
        return self.most_units({t.task: 1 for t in self.traces if tasks is None or t.task in tasks})

    def most_units(self, units: Mapping[str, int]) -> int:
        """The most units that were held at one time; by task, how many its attempts hold."""
        chosen = [(t, units[t.task]) for t in self.traces if t.task in units]
        # What ends at the moment at which something starts was not beside it.
        changes = sorted([(t.start, n) for t, n in chosen] + [(t.finish, -n) for t, n in chosen])
        running = most = 0
        for _, change in changes:
            running += change
            most = max(most, running)
        return most


Scripts: TypeAlias = Mapping[str, Script]

Way: TypeAlias = Callable[..., Result]
"""Runs a graph: `way(graph, scripts, jobs, directory, most=…, watched=…)`.

The directory is one of its own, in which tasks note what they do.
"""

Prepare: TypeAlias = Callable[[WorkGraph, Scripts, Path], None]
"""Gives each task what makes it act as its script says."""


def run_simulated(
    graph: WorkGraph,
    scripts: Scripts,
    jobs: int,
    directory: Path,
    *,
    most: int | None = 1,
    watched: bool = False,
) -> Result:
    plan = Plan(graph)
    by_task = [scripts.get(name, Script()) for name in plan.names]
    plan.durations = [LIMIT if script.hangs else script.seconds for script in by_task]
    frontier = Frontier.of(plan, most_failures=most, done=plan.not_needed(()))
    done = [0] * plan.tasks

    def ends_well(task: int) -> bool:
        done[task] += 1
        return by_task[task].ends_well(done[task])

    attempts: Counter[str] = Counter()
    traces = []
    for slot in simulate(plan, jobs, frontier=frontier, ends_well=ends_well):
        name = plan.names[slot.task]
        attempts[name] += 1
        traces.append(Trace(name, attempts[name], slot.start, slot.finish))
    outcomes = {
        name: told_of_end(STATES[frontier.state_of(task)], by_task[task], attempts[name])
        for task, name in enumerate(plan.names)
    }
    return Result(traces, outcomes, {name: attempts[name] for name in plan.names}, [], {})


def told_of_end(state: str, script: Script, attempts: int) -> str:
    """Return which outcome a run tells of a task that is in a state in the end."""
    if state == "succeeded" and (not attempts or script.finds_done(attempts)):
        return "cached"
    return "timed_out" if state == "failed" and script.hangs else state


def run_really(
    prepare: Prepare,
    execute: Callable[..., Run],
    graph: WorkGraph,
    scripts: Scripts,
    jobs: int,
    directory: Path,
    *,
    most: int | None = 1,
    watched: bool = True,
    fail_fast: bool = False,
) -> Result:
    events: list[Event] = []

    def listen(batch: Sequence[Event]) -> None:
        events.extend(batch)
        for event in batch:
            if isinstance(event, TaskRetried | ServiceReady | TaskEnded):
                write_down(str(directory / f"{event.task}.ended"), type(event).__name__)

    graph = graph.needed(graph.numbers)
    prepare(graph, scripts, directory)
    listener = listen if watched else None
    failures = {"keep_going": most is None, "max_failures": most, "fail_fast": fail_fast}
    run = execute(graph, jobs=jobs, check=False, listen=listener, **failures)
    outcomes = {name: str(task.outcome) for name, task in run.tasks.items()}
    attempts = {name: task.attempts for name, task in run.tasks.items()}
    traces = [trace for name in graph.numbers for trace in _traces_of(name, directory)]
    traces.sort(key=lambda trace: trace.start)
    ends = {name: noted(f"{name}.left", directory) for name in graph.numbers}
    service_ends = {name: times[0] for name, times in ends.items() if times}
    return Result(traces, outcomes, attempts, events, service_ends)


def _traces_of(name: str, directory: Path) -> list[Trace]:
    times = noted(name, directory)
    # An attempt that was ended, or a service that nobody needs any more, has not noted its end.
    pairs = zip(times[::2], times[1::2], strict=False)
    return [Trace(name, number, *pair) for number, pair in enumerate(pairs, 1)]


def noted(name: str, directory: Path) -> list[float]:
    """Return what a task has noted: when each attempt began, and when it ended, in turn."""
    return [float(line) for line in _lines(directory / name)]


def ends_told(name: str, directory: Path) -> int:
    """Return how many ends of attempts a run has told of, and that of a service that was up."""
    return len(_lines(directory / f"{name}.ended"))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []


def _call(
    function: Callable[[str, str, Script], Any], graph: WorkGraph, scripts: Scripts, place: Path
) -> None:
    """Let tasks call functions, save those that only commands can be."""
    for name, number in graph.numbers.items():
        script, definition = scripts.get(name, Script()), graph.definitions.get(number, PLAIN)
        if definition.service is not None or script.done_from:
            graph.definitions[number] = _with_command(definition, place / name, script)
            continue
        graph.functions[number] = partial(function, str(place), name, script)
        if script.hangs:
            graph.definitions[number] = definition._replace(timeout=LIMIT)


def _command(graph: WorkGraph, scripts: Scripts, place: Path) -> None:
    for name, number in graph.numbers.items():
        script, definition = scripts.get(name, Script()), graph.definitions.get(number, PLAIN)
        graph.definitions[number] = _with_command(definition, place / name, script)


def _with_command(definition: Definition, notes: Path, script: Script) -> Definition:
    """Return a definition of a command that does what `perform` does."""
    if script.hangs:
        return definition._replace(command=f"exec sleep {PATIENCE}", timeout=LIMIT)
    limit = PATIENCE if script.until or script.held else None
    note, wait = _note(notes), _wait(notes, script)
    end = f"{note}; test $PW_ATTEMPT -gt {script.failures}"
    if definition.service is not None:
        leave = _note(Path(f"{notes}.left"))
        stay = "sleep 600 & wait"
        if script.dies_with:
            stay = f"until {_exists(notes, script.dies_with)}; do sleep 0.005; done; {leave}"
        up = f"{end} || exit 1; touch {shlex.quote(f'{notes}.up')}; echo up"
        begin = f"echo $$ >> {shlex.quote(f'{notes}.pid')}; {note}"
        text = f"trap {shlex.quote(f'{leave}; exit')} TERM; {begin}; {wait}; {up}; {stay}"
        return definition._replace(command=text, timeout=limit, cwd=str(notes.parent))
    if script.done_from:
        # Each notes one of the two times, so that it shows in the notes which of them has run.
        condition = f"{note}; {wait}; test $PW_ATTEMPT -ge {script.done_from} && {{ {note}; }}"
        return definition._replace(command=end, done_if=condition, timeout=limit)
    return definition._replace(command=f"{note}; {wait}; {end}", timeout=limit)


def _note(notes: Path) -> str:
    """Return what notes the time, by the clock that the shell can ask."""
    # Others may look for the file: it is there only after the time that it tells.
    return f'now=$(date +%s.%N) && echo "$now" >> {shlex.quote(str(notes))}'


def _wait(notes: Path, script: Script) -> str:
    """Return what takes as long as a script says."""
    conditions = [_exists(notes, other) for other in script.until]
    if script.held:
        conditions.append(f"rm {shlex.quote(f'{notes}.go')} 2>/dev/null")
    if not script.until:
        conditions.insert(0, f"sleep {script.seconds}")
    return "; ".join(f"until {condition}; do sleep 0.005; done" for condition in conditions)


def _exists(notes: Path, other: str) -> str:
    return f"test -e {shlex.quote(str(notes.parent / other))}"


def _run_async(graph: WorkGraph, **options: Any) -> Run:
    return asyncio.run(graph.run_async(**options))


def _with_tokens(graph: WorkGraph, **options: Any) -> Run:
    # More than any of these runs may have at once.
    with served("pipe", 100) as (jobserver, _):
        return graph.run(on=TokenExecutor(jobserver), **options)


_functions = partial(_call, perform)
_late_functions = partial(_call, perform_late)
_coroutines = partial(_call, perform_on_loop)

ALL: dict[str, Way] = {
    "simulated": run_simulated,
    "inline": partial(run_really, _late_functions, partial(WorkGraph.run, on="inline")),
    "threads": partial(run_really, _functions, partial(WorkGraph.run, on="threads")),
    "processes": partial(run_really, _functions, partial(WorkGraph.run, on="processes")),
    "asyncio": partial(run_really, _functions, partial(WorkGraph.run, on="asyncio")),
    "coroutines": partial(run_really, _coroutines, partial(WorkGraph.run, on="asyncio")),
    "run_async": partial(run_really, _coroutines, _run_async),
    "futures": partial(run_really, _late_functions, partial(WorkGraph.run, on=FuturesExecutor())),
    "tokens": partial(run_really, _functions, _with_tokens),
    "commands": partial(run_really, _command, partial(WorkGraph.run, on="threads")),
}
"""Every way to run a graph, by a name for the test's id."""

STARTS: dict[str, tuple[Prepare, Place]] = {
    "threads": (_functions, "threads"),
    "processes": (_functions, "processes"),
    "asyncio": (_functions, "asyncio"),
    "coroutines": (_coroutines, "asyncio"),
    "futures": (_late_functions, FuturesExecutor()),
    "commands": (_command, "threads"),
}
"""The ways in which a run can go on beside who has started it, by a name for the test's id."""


def start(
    way: str, graph: WorkGraph, scripts: Scripts, directory: Path, **options: Any
) -> tuple[Run, list[Event]]:
    """Start a run in a way of `STARTS`; return it, and the events as they come."""
    events: list[Event] = []
    prepare, place = STARTS[way]
    graph = graph.needed(graph.numbers)
    prepare(graph, scripts, directory)
    return graph.start(on=place, listen=events.extend, **options), events


def service_processes(directory: Path) -> list[int]:
    """Return the ids of the processes that services have had."""
    return [int(line) for path in directory.glob("*.pid") for line in _lines(path)]


REAL = [name for name in ALL if name != "simulated"]
"""The ways in which something happens."""

SIDE_BY_SIDE = [name for name in ALL if name != "inline"]
"""The ways in which tasks run side by side, if they may."""

CANCELS = ["processes", "coroutines", "run_async", "commands"]
"""The ways in which an attempt can be ended from outside."""


def told_of(events: list[Event], task: str) -> list[str]:
    """What the events say of a task, in order, as one word each."""
    words = {
        TaskStarted: "started",
        TaskRetried: "retried",
        ServiceReady: "up",
        TaskEnded: "ended",
    }
    told = [event for event in events if isinstance(event, tuple(words))]
    return [words[type(event)] for event in told if event.task == task]
