import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_workers import formats
from parallel_workers.errors import InvalidInput
from parallel_workers.graph import WorkGraph
from parallel_workers.plan import Plan
from parallel_workers.simulate import simulate
from tests.formats.reading import edges, facts, read, refused
from tests.support.wfformat import FIRST_LINE, as_text, workflow

EXAMPLES = Path(__file__).parents[2] / "examples"

SPLIT = {"id": "split_1", "name": "split", "parents": [], "children": ["sort_2", "sort_3"]}
SORTS = [
    {"id": f"sort_{n}", "name": "sort", "parents": ["split_1"], "children": []} for n in (2, 3)
]
RUNS = [
    {
        "id": "split_1",
        "runtimeInSeconds": 2.5,
        "command": {"program": "split", "arguments": ["-n", "2", "all.txt"]},
        "avgCPU": 90.8,
        "machines": ["one"],
    },
    {"id": "sort_3", "runtimeInSeconds": 0, "command": {"program": "sort x > y", "arguments": []}},
]


def from_workflow(*arguments: Any, **fields: Any) -> WorkGraph:
    return formats.from_data(workflow(*arguments, **fields), "wfformat")


def test_a_task_is_called_by_its_id_since_names_repeat() -> None:
    graph = from_workflow([SPLIT, *SORTS], RUNS)
    assert list(graph.numbers) == ["split_1", "sort_2", "sort_3"]
    assert edges(graph) == {("split_1", "sort_2"), ("split_1", "sort_3")}
    assert graph["sort_2"].definition.vars == {"name": "sort"}
    assert graph.warnings == []


def test_a_recorded_runtime_is_the_duration() -> None:
    graph = from_workflow([SPLIT, *SORTS], RUNS)
    durations = [graph[name].definition.duration for name in graph.numbers]
    assert durations == [2.5, None, 0.0]


def test_a_recorded_command_is_kept_in_vars_and_is_not_the_command() -> None:
    graph = from_workflow([SPLIT, *SORTS], RUNS)
    split, script = graph["split_1"].definition, graph["sort_3"].definition
    assert split.vars == {"name": "split", "recorded_command": "split -n 2 all.txt"}
    assert script.vars == {"name": "sort", "recorded_command": "sort x > y"}
    assert (split.command, script.command) == (None, None)


@pytest.mark.parametrize(
    "command", [{}, {"program": ""}, {"arguments": ["-v"]}, {"program": "-", "arguments": []}]
)
def test_a_command_without_a_program_is_none(command: object) -> None:
    graph = from_workflow([{"id": "a"}], [{"id": "a", "command": command}])
    assert graph["a"].definition.vars == {}


@pytest.mark.parametrize("other", ["records", "workfile"])
def test_all_that_is_read_survives_other_formats(other: str) -> None:
    graph = from_workflow([SPLIT, *SORTS], RUNS)
    again = formats.from_data(json.loads(formats.dump(graph, other)), other)
    assert facts(again) == facts(graph)


def test_a_workflow_needs_no_execution_and_no_lists(tmp_path: Path) -> None:
    text = '{"workflow": {"specification": {"tasks": [{"id": "a"}, {"id": "b"}]}}}'
    graph = read(tmp_path, text)
    assert list(graph.numbers) == ["a", "b"]
    assert graph.definitions == {}


def test_a_workflow_can_be_written_in_yaml_too(tmp_path: Path) -> None:
    text = (
        "workflow:\n  specification:\n    tasks:\n    - id: a\n      children: [b]\n    - id: b\n"
    )
    assert edges(read(tmp_path, text, "work.yaml")) == {("a", "b")}


def test_what_is_called_a_work_file_by_its_tasks_stays_one(tmp_path: Path) -> None:
    text = '{"tasks": {}, "workflow": {"specification": {"tasks": []}}}'
    assert refused(tmp_path, text)[0].startswith("work.json:1: workflow: there is no field of that")


def test_an_edge_need_stand_at_one_end_only_where_the_other_has_no_list(tmp_path: Path) -> None:
    tasks = [{"id": "a", "children": ["b"]}, {"id": "b"}, {"id": "c", "parents": ["b"]}]
    graph = read(tmp_path, as_text(tasks), strict=True)
    assert edges(graph) == {("a", "b"), ("b", "c")}


