"""Plans: priorities, critical paths, bounds."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_workers.definition import Definition, Service
from parallel_workers.errors import GraphError
from parallel_workers.formats import from_data
from parallel_workers.graph import WorkGraph
from parallel_workers.plan import Plan
from parallel_workers.simulate import simulate
from tests.support.strategies import work_graphs


def test_an_empty_graph_has_an_empty_plan() -> None:
    plan = Plan(WorkGraph())
    assert (plan.tasks, plan.work, plan.span, plan.width, plan.critical_path) == (0, 0, 0, 0, [])
    assert plan.lower_bound(2) == 0
    assert simulate(plan, 2) == []


def test_tasks_are_numbered_by_the_longest_path_that_begins_with_them() -> None:
    graph = WorkGraph()
    graph.add("leaf", duration=2)
    graph.add("root", duration=1)
    graph.add("end", duration=2, after=["root"])
    plan = Plan(graph)
    assert plan.names == ["root", "leaf", "end"]
    assert plan.paths == [3, 2, 2]


def test_equals_keep_the_order_of_the_file() -> None:
    graph = WorkGraph()
    for name in "cab":
        graph.add(name)
    assert Plan(graph).names == ["c", "a", "b"]


def test_a_seed_numbers_tasks_at_random_and_always_in_the_same_way() -> None:
    graph = WorkGraph()
    for number in range(20):
        graph.add(f"t{number}", duration=number)
    shuffled = Plan(graph, seed=1).names
    assert sorted(shuffled) == sorted(graph)
    assert shuffled == Plan(graph, {"t3": 99.0}, ["t4"], seed=1).names
    assert len({tuple(Plan(graph, seed=seed).names) for seed in range(3)}) == 3


@given(work_graphs(), st.integers(min_value=0))
def test_a_shuffled_plan_differs_in_its_numbers_only(graph: WorkGraph, seed: int) -> None:
    plan, shuffled = Plan(graph), Plan(graph, seed=seed)
    assert shuffled.span == pytest.approx(plan.span)
    assert sum(shuffled.durations[shuffled.by_name[name]] for name in shuffled.critical_path) == (
        pytest.approx(shuffled.span)
    )
    done = [shuffled.names[slot.task] for slot in simulate(shuffled, 1)]
    for name in plan.names:
        for successor in graph.successors[graph.number(name)]:
            if graph.names[successor] is not None:
                assert done.index(name) < done.index(graph.name(successor))


def test_a_task_without_a_duration_counts_one_second_and_one_of_zero_counts_nothing() -> None:
    graph = WorkGraph()
    graph.add("unknown")
    graph.add("nothing", duration=0)
    assert Plan(graph).work == 1


def test_a_pool_bounds_the_makespan() -> None:
    graph = WorkGraph()
    graph.pools["db"] = 2
    for number in range(6):
        graph.add(f"t{number}", duration=4, pool="db")
    plan = Plan(graph)
    assert plan.lower_bound(jobs=0) == 12
    assert max(slot.finish for slot in simulate(plan, 0)) == 12


def test_gates_are_not_counted_and_not_on_the_critical_path() -> None:
    graph = WorkGraph()
    a, b, c, d = (graph.add_plain(name) for name in "abcd")
    gate = graph.add_gate()
    for edge in [(a, gate), (b, gate), (gate, c), (gate, d)]:
        graph.connect(*edge)
    plan = Plan(graph)
    assert (plan.tasks, plan.edges, plan.width) == (4, 4, 2)
    assert plan.critical_path == ["a", "c"]
    assert plan.span == 2


@given(work_graphs(), st.integers(0, 5))
def test_a_schedule_is_possible_and_within_its_bounds(graph: WorkGraph, jobs: int) -> None:
    plan = Plan(graph)
    slots = simulate(plan, jobs)
    finish = {slot.task: slot.finish for slot in slots}
    start = {slot.task: slot.start for slot in slots}
    assert sorted(finish) == list(range(plan.tasks))
    for task in range(plan.tasks):
        for successor in plan.successors[task]:
            assert finish[task] <= start[successor]
    makespan = max(finish.values(), default=0.0)
    assert plan.lower_bound(jobs) <= makespan + 1e-9
    for worker in {slot.worker for slot in slots}:
        own = sorted((slot.start, slot.finish) for slot in slots if slot.worker == worker)
        assert all(first[1] <= second[0] for first, second in itertools.pairwise(own))
    if jobs:
        assert len({slot.worker for slot in slots}) <= jobs
        # Graham's bound for any list schedule.
        bound = plan.work / jobs + (1 - 1 / jobs) * plan.span
        assert makespan <= bound + 1e-9
    else:
        assert makespan == pytest.approx(plan.span)


@given(work_graphs())
def test_the_critical_path_is_a_path_as_long_as_the_span(graph: WorkGraph) -> None:
    plan = Plan(graph)
    path = plan.critical_path
    duration = dict(zip(plan.names, plan.durations, strict=True))
    assert sum(duration[name] for name in path) == pytest.approx(plan.span)
    for earlier, later in itertools.pairwise(path):
        assert graph.number(later) in graph.successors[graph.number(earlier)]


def test_one_worker_needs_the_whole_work() -> None:
    graph = WorkGraph()
    for number in range(5):
        graph.add(f"t{number}", duration=number)
    plan = Plan(graph)
    assert max(slot.finish for slot in simulate(plan, 1)) == plan.work == plan.lower_bound(1)


def test_an_optimum_known_by_construction_is_met() -> None:
    """Two workers filled to the brim: each long task with its complement."""
    graph = WorkGraph()
    for number in range(1, 5):
        graph.add(f"up{number}", duration=number)
        graph.add(f"down{number}", duration=10 - number)
    plan = Plan(graph)
    assert max(slot.finish for slot in simulate(plan, 2)) == 20 == plan.lower_bound(2)


@pytest.mark.shared
def test_on_the_standard_task_graphs_it_stays_close_to_the_optimum(shared_data: Path) -> None:
    cases = json.loads((shared_data / "stg50.json").read_text())
    worst, total, count = 0.0, 0.0, 0
    for case in cases:
        graph = WorkGraph()
        for number, duration in enumerate(case["durations"]):
            graph.add_plain(str(number))
            graph.definitions[number] = type(graph["0"].definition)(duration=float(duration))
        for edge in case["edges"]:
            graph.connect(*edge)
        plan = Plan(graph)
        for jobs, optimum in case["optimum"].items():
            if optimum is None:
                continue
            makespan = max(slot.finish for slot in simulate(plan, int(jobs)))
            assert makespan >= optimum
            assert plan.lower_bound(int(jobs)) <= optimum
            over = makespan / optimum - 1
            worst, total, count = max(worst, over), total + over, count + 1
    assert count > 700
    assert total / count < 0.005
    assert worst < 0.2


def test_a_measured_duration_wins_over_a_declared_one() -> None:
    graph = WorkGraph()
    graph.add("a", duration=9)
    graph.add("b", duration=1)
    graph.add("c")
    plan = Plan(graph, measured={"a": 2.0, "b": 5.0, "gone": 7.0})
    assert dict(zip(plan.names, plan.durations, strict=True)) == {"b": 5.0, "a": 2.0, "c": 1.0}
    assert plan.names == ["b", "a", "c"]


def test_tasks_that_use_the_console_take_turns_and_keep_what_else_they_need() -> None:
    graph = WorkGraph()
    graph.pools["db"] = 3
    graph.add("a", command="vi a", console=True, pool={"db": 2})
    graph.add("b", command="vi b", console=True)
    graph.add("c", command="make")
    graph.add("d", command="apply", confirm="Really?")
    plan = Plan(graph)
    plan.have_console(asked=[plan.by_name["d"]])
    assert plan.pools == [("db", 3), ("the console", 1)]
    assert {plan.names[task]: needs for task, needs in plan.needs.items()} == {
        "a": {0: 2, 1: 1},
        "b": {1: 1},
        "d": {1: 1},
    }


def test_a_service_is_planned_for_as_declared_whatever_it_was_measured_to_last() -> None:
    graph = WorkGraph()
    graph.add("db", command="postgres", duration=2, service={"port": 5432})
    assert Plan(graph, {"db": 3600.0}).durations == [2.0]


def test_nobody_needs_a_service_whose_users_are_done_or_such_services_themselves() -> None:
    graph = WorkGraph()
    disk = graph.add("disk", command="serve", service={"log": "up"})
    db = graph.add("db", command="postgres", service={"port": 5432}, after=[disk])
    graph.add("test", command="pytest", after=[db])
    graph.add("idle", command="serve", service={"log": "up"})
    plan = Plan(graph)

    def names(done: set[str]) -> set[str]:
        needless = plan.not_needed({plan.by_name[name] for name in done})
        return {plan.names[task] for task in needless}

    assert names(set()) == {"idle"}
    assert names({"test"}) == {"idle", "db", "disk"}


def test_a_service_is_needed_through_gates() -> None:
    graph = from_data([[["db"], ["a", "b"]]], "groups")
    [db] = [number for number in graph.numbers.values() if graph.names[number] == "db"]
    graph.definitions[db] = Definition(command="serve", service=Service(port=1))
    plan = Plan(graph)
    assert [plan.names[user] for user in plan.users(plan.by_name["db"])] == ["a", "b"]


@pytest.mark.parametrize(
    ("field", "value"), [("pool", "db"), ("always", True), ("done_if", "true"), ("console", True)]
)
def test_what_has_no_meaning_for_a_service_is_refused(field: str, value: Any) -> None:
    graph = WorkGraph()
    fields: Any = {"service": {"port": 5432}, field: value}
    graph.add("db", command="postgres", **fields)
    with pytest.raises(GraphError, match="task db: a service cannot have"):
        Plan(graph)


def test_a_service_ends_in_a_schedule_when_nobody_needs_it() -> None:
    graph = WorkGraph()
    db = graph.add("db", command="postgres", duration=1, service={"port": 5432})
    test = graph.add("test", command="pytest", duration=2, after=[db])
    graph.add("report", command="report", duration=1, after=[test])
    assert [slot.finish for slot in simulate(Plan(graph), jobs=1)] == [1.0, 3.0, 4.0]


def test_among_equals_what_is_urgent_comes_first_and_else_the_order_stays() -> None:
    graph = WorkGraph()
    for name in "abcd":
        graph.add(name)
    graph.add("long", duration=5)
    assert Plan(graph, urgent={"c", "gone"}).names == ["long", "c", "a", "b", "d"]
