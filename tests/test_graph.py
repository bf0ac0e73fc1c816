"""Building graphs by hand: names, edges, cycles, selections."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_workers.errors import CycleError, GraphError, UnknownTaskError
from parallel_workers.graph import WorkGraph, reached
from parallel_workers.plan import Plan
from tests.support.strategies import work_graphs


def test_a_task_is_found_by_its_name() -> None:
    graph = WorkGraph()
    graph.add("build", command="make", duration="5m")
    assert "build" in graph
    assert graph["build"].definition.command == "make"
    assert graph["build"].definition.duration == 300


def test_predecessors_are_given_as_tasks_or_names_also_of_tasks_added_later() -> None:
    graph = WorkGraph()
    a = graph.add("a")
    graph.add("c", after=[a, "b", "a"])
    graph.add("b", after=["a"])
    assert [graph.name(n) for n in graph.topology().order] == ["a", "b", "c"]
    assert graph.predecessors()[graph.number("c")] == [0, 2]


def test_a_name_can_be_given_once_only() -> None:
    graph = WorkGraph()
    graph.add("a")
    with pytest.raises(GraphError, match="there is a task named a already"):
        graph.add("a")


def test_what_waits_for_a_name_that_nobody_has_is_an_error_that_suggests_the_nearest() -> None:
    graph = WorkGraph()
    graph.add("build")
    graph.add("test", after=["biuld"])
    with pytest.raises(UnknownTaskError, match=r'test waits for biuld.*did you mean "build"'):
        graph.topology()


def test_a_task_of_another_graph_cannot_be_waited_for() -> None:
    stranger = WorkGraph().add("a")
    with pytest.raises(GraphError, match="of another graph"):
        WorkGraph().add("b", after=[stranger])


def test_an_error_leaves_the_graph_as_it_was() -> None:
    graph = WorkGraph()
    for fields in ({"retries": -1}, {"comand": "x"}, {"after": "abc"}):
        with pytest.raises(GraphError):
            graph.add("b", **fields)
    assert len(graph) == 0
    assert graph.topology().order == []


@pytest.mark.parametrize("name", ["", "a\nb", "a\0b", "\ud800", "\x1b[0m", "a\u2028b"])
def test_a_name_that_no_line_can_show_is_refused(name: str) -> None:
    with pytest.raises(GraphError):
        WorkGraph().add(name)


@pytest.mark.parametrize("name", [" ", "a b", "$(rm)", "../..", "-rf", "🙂", "x" * 3000, "'\""])
def test_odd_names_are_names(name: str) -> None:
    graph = WorkGraph()
    assert graph.add(name).name == name


def test_a_cycle_is_told_by_its_names_in_order() -> None:
    graph = WorkGraph()
    graph.add("a", after=["c"])
    graph.add("b", after=["a"])
    graph.add("c", after=["b"])
    graph.add("before")
    graph.add("behind", after=["c", "before"])
    with pytest.raises(CycleError) as caught:
        graph.topology()
    assert caught.value.names == ("a", "b", "c")
    assert "a → b → c → a" in str(caught.value)


def test_the_shortest_of_several_cycles_is_told() -> None:
    graph = WorkGraph()
    ring = [f"r{number}" for number in range(10)]
    for number, name in enumerate(ring):
        graph.add(name, after=[ring[number - 1]])
    graph.add("x", after=["y"])
    graph.add("y", after=["x", "r0"])
    with pytest.raises(CycleError) as caught:
        graph.topology()
    assert caught.value.names == ("x", "y")


def test_a_task_that_waits_for_itself_is_a_cycle_of_one() -> None:
    graph = WorkGraph()
    graph.add("a", after=["a"])
    with pytest.raises(CycleError, match="the task a waits for itself"):
        graph.topology()


def test_a_cycle_through_a_gate_names_tasks_only() -> None:
    graph = WorkGraph()
    a, b = graph.add_plain("a"), graph.add_plain("b")
    gate = graph.add_gate()
    for edge in [(a, gate), (gate, b), (b, a)]:
        graph.connect(*edge)
    with pytest.raises(CycleError) as caught:
        graph.topology()
    assert caught.value.names == ("a", "b")


def test_a_gate_adds_nothing_to_positions() -> None:
    graph = WorkGraph()
    a, b, c, d = (graph.add_plain(name) for name in "abcd")
    gate = graph.add_gate()
    for edge in [(a, b), (b, gate), (a, gate), (gate, c), (gate, d)]:
        graph.connect(*edge)
    positions = graph.topology().positions
    assert [positions[n] for n in (a, b, c, d)] == [0, 1, 2, 2]


def test_a_selection_is_what_was_named_and_all_that_it_needs() -> None:
    graph = WorkGraph()
    graph.add("a", command="x")
    graph.add("b", after=["a"])
    graph.add("c", after=["a"])
    graph.add("d", after=["b", "c"])
    chosen = graph.needed(["b"])
    assert list(chosen.numbers) == ["a", "b"]
    assert chosen["a"].definition.command == "x"
    assert chosen.waits == [0, 1]


def test_a_selection_keeps_gates() -> None:
    graph = WorkGraph()
    a, b, c, d = (graph.add_plain(name) for name in "abcd")
    gate = graph.add_gate()
    for edge in [(a, gate), (b, gate), (gate, c), (gate, d)]:
        graph.connect(*edge)
    chosen = graph.needed(["c"])
    assert len(chosen) == 3
    assert chosen.topology().positions[chosen.number("c")] == 1


@given(work_graphs(), st.data())
def test_a_part_keeps_the_order_and_the_positions_of_its_tasks(
    graph: WorkGraph, data: st.DataObject
) -> None:
    numbers = sorted(graph.numbers.values())
    tasks = data.draw(st.sets(st.sampled_from(numbers))) if numbers else set()
    part = graph.part(tasks)
    assert list(part) == [graph.name(task) for task in sorted(tasks)]
    positions = graph.topology().positions
    for task in tasks:
        copy = part.number(graph.name(task))
        assert part.topology().positions[copy] == positions[task]
        behind = reached([copy], part.successors)
        for other in tasks:
            is_behind = part.number(graph.name(other)) in behind
            assert is_behind == (other in reached([task], graph.successors))
    assert len(Plan(part).names) == len(tasks)


@given(work_graphs())
def test_the_order_respects_every_edge_and_positions_are_longest_paths(graph: WorkGraph) -> None:
    order, positions = graph.topology()
    assert sorted(order) == list(range(len(graph.names)))
    place = {node: index for index, node in enumerate(order)}
    for node, before in enumerate(graph.predecessors()):
        assert all(place[other] < place[node] for other in before)
        assert positions[node] == max((positions[other] + 1 for other in before), default=0)


@given(work_graphs(), st.data())
def test_the_graph_can_grow_after_it_was_sorted(graph: WorkGraph, data: st.DataObject) -> None:
    graph.topology()
    graph.add("new", after=list(graph.numbers))
    deepest = max(graph.topology().positions, default=0)
    assert graph.topology().positions[graph.number("new")] == deepest
