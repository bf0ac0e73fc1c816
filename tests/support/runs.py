"""Runs of small graphs in every way that there is to run them, for tests of behaviour.

What a task should do is given by a `Script`; what it did comes back as `Trace`s, the same from a
simulated run, from functions in threads and from real commands.
"""

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from parallel_workers.children import Children
from parallel_workers.commands import Command, CommandRunner, words_of
from parallel_workers.driver import Driver
from parallel_workers.events import Event, TaskEnded, TaskRetried, TaskStarted
from parallel_workers.executors.threads import ThreadsExecutor
from parallel_workers.frontier import STATES, Frontier
from parallel_workers.graph import WorkGraph
from parallel_workers.logs import KeptLogs
from parallel_workers.plan import Plan
from parallel_workers.simulate import simulate


class Script(NamedTuple):
    """What a task does: how long each attempt takes, and how many attempts fail at first."""

    seconds: float = 0.0
    failures: int = 0


class Trace(NamedTuple):
    """An attempt that was made, by the task's own account; times only compare with each other."""

    task: str
    attempt: int
    start: float
    finish: float


class Result(NamedTuple):
    """What a run came to."""

    traces: list[Trace]
    outcomes: dict[str, str]
    events: list[Event]

    def of(self, task: str) -> list[Trace]:
        return [trace for trace in self.traces if trace.task == task]

    def most_at_once(self, tasks: set[str] | None = None) -> int:
        """The most attempts that were under way at one time."""
        chosen = [t for t in self.traces if tasks is None or t.task in tasks]
        # What ends at the moment at which something starts was not beside it.
        changes = sorted([(t.start, 1) for t in chosen] + [(t.finish, -1) for t in chosen])
        running = most = 0
        for _, change in changes:
            running += change
            most = max(most, running)
        return most


Scripts = Mapping[str, Script]
Run = Callable[..., Result]


def run_simulated(
    graph: WorkGraph, scripts: Scripts, jobs: int, directory: Path, *, keep_going: bool = False
) -> Result:
    plan = Plan(graph)
    plan.durations = [scripts.get(name, Script()).seconds for name in plan.names]
    frontier = Frontier.of(plan, keep_going=keep_going)
    done = [0] * plan.tasks

    def ends_well(task: int) -> bool:
        done[task] += 1
        return done[task] > scripts.get(plan.names[task], Script()).failures

    slots = simulate(plan, jobs, frontier=frontier, ends_well=ends_well)
    attempts = [0] * plan.tasks
    traces = []
    for slot in slots:
        attempts[slot.task] += 1
        name = plan.names[slot.task]
        traces.append(Trace(name, attempts[slot.task], slot.start, slot.finish))
    outcomes = {plan.names[task]: STATES[frontier.state_of(task)] for task in range(plan.tasks)}
    return Result(traces, outcomes, [])


def run_functions(
    graph: WorkGraph, scripts: Scripts, jobs: int, directory: Path, *, keep_going: bool = False
) -> Result:
    traces: list[Trace] = []

    def body(name: str, attempt: int) -> None:
        start = time.monotonic()
        script = scripts.get(name, Script())
        time.sleep(script.seconds)
        traces.append(Trace(name, attempt, start, time.monotonic()))
        if attempt <= script.failures:
            raise ValueError("as its script says")

    plan = Plan(graph)
    return _drive(plan, [partial(body, name) for name in plan.names], jobs, keep_going, traces)


def run_commands(
    graph: WorkGraph, scripts: Scripts, jobs: int, directory: Path, *, keep_going: bool = False
) -> Result:
    """Each command writes down when it began and ended, as the shell's children see the clock."""
    told = directory / "told"
    told.touch()
    logs = directory / "logs"
    logs.mkdir()
    children = Children(grace=1.0)
    runner = CommandRunner(children, KeptLogs(str(logs)), dict(os.environb))
    plan = Plan(graph)
    bodies = []
    for number, name in enumerate(plan.names):
        script = scripts.get(name, Script())
        text = (
            f"start=$(date +%s.%N); sleep {script.seconds}; "
            f'echo "$start $(date +%s.%N) $PW_ATTEMPT $PW_TASK" >> {told}; '
            f"[ $PW_ATTEMPT -gt {script.failures} ]"
        )
        env = {b"PW_TASK": name.encode()}
        command = Command(text, words_of(text), None, env, None, str(number))
        bodies.append(partial(runner.run, command))
    result = _drive(plan, bodies, jobs, keep_going, [])
    children.close()
    for line in told.read_text().splitlines():
        start, finish, attempt, name = line.split(" ", 3)
        result.traces.append(Trace(name, int(attempt), float(start), float(finish)))
    result.traces.sort(key=lambda trace: trace.start)
    return result


def _drive(
    plan: Plan, bodies: list[Any], jobs: int, keep_going: bool, traces: list[Trace]
) -> Result:
    events: list[Event] = []
    driver = Driver(plan, Frontier.of(plan, keep_going=keep_going), jobs, [events.extend])
    calls = [partial(_attempt, driver, task, body) for task, body in enumerate(bodies)]
    driver.begin("test")
    ThreadsExecutor().start(driver, calls).join()
    outcomes = {event.task: str(event.outcome) for event in events if isinstance(event, TaskEnded)}
    return Result(traces, outcomes, events)


def _attempt(driver: Driver, task: int, body: Callable[[int], Any]) -> Any:
    return body(driver.attempt(task))


ALL: dict[str, Run] = {
    "simulated": run_simulated,
    "functions": run_functions,
    "commands": run_commands,
}
"""Every way to run a graph, by a name for the test's id."""


def told_of(events: list[Event], task: str) -> list[str]:
    """What the events say of a task, in order, as one word each."""
    words = {TaskStarted: "started", TaskRetried: "retried", TaskEnded: "ended"}
    return [
        words[type(event)]
        for event in events
        if isinstance(event, (TaskStarted, TaskRetried, TaskEnded)) and event.task == task
    ]
