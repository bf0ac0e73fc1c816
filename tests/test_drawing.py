"""How a run is shown in a notebook."""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given

from parallel_workers.drawing import MOST_TASKS, Layout, lay_out
from parallel_workers.errors import GraphError
from parallel_workers.graph import WorkGraph
from parallel_workers.run import Run
from tests.support.strategies import work_graphs


def shown(run: Run) -> ElementTree.Element:
    """Return what a notebook gets; it is well-formed, so that no browser has to guess."""
    return ElementTree.fromstring(run._repr_html_())


def text_of(run: Run) -> str:
    return " ".join(shown(run).itertext())


def drawn(run: Run) -> list[str]:
    """Return what stands in each box, and shows where somebody points at it."""
    groups = shown(run).iterfind(".//{*}g[{*}title]")
    return [" ".join(group.itertext()) for group in groups]


def run_of(predecessors: Mapping[str, Sequence[str]], call: Callable[[str], object] = str) -> Run:
    graph = WorkGraph.from_predecessors(predecessors, call=call)
    return graph.run(jobs=1, check=False, keep_going=True)


def fail_at(*names: str) -> Callable[[str], None]:
    def call(name: str) -> None:
        if name in names:
            raise ValueError(f"no {name}")

    return call


def crossings(layout: Layout) -> int:
    """Count pairs of lines that cross, one by one."""
    place = {point: at for column in layout.columns for at, point in enumerate(column)}
    found = 0
    for column in layout.columns:
        ends = [(place[a], place[b]) for a in column for b in layout.lines[a]]
        found += sum(a < c and b > d for a, b in ends for c, d in ends)
    return found


def test_every_task_is_drawn_with_its_name_and_its_outcome() -> None:
    run = run_of({"a": [], "b": ["a"], "c": ["b"]}, fail_at("b"))
    assert [re.sub(r", \d+ m?s", "", text) for text in drawn(run)] == [
        "a\nsucceeded ✓ a",
        "b\nfailed\nValueError: no b ✗ b",
        "c\nskipped\nbecause of b – c",
    ]


def test_the_title_counts_the_outcomes_and_says_how_long_it_took() -> None:
    run = run_of({"a": [], "b": ["a"], "c": ["b"], "d": []}, fail_at("b"))
    title = text_of(run).split("a\n")[0]
    assert re.fullmatch(
        rf"Run {run.id}\s+4 tasks in \d+ m?s: ✓ 2 succeeded, ✗ 1 failed, – 1 skipped\s*", title
    )


def test_a_run_under_way_shows_what_is_to_go() -> None:
    graph = WorkGraph()
    go = threading.Event()
    graph.add("waits", go.wait, 20)
    graph.add("next", str, after=["waits"])
    run = graph.start(jobs=1)
    assert "2 to go" in text_of(run)
    go.set()
    run.wait()
    assert "2 succeeded" in text_of(run)


def test_what_failed_stands_below_with_its_error() -> None:
    run = run_of({"a": [], "b": []}, fail_at("b"))
    rows = [[cell.text for cell in row] for row in shown(run).iterfind(".//tr")]
    assert rows == [["✗ failed", "b", "ValueError: no b"]]


def test_of_many_failures_the_first_are_shown() -> None:
    names = [f"t{number}" for number in range(30)]
    rows = list(shown(run_of(dict.fromkeys(names, ()), fail_at(*names))).iterfind(".//tr"))
    assert len(rows) == 21
    assert "… and 10 more" in "".join(rows[-1].itertext())


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "\"&'<", "]]>", "</svg></table>"])
def test_names_and_errors_cannot_be_taken_for_markup(name: str) -> None:
    run = run_of({name: []}, fail_at(name))
    html = run._repr_html_()
    assert "<script" not in html
    assert name not in html
    assert f"ValueError: no {name}" in text_of(run)


def test_long_names_are_shortened_and_shown_whole_where_somebody_points() -> None:
    name = "x" * 100 + "end"
    (box,) = drawn(run_of({name: []}))
    assert box.startswith(f"{name}\n")
    assert box.endswith("✓ xxxxxxxxxxxx…xxxxxxxxend")


