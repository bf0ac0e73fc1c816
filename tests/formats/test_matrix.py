from pathlib import Path

import pytest

from parallel_workers import formats, load
from parallel_workers.formats import _matrix, workfile
from tests.formats.reading import edges, facts, read, refused
from tests.support.program import run, write_work

WORK = """
env: {CC: clang, os: none}
tasks:
  lint: {}
  unit: {}
  test:
    command: tox
    env: {CC: gcc}
    matrix: {python: ["3.11", "3.12"], os: [a, 1]}
    after: [lint, unit]
  pack: {after: test}
  send: {after: ["test[python=3.12,os=1]", pack]}
"""
NAMES = [f"test[python={python},os={os}]" for python in ("3.11", "3.12") for os in ("a", "1")]


def matrix(value: str, more: str = "") -> str:
    return f"tasks:\n  first: {{}}\n  task:\n    matrix: {value}\n{more}"


def test_a_matrix_becomes_a_task_for_each_combination_in_order(tmp_path: Path) -> None:
    graph = read(tmp_path, WORK, "work.yaml")
    assert list(graph) == ["lint", "unit", *NAMES, "pack", "send"]
    assert {graph[name].definition.command for name in NAMES} == {"tox"}


def test_its_variables_go_over_those_of_the_file_and_of_the_task(tmp_path: Path) -> None:
    graph = read(tmp_path, WORK, "work.yaml")
    assert graph[NAMES[2]].definition.env == {"CC": "gcc", "os": "a", "python": "3.12"}
    text = matrix("{A: [x]}", "    env: {A: own}\n")
    assert read(tmp_path, text, "work.yaml")["task[A=x]"].definition.env == {"A": "x"}


def test_its_name_stands_for_all_and_each_can_be_named(tmp_path: Path) -> None:
    graph = read(tmp_path, WORK, "work.yaml")
    assert edges(graph) == {
        *((before, name) for before in ("lint", "unit") for name in NAMES),
        *((name, "pack") for name in NAMES),
        (NAMES[3], "send"),
        ("pack", "send"),
    }


def test_what_waits_for_it_costs_an_edge_each(tmp_path: Path) -> None:
    values = ", ".join(map(str, range(50)))
    more = "".join(f"  t{number}: {{after: task}}\n" for number in range(50))
    graph = read(tmp_path, matrix(f"{{A: [{values}]}}", more), "work.yaml")
    assert sum(map(len, graph.successors)) == 100


def test_a_matrix_that_waits_for_a_matrix_waits_for_all_of_it(tmp_path: Path) -> None:
    text = (
        "tasks: {a: {matrix: {X: [1, 2]}}, b: {matrix: {Y: [1, 2]}, after: [a, 'a[X=1]', c]}, c: x}"
    )
    graph = read(tmp_path, text, "work.yaml")
    before = ("a[X=1]", "a[X=2]", "c")
    assert edges(graph) == {(name, f"b[Y={y}]") for name in before for y in (1, 2)}
    assert facts(read(tmp_path, formats.dump(graph, "workfile"))) == facts(graph)


def test_a_matrix_of_one_is_one_task_without_a_gate(tmp_path: Path) -> None:
    graph = read(tmp_path, matrix("{A: [x]}", "  last: {after: task}\n"), "work.yaml")
    assert graph.names == ["first", "task[A=x]", "last"]
    assert edges(graph) == {("task[A=x]", "last")}


def test_its_name_in_threads_stands_for_all(tmp_path: Path) -> None:
    text = matrix("{A: [x, y]}", "threads: [[[first], [task, other], [last]]]\n")
    graph = read(tmp_path, text, "work.yaml")
    assert list(graph) == ["first", "task[A=x]", "task[A=y]", "other", "last"]
    middle = ("task[A=x]", "other", "task[A=y]")
    assert edges(graph) == {("first", name) for name in middle} | {(n, "last") for n in middle}


