import os
import sys
from pathlib import Path

import pytest

from parallel_workers import WorkGraph
from parallel_workers.errors import RunFailed
from parallel_workers.exec_limits import LONGEST
from parallel_workers.outputs import LARGEST, Outputs, OutputsError, parse, written_in
from parallel_workers.plan import Plan
from tests.support.program import run, run_directory, write_work

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs the limit of Linux")

GIVE = {"command": "echo VERSION=1.2 >> $PW_OUTPUTS"}


def take(after: list[str], **fields: object) -> dict[str, object]:
    return {"command": 'echo "<$VERSION>" >> told', "after": after, **fields}


def told(directory: Path) -> list[str]:
    return (directory / "told").read_text().split("\n")[:-1]


# Lines


def test_a_value_is_all_behind_the_first_equals_sign() -> None:
    text = b"A= \"b\" = 'c' # d \\\n\nB=\n \t\nA.b-c=x\nB=last\nPW_MINE=x"
    found = {b"A": b" \"b\" = 'c' # d \\", b"B": b"last", b"A.b-c": b"x", b"PW_MINE": b"x"}
    assert parse(text) == found


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"version", 'line 2: "version" sets no variable; write KEY=value, all on one line'),
        (b"=x", 'line 2: "=x" names no variable; write KEY=value, the key without white space'),
        (b"a b=x", 'line 2: "a b=x" names no variable'),
        (b"A=x\0", "holds a NUL, which no variable can"),
        (b"\xff", "sets no variable"),
        (b"PW_TASK=x", "line 2: PW_TASK is set by the run itself, for each command; choose"),
    ],
)
def test_a_line_that_sets_no_variable_is_told(line: bytes, problem: str) -> None:
    with pytest.raises(OutputsError) as caught:
        parse(b"A=1\n" + line)
    assert problem in str(caught.value)


# What is passed on to whom


def outputs_of(directory: Path, graph: WorkGraph, given: dict[str, bytes]) -> dict[str, bytes]:
    """Return what `A` is for each task, when those before it have written what is given."""
    plan = Plan(graph)
    outputs = Outputs(plan, str(directory))
    for name, text in given.items():
        Path(os.fsdecode(outputs.begin(plan.by_name[name], 1))).write_bytes(text)
        outputs.take(plan.by_name[name])
    passed = {name: outputs.variables(task) for name, task in plan.by_name.items()}
    return {name: found[b"A"] for name, found in passed.items() if found}


def test_direct_successors_get_it_and_nobody_else(tmp_path: Path) -> None:
    graph = WorkGraph.from_predecessors({"a": [], "b": ["a"], "c": ["b"], "d": []})
    assert outputs_of(tmp_path, graph, {"a": b"A=1"}) == {"b": b"1"}


def test_a_gate_passes_it_on(tmp_path: Path) -> None:
    graph = WorkGraph.from_groups([[["a", "b"], ["c", "d"], ["e", "f"]]])
    assert outputs_of(tmp_path, graph, {"a": b"A=1"}) == {"c": b"1", "d": b"1"}


def test_a_gate_behind_a_gate_passes_it_on(tmp_path: Path) -> None:
    graph = WorkGraph.from_predecessors({"a": [], "b": []})
    first, second = graph.add_gate(), graph.add_gate()
    graph.connect(graph.number("a"), first)
    graph.connect(first, second)
    graph.connect(second, graph.number("b"))
    assert outputs_of(tmp_path, graph, {"a": b"A=1"}) == {"b": b"1"}


def test_of_two_that_set_the_same_the_one_that_is_later_in_the_file_counts(tmp_path: Path) -> None:
    for order in (["a", "b"], ["b", "a"]):
        graph = WorkGraph.from_predecessors({"a": [], "b": [], "c": ["a", "b"]})
        given = {"a": b"A=first", "b": b"A=second"}
        found = outputs_of(tmp_path, graph, {name: given[name] for name in order})
        assert found == {"c": b"second"}


def test_another_attempt_begins_without_what_the_last_one_wrote(tmp_path: Path) -> None:
    outputs = Outputs(Plan(WorkGraph.from_predecessors({"a": [], "b": ["a"]})), str(tmp_path))
    path = Path(os.fsdecode(outputs.begin(0, 1)))
    path.write_text("A=1")
    outputs.begin(0, 2)
    assert not path.exists()


def test_another_attempt_begins_without_what_the_last_one_made_instead_of_a_file(
    tmp_path: Path,
) -> None:
    plan = Plan(WorkGraph.from_predecessors({"a": [], "b": ["a"]}))
    path = Outputs(plan, str(tmp_path)).begin(0, 1)
    os.makedirs(path + b"/in/it")
    assert not os.path.exists(Outputs(plan, str(tmp_path)).begin(0, 2))