def test_an_error_that_cannot_be_told_is_shown_by_its_type() -> None:
    class Odd(Exception):  # noqa: N818
        def __str__(self) -> str:
            raise GraphError("not even this")

    def fail(name: str) -> None:
        raise Odd

    assert text_of(run_of({"a": []}, fail)).endswith("Odd")


def test_a_graph_of_too_many_tasks_is_counted_in_a_table() -> None:
    names = [f"t{number}" for number in range(MOST_TASKS + 1)]
    run = run_of(dict.fromkeys(names, ()), fail_at("t7"))
    assert drawn(run) == []
    rows = [[cell.text for cell in row] for row in shown(run).iterfind(".//tr")]
    assert rows == [
        ["✓ succeeded", f"{MOST_TASKS}"],
        ["✗ failed", "1"],
        ["✗ failed", "t7", "ValueError: no t7"],
    ]


def test_a_graph_of_too_many_edges_is_counted_in_a_table() -> None:
    names = [f"t{number}" for number in range(100)]
    run = run_of({name: names[:number] for number, name in enumerate(names)})
    assert drawn(run) == []
    assert "100 succeeded" in text_of(run)


def test_a_run_of_nothing_is_shown() -> None:
    assert "0 tasks" in text_of(WorkGraph().run())


def test_commands_and_attempts_are_told() -> None:
    graph = WorkGraph()
    graph.add("make", command="exit 3", retries=1)
    (box,) = drawn(graph.run(check=False))
    assert re.match(r"make\nfailed at attempt 2, \d+ m?s\nCommandFailed: .*exit status 3", box)


def test_edges_of_a_task_are_led_past_the_tasks_between() -> None:
    plan = WorkGraph.from_predecessors({"b": ["a"], "c": ["b", "a"]}).compiled()
    layout = lay_out(plan)
    assert layout is not None
    a, b, c = (plan.names.index(name) for name in "abc")
    (passing,) = {*layout.lines[a]} - {b}
    assert layout.columns == [[a], [b, passing], [c]]
    assert layout.lines[passing] == [c]


def test_a_group_and_what_waits_for_it_meet_in_a_point_between() -> None:
    plan = WorkGraph.from_groups([[["a", "b", "c"], ["d", "e", "f"]]]).compiled()
    layout = lay_out(plan)
    assert layout is not None
    assert [len(column) for column in layout.columns] == [3, 1, 3]
    assert sum(map(len, layout.lines)) == 6


def test_what_can_be_drawn_without_crossings_is() -> None:
    shuffled = {"root": [], "c": ["root"], "a": ["root"], "b": ["root"]}
    leaves = {f"{leaf}{name}": [name] for leaf in "xyz" for name in "abc"}
    layout = lay_out(WorkGraph.from_predecessors({**shuffled, **leaves}).compiled())
    assert layout is not None
    assert crossings(layout) == 0


@given(work_graphs())
def test_all_lines_join_neighbouring_columns_and_nothing_overlaps(graph: WorkGraph) -> None:
    plan = graph.compiled()
    layout = lay_out(plan)
    assert layout is not None
    column_of = {p: at for at, column in enumerate(layout.columns) for p in column}
    assert sorted(column_of) == list(range(len(layout.lines)))
    for point, others in enumerate(layout.lines):
        assert all(column_of[other] == column_of[point] + 1 for other in others)
    for task in range(plan.tasks):
        for other in range(plan.tasks):
            same = plan.positions[task] == plan.positions[other]
            assert same == (column_of[task] == column_of[other])
    for column in layout.columns:
        for upper, lower in pairwise(column):
            assert layout.heights[lower] - layout.heights[upper] > 9


@given(work_graphs())
def test_the_lines_from_a_task_reach_its_successors_and_no_others(
    graph: WorkGraph,
) -> None:
    plan = graph.compiled()
    layout = lay_out(plan)
    assert layout is not None
    nodes = len(plan.successors)
    for node in range(nodes):
        reached = []
        waiting = list(layout.lines[node])
        while waiting:
            point = waiting.pop()
            if point < nodes:
                reached.append(point)
            else:
                waiting += layout.lines[point]
        assert sorted(reached) == sorted(plan.successors[node])