def test_a_list_that_lacks_what_the_other_end_names_is_a_warning(tmp_path: Path) -> None:
    tasks = [
        {"id": "a", "children": ["b"], "parents": []},
        {"id": "b", "children": [], "parents": []},
        {"id": "c", "children": [], "parents": ["b"]},
    ]
    graph = read(tmp_path, as_text(tasks))
    assert edges(graph) == {("a", "b"), ("b", "c")}
    told = [warning.removeprefix(f"{tmp_path}/") for warning in graph.warnings]
    assert told == [
        'work.json:4: task b: parents: "a" is missing here, whose children hold "b"',
        'work.json:4: task b: children: "c" is missing here, whose parents hold "b"',
    ]
    assert len(refused(tmp_path, as_text(tasks), strict=True)) == 2


pairs = st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(lambda e: e[0] < e[1]))


@given(pairs, pairs)
def test_edges_are_those_of_both_kinds_of_lists_together(
    by_child: set[tuple[int, int]], by_parent: set[tuple[int, int]]
) -> None:
    graph = from_workflow(
        [
            {
                "id": str(number),
                "children": [str(after) for before, after in sorted(by_child) if before == number],
                "parents": [str(before) for before, after in sorted(by_parent) if after == number],
            }
            for number in range(7)
        ]
    )
    assert edges(graph) == {(str(a), str(b)) for a, b in by_child | by_parent}
    assert len(graph.warnings) == len(by_child ^ by_parent)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (5, "specification, task 2: found 5 where an object with an id should be"),
        ({"name": "b"}, "specification, task 2: it has no id; every task needs one"),
        ({"id": ""}, "specification, task 2: id: the name of a task cannot be empty"),
        ({"id": 7}, "specification, task 2: id: 7 is not the name of a task; the name of a task"),
        ({"id": "a"}, "task a: id: task 1 has that id too; keep or rename one"),
        ({"id": "b", "name": 5}, "task b: name: 5 is not a name; write it as text, in quotes"),
        ({"id": "b", "parents": "a"}, 'task b: parents: "a" is not a list of names; write ["a"]'),
        ({"id": "b", "parents": ["aa"]}, 'task b: parents[0]: there is no task "aa"'),
        ({"id": "b", "children": [5]}, "task b: children[0]: 5 is not the name of a task; the"),
        ({"id": "b", "children": ["b"]}, "task b: children[0]: the task waits for itself; take"),
    ],
)
def test_what_is_wrong_in_the_specification_is_told_with_line_and_task(
    tmp_path: Path, entry: object, problem: str
) -> None:
    (told,) = refused(tmp_path, as_text([{"id": "a"}, entry]))
    assert told.startswith(f"work.json:{FIRST_LINE + 1}: {problem}")


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (None, "execution, task 2: found null where an object with an id should be"),
        ({"runtimeInSeconds": 1}, "execution, task 2: it has no id; every task needs one"),
        ({"id": "bb"}, "execution of task bb: id: the specification has no task of that id"),
        ({"id": "a"}, "execution of task a: id: task 1 has that id too; keep one"),
        (
            {"id": "b", "runtimeInSeconds": -1},
            "execution of task b: runtimeInSeconds: -1 is not a runtime; give seconds, a number",
        ),
        (
            {"id": "b", "runtimeInSeconds": "5m"},
            'execution of task b: runtimeInSeconds: "5m" is not a runtime; give seconds, a number',
        ),
        ({"id": "b", "runtimeInSeconds": True}, "execution of task b: runtimeInSeconds: true is"),
        ({"id": "b", "runtimeInSeconds": None}, "execution of task b: runtimeInSeconds: null is"),
        (
            {"id": "b", "command": "make"},
            'execution of task b: command: found "make" where an object with a program should be',
        ),
        (
            {"id": "b", "command": {"program": ["make"]}},
            'execution of task b: command.program: ["make"] is not a program; give text',
        ),
        (
            {"id": "b", "command": {"program": "make", "arguments": "-s"}},
            'execution of task b: command.arguments: "-s" is not a list of text',
        ),
        (
            {"id": "b", "command": {"program": "make", "arguments": ["-j", 2]}},
            "execution of task b: command.arguments[1]: 2 is not an argument; write it as text",
        ),
        (
            {"id": "b", "command": {"program": "a\0b"}},
            "execution of task b: command: a command cannot hold a NUL character",
        ),
    ],
)
def test_what_is_wrong_in_the_execution_is_told_with_line_and_task(
    tmp_path: Path, entry: object, problem: str
) -> None:
    tasks = [{"id": "a"}, {"id": "b"}]
    (told,) = refused(tmp_path, as_text(tasks, [{"id": "a"}, entry]))
    assert told.startswith(f"work.json:{FIRST_LINE + 5}: {problem}")


