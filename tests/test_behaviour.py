"""What a run promises, the same whether simulated, with functions anywhere or with commands."""

import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from parallel_workers.events import (
    Event,
    Outcome,
    RunEnded,
    RunStarted,
    ServiceReady,
    TaskEnded,
    TaskRetried,
    TaskStarted,
)
from parallel_workers.graph import WorkGraph
from parallel_workers.plan import Plan
from tests.support import runs
from tests.support.model import Model
from tests.support.runs import Result
from tests.support.strategies import Case, cases
from tests.support.work import NAP, PATIENCE, Script

Run = Callable[..., Result]


@pytest.fixture(params=list(runs.ALL))
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Runs a graph: `run(graph, scripts, jobs=…)`."""
    way = runs.ALL[request.param]

    def run_it(
        graph: WorkGraph, scripts: runs.Scripts | None = None, jobs: int = 2, **options: Any
    ) -> Result:
        return way(graph, scripts or {}, jobs, tmp_path, **options)

    return run_it


side_by_side = pytest.mark.parametrize("run", runs.SIDE_BY_SIDE, indirect=True)


def graph_of(**after: list[str]) -> WorkGraph:
    """A graph of the tasks named, each with what it waits for."""
    graph = WorkGraph()
    for name, others in after.items():
        graph.add(name, after=others)
    return graph


def groups(*sizes: int) -> WorkGraph:
    """One thread of run groups, with a gate between each two; `g0.0` is the first task."""
    graph = WorkGraph()
    before: list[int] = []
    for number, size in enumerate(sizes):
        group = [graph.add_plain(f"g{number}.{place}") for place in range(size)]
        if before:
            gate = graph.add_gate()
            for node in before:
                graph.connect(node, gate)
            for node in group:
                graph.connect(gate, node)
        before = group
    return graph


def test_a_graph_with_nothing_in_it_ends_at_once(run: Run) -> None:
    assert run(WorkGraph()).outcomes == {}


def test_every_task_runs_exactly_once(run: Run) -> None:
    graph = graph_of(a=[], b=["a"], c=["a"], d=["b", "c"])
    result = run(graph)
    assert sorted(trace.task for trace in result.traces) == ["a", "b", "c", "d"]
    assert set(result.outcomes.values()) == {"succeeded"}


def test_a_task_starts_after_all_its_predecessors_have_ended(run: Run) -> None:
    graph = graph_of(a=[], b=[], c=["a", "b"])
    scripts = {"a": Script(0.02), "b": Script(0.05)}
    result = run(graph, scripts, jobs=3)
    [last] = result.of("c")
    assert last.start >= max(result.of("a")[0].finish, result.of("b")[0].finish)


@side_by_side
def test_a_task_does_not_wait_for_others_of_its_level(run: Run) -> None:
    graph = graph_of(slow=[], quick=[], behind_quick=["quick"])
    result = run(graph, {"slow": Script(0.5, until=("behind_quick",))}, jobs=2)
    assert result.of("behind_quick")[0].start < result.of("slow")[0].finish
    assert set(result.outcomes.values()) == {"succeeded"}


@side_by_side
@pytest.mark.parametrize(("jobs", "at_once"), [(1, 1), (3, 3), (7, 6), (0, 6)])
def test_as_many_run_at_once_as_are_allowed_and_ready(run: Run, jobs: int, at_once: int) -> None:
    """The first ones can only end if all of them are under way."""
    names = [f"t{number}" for number in range(6)]
    meeting = Script(0.1, until=tuple(names[:at_once]))
    result = run(graph_of(**{name: [] for name in names}), dict.fromkeys(names, meeting), jobs)
    assert result.most_at_once() == at_once
    assert set(result.outcomes.values()) == {"succeeded"}


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_no_more_run_at_once_than_are_allowed(run: Run, jobs: int) -> None:
    names = [f"t{number}" for number in range(6)]
    graph = graph_of(**{name: [] for name in names})
    result = run(graph, dict.fromkeys(names, Script(0.02)), jobs=jobs)
    assert result.most_at_once() <= jobs
    assert len(result.traces) == 6


def test_a_group_ends_before_the_next_begins(run: Run) -> None:
    graph = groups(3, 2, 3)
    scripts = {name: Script(0.005 * place) for place, name in enumerate(graph.numbers)}
    result = run(graph, scripts, jobs=3)
    for earlier, later in [("g0.", "g1."), ("g1.", "g2.")]:
        ends = [trace.finish for trace in result.traces if trace.task.startswith(earlier)]
        starts = [trace.start for trace in result.traces if trace.task.startswith(later)]
        assert max(ends) <= min(starts)


def test_the_longest_way_is_started_first(run: Run) -> None:
    graph = WorkGraph()
    graph.add("short", duration=1)
    graph.add("head", duration=1)
    graph.add("tail", duration=5, after=["head"])
    result = run(graph, jobs=1)
    assert [trace.task for trace in result.traces] == ["head", "tail", "short"]


@side_by_side
def test_a_failure_lets_nothing_new_start_and_what_runs_end(run: Run) -> None:
    graph = graph_of(bad=[], slow=[], later=["slow"], behind=["bad"])
    scripts = {
        "bad": Script(0.1, failures=1, until=("slow",)),
        "slow": Script(0.2, until=("bad.ended",)),
    }
    result = run(graph, scripts, jobs=2)
    assert result.outcomes == {
        "bad": "failed",
        "slow": "succeeded",
        "later": "skipped",
        "behind": "skipped",
    }


@pytest.mark.parametrize("way", [way for way in runs.REAL if way in runs.SIDE_BY_SIDE])
def test_failing_fast_ends_what_runs_but_not_always(way: str, tmp_path: Path) -> None:
    """What cannot be ended goes on until the failure has been told of; the rest would for ever."""
    graph = graph_of(bad=[], slow=[], behind=["slow"])
    graph.add("clean", always=True)
    graph.add("last", always=True, after=["slow", "clean"])
    can_be_ended = way in runs.CANCELS
    scripts = {
        "bad": Script(failures=1, until=("slow", "clean")),
        "slow": Script(until=("never" if can_be_ended else "bad.ended",)),
        "clean": Script(until=("bad.ended",)),
    }
    result = runs.ALL[way](graph, scripts, 3, tmp_path, fail_fast=True)
    assert result.outcomes == {
        "bad": "failed",
        "slow": "cancelled" if can_be_ended else "succeeded",
        "behind": "skipped",
        "clean": "succeeded",
        "last": "succeeded",
    }


@pytest.mark.parametrize("way", [way for way in runs.REAL if way in runs.SIDE_BY_SIDE])
def test_failing_fast_waits_for_as_many_failures_as_are_allowed(way: str, tmp_path: Path) -> None:
    graph = graph_of(bad=[], slow=[])
    graph.add("may", allow_failure=True)
    graph.add("worse", after=["may"])
    scripts = {
        "bad": Script(failures=1, until=("slow",)),
        "may": Script(failures=1, until=("bad.ended", "slow")),
        "worse": Script(failures=1, until=("may.ended",)),
        "slow": Script(until=("never" if way in runs.CANCELS else "worse.ended",)),
    }
    result = runs.ALL[way](graph, scripts, 3, tmp_path, fail_fast=True, most=2)
    assert result.outcomes == {
        "bad": "failed",
        "slow": "cancelled" if way in runs.CANCELS else "succeeded",
        "may": "failed",
        "worse": "failed",
    }
    assert len(result.of("worse")) == 1


def test_keeping_going_runs_all_that_does_not_depend_on_a_failure(run: Run) -> None:
    graph = graph_of(bad=[], good=[], behind=["bad"], last=["good"], both=["behind", "last"])
    result = run(graph, {"bad": Script(failures=1)}, jobs=1, most=None)
    assert result.outcomes == {
        "bad": "failed",
        "good": "succeeded",
        "behind": "skipped",
        "last": "succeeded",
        "both": "skipped",
    }


def test_a_task_is_tried_again_as_often_as_its_retries_say(run: Run) -> None:
    graph = WorkGraph()
    graph.add("flaky", retries=2)
    graph.add("next", after=["flaky"])
    result = run(graph, {"flaky": Script(failures=2)})
    assert [trace.attempt for trace in result.of("flaky")] == [1, 2, 3]
    assert result.outcomes == {"flaky": "succeeded", "next": "succeeded"}


def test_a_task_that_fails_every_time_has_failed(run: Run) -> None:
    graph = WorkGraph()
    graph.add("broken", retries=1)
    graph.add("next", after=["broken"])
    result = run(graph, {"broken": Script(failures=9)})
    assert len(result.of("broken")) == 2
    assert result.outcomes == {"broken": "failed", "next": "skipped"}


@side_by_side
def test_a_pool_limits_its_tasks_and_no_others(run: Run) -> None:
    """Those in it end when all others have begun, and these when the last one in it has begun."""
    graph = WorkGraph()
    graph.pools["db"] = 1
    scripts = {}
    for number in range(3):
        graph.add(f"db{number}", pool="db")
        graph.add(f"free{number}")
        scripts[f"db{number}"] = Script(0.02, until=("free0", "free1", "free2"))
        scripts[f"free{number}"] = Script(0.1, until=("db0", "db1", "db2"))
    result = run(graph, scripts, jobs=4)
    assert result.most_at_once({"db0", "db1", "db2"}) == 1
    assert result.most_at_once() == 4
    assert set(result.outcomes.values()) == {"succeeded"}


@pytest.mark.parametrize("way", runs.REAL)
def test_events_tell_each_attempt_in_order(way: str, tmp_path: Path) -> None:
    graph = WorkGraph()
    graph.add("flaky", retries=1)
    graph.add("next", after=["flaky"])
    result = runs.ALL[way](graph, {"flaky": Script(failures=1)}, 1, tmp_path)
    assert [type(event).__name__ for event in result.events] == [
        "RunStarted",
        "TaskStarted",
        "TaskRetried",
        "TaskStarted",
        "TaskEnded",
        "TaskStarted",
        "TaskEnded",
        "RunEnded",
    ]
    assert runs.told_of(result.events, "flaky") == ["started", "retried", "started", "ended"]


def test_a_task_found_done_when_it_is_tried_again_is_no_failure() -> None:
    graph = WorkGraph()
    graph.add("built", command="exit 1", done_if="test $PW_ATTEMPT = 2", retries=1)
    run = graph.run()
    assert (run.tasks["built"].outcome, run.tasks["built"].error) == (Outcome.CACHED, None)


def end_with_a_service(graph: WorkGraph) -> None:
    graph.add("db", command="echo up; exec sleep 600", service={"log": "up"})
    graph.add("use", command="true", after=["db"])


def end_with_a_function_that_is_given_up(graph: WorkGraph) -> None:
    graph.add("slow", time.sleep, 1, timeout=0.02)


@pytest.mark.parametrize("add_tasks", [end_with_a_service, end_with_a_function_that_is_given_up])
def test_a_run_is_waited_for_until_all_of_it_is_told(
    add_tasks: Callable[[WorkGraph], None],
) -> None:
    """What ends last is told by a thread that is no worker's, and here that takes its time."""
    graph, told = WorkGraph(), list[str]()

    def listen(events: Sequence[Event]) -> None:
        if isinstance(events[-1], RunEnded):
            time.sleep(0.1)
        told.extend(type(event).__name__ for event in events)

    add_tasks(graph)
    graph.run(on="threads", check=False, listen=listen)
    assert told[-1] == "RunEnded"