def test_what_it_became_is_written(tmp_path: Path) -> None:
    graph = read(tmp_path, WORK, "work.yaml")
    again = read(tmp_path, formats.dump(graph, "workfile"))
    assert facts(again) == facts(graph)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("5", "5 is no matrix; write variables and their values, {"),
        ("{}", "{} is no matrix; write variables"),
        ("null", "null is no matrix"),
        ("{A: x}", 'A: "x" is no list of values; write at least one in [ ]'),
        ("{A: []}", "A: [] is no list of values"),
        ("{A: [3.11]}", "A[0]: 3.11 is not the value of a variable; write it as text, in quotes"),
        ("{A: [x, true]}", "A[1]: true is not the value of a variable"),
        ("{A: [x, [y]]}", 'A[1]: ["y"] is not the value of a variable'),
        ("{A: [1, '1']}", 'A[1]: "1" stands here twice; take one out'),
        ('{A: ["x\\n"]}', 'A[0]: "A=x\\n" cannot be part of the name of a task: it holds a line'),
        ("{A=B: [x]}", 'matrix."A=B": "A=B" cannot name an environment variable'),
        ("{PW_RUN: [x]}", "PW_RUN: PW_RUN is set by the run itself, for each command; choose"),
    ],
)
def test_a_bad_matrix_is_a_problem_at_its_line(tmp_path: Path, value: str, problem: str) -> None:
    (told,) = refused(tmp_path, matrix(value, "  last: {after: task}\n"), "work.yaml")
    assert told.startswith("work.yaml:4: task task: matrix")
    assert problem in told


@pytest.mark.parametrize(
    "tasks",
    [
        'task: {matrix: {A: [x]}}, "task[A=x]": {}',
        '"task[A=x]": {}, task: {matrix: {A: [x]}}',
        'task: {matrix: {A: [x]}}, "task[A=x]": {matrix: {B: [y]}}',
        '"task[A=x]": {matrix: {B: [y]}}, task: {matrix: {A: [x]}}',
        'task: {matrix: {A: ["1,B=2", "1"], B: ["3", "2,B=3"]}}',
    ],
)
def test_a_name_that_a_matrix_gives_is_that_of_no_other_task(tmp_path: Path, tasks: str) -> None:
    (told,) = refused(tmp_path, f"tasks: {{{tasks}}}", "work.yaml")
    assert "to another task; rename one" in told


def test_a_matrix_that_waits_for_itself_is_a_circle_at_its_line(tmp_path: Path) -> None:
    (told,) = refused(tmp_path, matrix("{A: [x, y]}", "    after: task\n"), "work.yaml")
    assert told.startswith("work.yaml:")
    assert "waits for itself" in told
    (told,) = refused(tmp_path, matrix("{A: [x]}", "    after: [last]\n  last: {after: task}\n"),
                      "work.yaml")  # fmt: skip
    assert told.startswith("work.yaml:")
    assert "wait for each other: " in told


def test_too_many_combinations_are_refused_before_they_are_made(tmp_path: Path) -> None:
    values = ", ".join(map(str, range(1000)))
    text = matrix(f"{{A: &v [{values}], B: *v, C: *v, D: *v}}")
    (told,) = refused(tmp_path, text, "work.yaml")
    assert told.endswith(
        "matrix: with its 1,000,000,000,000 combinations the matrices of this file become more "
        "than 5,000 tasks; leave some values out"
    )


def test_the_matrices_of_a_file_share_its_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "tasks: {a: &m {matrix: {A: [1, 2]}}, b: *m, c: *m}"
    monkeypatch.setattr(_matrix, "MOST_COMBINATIONS", 6)
    assert len(read(tmp_path, text, "work.yaml")) == 6
    monkeypatch.setattr(_matrix, "MOST_COMBINATIONS", 5)
    (told,) = refused(tmp_path, text, "work.yaml")
    assert "task c: matrix: with its 2 combinations" in told


