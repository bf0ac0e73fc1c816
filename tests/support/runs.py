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

from parallel_workers.definition import PLAIN
from parallel_workers.events import Event, TaskEnded, TaskRetried, TaskStarted
from parallel_workers.executors.tokens import TokenExecutor
from parallel_workers.frontier import STATES, Frontier
from parallel_workers.graph import WorkGraph
from parallel_workers.plan import Plan
from parallel_workers.run import Run
from parallel_workers.simulate import simulate
from tests.support.futures import FuturesExecutor
from tests.support.jobservers import served
from tests.support.work import PATIENCE, Script, perform, perform_on_loop, write_down


class Trace(NamedTuple):
    """An attempt that was made, by the task's own account; times only compare with each other."""

    task: str
    attempt: int
    start: float
    finish: float


class Result(NamedTuple):
    """What a run came to.

    Attributes:
        attempts: By task, how many attempts the run says that there were.
    """

    traces: list[Trace]
    outcomes: dict[str, str]
    attempts: dict[str, int]
    events: list[Event]

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
    plan.durations = [scripts.get(name, Script()).seconds for name in plan.names]
    frontier = Frontier.of(plan, most_failures=most)
    done = [0] * plan.tasks

    def ends_well(task: int) -> bool:
        done[task] += 1
        return done[task] > scripts.get(plan.names[task], Script()).failures

    attempts: Counter[str] = Counter()
    traces = []
    for slot in simulate(plan, jobs, frontier=frontier, ends_well=ends_well):
        name = plan.names[slot.task]
        attempts[name] += 1
        traces.append(Trace(name, attempts[name], slot.start, slot.finish))
    outcomes = {name: STATES[frontier.state_of(task)] for task, name in enumerate(plan.names)}
    return Result(traces, outcomes, {name: attempts[name] for name in plan.names}, [])


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
            if isinstance(event, TaskRetried | TaskEnded):
                write_down(str(directory / f"{event.task}.ended"), event.outcome)

    graph = graph.needed(graph.numbers)
    prepare(graph, scripts, directory)
    listener = listen if watched else None
    failures = {"keep_going": most is None, "max_failures": most, "fail_fast": fail_fast}
    run = execute(graph, jobs=jobs, check=False, listen=listener, **failures)
    outcomes = {name: str(task.outcome) for name, task in run.tasks.items()}
    attempts = {name: task.attempts for name, task in run.tasks.items()}
    traces = [trace for name in graph.numbers for trace in _traces_of(name, directory)]
    traces.sort(key=lambda trace: trace.start)
    return Result(traces, outcomes, attempts, events)


def _traces_of(name: str, directory: Path) -> list[Trace]:
    times = noted(name, directory)
    # An attempt that was ended has not noted its end.
    pairs = zip(times[::2], times[1::2], strict=False)
    return [Trace(name, number, *pair) for number, pair in enumerate(pairs, 1)]


def noted(name: str, directory: Path) -> list[float]:
    """Return what a task has noted: when each attempt began, and when it ended, in turn."""
    return [float(line) for line in _lines(directory / name)]


def ends_told(name: str, directory: Path) -> int:
    """Return of how many ends of attempts of a task a run has told that is listened to."""
    return len(_lines(directory / f"{name}.ended"))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []


def _call(
    function: Callable[[str, str, Script], Any], graph: WorkGraph, scripts: Scripts, place: Path
) -> None:
    for name, number in graph.numbers.items():
        script = scripts.get(name, Script())
        graph.functions[number] = partial(function, str(place), name, script)


def _command(graph: WorkGraph, scripts: Scripts, place: Path) -> None:
    for name, number in graph.numbers.items():
        script = scripts.get(name, Script())
        definition = graph.definitions.get(number, PLAIN)
        limit = PATIENCE if script.until or script.held else None
        text = _text_of(place / name, script)
        graph.definitions[number] = definition._replace(command=text, timeout=limit)


def _text_of(notes: Path, script: Script) -> str:
    """Return a command that does what `perform` does, by the clock that the shell can ask."""
    # Others may look for the file: it is there only after the time that it tells.
    note = f'now=$(date +%s.%N); echo "$now" >> {shlex.quote(str(notes))}'
    conditions = [f"test -e {shlex.quote(str(notes.parent / other))}" for other in script.until]
    if script.held:
        conditions.append(f"rm {shlex.quote(f'{notes}.go')} 2>/dev/null")
    if not script.until:
        conditions.insert(0, f"sleep {script.seconds}")
    waits = [f"until {condition}; do sleep 0.005; done" for condition in conditions]
    return "; ".join([note, *waits, note, f"test $PW_ATTEMPT -gt {script.failures}"])


def _run_async(graph: WorkGraph, **options: Any) -> Run:
    return asyncio.run(graph.run_async(**options))


def _with_tokens(graph: WorkGraph, **options: Any) -> Run:
    # More than any of these runs may have at once.
    with served("pipe", 100) as (jobserver, _):
        return graph.run(on=TokenExecutor(jobserver), **options)


_functions = partial(_call, perform)
_coroutines = partial(_call, perform_on_loop)

ALL: dict[str, Way] = {
    "simulated": run_simulated,
    "inline": partial(run_really, _functions, partial(WorkGraph.run, on="inline")),
    "threads": partial(run_really, _functions, partial(WorkGraph.run, on="threads")),
    "processes": partial(run_really, _functions, partial(WorkGraph.run, on="processes")),
    "asyncio": partial(run_really, _functions, partial(WorkGraph.run, on="asyncio")),
    "coroutines": partial(run_really, _coroutines, partial(WorkGraph.run, on="asyncio")),
    "run_async": partial(run_really, _coroutines, _run_async),
    "futures": partial(run_really, _functions, partial(WorkGraph.run, on=FuturesExecutor())),
    "tokens": partial(run_really, _functions, _with_tokens),
    "commands": partial(run_really, _command, partial(WorkGraph.run, on="threads")),
}
"""Every way to run a graph, by a name for the test's id."""

REAL = [name for name in ALL if name != "simulated"]
"""The ways in which something happens."""

SIDE_BY_SIDE = [name for name in ALL if name != "inline"]
"""The ways in which tasks run side by side, if they may."""

CANCELS = ["processes", "coroutines", "run_async", "commands"]
"""The ways in which an attempt can be ended from outside."""


def told_of(events: list[Event], task: str) -> list[str]:
    """What the events say of a task, in order, as one word each."""
    words = {TaskStarted: "started", TaskRetried: "retried", TaskEnded: "ended"}
    return [
        words[type(event)]
        for event in events
        if isinstance(event, (TaskStarted, TaskRetried, TaskEnded)) and event.task == task
    ]