def test_what_is_too_large_or_no_file_is_told(tmp_path: Path) -> None:
    outputs = Outputs(Plan(WorkGraph.from_predecessors({"a": [], "b": ["a"]})), str(tmp_path))
    path = Path(os.fsdecode(outputs.begin(0, 1)))
    path.write_bytes(b"SMALL=1\nBIG=" + b"x" * LARGEST)
    said = "1,048,588 bytes, of which BIG has the most, where a task can pass on 1,048,576; write"
    with pytest.raises(OutputsError, match=said):
        outputs.take(0)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OutputsError, match="is no file any more"):
        outputs.take(0)


def test_what_is_left_of_tasks_that_are_done_again_goes_and_no_more(tmp_path: Path) -> None:
    plan = Plan(WorkGraph.from_predecessors({"a": [], "b": ["a"], "c": ["b"]}))
    other = Plan(WorkGraph.from_predecessors({"other": []}))
    paths = [Path(os.fsdecode(Outputs(plan, str(tmp_path)).begin(task, 1))) for task in (0, 1)]
    paths.append(Path(os.fsdecode(Outputs(other, str(tmp_path)).begin(0, 1))))
    for path in paths:
        path.write_text("A=1")
    outputs = Outputs(plan, str(tmp_path), written_in(str(tmp_path), plan, done=[0]))
    assert [path.exists() for path in paths] == [True, False, True]
    assert [outputs.variables(task) for task in (1, 2)] == [{b"A": b"1"}, {}]


# By the real program


def test_a_command_gets_what_the_one_before_it_has_written(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": GIVE, "b": take(["a"]), "c": take(["b"])})
    assert run(tmp_path, "run").status == 0
    assert told(tmp_path) == ["<1.2>", "<>"]
    assert run(tmp_path, "run", "--no-journal").status == 0
    assert told(tmp_path) == ["<1.2>", "<>"] * 2
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_a_task_sets_itself_goes_over_it(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": GIVE, "b": take(["a"], env={"VERSION": "own"})})
    run(tmp_path, "run")
    assert told(tmp_path) == ["<own>"]


def test_it_goes_over_what_the_program_was_started_with(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": GIVE, "b": take(["a"]), "c": take([])})
    run(tmp_path, "run", "-j1", env={"VERSION": "0", "PW_OUTPUTS": "/dev/null"})
    assert sorted(told(tmp_path)) == ["<0>", "<1.2>"]


def test_a_command_in_another_directory_finds_the_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write_work(tmp_path, {"a": {**GIVE, "cwd": "sub"}, "b": take(["a"])})
    run(tmp_path, "run")
    assert told(tmp_path) == ["<1.2>"]


def test_a_bad_line_makes_the_task_fail(tmp_path: Path) -> None:
    command = "printf 'A=1\\nB 2\\n' >> $PW_OUTPUTS"
    write_work(tmp_path, {"a": {"command": command}, "b": take(["a"])})
    ended = run(tmp_path, "run")
    assert ended.status == 1
    assert 'outputs: line 2: "B 2" sets no variable; write KEY=value' in ended.output
    assert not (tmp_path / "told").exists()


TOO_LONG = 'printf BIG= >> $PW_OUTPUTS; head -c 200000 /dev/zero | tr "\\0" x >> $PW_OUTPUTS'


@on_linux
def test_a_value_that_no_command_could_get_makes_the_task_fail_that_wrote_it(
    tmp_path: Path,
) -> None:
    write_work(tmp_path, {"a": TOO_LONG, "b": take(["a"])})
    ended = run(tmp_path, "run")
    assert ended.status == 1
    said = f"outputs: BIG has 200,004 bytes with its name, where a variable can have {LONGEST:,}"
    assert f"; {said}; write it to a file, and pass on the path of that\n" in ended.output
    assert "1 failed, 1 skipped" in ended.output


@on_linux
def test_where_nobody_was_to_get_it_it_is_told_to_who_does(
    tmp_path: Path,
) -> None:
    write_work(tmp_path, {"a": TOO_LONG, "b": take(["a"])})
    assert run(tmp_path, "run", "a").status == 0
    ended = run(tmp_path, "run", "--only", "b")
    assert ended.status == 1
    assert "✗ b  BIG has 200,004 bytes with its name, of at most " in ended.output


@on_linux
def test_where_the_outputs_of_several_are_too_much_together_the_largest_is_told(
    tmp_path: Path,
) -> None:
    line = 'printf "$PW_TASK$i="; head -c $((100000 + i)) /dev/zero | tr "\\0" x; echo'
    give = f"for i in 1 2 3 4 5 6 7 8 9 10; do {line}; done >> $PW_OUTPUTS"
    names = list("abcdefg")
    write_work(tmp_path, {**dict.fromkeys(names, give), "last": take(names)})
    # So that the limit is the same everywhere.
    limited = ("sh", "-c", 'ulimit -s 8192; exec "$@"', "sh")
    ended = run(tmp_path, "run", before=limited)
    assert ended.status == 1
    assert "✗ last  its arguments and environment have 7,0" in ended.output
    assert ", of at most 2,097,152; a10 has 100,014; pass on" in ended.output


def test_nothing_is_made_where_nothing_is_written(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "true", "b": take(["a"])})
    run(tmp_path, "run")
    assert list(run_directory(tmp_path).glob("*.outputs")) == []


def test_the_outputs_of_a_failed_attempt_are_gone(tmp_path: Path) -> None:
    command = "test -e again && exit 0; touch again; echo VERSION=0 >> $PW_OUTPUTS; exit 1"
    write_work(tmp_path, {"a": {"command": command, "retries": 1}, "b": take(["a"])})
    assert run(tmp_path, "run").status == 0
    assert told(tmp_path) == ["<>"]


def test_a_task_that_is_not_done_again_passes_it_on_all_the_same(tmp_path: Path) -> None:
    first = {"command": "echo once >> ran; echo VERSION=1.2 >> $PW_OUTPUTS"}
    gated = {"command": "test -e go && echo $VERSION$EXTRA >> told"}
    tasks = {"a": first, "x": "echo EXTRA=x >> $PW_OUTPUTS", "b": gated, "c": gated}
    write_work(tmp_path, tasks, threads=[[["a", "x"], ["b", "c"]]])
    assert run(tmp_path, "run", "-k").status == 1
    (tmp_path / "go").touch()
    # Another graph, so that tasks have other numbers.
    write_work(tmp_path, {"new": "true", "new2": {"after": ["new"], "command": "true"}, **tasks},
               threads=[[["a", "x"], ["b", "c"]]])  # fmt: skip
    assert run(tmp_path, "run", "--resume").status == 0
    assert (tmp_path / "ran").read_text() == "once\n"
    assert told(tmp_path) == ["1.2x", "1.2x"]


def test_done_again_it_passes_on_what_it_writes_then(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "cat version >> $PW_OUTPUTS", "b": take(["a"])})
    (tmp_path / "version").write_text("VERSION=1\n")
    run(tmp_path, "run")
    (tmp_path / "version").write_text("VERSION=2\n")
    run(tmp_path, "run", "--resume")
    run(tmp_path, "run", "--again", "a")
    assert told(tmp_path) == ["<1>", "<2>"]


def test_bad_outputs_of_a_task_that_was_marked_as_succeeded_are_let_be(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "echo bad >> $PW_OUTPUTS", "b": take(["a"])})
    assert run(tmp_path, "run").status == 1
    assert run(tmp_path, "mark", "last", "a", "--succeeded").status == 0
    assert run(tmp_path, "run", "--resume").status == 0
    assert told(tmp_path) == ["<>"]


