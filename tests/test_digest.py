"""Digests: what changes them, what does not, and how far a change travels."""

import functools
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import pytest

from parallel_workers.definition import Definition
from parallel_workers.digest import (
    arguments_content,
    command_content,
    digests,
    function_content,
    graph_digest,
)
from parallel_workers.formats import from_data
from parallel_workers.graph import WorkGraph
from parallel_workers.plan import Plan
from parallel_workers.tasks import arguments_of


def of(graph: WorkGraph) -> dict[str, bytes]:
    """The digest of each task by name; every task has a command."""
    plan = Plan(graph)
    contents = [command_content(each.command or "", each) for each in plan.definitions]
    return dict(zip(plan.names, digests(plan, contents), strict=True))


def diamond(**changes: dict[str, Any]) -> WorkGraph:
    """a before b and c, both before d; `changes` are fields of a task by its name."""
    graph = WorkGraph()
    after: dict[str, list[str]] = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}
    for name, others in after.items():
        graph.add(name, **{"after": others, "command": f"make {name}", **changes.get(name, {})})
    return graph


def changed(graph: WorkGraph) -> set[str]:
    """The tasks whose digest is not that in the plain diamond."""
    plain = of(diamond())
    return {name for name, digest in of(graph).items() if plain.get(name) != digest}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"command": "make other"}, "bd"),
        ({"command": ["make", "b"]}, "bd"),
        ({"env": {"X": "1"}}, "bd"),
        ({"cwd": "elsewhere"}, "bd"),
        ({"after": []}, "bd"),
        ({"retries": 3}, ""),
        ({"timeout": 5}, ""),
        ({"duration": 5}, ""),
        ({"description": "builds"}, ""),
        ({"vars": {"x": 1}}, ""),
    ],
)
def test_a_change_is_seen_in_the_task_and_all_behind_it(
    change: dict[str, Any], expected: str
) -> None:
    assert changed(diamond(b=change)) == set(expected)


def test_a_change_of_the_first_is_seen_everywhere() -> None:
    assert changed(diamond(a={"command": "x"})) == set("abcd")


def test_the_order_of_tasks_and_edges_does_not_matter() -> None:
    graph = WorkGraph()
    graph.add("d", command="make d", after=["c", "b"])
    for name in "cb":
        graph.add(name, command=f"make {name}", after=["a"])
    graph.add("a", command="make a")
    assert of(graph) == of(diamond())
    assert graph_digest(of(graph)) == graph_digest(of(diamond()))


def test_a_change_travels_through_a_gate() -> None:
    def of_groups(*first: str) -> dict[str, bytes]:
        graph = from_data([[list(first), ["y"], ["z"]]], "groups")
        for name, number in graph.numbers.items():
            graph.definitions[number] = Definition(command=name)
        return of(graph)

    one, other = of_groups("a", "b"), of_groups("a", "c")
    assert {name for name in one if one.get(name) == other.get(name)} == {"a"}


def test_what_has_no_content_is_like_nothing_and_so_is_all_behind_it() -> None:
    plan = Plan(diamond())
    contents = [None if name == "b" else b"x" for name in plan.names]
    found = dict(zip(plan.names, digests(plan, contents), strict=True))
    assert (found["b"], found["d"]) == (b"", b"")
    assert found["a"]
    assert found["c"]


def test_environments_differ_by_content_not_by_order() -> None:
    def content(**env: str) -> bytes:
        return command_content("x", Definition(env=env))

    assert content(a="1", b="2") == content(b="2", a="1")
    assert content(a="1") != content(a="2")


# Functions


def given(*args: Any, **kwargs: Any) -> bytes | None:
    """What a digest holds of arguments."""
    return arguments_content(arguments_of(args, kwargs))


def defined(text: str) -> Callable[..., Any]:
    """The function `f` of a program; its module cannot be imported."""
    namespace: dict[str, Any] = {"__name__": "made", "functools": functools}
    exec(text, namespace)
    function: Callable[..., Any] = namespace["f"]
    return function


def closing_over(value: object) -> Callable[[], object]:
    return lambda: value