# Random graphs against the model


EXAMPLES = {
    "simulated": 60,
    "inline": 25,
    "threads": 45,
    "processes": 8,
    "asyncio": 22,
    "coroutines": 22,
    "run_async": 15,
    "futures": 22,
    "tokens": 22,
    "commands": 15,
}
"""By way, how many random graphs it runs where there is little time."""

times = pytest.mark.parametrize("times", [1, pytest.param(8, marks=pytest.mark.slow)])


@times
@pytest.mark.parametrize("way", runs.ALL)
def test_random_graphs_run_as_their_rules_say(way: str, times: int) -> None:
    @settings(max_examples=EXAMPLES[way] * times, deadline=None)
    @given(case=cases())
    def check(case: Case) -> None:
        with tempfile.TemporaryDirectory() as directory:
            result = runs.ALL[way](*case[:3], Path(directory), **options_of(case))
        check_accounts(case, jobs_of(way, case), result)
        if way != "simulated":
            check_services(case, result)
        if result.events:
            check_events(way, case, result)

    check()


@times
@pytest.mark.parametrize("way", runs.REAL)
def test_no_worker_is_idle_while_something_is_ready(way: str, times: int) -> None:
    """All tasks are held: each moment lasts until what can run does run, however long it takes."""

    # Not shrunk, since each failure takes all the patience that there is.
    phases = [phase for phase in Phase if phase is not Phase.shrink]

    @settings(max_examples=EXAMPLES[way] * times, deadline=None, phases=phases)
    @given(case=cases(held=True), choice=st.randoms(use_true_random=False))
    def check(case: Case, choice: random.Random) -> None:
        with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(1) as thread:
            place = Path(directory)
            future = thread.submit(runs.ALL[way], *case[:3], place, **options_of(case))
            try:
                model = direct(case, jobs_of(way, case), place, choice)
            finally:
                release_all(case, place, future)
        result = future.result()
        names = Plan(case.graph).names
        assert result.outcomes == case.outcomes(model)
        assert result.attempts == {n: model.attempts.get(t, 0) for t, n in enumerate(names)}

    check()