def test_what_is_found_done_passes_on_what_told_so(tmp_path: Path) -> None:
    check = "echo VERSION=old >> $PW_OUTPUTS; test -e made"
    write_work(tmp_path, {"a": {"command": "true", "done-if": check}, "b": take(["a"])})
    assert run(tmp_path, "run").status == 0
    (tmp_path / "made").touch()
    assert run(tmp_path, "run").status == 0
    assert run(tmp_path, "run", "--again", "b").status == 0
    assert told(tmp_path) == ["<>", "<old>", "<old>"]


def test_what_is_found_done_and_told_so_badly_fails(tmp_path: Path) -> None:
    check = "echo bad >> $PW_OUTPUTS"
    write_work(tmp_path, {"a": {"command": "true", "done-if": check}, "b": take(["a"])})
    ended = run(tmp_path, "run")
    assert ended.status == 1
    assert '✗ a  done-if: outputs: line 1: "bad" sets no variable;' in ended.output


# From Python


@pytest.mark.parametrize("on", ["threads", "inline", "processes", "asyncio"])
def test_commands_of_a_graph_in_a_program_pass_it_on(tmp_path: Path, on: str) -> None:
    graph = WorkGraph()
    graph.add("a", command="echo VERSION=1.2 >> $PW_OUTPUTS")
    graph.add("b", command=f'echo "<$VERSION>" >> {tmp_path}/told', after=["a"])
    graph.run(on=on)
    assert told(tmp_path) == ["<1.2>"]


def test_a_resumed_graph_in_a_program_passes_it_on(tmp_path: Path) -> None:
    graph = WorkGraph()
    graph.add("a", command="echo VERSION=1.2 >> $PW_OUTPUTS")
    graph.add("b", command=f"test -e {tmp_path}/go && echo $VERSION > {tmp_path}/told", after=["a"])
    with pytest.raises(RunFailed):
        graph.run(journal=tmp_path / "state")
    (tmp_path / "go").touch()
    resumed = graph.run(journal=tmp_path / "state", resume=True)
    assert resumed.tasks["a"].outcome == "cached"
    assert told(tmp_path) == ["1.2"]


def test_bad_outputs_are_an_error_of_the_command(tmp_path: Path) -> None:
    graph = WorkGraph()
    graph.add("a", command="echo bad >> $PW_OUTPUTS")
    graph.add("b", command="true", after=["a"])
    run = graph.run(check=False)
    assert str(run.tasks["a"].error).endswith(
        'exit status 0; outputs: line 1: "bad" sets no variable; write KEY=value, all on one line'
    )
