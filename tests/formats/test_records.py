import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_workers import formats
from parallel_workers.documents.problems import MOST_PROBLEMS
from parallel_workers.errors import InvalidInput, UsageError
from parallel_workers.formats import records
from parallel_workers.graph import WorkGraph
from tests.formats.reading import edges, facts, read, refused

SCHEDULED = """[
  {"position": 0, "name": "docs", "successors": [], "ancestors": []},
  {"position": 0, "name": "pack", "successors": ["check"], "ancestors": []},
  {"position": 1, "name": "check", "successors": ["run"], "ancestors": ["pack"]},
  {"position": 2, "name": "run", "successors": ["test", "provision"], "ancestors": ["check"]},
  {"position": 3, "name": "provision", "successors": [], "ancestors": ["run"]},
  {"position": 3, "name": "test", "successors": [], "ancestors": ["run"]}
]"""
UNSCHEDULED = """[
  {"name": "test", "successors": [], "ancestors": ["run"]},
\t{"name": "run", "successors": ["test",
\t  "provision"], "ancestors": ["check"]},
  {"name": "pack", "successors": ["check"], "ancestors": []},
  {"name": "docs", "successors": [ ], "ancestors": []},
  {"name": "check", "successors": ["run"], "ancestors": ["pack"]},
  {"name": "provision", "successors": [], "ancestors": ["run"]}
]"""


def as_set(text: str) -> set[str]:
    """Return records so that neither their order nor that within their lists matters."""
    return {
        json.dumps({key: sorted(v) if isinstance(v, list) else v for key, v in record.items()})
        for record in sorted(json.loads(text), key=lambda record: record["name"])
        for record in [dict(sorted(record.items()))]
    }


# What is read


def test_records_come_in_any_order(tmp_path: Path) -> None:
    graph = read(tmp_path, UNSCHEDULED)
    assert list(graph.numbers) == ["test", "run", "pack", "docs", "check", "provision"]
    assert edges(graph) == edges(read(tmp_path, SCHEDULED))
    assert graph.warnings == []


def test_unscheduled_records_are_written_with_their_positions(tmp_path: Path) -> None:
    assert as_set(formats.dump(read(tmp_path, UNSCHEDULED), "records")) == as_set(SCHEDULED)


@pytest.mark.shared
def test_the_seed_s_unscheduled_records_become_its_scheduled_ones(shared_data: Path) -> None:
    seed = shared_data / "seed"
    written = formats.dump(formats.load(seed / "unscheduled.json"), "records")
    assert as_set(written) == as_set((seed / "data.json").read_text())


@pytest.mark.parametrize(
    "text",
    [
        '[{"name": "a", "successors": ["b"]}, {"name": "b"}]',
        '[{"name": "a"}, {"name": "b", "ancestors": ["a"]}]',
        '[{"name": "a", "successors": ["b"]}, {"name": "b", "ancestors": ["a"]}]',
        '[{"name": "a", "successors": ["b", "b"]}, {"name": "b", "ancestors": ["a", "a"]}]',
    ],
)
def test_an_edge_may_stand_at_either_end_and_counts_once(tmp_path: Path, text: str) -> None:
    graph = read(tmp_path, text)
    assert graph.successors == [[1], []]
    assert graph.waits == [0, 1]
    assert graph.warnings == []


def test_successors_come_as_listed_and_behind_them_those_only_named_by_ancestors(
    tmp_path: Path,
) -> None:
    text = """[{"name": "b", "ancestors": ["a"]}, {"name": "a", "successors": ["d", "c"]},
               {"name": "c"}, {"name": "d"}]"""
    assert read(tmp_path, text).successors[1] == [3, 2, 0]


def test_a_record_may_say_what_its_task_does(tmp_path: Path) -> None:
    text = """[{"name": "a", "command": ["make", "-s"], "duration": "5m", "retries": 2, "env": {
        "PORT": 80}, "vars": {"team": ["x", {"y": 1}]}, "timeout": 9, "cwd": "src"}]"""
    definition = read(tmp_path, text)["a"].definition
    assert definition.command == ("make", "-s")
    assert definition.duration == 300
    assert definition.env == {"PORT": "80"}
    assert definition.vars == {"team": ["x", {"y": 1}]}


def test_a_pool_of_records_has_the_limit_one(tmp_path: Path) -> None:
    assert read(tmp_path, '[{"name": "a", "pool": "db"}]').pools == {"db": 1}


def test_no_records_are_a_graph_of_nothing(tmp_path: Path) -> None:
    assert len(read(tmp_path, "[]")) == 0


STRANGE_NAMES = [
    "two words",
    'with "quotes"',
    "it's",
    "$(rm -rf /)",
    "../..",
    "-rf",
    "👩‍🚀",
    "x" * 3000,
    "a,b",
    "\\",
    "null",
]


@pytest.mark.parametrize("format_", ["records", "groups", "workfile"])
def test_strange_names_are_kept_as_they_are(tmp_path: Path, format_: str) -> None:
    graph = formats.from_data([{"name": name} for name in STRANGE_NAMES], "records")
    again = read(tmp_path, formats.dump(graph, format_))
    assert list(again.numbers) == STRANGE_NAMES


