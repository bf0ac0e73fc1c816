"""What a user is told of a plan before anything runs."""

import pytest

from parallel_workers.errors import CycleError
from parallel_workers.forecast import Planned
from parallel_workers.graph import WorkGraph


def graph() -> WorkGraph:
    graph = WorkGraph()
    a = graph.add("a", duration=1)
    b = graph.add("b", duration=3)
    graph.add("c", after=[a, b], duration=2)
    return graph


def test_it_says_what_comes_when_and_how_long_all_of_it_takes() -> None:
    forecast = graph().plan(jobs=1)
    assert forecast.positions == {"a": 0, "b": 0, "c": 1}
    assert forecast.critical_path == ["b", "c"]
    assert (forecast.lower_bound, forecast.makespan) == (6.0, 6.0)
    assert forecast.schedule == [
        Planned("b", 0, 0.0, 3.0),
        Planned("a", 0, 3.0, 4.0),
        Planned("c", 0, 4.0, 6.0),
    ]
    assert graph().plan(jobs=0).makespan == 5.0


def test_a_plan_is_kept_until_the_graph_changes() -> None:
    changing = graph()
    before = changing.compiled()
    assert changing.compiled() is before
    changing.add("d", after=["c"])
    assert changing.plan(jobs=1).critical_path == ["b", "c", "d"]


def test_a_cycle_is_told_in_order() -> None:
    circle = WorkGraph.from_predecessors({"a": ["c"], "b": ["a"], "c": ["b"]})
    with pytest.raises(CycleError, match="a → b → c → a"):
        circle.plan()


def test_nothing_takes_no_time() -> None:
    assert WorkGraph().plan(jobs=2).makespan == 0.0
