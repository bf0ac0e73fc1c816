import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_workers import formats
from parallel_workers.documents.problems import Findings
from parallel_workers.errors import UsageError
from parallel_workers.graph import WorkGraph
from tests.formats.reading import edges, read, refused


def from_names(*names: str) -> WorkGraph:
    findings = Findings()
    graph = formats.reader_named("edges").read(names, findings)
    assert findings.problems == []
    return graph


def test_the_first_name_of_a_pair_comes_before_the_second(tmp_path: Path) -> None:
    graph = read(tmp_path, "a b\nb c\n", "work.edges")
    assert edges(graph) == {("a", "b"), ("b", "c")}
    assert list(graph.numbers) == ["a", "b", "c"]


def test_a_line_break_is_white_space_like_any_other(tmp_path: Path) -> None:
    graph = read(tmp_path, "\n a\nb\tb\r\n\r\nc  d\ne", "work.tsort")
    assert edges(graph) == {("a", "b"), ("b", "c"), ("d", "e")}


def test_a_name_paired_with_itself_is_a_task_and_no_edge() -> None:
    graph = from_names("a", "a", "b", "c", "b", "b")
    assert list(graph.numbers) == ["a", "b", "c"]
    assert edges(graph) == {("b", "c")}


def test_an_edge_that_is_repeated_counts_once() -> None:
    graph = from_names(*["a", "b"] * 3)
    assert graph.successors == [[1], []]
    assert graph.waits == [0, 1]


@pytest.mark.parametrize(
    "name", ["@ansible/machines/run", "[x]", "a:", "#1", "a\u00a0b", "🎉", "-"]
)
def test_any_name_without_white_space_can_be_written_and_read(tmp_path: Path, name: str) -> None:
    graph = from_names("alone", "alone", name, "b")
    text = formats.dump(graph, "edges")
    assert text == f"alone alone\n{name} b\n"
    assert edges(read(tmp_path, text, "work.edges")) == {(name, "b")}


def test_an_odd_number_of_names_is_told_with_the_line_of_the_last(tmp_path: Path) -> None:
    assert refused(tmp_path, "a b\nb c\nd\n\n", "work.edges") == [
        'work.edges:3: "d" is the last of an odd number of names; give pairs, where the first '
        "comes before the second, and a task alone twice"
    ]


def test_every_name_that_cannot_be_one_is_told_with_its_line(tmp_path: Path) -> None:
    assert refused(tmp_path, "a b\nb \x1b[31m\n\x07 a\n", "work.edges") == [
        r'work.edges:2: "\u001b[31m" cannot be the name of a task: it holds the control character '
        "U+001B; leave out line breaks and other control characters",
        r'work.edges:3: "\u0007" cannot be the name of a task: it holds the control character '
        "U+0007; leave out line breaks and other control characters",
    ]


def test_a_circle_is_told_with_the_line_of_its_first_edge(tmp_path: Path) -> None:
    assert refused(tmp_path, "x a\na y\nb\nc c a\na b", "work.edges") == [
        "work.edges:5: these tasks wait for each other: a → b → c → a"
    ]


@pytest.mark.parametrize("text", ["a b\n\nb c\n", "  a\t@x/y \r\n", "//:a //:b", "1 2\n2 3\n"])
def test_two_plain_words_a_line_are_edges_whatever_the_file_is_called(
    tmp_path: Path, text: str
) -> None:
    assert edges(read(tmp_path, text, "input"))


@pytest.mark.parametrize(
    "text",
    [
        "a: b",
        "- a\n- b",
        "a =1",
        "tasks: {}\n",
        "--- a",
        "'a b' c",
        "a b\nc",
        "a b c",
        "graph {\n}",
        "digraph G{ a",
        "a b;",
        "# comment",
        "? a\n: b",
        "&a b",
        "all: x",
    ],
)
def test_what_another_syntax_would_read_is_not_taken_for_edges(tmp_path: Path, text: str) -> None:
    assert not formats.reader_named("edges").fits(text)


pairs = st.lists(st.tuples(st.sampled_from("abcdefg"), st.sampled_from("abcdefg")), max_size=12)


@pytest.mark.program("tsort")
@given(pairs)
def test_tsort_takes_and_refuses_the_same_lists(found: list[tuple[str, str]]) -> None:
    text = "".join(f"{before} {after}\n" for before, after in found)
    tsort = subprocess.run(["tsort"], input=text, capture_output=True, text=True)
    names = [name for pair in found for name in pair]
    if tsort.returncode:
        findings = Findings()
        formats.reader_named("edges").read(names, findings)
        assert "wait" in findings.problems[0].message
        return
    graph = from_names(*names)
    assert edges(graph) == {(before, after) for before, after in found if before != after}
    assert sorted(tsort.stdout.split()) == sorted(graph.numbers)


@pytest.mark.program("tsort")
@given(pairs.map(lambda found: [(a, b) for a, b in found if a <= b]))
def test_tsort_reads_what_is_written_and_so_do_we(found: list[tuple[str, str]]) -> None:
    graph = from_names(*[name for pair in found for name in pair])
    text = formats.dump(graph, "edges")
    again = from_names(*text.split())
    assert edges(again) == edges(graph)
    assert set(again.numbers) == set(graph.numbers)
    tsort = subprocess.run(["tsort"], input=text, capture_output=True, text=True, check=True)
    order = {name: place for place, name in enumerate(tsort.stdout.split())}
    assert set(order) == set(graph.numbers)
    assert all(order[before] < order[after] for before, after in edges(graph))


def test_barriers_are_multiplied_out_and_lone_tasks_paired() -> None:
    graph = formats.from_data([[["a", "b"], ["c", "d"]], [["e"]]], "groups")
    assert formats.dump(graph, "edges") == "a c\na d\nb c\nb d\ne e\n"


def test_names_with_white_space_are_refused_with_some_of_them() -> None:
    graph = WorkGraph()
    for name in ("a b", "c d", "plain", "e f", "g h", " "):
        graph.add(name)
    with pytest.raises(UsageError) as caught:
        formats.dump(graph, "edges")
    assert str(caught.value) == (
        "in an edge list white space parts names, and cannot be in one, as in "
        '"a b", "c d", "e f" and 2 more; rename these tasks, or write another format'
    )


def test_commands_that_edge_lists_leave_out_are_told() -> None:
    graph = from_names("a", "b")
    assert formats.losses(graph, "edges") == []
    graph.add("c", command="make")
    assert formats.losses(graph, "edges") == [
        "edge lists hold names only: commands and other fields of 1 task are left out"
    ]


def test_barriers_that_would_become_too_many_edges_are_refused() -> None:
    many = [[f"{side}{n}" for n in range(1500)] for side in "ab"]
    graph = formats.from_data([many], "groups")
    with pytest.raises(UsageError, match="2,250,000 edges"):
        formats.dump(graph, "edges")
