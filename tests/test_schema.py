import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from parallel_workers import formats
from parallel_workers.definition import SET_BY_RUNS
from parallel_workers.documents.source import SYNTAXES, parse, read_source
from parallel_workers.errors import InvalidInput
from parallel_workers.formats import workfile
from parallel_workers.graph import WorkGraph
from parallel_workers.schema import work_file_schema
from tests.formats import test_workfile
from tests.formats.test_records import graphs

SCHEMA = work_file_schema()
EXAMPLES = sorted(
    path for path in (Path(__file__).parents[1] / "examples").iterdir() if path.suffix in SYNTAXES
)
ONLY_THE_READER_KNOWS = re.compile("there is no (task|pool) |waits for itself|wait for each other")
"""What the reader says of data in which every part for itself is as it may be."""


def schema_takes(data: object) -> bool:
    return Draft202012Validator(SCHEMA).is_valid(data)


def problems(data: object) -> list[str]:
    """Return what the reader says against `data`."""
    if not workfile.READER.fits(data):
        return ["it is no work file"]
    try:
        formats.from_data(data, "workfile")
    except InvalidInput as error:
        return error.problems
    return []


def plain_data(path: Path) -> object:
    return parse(read_source(path), None).data


def a_task(**fields: Any) -> dict[str, Any]:
    """Return a work file with a task of these fields, and with what they may name."""
    return {"pools": {"db": 2}, "tasks": {"first": None, "task": fields}}


def each(field: str, *values: object) -> list[dict[str, Any]]:
    """Return, for each of `values`, a work file with a task that has it in that field."""
    return [a_task(**{field: value}) for value in values]


# The schema by itself


def test_the_schema_is_one_of_draft_2020_12_without_an_id() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "$id" not in SCHEMA
    assert SCHEMA["title"]


def test_every_section_and_every_field_has_a_description() -> None:
    fields = SCHEMA["$defs"]["task"]["properties"]
    assert tuple(fields) == workfile.KNOWN
    assert tuple(SCHEMA["properties"]) == tuple(workfile.SECTIONS)
    described = {**SCHEMA["$defs"], **SCHEMA["properties"], "after": fields["after"]}
    described.pop("name")
    assert [name for name in described if not described[name]["description"].endswith(".")] == []


def test_a_description_is_the_one_that_the_code_has() -> None:
    assert SCHEMA["$defs"]["retries"]["description"] == (
        "How many times more it is tried when it fails; with more than that, as `Retries`."
    )


SEARCH_EACH = """
const [patterns, texts] = JSON.parse(require("fs").readFileSync(0))
const found = (pattern) => texts.map((text) => new RegExp(pattern, "u").test(text))
console.log(JSON.stringify(patterns.map(found)))
"""


@pytest.mark.program("node")
def test_patterns_mean_the_same_in_javascript() -> None:
    found = set(re.findall(r'"pattern": ("[^"]*")', json.dumps(SCHEMA)))
    patterns = [json.loads(pattern) for pattern in sorted(found)]
    texts = ["", " ", "\n", "make\n", "a\0", "a\n\0", "a\x85", "\u2028", "é👩", "A=b", "]", "\\"]
    texts += ["5m", " 1h 30m ", "1h\n2m", ".5", "1 2", "1.s", "0s", "5 ms1d"]
    told = subprocess.run(
        ["node", "-e", SEARCH_EACH],
        input=json.dumps([patterns, texts]),
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    assert json.loads(told.stdout) == [
        [re.search(pattern, text) is not None for text in texts] for pattern in patterns
    ]


# What both take


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.name))
def test_the_schema_takes_those_examples_that_are_work_files(path: Path) -> None:
    data = plain_data(path)
    assert schema_takes(data) == workfile.READER.fits(data)


@pytest.mark.parametrize(
    ("suffix", "text"), [("yaml", test_workfile.YAML), ("toml", test_workfile.TOML)]
)
def test_the_schema_takes_a_file_that_uses_everything(
    tmp_path: Path, suffix: str, text: str
) -> None:
    path = tmp_path / f"work.{suffix}"
    path.write_text(text)
    assert schema_takes(plain_data(path))


@given(graphs())
def test_the_schema_takes_what_is_written(graph: WorkGraph) -> None:
    assert schema_takes(json.loads(formats.dump(graph, "workfile")))


