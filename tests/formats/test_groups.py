import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_workers import formats
from parallel_workers.errors import InvalidInput
from parallel_workers.graph import WorkGraph
from tests.formats.reading import edges, read, refused


def from_groups(*threads: Any) -> WorkGraph:
    return formats.from_data(list(threads), "groups")


def test_a_group_ends_before_the_next_of_its_thread_begins() -> None:
    graph = from_groups([["a", "b"], ["c", "d"]], [["e"], ["f"]])
    assert edges(graph) == {("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("e", "f")}


def test_empty_groups_and_threads_mean_nothing() -> None:
    graph = from_groups([], [[], ["a"], [], [], ["b"], []], [[]])
    assert edges(graph) == {("a", "b")}
    assert list(graph.numbers) == ["a", "b"]


def test_a_name_in_several_threads_is_one_task_that_waits_in_all_of_them() -> None:
    graph = from_groups([["a"], ["x"], ["b"]], [["c"], ["x"], ["d"]])
    assert edges(graph) == {("a", "x"), ("c", "x"), ("x", "b"), ("x", "d")}


def test_a_name_twice_in_a_group_counts_once() -> None:
    graph = from_groups([["a", "a"], ["b"]])
    assert graph.successors == [[1], []]
    assert graph.waits == [0, 1]


def test_the_same_step_in_several_threads_is_one_edge() -> None:
    graph = from_groups([["a"], ["b"]], [["a"], ["b"]], [["a", "c"], ["b"]])
    assert graph.waits[graph.numbers["b"]] == 2


def test_groups_of_thousands_are_joined_by_a_gate_and_not_by_millions_of_edges() -> None:
    before, after = ([f"{side}{n}" for n in range(5000)] for side in "ab")
    graph = from_groups([before, after])
    assert sum(len(row) for row in graph.successors) == 10_000
    assert graph.topology().positions[graph.numbers["b0"]] == 1


def test_one_before_many_needs_no_gate() -> None:
    graph = from_groups([["a"], ["b", "c"], ["d"]])
    assert None not in graph.names


def test_comments_and_trailing_commas_are_read(tmp_path: Path) -> None:
    text = """# made by hand
    [
        # the first thread
        [["task1", "task2",], ["task3", "task4"], []],  # ends empty
        [["task8", "task9"], ["task10", "task11"], [],],
    ]
    """
    assert len(read(tmp_path, text)) == 8


groups = st.lists(st.lists(st.lists(st.sampled_from("abcdefg"), max_size=4), max_size=4))


@given(groups)
def test_edges_are_those_of_the_obvious_reading(threads: list[list[list[str]]]) -> None:
    expected = {
        (before, after)
        for thread in threads
        for first, second in pairwise([group for group in thread if group])
        for before in first
        for after in second
    }
    if has_circle(expected):
        with pytest.raises(InvalidInput, match="wait"):
            from_groups(*threads)
    else:
        graph = from_groups(*threads)
        assert edges(graph) == expected
        assert set(graph.numbers) == {n for thread in threads for group in thread for n in group}


def has_circle(pairs: set[tuple[str, str]]) -> bool:
    """Tell whether something is left when all that nothing comes before is taken away."""
    while pairs:
        blocked = {after for _, after in pairs}
        rest = {(before, after) for before, after in pairs if before in blocked}
        if rest == pairs:
            return True
        pairs = rest
    return False


def test_a_circle_tells_the_groups_that_make_it(tmp_path: Path) -> None:
    text = '[\n[["a", "b"], ["c"]],\n[["c", "d"], [], ["a"]]\n]'
    assert refused(tmp_path, text) == [
        "work.json:2: these tasks wait for each other: a → c → a; a before c in thread 1 "
        "(groups 1 and 2), c before a in thread 2 (groups 1 and 3)"
    ]


def test_a_name_in_two_groups_of_a_thread_is_a_circle(tmp_path: Path) -> None:
    assert refused(tmp_path, '[[["a"], ["b", "a"]]]') == [
        "work.json:1: the task a waits for itself; a before a in thread 1 (groups 1 and 2)"
    ]
    (problem,) = refused(tmp_path, '[[["a"], ["b"], ["a"]]]')
    assert "a before b in thread 1 (groups 1 and 2), b before a in thread 1 (groups 2" in problem


def test_a_task_between_two_circles_is_not_taken_for_one_of_them() -> None:
    with pytest.raises(InvalidInput, match=r"the task [ab] waits for itself"):
        from_groups([["between"]], [["a"], ["a", "b", "between"], ["b"]])


def test_a_long_circle_is_told_in_short(tmp_path: Path) -> None:
    chain = [[f"t{n}"] for n in range(1000)]
    with pytest.raises(InvalidInput) as caught:
        from_groups([*chain, ["t0"]])
    assert len(str(caught.value)) < 1000
    assert str(caught.value).endswith(", and 995 more")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[["a", "b"], ["c"]]', 'the lists are too shallow: found "a" where a group should be;'),
        ('[[[["a"]]]]', 'the lists are too deep: found ["a"] where a name should be; threads'),
    ],
)
def test_lists_of_the_wrong_depth_are_one_problem(tmp_path: Path, text: str, problem: str) -> None:
    (told,) = refused(tmp_path, text)
    assert told.startswith(f"work.json:1: {problem}")