def test_values_that_stand_in_many_places_are_counted_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_matrix, "MOST_VALUES", 8)
    text = "tasks: {a: &m {matrix: {A: [1, 2, x y]}}, b: *m, c: *m}"
    (told,) = refused(tmp_path, text, "work.yaml")
    assert told.endswith("task c: matrix: the matrices of this file have more than 8 values")


def test_names_too_long_together_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_matrix, "MOST_CHARACTERS", 50)
    (told,) = refused(tmp_path, matrix(f"{{A: [{'x' * 20}, {'y' * 20}]}}"), "work.yaml")
    assert "would be too long together" in told


def test_variables_and_threads_that_would_fill_the_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workfile, "MOST_COPIES", 5)
    (told,) = refused(tmp_path, matrix("{A: [1, 2]}", "    env: {B: 1, C: 1}\n"), "work.yaml")
    assert "so many tasks cannot set their own" in told
    monkeypatch.setattr(_matrix, "MOST_EXPANDED", 5)
    threads = "threads: [[[task], [b]], [[task], [b]], [[task], [b]]]\n"
    (told,) = refused(tmp_path, matrix("{A: [1, 2, 3]}", threads), "work.yaml")
    assert told.startswith("work.yaml:5: threads: tasks with a matrix are named here so often")


def test_a_matrix_runs_with_its_variables(tmp_path: Path) -> None:
    test = {
        "command": "echo $python $os >> told",
        "matrix": {"python": ["3.11"], "os": ["a", "b"]},
    }
    write_work(tmp_path, {"test": test, "last": {"command": "echo last >> told", "after": "test"}})
    assert run(tmp_path, "run", "-j1").status == 0
    assert (tmp_path / "told").read_text() == "3.11 a\n3.11 b\nlast\n"
    assert run(tmp_path, "run", "work.json", "test[python=3.11,os=b]").status == 0
    assert (tmp_path / "told").read_text().endswith("last\n3.11 b\n")


def test_the_name_of_a_matrix_means_all_its_tasks_wherever_tasks_are_named(tmp_path: Path) -> None:
    test = {"command": "echo $os >> told", "matrix": {"os": ["a", "b"]}, "after": "first"}
    tasks = {
        "first": "echo first >> told",
        "test": test,
        "last": {"command": "echo last >> told", "after": "test"},
    }
    write_work(tmp_path, tasks)

    def told(*arguments: str) -> set[str]:
        (tmp_path / "told").unlink(missing_ok=True)
        ended = run(tmp_path, "run", "-j1", *arguments)
        assert (ended.status, ended.errors) == (0, "")
        return set((tmp_path / "told").read_text().split())

    assert told("test") == {"first", "a", "b"}
    assert told("--only", "test") == {"a", "b"}
    assert told("--skip", "test") == {"first", "last"}
    assert told("--from", "test") == {"a", "b", "last"}
    assert told() == {"first", "a", "b", "last"}
    assert told("--again", "test") == {"a", "b", "last"}


def test_in_a_program_the_name_of_a_matrix_means_all_its_tasks(tmp_path: Path) -> None:
    tasks = {"test": {"command": "true", "matrix": {"os": ["a", "b"]}}, "other": "true"}
    write_work(tmp_path, tasks)
    graph = load(tmp_path / "work.json")
    assert list(graph.needed(["test"])) == ["test[os=a]", "test[os=b]"]
    graph.add("last", command="true", after=["test", "test[os=b]"])
    assert graph.run().succeeded
    assert list(graph.needed(["last"])) == ["test[os=a]", "test[os=b]", "last"]


def test_a_task_that_is_really_called_so_comes_before_patterns_and_unknown_names_say_what_is_near(
    tmp_path: Path,
) -> None:
    tasks = {"test": {"command": "true", "matrix": {"os": ["a", "b"]}}, "text": "true"}
    write_work(tmp_path, tasks)
    assert run(tmp_path, "list", "test[os=a]").output == "test[os=a]\n"
    assert 'did you mean "test"?' in run(tmp_path, "list", "tesst").errors
