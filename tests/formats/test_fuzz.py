"""Anything at all: damaged files of every format are read, or refused in clear lines.

The fast tests try the same files each time, the slow ones others; `pytest --hypothesis-seed` tries
what was tried before.
"""

import contextlib
import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from parallel_workers import formats
from parallel_workers.documents.source import SYNTAXES
from parallel_workers.errors import InvalidInput, UsageError
from tests.formats.reading import read

EXAMPLES = Path(__file__).parents[2] / "examples"

VALID: dict[str, Any] = {
    "records": [
        {"position": 0, "name": "a", "successors": ["b", "c"], "ancestors": [], "command": "x"},
        {"name": "b", "ancestors": ["a"], "env": {"A": "1"}, "duration": "5m", "pool": "p"},
        {"name": "c", "command": ["x", "-y"], "retries": 2, "timeout": 1.5, "vars": {"k": [None]}},
    ],
    "groups": [[["a", "b"], ["c", "d"], []], [["e"], ["a"]], []],
    "workfile": {
        "env": {"CC": "clang"},
        "pools": {"p": 2},
        "defaults": {"retries": 1, "cwd": "."},
        "tasks": {
            "a": "make",
            "b": {
                "command": ["x"],
                "after": ["a"],
                "pool": "p",
                "env": {"N": 5},
                "vars": {"k": {}},
            },
            "c": None,
        },
        "threads": [[["a"], ["d", "e"]], [["d", "e"], ["c", "f"]]],
    },
    "wfformat": {
        "schemaVersion": "1.5",
        "workflow": {
            "specification": {
                "tasks": [
                    {"id": "a", "name": "A", "parents": [], "children": ["b"]},
                    {"id": "b", "parents": ["a"]},
                ]
            },
            "execution": {
                "tasks": [
                    {"id": "a", "runtimeInSeconds": 2.5},
                    {"id": "b", "command": {"program": "x", "arguments": ["-y"]}},
                ]
            },
        },
    },
}
TEXTS = {
    "work.edges": "a b\nb c\n  c\td\n\ne e\na c",
    "work.dot": """// by hand
strict digraph "G" { rankdir=LR; node [retries=1, shape=box]
  a [command="x \\"y\\"", env=<{"A": "b"}>]; a -> {b; c:n:se} -> d, e [x=y];
  subgraph s { node [pool=p] f -> "g" + "h" } /* all */ -> a1 # end
}""",
    "work.toml": """defaults.timeout = "5m"
[tasks]
a = ["x", 'y']
b = {after = ["a"], retries = 0x2, duration = 1e1}
[tasks.c]
command = \"\"\"
x \\
y\"\"\"
vars = {day = 1979-05-27, at = 07:32:00Z, n = [1, {}]}
""",
    "work.yaml": """%YAML 1.1
---
x: &x !!map {retries: 2}
tasks: # all
  a: |
    x
  "b": {<<: *x, after: [a], vars: {k: &y [~, 0x1F, .5], l: *y}}
  ? c
  : >-
    x

    y
""",
}


def as_toml(data: object) -> str:
    """Return plain data as TOML, whose tables inline are JSON but for the colons; nearly."""
    if isinstance(data, dict):
        items = (f"{json.dumps(str(key))} = {as_toml(value)}" for key, value in data.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(data, list):
        return f"[{', '.join(map(as_toml, data))}]"
    return json.dumps("" if data is None else data, ensure_ascii=False)


def as_file(data: object, name: str) -> str:
    if name == "work.yaml":
        return yaml.safe_dump(data, allow_unicode=True)
    if name == "work.toml" and isinstance(data, dict):
        return "".join(f"{json.dumps(str(k))} = {as_toml(value)}\n" for k, value in data.items())
    return json.dumps(data, ensure_ascii=False, indent=1)


texts = st.text(max_size=4) | st.sampled_from(["a", "b", "5m", "{", "a b", "\0", "\x85", "\u202e"])
numbers = st.integers() | st.floats() | st.sampled_from([0, -1, 10**400, 16**3400, 1e308])
junk = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda items: st.lists(items, max_size=3) | st.dictionaries(texts, items, max_size=3),
    max_leaves=5,
)


def parts(data: object) -> list[tuple[Any, Any]]:
    """Return each part of `data` by what holds it, and its key or index there."""
    root = [data]
    found: list[tuple[Any, Any]] = [(root, 0)]
    for container, key in found:  # grows while it is walked
        inside = container[key]
        if isinstance(inside, dict):
            found += [(inside, step) for step in inside]
        elif isinstance(inside, list):
            found += [(inside, step) for step in range(len(inside))]
    return found


@st.composite
def damaged_data(draw: st.DrawFn) -> object:
    """Return valid data of some format, a few parts of which are replaced, moved or gone."""
    data = copy.deepcopy(VALID[draw(st.sampled_from(sorted(VALID)))])
    for _ in range(draw(st.integers(1, 4))):
        container, key = draw(st.sampled_from(parts(data)[1:] or [([data], 0)]))
        kind = draw(st.sampled_from(["replace", "remove", "swap", "rename"]))
        if kind == "remove":
            del container[key]
        elif kind == "swap":
            other, step = draw(st.sampled_from(parts(data)))
            container[key] = copy.deepcopy(other[step])
        elif kind == "rename" and isinstance(container, dict):
            container[draw(texts | st.sampled_from(["name", "id", "after"]))] = container.pop(key)
        else:
            container[key] = draw(junk)
    return data