@pytest.mark.parametrize(
    "data",
    [
        {"tasks": {}},
        {"threads": []},
        {"$schema": "./work.schema.json", "tasks": {}},
        {"threads": [[], [[]], [["a", "a"], ["b"]]]},
        {"tasks": {"a": None, "b": {}, "c": "make", "d": ["make", "", "a\nb"], "e": "\n make\n"}},
        {"tasks": {"3.10": None, "two words": None, "é👩‍🚀": None, "$(x)": None}},
        {"tasks": {"a": None}, "env": {"A": "", "b.c": 1, "-": "\n"}, "pools": {"x y": 10**9}},
        {"tasks": {}, "defaults": {"command": "make", "pool": "db"}, "pools": {"db": 1}},
        a_task(after="first"),
        a_task(after=[]),
        a_task(after=["first", "first"], pool="db", vars={"x": [1, None, {"": 1.5}]}),
        a_task(cwd=".", retries=10**6, timeout=1e-3, description="", env={}),
        *({"tasks": {}, "env-file": paths} for paths in ("/dev/null", ["/dev/null"])),
        a_task(matrix={"A": ["x", "", 1], "b.c": ["é, ]"]}),
        a_task(matrix={"PW_MINE": ["x"]}, env={"PW_RUNS": "x"}),
        *each("duration", 0, 0.5, 316224000, "0", " 90 ", ".5", "1.5s", "250ms"),
        *each("timeout", "5m", "1h 30m", "1h30m", "2 d 3 ms ", "0h 1s"),
    ],
)
def test_what_the_reader_takes_the_schema_takes(data: object) -> None:
    assert problems(data) == []
    assert schema_takes(data)


# What both refuse


@pytest.mark.parametrize(
    "data",
    [
        [],
        None,
        {},
        {"env": {}},
        {"tasks": None},
        {"tasks": ["a"]},
        {"threads": None},
        {"$schema": None, "tasks": {}},
        {"$schema": "./work.schema.json"},
        {"threads": ["a"]},
        {"threads": [["a"]]},
        {"threads": [[[["a"]]]]},
        {"threads": [[[5]]]},
        {"threads": [[["a\tb"]]]},
        {"tasks": {}, "default": {}},
        {"tasks": {}, "defaults": {"after": []}},
        {"tasks": {}, "defaults": None},
        *({"tasks": {}, "defaults": {field: None}} for field in workfile.KNOWN),
        {"tasks": {}, "pools": ["db"]},
        {"tasks": {}, "pools": {"db": 0}},
        {"tasks": {}, "pools": {"db": 10**9 + 1}},
        {"tasks": {}, "pools": {"db": True}},
        {"tasks": {}, "pools": {"db": 1.5}},
        {"tasks": {}, "pools": {"": 1}},
        {"tasks": {}, "env": ["A=b"]},
        *({"tasks": {name: None}} for name in ("", "a\n", "\n", "\x1b[m", "\x85", "\u2028", "\0")),
        *({"tasks": {"a": content}} for content in (5, True, "", " \n", "a\0", [], [""], ["a", 3])),
        *({"tasks": {"a": words}} for words in (["", "b"], ["\0"], ["b", "\0"])),
        {"tasks": {"a": [3]}},
        *each("comand", "x"),
        *each("command", None, 5, "", [], [""], [3], ["a", 3], ["\0"], ["a", "\0"]),
        *each("after", None, 5, {}, [5], "", [""], "a\n", ["a\n"]),
        *each("env", None, [], {"A": None}, {"A": 1.5}, {"A": True}, {"A": "\0"}),
        *each("env", {"": ""}, {"A=": ""}, {"=": ""}, {"\0": ""}, {"A\n=": ""}),
        *({"tasks": {}, "env": {name: "x"}} for name in SET_BY_RUNS),
        *({"tasks": {}, "defaults": {"env": {name: "x"}}} for name in SET_BY_RUNS),
        *(a_task(env={name: "x"}) for name in SET_BY_RUNS),
        *(a_task(matrix={name: ["x"]}) for name in SET_BY_RUNS),
        *each("cwd", None, "", "\0", 5),
        *each("pool", None, "", "\n", 5),
        *({"tasks": {}, "env-file": paths} for paths in (None, 5, "", "\0", [""], [5], {"a": 1})),
        {"tasks": {}, "defaults": {"matrix": {"A": ["x"]}}},
        *each("matrix", None, "x", [], {}, {"A": []}, {"A": "x"}, {"A": None}, {"": ["x"]}),
        *each("matrix", {"A=": ["x"]}, {"A\n": ["x"]}, {"A": [1.5]}, {"A": [True]}, {"A": [None]}),
        *each("matrix", {"A": ["x\n"]}, {"A": ["\0"]}, {"A": ["x", "x"]}, {"A": [["x"]]}),
        *each("retries", None, -1, 1.5, 10**6 + 1, True, "1"),
        *each("vars", None, [], "x"),
        *each("description", None, 5, "\0"),
        *each("duration", None, True, -1, 316224001, 10**400, float("inf"), [], "", " ", "m"),
        *each("duration", "-1", "5x", "1h 30", "1 2", "1h\n2m", "1.s", "1e3", "5M"),
        *each("timeout", None, True, -1, 316224001, "5x", 0, 0.0, "0", "0s", "0h 0.0m"),
    ],
)
def test_what_the_schema_refuses_the_reader_refuses(data: object) -> None:
    assert not schema_takes(data)
    assert problems(data) != []


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (a_task(after="frist"), "there is no task"),
        (a_task(after=["task"]), "the task waits for itself"),
        ({"tasks": {"a": {"after": "b"}, "b": {"after": "a"}}}, "wait for each other"),
        ({"threads": [[["a"], ["a"]]]}, "the task a waits for itself"),
        (a_task(pool="bd"), "there is no pool"),
        ({"tasks": {}, "defaults": {"pool": "db"}}, "there is no pool"),
        # To JSON Schema these are numbers as any other, or no numbers of JSON.
        (a_task(retries=1.0), "1.0 is not a number of retries"),
        (a_task(env={"VERSION": 1.0}), "1.0 is not the value of a variable"),
        (a_task(env={"A": 10**5000}), "a number of so many digits"),
        (a_task(matrix={"A": [1, "1"]}), "stands here twice"),
        (a_task(matrix={"A": list(range(5001))}), "more than 5,000 tasks"),
        (a_task(matrix={"A": [1, 2]}, after=["task"]), "the task waits for itself"),
        ({"tasks": {}, "env-file": "no/such file"}, "cannot be read: No such file"),
        (a_task(duration=float("nan")), "NaN is not a duration"),
        (a_task(vars={"x": [float("inf")]}), "inf is no number"),
        # Patterns do not add up, and the most characters are counted without white space around.
        (a_task(duration="3661d"), "at most ten years"),
        (a_task(timeout="1s " * 40), "is not a timeout"),
        # No file holds these, and not every language of patterns knows them.
        ({"tasks": {"\ud800": None}}, "half a surrogate pair"),
        (a_task(command="\ud800"), "half a surrogate pair"),
    ],
)
def test_some_things_only_the_reader_knows(data: object, problem: str) -> None:
    assert schema_takes(data)
    (told,) = problems(data)
    assert problem in told