def test_a_mistyped_id_gets_a_suggestion(tmp_path: Path) -> None:
    tasks = [{"id": "sort_1"}, {"id": "b", "parents": ["sort_I"]}]
    (told,) = refused(tmp_path, as_text(tasks))
    assert told.endswith('there is no task "sort_I"; did you mean "sort_1"?')


def test_tasks_that_wait_for_each_other_are_told_with_the_line_of_the_first(tmp_path: Path) -> None:
    tasks = [{"id": "a"}, {"id": "b", "parents": ["c"]}, {"id": "c", "parents": ["b"]}]
    assert refused(tmp_path, as_text(tasks)) == [
        f"work.json:{FIRST_LINE + 1}: these tasks wait for each other: b → c → b"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"workflow": {}}', "there is no workflow.specification"),
        ('{"workflow": {"specification": []}}', "there is no workflow.specification.tasks"),
        (
            '{"workflow": {"specification": {"tasks": {}}}}',
            "workflow.specification.tasks is {} where a list of tasks should be",
        ),
        (
            '{"workflow": {"specification": {"tasks": []}, "execution": {"tasks": 5}}}',
            "workflow.execution.tasks is 5 where a list of tasks should be",
        ),
        (
            '{"workflow": {"specification": {"tasks": []}, "execution": null}}',
            "there is no workflow.execution.tasks",
        ),
    ],
)
def test_a_wrong_shape_is_one_problem(tmp_path: Path, text: str, problem: str) -> None:
    assert refused(tmp_path, text) == [f"work.json:1: {problem}"]


def test_what_is_no_workflow_at_all_is_one_problem(tmp_path: Path) -> None:
    assert refused(tmp_path, "[5]", format="wfformat") == [
        "work.json:1: found [5] where a mapping with a workflow should be"
    ]


@pytest.mark.parametrize(
    ("version", "found"),
    [('"schemaVersion": "1.4",', 'of the version "1.4"'), ("", "without a schemaVersion")],
)
def test_an_older_version_is_one_problem_that_names_it(
    tmp_path: Path, version: str, found: str
) -> None:
    text = f'{{"name": "x",\n{version} "workflow": {{"tasks": [{{"name": "a"}}]}}}}'
    (told,) = refused(tmp_path, text)
    assert f"found WfFormat {found} that has its tasks in workflow.tasks; convert it" in told
    assert told.startswith("work.json:2: " if version else "work.json:1: ")


def test_the_example_is_a_workflow_with_runtimes_and_recorded_commands() -> None:
    graph = formats.load(EXAMPLES / "workflow.json", strict=True)
    assert [graph[name].definition.duration for name in graph.numbers] == [2.5, 6, 8, 1]
    assert all("recorded_command" in graph[name].definition.vars for name in graph.numbers)


def test_python_code_is_told_places() -> None:
    with pytest.raises(InvalidInput) as caught:
        from_workflow([{"id": "a", "parents": ["b"]}])
    assert caught.value.problems == [
        'wfformat.workflow.specification.tasks[0].parents[0]: task a: there is no task "b"'
    ]


REAL = {
    "bacass-dirt02-001": 11,
    "epigenomics-chameleon-hep-1seq-100k-001": 41,
    "helloworld-chain-5-chameleon": 5,
    "helloworld-forkjoin-10-chameleon": 10,
    "montage-chameleon-2mass-005d-001": 58,
    "rnaseq-dirt02-001": 197,
}


@pytest.mark.shared
@pytest.mark.parametrize(("name", "tasks"), REAL.items())
def test_real_workflows_are_read_and_planned(shared_data: Path, name: str, tasks: int) -> None:
    path = shared_data / "wfinstances" / f"{name}.json"
    graph = formats.load(path, strict=True)
    workflow = json.loads(path.read_bytes())["workflow"]
    assert edges(graph) == {
        (parent, entry["id"])
        for entry in workflow["specification"]["tasks"]
        for parent in entry["parents"]
    }
    assert {name: graph[name].definition.duration for name in graph.numbers} == {
        entry["id"]: entry["runtimeInSeconds"] for entry in workflow["execution"]["tasks"]
    }
    assert len(simulate(Plan(graph), 4)) == tasks == len(graph)


@pytest.mark.shared
def test_arguments_that_are_several_words_are_several_words_of_the_line(shared_data: Path) -> None:
    graph = formats.load(shared_data / "wfinstances" / "helloworld-chain-5-chameleon.json")
    first = next(iter(graph.definitions.values())).vars["recorded_command"]
    assert shlex.split(first)[:4] == ["cpuhog", "chain_00000001", "--percent-cpu", "0.6"]