def test_records_are_read_from_yaml_too(tmp_path: Path) -> None:
    graph = read(tmp_path, "- name: a\n  successors: [b]\n- name: b\n", "work.yaml")
    assert edges(graph) == {("a", "b")}


# What is strange


CONTRADICTING = """[
  {"name": "a", "successors": []},
  {"name": "b", "successors": ["c"], "ancestors": ["a"], "position": 7},
  {"name": "c",
   "ancestors": [], "position": 2}
]"""


def test_lists_and_positions_that_contradict_the_edges_are_warnings(tmp_path: Path) -> None:
    graph = read(tmp_path, CONTRADICTING)
    assert edges(graph) == {("a", "b"), ("b", "c")}
    assert [warning.removeprefix(f"{tmp_path}/") for warning in graph.warnings] == [
        'work.json:2: task a: successors: "b" is missing here, whose ancestors hold "a"',
        "work.json:3: task b: position: 7 is not what the edges give: "
        '1, for the task waits for "a" at 0',
        'work.json:5: task c: ancestors: "b" is missing here, whose successors hold "c"',
    ]


def test_strictly_read_what_is_strange_is_wrong(tmp_path: Path) -> None:
    assert len(refused(tmp_path, CONTRADICTING, strict=True)) == 3


def test_the_position_of_a_task_that_waits_for_nothing_is_zero(tmp_path: Path) -> None:
    (warning,) = read(tmp_path, '[{"name": "a", "position": 1}]').warnings
    assert warning.endswith(
        "position: 1 is not what the edges give: 0, for the task waits for nothing"
    )


def test_all_warnings_are_kept(tmp_path: Path) -> None:
    text = json.dumps([{"name": str(n), "position": 5} for n in range(50)])
    assert len(read(tmp_path, text).warnings) == 50


# What is wrong


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ("5", "record 2: found 5 where an object with a name should be"),
        ("[]", "record 2: found [] where an object with a name should be"),
        ("{}", "record 2: it has no name; every record needs one"),
        (
            '{"name": 5}',
            "record 2: name: 5 is not the name of a task; the name of a task is text, in quotes",
        ),
        ('{"name": ""}', "record 2: name: the name of a task cannot be empty"),
        (
            r'{"name": "a\nb"}',
            r'record 2: name: "a\nb" cannot be the name of a task: it holds a line break; leave '
            "out line breaks and other control characters",
        ),
        (
            '{"name": "b", "successors": "a"}',
            'task b: successors: "a" is not a list of names; write ["a"]',
        ),
        (
            '{"name": "b", "ancestors": null}',
            "task b: ancestors: null is not a list of names; leave it out for none",
        ),
        (
            '{"name": "b", "successors": ["first", 3]}',
            "task b: successors[1]: 3 is not the name of a task; the name of a task is text, in "
            "quotes",
        ),
        (
            '{"name": "b", "successors": ["frist"]}',
            'task b: successors[0]: there is no task "frist"; did you mean "first"?',
        ),
        (
            '{"name": "b", "ancestors": ["b"]}',
            "task b: ancestors[0]: the task waits for itself; take its own name out",
        ),
        (
            '{"name": "b", "sucessors": []}',
            'task b: sucessors: there is no field of that name; did you mean "successors"?',
        ),
        (
            '{"name": "b", "position": -1}',
            "task b: position: -1 is not a position; give a whole number, 0 or more, or leave it "
            "out",
        ),
        ('{"name": "first"}', "task first: name: the same record stands twice, first as record 1;"),
        ('{"name": "first", "cwd": "x"}', "task first: name: record 1 has that name too, and says"),
        ('{"name": "b", "duration": -1}', "task b: duration: -1 is not a duration; give seconds"),
        ('{"name": "b", "retries": -3}', "task b: retries: -3 is not a number of retries; give"),
        ('{"name": "b", "timeout": "never"}', 'task b: timeout: "never" is not a timeout; give'),
        (
            '{"name": "b", "env": {"A": []}}',
            "task b: env.A: [] is not the value of a variable; write it as text, in quotes",
        ),
        (
            '{"name": "b", "name": "c"}',
            'the key "name" stands twice in the same mapping; keep one',
        ),
    ],
)
def test_a_problem_tells_its_line_its_task_and_its_field(
    tmp_path: Path, record: str, problem: str
) -> None:
    (told,) = refused(tmp_path, f'[\n{{"name": "first"}},\n{record}\n]')
    assert told.startswith(f"work.json:3: {problem}")


def test_the_line_is_that_of_the_item_and_not_of_the_record(tmp_path: Path) -> None:
    text = '[{"name": "a",\n"successors": [\n"a",\n"q"\n],\n"retries":\n-1}]'
    assert [problem.split(": ")[0] for problem in refused(tmp_path, text)] == [
        "work.json:3",
        "work.json:4",
        "work.json:6",
    ]