@pytest.mark.parametrize(
    "text",
    [
        "def f(x, y=1): return x + 2",
        "def f(x, y=2): return x + 1",
        "def f(x, *, y=1): return x + 1",
        "def f(x, *y): return x + 1",
        "async def f(x, y=1): return x + 1",
        "def f(x, y=1):\n def g(): return 2\n return x + 1",
        "def g(x, y=1): return x + 1\nf = g",
    ],
)
def test_a_function_is_its_name_its_code_and_its_defaults(text: str) -> None:
    plain = function_content(defined("def f(x, y=1): return x + 1"))
    assert plain is not None
    assert function_content(defined("\n\n# moved\ndef f(x, y=1): return x + 1")) == plain
    assert function_content(defined(text)) not in (plain, None)


def test_a_function_is_the_values_in_its_closure() -> None:
    one, same, other = (function_content(closing_over(value)) for value in ([1], [1], [2]))
    assert one == same != other
    assert None not in (one, other)


def test_a_function_in_a_closure_counts_by_its_code() -> None:
    one, same, other = (
        function_content(closing_over(defined(f"def f(): return {number}"))) for number in (1, 1, 2)
    )
    assert one == same != other
    assert None not in (one, other)


def test_a_function_may_be_in_its_own_closure_or_wait_for_its_value() -> None:
    def countdown(number: int) -> int:
        return number and countdown(number - 1) + late

    assert function_content(countdown) is not None
    late = 1
    assert function_content(countdown) is not None


def test_a_closure_that_cannot_be_pickled_has_no_content() -> None:
    assert function_content(closing_over(threading.Lock())) is None


def test_what_a_function_wraps_is_part_of_it() -> None:
    text = (
        "def wrap(f):\n @functools.wraps(f)\n def g(*a): return a\n return g\n"
        "@wrap\ndef f(): return {}\n"
    )
    one, other = (function_content(defined(text.format(number))) for number in (1, 2))
    assert one != other
    assert None not in (one, other)
    first, second = (function_content(functools.partial(max, number)) for number in (1, 2))
    assert first != second


class Adder:
    """What can be called, and has a method."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, other: int) -> int:
        return self.add(other)

    def add(self, other: int) -> int:
        return self.number + other


def test_a_method_is_of_its_object() -> None:
    for contents in (
        [function_content(Adder(number).add) for number in (1, 1, 2)],
        [function_content(Adder(number)) for number in (1, 1, 2)],
        [function_content(Definition(duration=number)._asdict) for number in (1.0, 1.0, 2.0)],
    ):
        assert contents[0] == contents[1] != contents[2]
        assert None not in contents


def test_arguments_differ_by_what_they_are() -> None:
    assert given(1) == given(1)
    different = [given(1), given(2), given([1]), given({1}), given(frozenset({1})), given(x=1)]
    assert None not in different
    assert len(set(different)) == len(different)


def test_a_task_among_arguments_counts_by_its_own_digest() -> None:
    graph = WorkGraph()
    a, b = graph.add("a", int), graph.add("b", int)
    assert given(a) == given(b) != given(1)
    assert given([{"x": a}]) == given([{"x": b}]) != given([{"x": 1}])


def test_a_function_among_arguments_counts_by_its_code() -> None:
    one, other = (given(defined(f"def f(): return {number}")) for number in (1, 2))
    assert one != other
    assert None not in (one, other)


def test_arguments_that_cannot_be_pickled_have_no_content() -> None:
    assert given(threading.Lock()) is None
    assert given({"deep": [(threading.Lock(),)]}) is None


def test_a_digest_is_the_same_in_each_process() -> None:
    """Texts have another hash in each, and so sets of them another order."""
    program = """
        from parallel_workers.digest import arguments_content, function_content
        from parallel_workers.tasks import arguments_of
        texts = {"one", "two", "three", ("four", "five"), frozenset({"six", "seven"})}
        class Holder:
            def __init__(self): self.texts = texts
        def f(x=frozenset(texts)): return x in {"eight", "nine", "ten"} or texts
        nested = [texts, (texts, {"key": texts}), Holder(), f]
        print(arguments_content(arguments_of((nested,), {"x": texts})), function_content(f))
        def closing(): return lambda: nested
        print(function_content(closing()))
    """
    words = [sys.executable, "-c", textwrap.dedent(program)]
    told = {
        subprocess.run(
            words,
            env={"PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in range(1, 6)
    }
    assert len(told) == 1
    assert "None" not in told.pop()