def test_what_stands_in_a_wrong_place_is_told_as_people_count(tmp_path: Path) -> None:
    text = '[[["a"],\n 5],\n {"x": 1},\n [["b", 3, ""]]]'
    assert refused(tmp_path, text) == [
        "work.json:2: thread 1, group 2: found 5 where a list of names should be",
        'work.json:3: thread 2: found {"x": 1} where a list of groups should be',
        "work.json:4: thread 3, group 1, name 2: 3 is not the name of a task; the name of a task "
        "is text, in quotes",
        "work.json:4: thread 3, group 1, name 3: the name of a task cannot be empty",
    ]


def test_groups_of_python_code_may_be_tuples_and_tell_places() -> None:
    assert edges(from_groups((("a",), ("b",)))) == {("a", "b")}
    with pytest.raises(InvalidInput) as caught:
        from_groups([["a", 5]])
    assert caught.value.problems == [
        "groups[0][0][1]: thread 1, group 1, name 2: 5 is not the name of a task; the name of a "
        "task is text, in quotes"
    ]


def test_a_thread_is_written_for_each_part_and_a_group_for_each_position() -> None:
    graph = from_groups([["a", "b"], ["c", "d"], ["e"]], [["x"]])
    assert formats.dump(graph, "groups") == (
        '[\n  [["a", "b"], ["c", "d"], ["e"]],\n  [["x"]]\n]\n'
    )
    assert formats.losses(graph, "groups") == []


@given(groups)
def test_written_groups_keep_every_wait(threads: list[list[list[str]]]) -> None:
    try:
        graph = from_groups(*threads)
    except InvalidInput:
        return
    again = formats.from_data(json.loads(formats.dump(graph, "groups")), "groups")
    assert waits(again) >= waits(graph)
    assert bool(formats.losses(graph, "groups")) == (waits(again) > waits(graph))


def waits(graph: WorkGraph) -> set[tuple[str, str]]:
    """Return who must end before whom begins, directly or not."""
    found = edges(graph)
    while more := {(a, d) for a, b in found for c, d in found if b == c} - found:
        found |= more
    return found


def test_waits_and_commands_that_groups_change_are_told() -> None:
    graph = formats.from_data(
        [
            {"name": "a", "successors": ["c"], "command": "make"},
            {"name": "b", "successors": ["d"]},
            {"name": "c", "successors": ["d"]},
            {"name": "d"},
        ],
        "records",
    )
    assert formats.losses(graph, "groups") == [
        "groups hold names only: commands and other fields of 1 task are left out",
        "a group waits for all of the group before it: 1 task would wait for more than now",
    ]


def test_barriers_of_very_many_tasks_are_no_loss() -> None:
    first, second, last = ([f"{kind}{n}" for n in range(20_000)] for kind in "abc")
    graph = from_groups([first, last], [second, last])
    assert formats.losses(graph, "groups") == []
