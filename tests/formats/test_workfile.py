import json
from pathlib import Path

import pytest
from hypothesis import given

from parallel_workers import formats
from parallel_workers.definition import Definition
from parallel_workers.errors import UsageError
from parallel_workers.formats import workfile
from parallel_workers.graph import WorkGraph
from tests.formats.reading import edges, facts, read, refused
from tests.formats.test_records import graphs

YAML = """
env: {CC: clang, LANG: C}
pools:
  linker: 2
defaults:
  retries: 1
  env: {LANG: en}
tasks:
  fetch: curl -O "https://example.org/${FILE}.tar"   # {braces} are the shell's
  build:
    command: [make, -s]
    after: [fetch]
    pool: linker
    env: {CC: gcc}
  lint:
  test: {command: make test, after: build, retries: 0}
threads:
  - [[test, lint], [pack, ship]]
"""
TOML = """
env = {CC = "clang", LANG = "C"}
pools = {linker = 2}
threads = [[["test", "lint"], ["pack", "ship"]]]
[defaults]
retries = 1
env.LANG = "en"
[tasks]
fetch = 'curl -O "https://example.org/${FILE}.tar"'
lint = {}
[tasks.build]
command = ["make", "-s"]
after = ["fetch"]
pool = "linker"
env.CC = "gcc"
[tasks.test]
command = "make test"
after = "build"
retries = 0
"""


def test_a_work_file_says_what_tasks_do_and_what_they_wait_for(tmp_path: Path) -> None:
    graph = read(tmp_path, YAML, "work.yaml")
    assert list(graph.numbers) == ["fetch", "build", "lint", "test", "pack", "ship"]
    assert edges(graph) == {
        ("fetch", "build"),
        ("build", "test"),
        *((before, after) for before in ("test", "lint") for after in ("pack", "ship")),
    }
    assert graph.pools == {"linker": 2}
    assert graph["build"].definition == Definition(
        command=("make", "-s"), pool="linker", retries=1, env={"CC": "gcc", "LANG": "en"}
    )


def test_a_command_is_never_rewritten(tmp_path: Path) -> None:
    fetch = read(tmp_path, YAML, "work.yaml")["fetch"].definition
    assert fetch.command == 'curl -O "https://example.org/${FILE}.tar"'


def test_what_a_task_says_stands_over_the_defaults(tmp_path: Path) -> None:
    graph = read(tmp_path, YAML, "work.yaml")
    assert graph["test"].definition.retries == 0
    assert graph["fetch"].definition.retries == 1


def test_the_environment_of_the_file_the_defaults_and_the_task_merge(tmp_path: Path) -> None:
    graph = read(tmp_path, YAML, "work.yaml")
    assert graph["fetch"].definition.env == {"CC": "clang", "LANG": "en"}
    assert graph["build"].definition.env == {"CC": "gcc", "LANG": "en"}


def test_a_task_in_threads_only_has_what_is_common_to_all(tmp_path: Path) -> None:
    ship = read(tmp_path, YAML, "work.yaml")["ship"].definition
    assert ship == Definition(retries=1, env={"CC": "clang", "LANG": "en"})


def test_a_task_may_be_no_more_than_a_name(tmp_path: Path) -> None:
    graph = read(tmp_path, '{"tasks": {"a": null, "b": {}}}')
    assert list(graph.numbers) == ["a", "b"]
    assert graph.definitions == {}


def test_toml_and_json_say_the_same_as_yaml(tmp_path: Path) -> None:
    expected = facts(read(tmp_path, YAML, "work.yaml"))
    found = facts(read(tmp_path, TOML, "work.toml"))
    assert set(found[0]) == set(expected[0])  # type: ignore[call-overload]
    assert found[1:] == expected[1:]
    text = formats.dump(read(tmp_path, YAML, "work.yaml"), "workfile")
    assert facts(read(tmp_path, text)) == expected


def test_an_edge_of_after_and_of_threads_counts_once(tmp_path: Path) -> None:
    text = '{"tasks": {"a": null, "b": {"after": ["a"]}}, "threads": [[["a"], ["b"]]]}'
    assert read(tmp_path, text).waits == [0, 1]