# Both, on what comes


NAMES = st.sampled_from(["a", "b", "c", "two words"])
LENGTHS = st.integers(1, 9) | st.just(0.5) | st.sampled_from(["5m", "1h 30m", " 1.5 s", ".5h2ms"])
TEXT = st.text(st.sampled_from("a=5.ms \n\t\0\x85\u2028é👩"), max_size=4)
DEFAULTS = {
    "command": st.just("make") | st.just(["make", "-s"]),
    "env": st.dictionaries(st.sampled_from(["A", "B"]), st.just("b") | st.integers(0, 9)),
    "cwd": st.just("."),
    "duration": LENGTHS,
    "pool": st.just("db"),
    "retries": st.integers(0, 9),
    "timeout": LENGTHS,
    "vars": st.just({"x": [1, {"y": None}]}),
    "description": TEXT,
}
FIELDS = {
    **DEFAULTS,
    "after": NAMES | st.lists(NAMES, max_size=2),
    "matrix": st.dictionaries(
        st.sampled_from(["A", "B"]), st.just(["x", 1]) | st.just([""]), min_size=1
    ),
}
WORK_FILES = st.fixed_dictionaries(
    {
        "tasks": st.dictionaries(
            NAMES, st.none() | DEFAULTS["command"] | st.fixed_dictionaries({}, optional=FIELDS)
        )
    },
    optional={
        "env": DEFAULTS["env"],
        "pools": st.just({"db": 2}),
        "defaults": st.fixed_dictionaries({}, optional=DEFAULTS),
        "threads": st.lists(st.lists(st.lists(NAMES, max_size=2), max_size=2), max_size=2),
    },
)
KEYS = TEXT | st.sampled_from([*workfile.SECTIONS, *workfile.KNOWN])
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([-1, 0, 1, 0.5, 10**6 + 1, 10**9 + 1, 10**400, "true", "5m", "0s", "a"])
    | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=4,
)


def containers(data: object) -> Iterator[Any]:
    """Yield the mappings and lists of `data`, itself included."""
    if isinstance(data, (dict, list)):
        yield data
        for item in data.values() if isinstance(data, dict) else data:
            yield from containers(item)


@st.composite
def near_work_files(draw: st.DrawFn) -> Any:
    """Work files in which some parts were replaced, or added, whatever may come there."""
    data = json.loads(json.dumps(draw(WORK_FILES)))
    for _ in range(draw(st.integers(0, 2))):
        container = draw(st.sampled_from(list(containers(data))))
        odd = draw(ODD)
        if isinstance(container, list):
            place = draw(st.integers(0, len(container)))
            container[place : place + 1] = [odd]
        else:
            container[draw(st.sampled_from([*container, *workfile.KNOWN]) | KEYS)] = odd
    return data


@given(near_work_files())
def test_the_schema_refuses_what_the_reader_refuses_for_a_reason_that_it_can_know(
    data: object,
) -> None:
    reasons = [told for told in problems(data) if not ONLY_THE_READER_KNOWS.search(told)]
    assert schema_takes(data) == (not reasons), reasons
