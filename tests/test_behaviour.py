"""What a run promises, the same whether simulated, with functions in threads or with commands."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parallel_workers.graph import WorkGraph
from tests.support import runs
from tests.support.runs import Result, Script
from tests.support.strategies import work_graphs

Run = Callable[..., Result]


@pytest.fixture(params=list(runs.ALL))
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Runs a graph: `run(graph, scripts, jobs=…)`."""
    way = runs.ALL[request.param]

    def run_it(
        graph: WorkGraph, scripts: runs.Scripts | None = None, jobs: int = 2, **options: bool
    ) -> Result:
        return way(graph, scripts or {}, jobs, tmp_path, **options)

    return run_it


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
    scripts = {"a": Script(0.05), "b": Script(0.15)}
    result = run(graph, scripts, jobs=3)
    [last] = result.of("c")
    assert last.start >= max(result.of("a")[0].finish, result.of("b")[0].finish)


def test_a_task_does_not_wait_for_others_of_its_level(run: Run) -> None:
    graph = graph_of(slow=[], quick=[], behind_quick=["quick"])
    result = run(graph, {"slow": Script(0.5), "behind_quick": Script(0.01)}, jobs=2)
    assert result.of("behind_quick")[0].finish < result.of("slow")[0].finish


def test_independent_tasks_run_side_by_side(run: Run) -> None:
    result = run(graph_of(a=[], b=[], c=[]), dict.fromkeys("abc", Script(0.2)), jobs=3)
    assert result.most_at_once() == 3


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_no_more_run_at_once_than_are_allowed(run: Run, jobs: int) -> None:
    names = [f"t{number}" for number in range(6)]
    graph = graph_of(**{name: [] for name in names})
    result = run(graph, dict.fromkeys(names, Script(0.05)), jobs=jobs)
    assert result.most_at_once() <= jobs
    assert len(result.traces) == 6


def test_no_limit_lets_everything_run_that_can(run: Run) -> None:
    names = [f"t{number}" for number in range(8)]
    result = run(graph_of(**{n: [] for n in names}), dict.fromkeys(names, Script(0.4)), jobs=0)
    assert result.most_at_once() == 8


def test_a_group_ends_before_the_next_begins(run: Run) -> None:
    graph = groups(3, 2, 3)
    scripts = {name: Script(0.02 * place) for place, name in enumerate(graph.numbers)}
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


def test_a_failure_lets_nothing_new_start_and_what_runs_end(run: Run) -> None:
    graph = graph_of(bad=[], slow=[], later=["slow"], behind=["bad"])
    result = run(graph, {"bad": Script(0.05, failures=1), "slow": Script(0.3)}, jobs=2)
    assert result.outcomes == {
        "bad": "failed",
        "slow": "succeeded",
        "later": "skipped",
        "behind": "skipped",
    }


def test_keeping_going_runs_all_that_does_not_depend_on_a_failure(run: Run) -> None:
    graph = graph_of(bad=[], good=[], behind=["bad"], last=["good"], both=["behind", "last"])
    result = run(graph, {"bad": Script(failures=1)}, jobs=1, keep_going=True)
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


def test_a_pool_limits_its_tasks_and_no_others(run: Run) -> None:
    graph = WorkGraph()
    graph.pools["db"] = 1
    scripts = {}
    for number in range(3):
        graph.add(f"db{number}", pool="db")
        graph.add(f"free{number}")
        scripts |= {f"db{number}": Script(0.1), f"free{number}": Script(0.1)}
    result = run(graph, scripts, jobs=4)
    assert result.most_at_once({"db0", "db1", "db2"}) == 1
    assert result.most_at_once() > 1
    assert set(result.outcomes.values()) == {"succeeded"}


@pytest.mark.parametrize("way", ["functions", "commands"])
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


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), graph=work_graphs(), jobs=st.integers(1, 4), keep_going=st.booleans())
def test_simulation_and_threads_come_to_the_same_end(
    data: st.DataObject, graph: WorkGraph, jobs: int, keep_going: bool, tmp_path: Path
) -> None:
    names = list(graph.numbers)
    bad = data.draw(st.sets(st.sampled_from(names), max_size=2)) if keep_going and names else set()
    scripts = {name: Script(failures=9 if name in bad else 0) for name in names}
    simulated = runs.run_simulated(graph, scripts, jobs, tmp_path, keep_going=keep_going)
    real = runs.run_functions(graph, scripts, jobs, tmp_path, keep_going=keep_going)
    assert real.outcomes == simulated.outcomes
    assert real.most_at_once() <= jobs
    ended = {trace.task: trace.finish for trace in real.traces}
    predecessors = graph.predecessors()
    for trace in real.traces:
        for before in predecessors[graph.number(trace.task)]:
            assert ended[graph.name(before)] <= trace.start