GOOD, BAD = {"succeeded", "cached"}, {"failed", "timed_out"}
"""The outcomes of tasks that were attempted."""


@times
@pytest.mark.parametrize("way", runs.STARTS)
def test_a_run_that_is_cancelled_at_any_moment_ends_and_so_do_its_services(
    way: str, times: int
) -> None:
    @settings(max_examples=EXAMPLES[way] * times // 3, deadline=None)
    @given(case=cases(), seconds=st.floats(0, 0.08))
    def check(case: Case, seconds: float) -> None:
        with tempfile.TemporaryDirectory() as directory:
            options = {"jobs": case.jobs, "keep_going": case.most is None}
            run, events = runs.start(way, *case[:2], Path(directory), **options)
            run.wait(seconds)
            run.cancel()
            assert run.wait(PATIENCE)
            for process in runs.service_processes(Path(directory)):
                with pytest.raises(ProcessLookupError):
                    os.kill(process, 0)
        ends = Counter(event.task for event in events if isinstance(event, TaskEnded))
        assert ends == dict.fromkeys(case.scripts, 1)
        assert isinstance(events[-1], RunEnded)

    check()


def options_of(case: Case) -> dict[str, Any]:
    return {"most": case.most, "watched": case.watched}


def jobs_of(way: str, case: Case) -> int:
    """Return how many tasks may run at once."""
    return 1 if way == "inline" else case.jobs or len(case.scripts)


def direct(case: Case, jobs: int, place: Path, choice: random.Random) -> Model:
    """Let a run of held tasks go on, one end after the other; return what it came to."""
    names, model = Plan(case.graph).names, case.model()
    while True:
        wait_until_none_is_idle(model, names, jobs, place)
        if not model.running:
            assert not model.serving
            return model
        dying = [s for s in model.serving if case.scripts[names[s]].dies_with]
        task = choice.choice(sorted(model.running) + sorted(dying))
        name, attempt = names[task], model.attempts[task]
        if task in model.serving:
            (place / f"{name}.die").touch()
            model.leave(task)
            attempt += 1
        else:
            (place / f"{name}.go").touch()
            model.step([task if case.scripts[name].ends_well(attempt) else ~task], 0)
        end_unneeded(model)
        wake_all(model)  # soon; and until then what else could run has begun
        if case.watched:
            wait_for_end(name, attempt, place)


def end_unneeded(model: Model) -> None:
    """End services that nobody needs any more, also those that are coming up; as a run does."""
    while unneeded := [s for s in model.running & model.services if not model.is_needed(s)]:
        model.step(unneeded, 0)
    while unneeded := sorted(model.unneeded()):
        model.leave(unneeded[0])


def wait_until_none_is_idle(model: Model, names: list[str], jobs: int, place: Path) -> None:
    """Wait until nothing more can run, and tell the model what has begun meanwhile."""

    def none_is_idle() -> bool:
        for task, name in enumerate(names):
            begun = (len(runs.noted(name, place)) + 1) // 2
            while model.attempts.get(task, 0) < begun:
                assert task in model.startable()
                assert len(model.running) < jobs
                model.running.add(task)
                model.attempts[task] = model.attempts.get(task, 0) + 1
        return len(model.running) == jobs or not model.startable()

    wait_until(none_is_idle, "a worker is idle while something is ready")


def wait_for_end(name: str, attempt: int, place: Path) -> None:
    wait_until(lambda: runs.ends_told(name, place) >= attempt, f"the end of {name} is not told")


def wait_until(happened: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, otherwise
        time.sleep(NAP)


def release_all(case: Case, place: Path, future: "Future[Result]") -> None:
    """Let everything that is held go on, until the run is over."""
    while not future.done():
        for name in case.scripts:
            (place / f"{name}.go").touch()
        time.sleep(NAP)


def check_accounts(case: Case, jobs: int, result: Result) -> None:
    """Hold what tasks tell of themselves, and how they ended, against what the case says."""
    plan, model = Plan(case.graph), case.model()
    died = {task for task in plan.services if has_died(case, plan.names[task], result)}
    for task, name in enumerate(plan.names):
        check_attempts(case, plan, task, result)
        for trace in result.of(name):
            for other in model.predecessors[task]:
                before = plan.names[other]
                if task not in plan.always:
                    forgiven = other in plan.forgiven or other in died
                    assert result.outcomes[before] in (GOOD | BAD if forgiven else GOOD)
                assert all(earlier.finish <= trace.start for earlier in result.of(before))
    assert result.most_at_once() <= jobs
    for pool, (_, limit) in enumerate(plan.pools):
        units = {plan.names[task]: of[pool] for task, of in plan.needs.items() if pool in of}
        assert result.most_units(units) <= limit
    failures = [
        task
        for task, name in enumerate(plan.names)
        if result.outcomes[name] in BAD and task not in plan.forgiven
    ]
    if not died and (case.most is None or len(failures) < case.most):
        expected = outcomes_without_stop(case)
        for name in unused(plan, expected):
            # How far it had come when none of its users was to run any more is a matter of time.
            expected[name] = result.outcomes[name]
        assert result.outcomes == expected


def has_died(case: Case, service: str, result: Result) -> bool:
    """Whether a service was up, and has ended while others needed it."""
    was_up = case.scripts[service].ends_well(result.attempts[service])
    return was_up and result.outcomes[service] in BAD


def has_any_died(case: Case, result: Result) -> bool:
    return any(has_died(case, name, result) for name in case.scripts)


def check_services(case: Case, result: Result) -> None:
    """Check that what needs a service ended before it, unless that died."""
    plan = Plan(case.graph)
    for service in plan.services:
        name = plan.names[service]
        if case.scripts[name].dies_with:
            continue
        for user in [plan.names[task] for task in plan.users(service)]:
            for trace in result.of(user) if result.outcomes[name] == "succeeded" else ():
                assert trace.finish <= result.service_ends[name]
                assert result.service_ends.get(user, 0.0) <= result.service_ends[name]


def check_attempts(case: Case, plan: Plan, task: int, result: Result) -> None:
    name = plan.names[task]
    script, most = case.scripts[name], plan.retries.get(task, 0) + 1
    count, noted = result.attempts[name], len(result.of(name))
    # What hangs notes nothing, nor need a service that is told to end before it is up.
    assert noted == count or (noted < count and (script.hangs or task in plan.services))
    last = next((n for n in range(1, most + 1) if script.ends_well(n)), most + 1)
    match result.outcomes[name]:
        case "succeeded" if task in plan.services:
            assert 1 <= count <= min(last, most)
        case "succeeded":
            assert count == last <= most
            assert not script.finds_done(last)
        case "cached" if task in plan.services:
            assert count == 0
        case "cached":
            assert count == last <= most
            assert script.finds_done(last)
        case "failed" | "timed_out" as outcome:
            assert 1 <= count < last or has_died(case, name, result)
            assert (outcome == "timed_out") is script.hangs
        case "skipped":
            assert count == 0
            assert BAD & set(result.outcomes.values())
        case other:
            pytest.fail(f"{name} has ended in another way: {other}")


def unused(plan: Plan, outcomes: Mapping[str, str]) -> set[str]:
    """Return the services that no task has used."""

    def is_used(service: int) -> bool:
        ran = [user for user in plan.users(service) if outcomes[plan.names[user]] != "skipped"]
        return any(user not in plan.services or is_used(user) for user in ran)

    return {plan.names[service] for service in plan.services if not is_used(service)}


def outcomes_without_stop(case: Case) -> dict[str, str]:
    """Return how all tasks end where no failure stops the others, and no service dies."""
    names, model = Plan(case.graph).names, case._replace(most=None).model()
    ended: list[int] = []
    while started := model.step(ended, 1) or model.asleep:
        ended = []
        for task in model.running & set(started):
            well = case.scripts[names[task]].ends_well(model.attempts[task])
            ended = [task if well else ~task]
        end_unneeded(model)
        wake_all(model)
    end_unneeded(model)
    return case.outcomes(model)


def wake_all(model: Model) -> None:
    for task in list(model.asleep):
        model.wake(task)


def check_events(way: str, case: Case, result: Result) -> None:
    """Let the model do what the events tell, and see that it would have done the same."""
    by_name, model = Plan(case.graph).by_name, case.model()
    with_commands = model.services or any(script.done_from for script in case.scripts.values())
    first, *events, last = result.events
    assert isinstance(first, RunStarted)
    assert isinstance(last, RunEnded)
    told: dict[str, str] = {}
    for event in events:
        assert not isinstance(event, RunStarted | RunEnded)
        task = by_name[event.task]
        if isinstance(event, TaskStarted):
            assert len(model.running) < jobs_of(way, case)
            model.asleep.discard(task)
            if way == "processes" and with_commands:
                # The best is taken, and told when there is a worker for it.
                assert task in model.startable()
                model.start(task)
            else:
                assert model.step([], 1) == [task]
            assert event.attempt == model.attempts[task]
        elif isinstance(event, TaskRetried):
            model.end(task, well=False)
            assert task not in model.outcome
        elif isinstance(event, ServiceReady):
            model.end(task, well=True)
            assert task in model.serving
            model.skip_what_cannot_run()
        else:
            assert event.task not in told
            told[event.task] = event.outcome
            if task in model.serving:
                model.leave(task)
            elif task in model.running:
                if task in model.services and event.outcome in GOOD:
                    assert not model.is_needed(task)
                    model.dismiss(task)
                model.end(task, well=event.outcome in GOOD)
                model.skip_what_cannot_run()
            assert event.outcome == case.outcomes(model)[event.task]
    assert told == result.outcomes