def test_all_problems_are_told_together_in_the_order_of_the_file(tmp_path: Path) -> None:
    bad = "".join(f'{{"name": "t{n}", "retries": -{n}}},\n' for n in range(1, 31))
    problems = refused(tmp_path, f'[\n{bad}{{"x": 1, "x": 2}}]')
    assert [int(problem.split(":")[1]) for problem in problems] == [*range(2, 32), 32, 32]
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, f"[{bad}]")
    assert str(caught.value).endswith("\n… and 10 more problems")


def test_nobody_is_told_more_problems_than_can_be_read(tmp_path: Path) -> None:
    problems = refused(tmp_path, f"[{{}}{',5' * 2 * MOST_PROBLEMS}]")
    assert problems[0] == "work.json:1: more than 50,000 problems; these are some"
    assert problems[1].startswith("work.json:1: record 1: it has no name")
    assert len(problems) == MOST_PROBLEMS + 1


def test_a_cycle_is_told_with_its_line(tmp_path: Path) -> None:
    text = """[{"name": "start", "successors": ["b"]},
      {"name": "b", "successors": ["a"]},
      {"name": "a", "successors": ["b"]}]"""
    assert refused(tmp_path, text) == [
        "work.json:2: these tasks wait for each other: b → a → b",
    ]


def test_a_problem_is_one_short_printable_line_whatever_the_name(tmp_path: Path) -> None:
    for name in ["x" * 3000, "\u202e\u200b" * 50, '"' * 100]:
        (problem,) = refused(tmp_path, json.dumps([{"name": name, "successors": ["q" * 3000]}]))
        assert problem.isprintable()
        assert len(problem) < 1000


def test_records_of_python_code_tell_places_instead_of_lines() -> None:
    with pytest.raises(InvalidInput) as caught:
        formats.from_data([{"name": "a"}, {"name": "b", "successors": ["a", "x y"]}], "records")
    assert caught.value.problems == [
        'records[1].successors[1]: task b: there is no task "x y"',
    ]


# What is written


names = st.sampled_from("abcdefgh")
fields = st.fixed_dictionaries(
    {},
    optional={
        "command": st.one_of(st.sampled_from(["make", "echo é"]), st.just(["printf", "%s", ""])),
        "env": st.dictionaries(st.sampled_from(["A", "B"]), st.text("x €", max_size=2)),
        "duration": st.one_of(st.integers(0, 100), st.floats(0, 100)),
        "pool": st.sampled_from(["db", "net"]),
        "retries": st.integers(0, 3),
        "vars": st.dictionaries(st.text("ab", max_size=2), st.lists(st.none() | st.text('x"'))),
        "description": st.text('"\\\\\nü\u2028'),
    },
)


@st.composite
def graphs(draw: st.DrawFn) -> WorkGraph:
    """Return graphs of records, every edge leading onwards in a hidden order."""
    chosen = draw(st.lists(names, unique=True))
    data = [{"name": name, **draw(fields), "successors": []} for name in chosen]
    for index, record in enumerate(data):
        behind = chosen[index + 1 :]
        if behind:
            record["successors"] = draw(st.lists(st.sampled_from(behind), max_size=4))
    return formats.from_data(draw(st.permutations(data)), "records")


@given(graphs())
def test_records_are_read_as_they_were_written(graph: WorkGraph) -> None:
    text = formats.dump(graph, "records")
    again = formats.from_data(json.loads(text), "records")
    assert facts(again) == facts(graph)
    assert again.successors == graph.successors
    assert again.warnings == []
    assert formats.dump(again, "records") == text


def test_a_record_is_a_line_whose_fields_stand_in_order(tmp_path: Path) -> None:
    graph = read(tmp_path, '[{"duration": 2.0, "name": "a", "successors": ["b"]}, {"name": "b"}]')
    assert formats.dump(graph, "records") == (
        "[\n"
        '  {"position": 0, "name": "a", "successors": ["b"], "ancestors": [], "duration": 2},\n'
        '  {"position": 1, "name": "b", "successors": [], "ancestors": ["a"]}\n'
        "]\n"
    )


def test_barriers_are_multiplied_out() -> None:
    graph = formats.from_data([[["a", "b"], ["c", "d"]]], "groups")
    written = json.loads(formats.dump(graph, "records"))
    assert [record["successors"] for record in written] == [["c", "d"], ["c", "d"], [], []]


def test_barriers_that_would_become_too_many_edges_are_refused() -> None:
    many = [f"{side}{n}" for side in "ab" for n in range(1001)]
    graph = formats.from_data([[many[:1001], many[1001:]]], "groups")
    with pytest.raises(UsageError, match=r"1,002,001 edges; the most is 1,000,000\. Keep"):
        records.write(graph)


def test_what_records_cannot_hold_is_told_in_a_line_for_each_kind() -> None:
    pools = {"a": 2, "b": 3, "c": 1, "d": 4, "e": 5, "unused": 1}
    tasks = {name: {"pool": name} for name in "abcde"}
    graph = formats.from_data({"pools": pools, "tasks": tasks}, "workfile")
    assert formats.losses(graph, "records") == [
        "pools in records have the limit 1: other limits are lost, of a (2), b (3), d (4) and 1 "
        "more",
        "pools in records are those that tasks name: left out is unused",
    ]