TOKEN = re.compile(r'\w+|"(?:[^"\\\n]|\\.)*"|[ \t]+|.', re.DOTALL)
PIECES = [*"[]{}<>()\",:;\n #\\\0\x85'\té=.+-|&*!?%@`~", "null", "1e999", "\\ud800", "---\n", ""]
PIECES += ["&a ", "*a", "<<: ", "!x ", "- ", "->", "--", "/*", "*/", "//", '"""', "'''", "0x", "[["]
PIECES += ["node", "subgraph", "digraph", "\ud800", "\ufeff", "\r\n", "9" * 5000, "0x" + "f" * 4000]


@st.composite
def damaged_text(draw: st.DrawFn, text: str) -> bytes:
    """Return the text with a few runs of tokens replaced by others, or by pieces of syntax."""
    tokens = TOKEN.findall(text)
    at = st.integers(0, len(tokens))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(at)
        taken = draw(st.integers(0, 3) | st.integers(0, 60))
        if draw(st.booleans()):
            new = [draw(st.sampled_from(PIECES))] * draw(st.sampled_from([1, 1, 1, 2, 300]))
        else:
            other = draw(at)
            new = tokens[other : other + draw(st.integers(1, 30))]
        tokens[start : start + taken] = new
    return "".join(tokens).encode(errors="surrogatepass")


WHOLE = (" is empty; ",)
"""How problems of a text begin that are those of no line of it."""


def check(directory: Path, content: str | bytes, name: str) -> None:
    """Read a file, which may be refused in clear lines; what can be read can be written."""
    if isinstance(content, str):
        content = content.encode(errors="surrogatepass")
    problems: list[str] = []
    try:
        graph = read(directory, content, name)
    except InvalidInput as error:
        problems = error.problems
    event("refused" if problems else "read")
    for problem in problems:
        assert problem.isprintable()
        where = problem.removeprefix(f"{directory}/{name}:")
        assert where != problem
        # TOML has lines for its own mistakes only; what is wrong with a whole text has none.
        assert where[0].isdigit() or name.endswith(".toml") or where.startswith(WHOLE)
        assert len(problem) < 2000
    if problems:
        return
    for written in formats.writable():
        # Some formats cannot hold every name.
        with contextlib.suppress(UsageError):
            assert isinstance(formats.dump(graph, written), str)
            assert all(loss.isprintable() for loss in formats.losses(graph, written))


def files() -> list[tuple[str, str]]:
    found = [(path.name, path.read_text()) for path in sorted(EXAMPLES.iterdir())]
    return [*TEXTS.items(), *found]


def file_names() -> st.SearchStrategy[str]:
    return st.sampled_from(["work.json", "work.yaml", "work.toml", "work"])


def damaged_files() -> st.SearchStrategy[tuple[str, bytes]]:
    return st.sampled_from(files()).flatmap(
        lambda file: st.tuples(st.just(file[0]), damaged_text(file[1]))
    )


def nonsense() -> st.SearchStrategy[tuple[str, str | bytes]]:
    suffixes = st.sampled_from([*SYNTAXES, ".edges", ".dot", ""])
    pieces = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
    return st.tuples(suffixes.map("work{}".format), pieces | st.binary(max_size=40))


def try_data(directory: Path, data: object, name: str) -> None:
    check(directory, as_file(data, name), name)
    for kind in VALID:
        with contextlib.suppress(InvalidInput):
            formats.from_data(data, kind)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


same_each_time = settings(derandomize=True, deadline=None, max_examples=150)
others_each_time = settings(
    deadline=None, max_examples=2000, database=None, suppress_health_check=list(HealthCheck)
)


@same_each_time
@given(damaged_data(), file_names())
def test_damaged_data_is_read_or_refused(directory: Path, data: object, name: str) -> None:
    try_data(directory, data, name)


@same_each_time
@given(damaged_files())
def test_damaged_text_is_read_or_refused(directory: Path, file: tuple[str, bytes]) -> None:
    check(directory, file[1], file[0])


@same_each_time
@given(nonsense())
def test_nonsense_is_read_or_refused(directory: Path, file: tuple[str, str | bytes]) -> None:
    check(directory, file[1], file[0])


@pytest.mark.slow
@others_each_time
@given(damaged_data(), file_names())
def test_more_damaged_data_is_read_or_refused(directory: Path, data: object, name: str) -> None:
    try_data(directory, data, name)


@pytest.mark.slow
@others_each_time
@given(damaged_files())
def test_more_damaged_text_is_read_or_refused(directory: Path, file: tuple[str, bytes]) -> None:
    check(directory, file[1], file[0])


@pytest.mark.slow
@others_each_time
@given(nonsense())
def test_more_nonsense_is_read_or_refused(directory: Path, file: tuple[str, str | bytes]) -> None:
    check(directory, file[1], file[0])


LARGEST = 100_000
"""How long a real file is, in bytes, that is damaged and read: what is longer takes too long."""


@pytest.mark.slow
@pytest.mark.shared
@settings(others_each_time, max_examples=600)
@given(st.data())
def test_real_files_with_damage_are_read_or_refused(
    directory: Path, shared_data: Path, data: st.DataObject
) -> None:
    paths = sorted(shared_data.rglob("*.json"))
    path = data.draw(st.sampled_from([path for path in paths if path.stat().st_size < LARGEST]))
    check(directory, data.draw(damaged_text(path.read_text())), path.name)
