"""What a file of a megabyte may cost: within memory and time it is read, refused, and written."""

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from parallel_workers import formats
from parallel_workers.errors import UsageError
from parallel_workers.graph import WorkGraph
from tests.formats.reading import read, refused

MEMORY = 1 << 30
SECONDS = 30
"""A bound of processor time that a slow machine keeps as well; the aim is a few seconds."""

MEGABYTE = 1_000_000
E_ACUTE = "é" * 25_000

HOSTILE = {
    "reopened.dot": "digraph{subgraph s{node["
    + " ".join(f"k{n}=v" for n in range(4000))
    + "]}"
    + "".join(f"subgraph s{{a{n}}}" for n in range(50_000))
    + "}",
    "product.dot": "digraph{{" + " ".join(f"a{n}" for n in range(60_000)) + "}->{"
    + " ".join(f"b{n}" for n in range(60_000)) + "}}",
    "nested.dot": "digraph" + "{" * MEGABYTE,
    "letters.yaml": f'tasks:\n  t: &n "{E_ACUTE}"\n'
    + "".join(f"  t{n}: *n\n" for n in range(60_000)),
    "wrong.yaml": f'tasks:\n  t: &n "{E_ACUTE * 10}"\n'
    + "".join(f"  t{n}: {{after: *n}}\n" for n in range(20_000)),
    "directives.yaml": "%TAG !abc! y\n" * 75_000 + "---\ntasks: {}",
    "deep.json": "[" * MEGABYTE,
    "wrong.json": "[" + ",".join("5" for _ in range(MEGABYTE // 2)) + "]",
    "dots.toml": "[tasks]\n" + ".".join("a" for _ in range(MEGABYTE // 2)) + " = 1",
    "circle.edges": " ".join(f"{n} {n + 1}" for n in range(60_000)) + " 60000 0",
    "odd.tsort": "a " * (MEGABYTE // 2 - 1),
}  # fmt: skip


def each(text: str, count: int, between: str = " ") -> str:
    return between.join(text.replace("#", str(number)) for number in range(count))


def dot(*statements: str) -> str:
    return f"digraph {{ {' '.join(statements)} }}"


def with_long_names(size: int, length: int) -> str:
    """Return a barrier between so many tasks and so many others, their names so long."""
    sides = (each(f'"{side}{"x" * length}#"', size, ", ") for side in "ab")
    return f"[[[{'], ['.join(sides)}]]]"


AMPLIFYING: dict[str, Callable[[int], str]] = {
    "subgraph.dot": lambda n: dot(
        f"subgraph s {{ node [{each('k#=v', n // 20)}] }}", each("subgraph s { a# }", n // 40)
    ),
    "changing.dot": lambda n: dot(
        f"subgraph s {{ node [{each('k#=v', n // 20)}] }}",
        each("node [x=#] subgraph s { a# }", n // 70),
    ),
    "attributes.dot": lambda n: dot(
        f"node [{each('k#=v', n // 40)}]", each("a# [x=y]", 90), each("b#", n // 20)
    ),
    "text.dot": lambda n: dot(f'node [description="{"x" * (n // 2)}"]', each("a# [x=y]", n // 30)),
    "key.dot": lambda n: dot(f'node ["{"x" * (n // 2)}"=v]', each("a# [x=y]", n // 30)),
    "vars.dot": lambda n: dot(
        f'node [vars=<{{"v": [{each("1", n // 8, ", ")}]}}>]', each("a# [x=y]", n // 30)
    ),
    "fan.dot": lambda n: dot(f'"{"x" * (n // 2)}" -> {{', each("a#", n // 20), "}"),
    "after.dot": lambda n: dot(f"node [after={'x' * (n // 2)}]", each("a# [x=y]", n // 30)),
    "barrier.json": lambda n: with_long_names(n // 1000, 480),
    "defaults.json": lambda n: (
        f'{{"defaults": {{"env": {{"A": "{"x" * (n // 2)}"}}}}, "tasks": '
        f"{{{each(chr(34) + 't#' + chr(34) + ': {}', n // 30, ', ')}}}}}"
    ),
    "text.yaml": lambda n: (
        f'tasks:\n  t: &n "{"é" * (n // 4)}"\n' + each("  t#: *n", n // 30, "\n")
    ),
    "names.yaml": lambda n: (
        f"x: &n {'é' * (n // 4)}\ntasks:\n" + each("  t#: {after: *n}", n // 40, "\n")
    ),
    "odd.yaml": lambda n: (
        f"x: &n [{each('[]', 200, ', ')}]\ntasks:\n" + each("  t#: {cwd: *n}", n // 40, "\n")
    ),
    "laughs.yaml": lambda n: "a0: &a0 [x, x]\n" + each("a#: &a# [*a0, *a0, *a0]", n // 50, "\n"),
    "tags.yaml": lambda n: each("%TAG !a#! y", n // 17, "\r") + "\n---\ntasks: {a: x}\n",
    "matrix.yaml": lambda n: (
        f"tasks:\n  m: &m {{matrix: {{A: [{each('#', min(n // 40, 4000), ', ')}]}}}}\n"
        + each("  t#: *m", n // 16, "\n")
    ),
    "matrices.yaml": lambda n: (
        f"tasks:\n  a: {{matrix: {{A: [{each('#', min(n // 40, 4000), ', ')}]}}}}\n"
        f"  b: {{matrix: {{A: [{each('#', 900, ', ')}]}}, after: a}}\n"
        + each("  t#: {after: b}", n // 40, "\n")
    ),
    "threads.yaml": lambda n: (
        f"tasks: {{m: {{matrix: {{A: [{each('#', min(n // 40, 4000), ', ')}]}}}}, l: {{}}}}\n"
        f"threads: [{each('[[m], [l#]]', n // 20, ', ')}]\n"
    ),
    "odd.toml": lambda n: f'[tasks."{"x" * (n // 2)}"]\nafter = [{each("1", n // 8, ",")}]\n',
    "nest.json": lambda n: "[" * n,
    "odd.json": lambda n: f"[{each('1', n // 3, ', ')}]",
}
"""By the name of a file, what of a file of about so many characters can be made a lot of."""


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def refused_within_limits(directory: Path, *arguments: str) -> str:
    """Return the error with which the program, under limits, refuses; nothing if it does not."""
    ended = subprocess.run(
        [sys.executable, "-m", "parallel_workers", *arguments],
        cwd=directory,
        preexec_fn=limit,
        capture_output=True,
        text=True,
    )
    assert ended.returncode in (0, 2), ended.stderr[-2000:]
    assert "Traceback" not in ended.stderr
    assert "more memory than there is" not in ended.stderr
    return ended.stderr if ended.returncode == 2 else ""


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_megabyte_is_read_or_refused_in_a_line(tmp_path: Path, name: str) -> None:
    assert len(HOSTILE[name]) < 1.2 * MEGABYTE
    (tmp_path / name).write_text(HOSTILE[name])
    error = refused_within_limits(tmp_path, "check", name)
    assert not error or error.startswith(f"error: {name}:")


@pytest.mark.slow
@pytest.mark.parametrize("name", AMPLIFYING)
def test_a_megabyte_of_which_much_can_be_made_is_so_too_and_written(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text(AMPLIFYING[name](MEGABYTE), newline="")
    assert 0.4 * MEGABYTE < (tmp_path / name).stat().st_size < 1.4 * MEGABYTE
    if error := refused_within_limits(tmp_path, "check", name):
        assert error.startswith(f"error: {name}:")
        return
    for to in formats.writable():
        error = refused_within_limits(tmp_path, "convert", name, "--to", to, "-o", "out")
        assert not error or "error: as " in error


@pytest.mark.parametrize("name", AMPLIFYING)
def test_a_little_of_the_same_is_read_or_refused_in_clear_lines(tmp_path: Path, name: str) -> None:
    text = AMPLIFYING[name](10_000)
    if name in ("odd.yaml", "names.yaml", "laughs.yaml", "tags.yaml", "odd.toml", "nest.json",
                "odd.json", "matrix.yaml"):  # fmt: skip
        problems = refused(tmp_path, text, name)
        assert max(map(len, problems)) < 500
    else:
        assert len(read(tmp_path, text, name)) > 1


def of_long_text(tmp_path: Path) -> WorkGraph:
    return read(tmp_path, AMPLIFYING["text.dot"](200_000), "work.dot")


def of_a_long_key(tmp_path: Path) -> WorkGraph:
    return read(tmp_path, AMPLIFYING["key.dot"](200_000), "work.dot")


def of_large_free_data(tmp_path: Path) -> WorkGraph:
    return read(tmp_path, AMPLIFYING["vars.dot"](200_000), "work.dot")


def of_a_long_name(tmp_path: Path) -> WorkGraph:
    return read(tmp_path, AMPLIFYING["fan.dot"](200_000), "work.dot")


def of_long_names(tmp_path: Path) -> WorkGraph:
    return read(tmp_path, with_long_names(400, 480), "work.json")


FIELDS_TOO = {"records", "dot", "workfile"}


@pytest.mark.parametrize(
    ("make", "refusing"),
    [
        (of_long_text, FIELDS_TOO),
        (of_a_long_key, FIELDS_TOO),
        (of_large_free_data, FIELDS_TOO),
        (of_a_long_name, {*FIELDS_TOO, "edges"}),
        (of_long_names, {"records", "dot", "edges"}),
    ],
)
def test_what_would_be_repeated_beyond_measure_is_refused_before_it_is_written(
    tmp_path: Path, make: Callable[[Path], WorkGraph], refusing: set[str]
) -> None:
    graph = make(tmp_path)
    for name in formats.writable():
        if name in refusing:
            with pytest.raises(UsageError, match=r"would be repeated in [\d,]{11,} "):
                formats.dump(graph, name)
        else:
            formats.dump(graph, name)


def test_a_graph_that_repeats_what_graphs_repeat_is_written(tmp_path: Path) -> None:
    names = [f"task number {number}" for number in range(2000)]
    tasks = {name: {"after": names[max(0, index - 40) : index]} for index, name in enumerate(names)}
    command = "make " + "x" * 2000
    data = {"defaults": {"command": command}, "tasks": tasks}
    graph = formats.from_data(data, "workfile")
    for name in FIELDS_TOO:
        assert formats.dump(graph, name).count(command) == len(names)