def test_threads_alone_are_a_work_file(tmp_path: Path) -> None:
    assert edges(read(tmp_path, "threads: [[[a], [b]]]", "work.yaml")) == {("a", "b")}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("b: 5", "task b: found 5; give a command, or a mapping of fields"),
        ('b: ""', 'task b: command: a command cannot be empty; to do nothing, write "true"'),
        ("b: []", "task b: command: a command cannot be an empty list; its first word is the"),
        ('"": x', 'tasks: "": the name of a task cannot be empty'),
        (
            "b: {after: [frist]}",
            'task b: after[0]: there is no task "frist"; did you mean "first"?',
        ),
        ("b: {after: b}", "task b: after[0]: the task waits for itself; take its own name out"),
        ("b: {after: 7}", "task b: after: 7 is not a list of names"),
        ("b: {comand: x}", 'task b: comand: there is no field of that name; did you mean "command'),
        ("b: {pool: lniker}", 'task b: pool: there is no pool "lniker"; did you mean "linker"?'),
        ("b: {pool: x}", 'task b: pool: there is no pool "x"; give its limit under pools'),
        ("b: {timeout: 0}", "task b: timeout: a timeout of 0 would let nothing run; leave it out"),
        ("b: {env: {A: null}}", "task b: env.A: null is not the value of a variable; write it"),
        ("b: {duration: .nan}", "task b: duration: NaN is not a duration; give seconds"),
        ("b: {vars: {x: .inf}}", "task b: vars: inf is no number; leave it out, or write it as"),
        ("first: {}", 'the key "first" stands twice in the same mapping; keep one'),
    ],
)
def test_a_problem_tells_its_line_its_task_and_its_field(
    tmp_path: Path, line: str, problem: str
) -> None:
    text = f"pools: {{linker: 2}}\ntasks:\n  first: true\n  {line}\n"
    text = text.replace("first: true", "first: 'true'")
    (told,) = refused(tmp_path, text, "work.yaml")
    assert told.startswith(f"work.yaml:4: {problem}")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("pools: {db: 0}", "pools: db: 0 is not a limit of a pool; give a whole number, 1 or more"),
        ("pools: [db]", 'pools: found ["db"] where a mapping should be'),
        ("env: 5", 'env: 5 is not an environment; write names and values, {"A": "b"}'),
        ("defaults: {timeout: x}", 'defaults: timeout: "x" is not a timeout; give seconds'),
        ("defaults: {after: [a]}", "defaults: after: there is no field of that name; there are"),
        ("defaults: {pool: db}", 'defaults: pool: there is no pool "db"; give its limit under'),
        ("default: {}", 'default: there is no field of that name; did you mean "defaults"?'),
        ("threads: {a: b}", 'found {"a": "b"} where a list of threads should be'),
        ("threads: [[x]]", 'the lists are too shallow: found "x" where a group should be; threads'),
        ("threads: [[[]], 5]", "thread 2: found 5 where a list of groups should be"),
    ],
)
def test_a_problem_beside_the_tasks_tells_its_line(tmp_path: Path, line: str, problem: str) -> None:
    (told,) = refused(tmp_path, f"tasks: {{a: make}}\n{line}\n", "work.yaml")
    assert told.startswith(f"work.yaml:2: {problem}")


def test_tasks_must_be_a_mapping(tmp_path: Path) -> None:
    assert refused(tmp_path, "defaults: {retries: 1}\ntasks: [a]\n", "work.yaml") == [
        'work.yaml:2: tasks: found ["a"] where a mapping should be'
    ]


def test_toml_tells_places_instead_of_lines(tmp_path: Path) -> None:
    text = '[tasks.build]\nretries = -3\nafter = ["tst"]\n[tasks."a b"]\nduration = 1979-05-27\n'
    assert refused(tmp_path, text, "work.toml") == [
        "work.toml: tasks.build.retries: -3 is not a number of retries; give a whole number, 0 or "
        "more",
        'work.toml: tasks."a b".duration: "1979-05-27" is not a duration; give seconds (at most '
        'ten years), or text such as "90s", "5m", "1h 30m"',
        'work.toml: tasks.build.after[0]: there is no task "tst"',
    ]


def test_a_circle_is_told_at_its_first_task_or_group(tmp_path: Path) -> None:
    text = "tasks:\n  b: {after: a}\n  a: {after: b}\n"
    assert refused(tmp_path, text, "work.yaml") == [
        "work.yaml:2: these tasks wait for each other: b → a → b"
    ]
    text = "tasks:\n  b: {after: a}\n  a:\nthreads:\n- [[b], [a]]\n"
    assert refused(tmp_path, text, "work.yaml") == [
        "work.yaml:5: these tasks wait for each other: b → a → b; b before a in thread 1 "
        "(groups 1 and 2)"
    ]


def test_environments_that_would_fill_the_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workfile, "MOST_COPIES", 5)
    text = "env: {A: 1, B: 2, C: 3}\ntasks: {a: {env: {D: 1}}, b: {env: {D: 1}}}\n"
    (problem,) = refused(tmp_path, text, "work.yaml")
    assert problem.startswith("work.yaml:1: env: with so many variables for all tasks, so many")


@given(graphs())
def test_a_work_file_is_read_as_it_was_written(graph: WorkGraph) -> None:
    text = formats.dump(graph, "workfile")
    again = formats.from_data(json.loads(text), "workfile")
    assert facts(again) == facts(graph)
    assert formats.dump(again, "workfile") == text


def test_a_task_is_a_line_and_barriers_are_threads() -> None:
    graph = formats.from_data(
        {
            "pools": {"db": 2},
            "tasks": {"a": "make", "b": {"command": "x", "after": "a"}, "c": {}},
            "threads": [[["a", "c"], ["d", "é"]]],
        },
        "workfile",
    )
    assert formats.dump(graph, "workfile") == (
        "{\n"
        '  "pools": {"db": 2},\n'
        '  "tasks": {\n'
        '    "a": "make",\n'
        '    "b": {"command": "x", "after": ["a"]},\n'
        '    "c": {},\n'
        '    "d": {},\n'
        '    "é": {}\n'
        "  },\n"
        '  "threads": [\n'
        '    [["a", "c"], ["d", "é"]]\n'
        "  ]\n"
        "}\n"
    )
    assert formats.losses(graph, "workfile") == []


def test_edges_named_before_their_task_was_added_are_written() -> None:
    graph = WorkGraph()
    graph.add("late", after=["early"])
    graph.add("early")
    assert '"late": {"after": ["early"]}' in formats.dump(graph, "workfile")


def test_an_unknown_format_is_refused_with_the_nearest_known() -> None:
    with pytest.raises(UsageError, match='no format "record"; did you mean "records"'):
        formats.dump(WorkGraph(), "record")
