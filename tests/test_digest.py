"""Digests: what changes them, what does not, and how far a change travels."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from parallel_workers.definition import Definition
from parallel_workers.digest import command_content, digests, function_content, graph_digest
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


def made(factor: int) -> Callable[[int], int]:
    return lambda number: number * factor


def test_a_function_is_its_code_its_defaults_and_its_arguments() -> None:
    namespaces: list[dict[str, Any]] = [{"__name__": "m"} for _ in range(5)]
    texts = [
        "def f(x, y=1): return x + 1",
        "\n\n# moved\ndef f(x, y=1): return x + 1",
        "def f(x, y=1): return x + 2",
        "def f(x, y=2): return x + 1",
        "def f(x, y=1):\n def g(): return 2\n return x + 1",
    ]
    for text, namespace in zip(texts, namespaces, strict=True):
        exec(text, namespace)
    plain, moved, other, defaults, nested = (
        function_content(namespace["f"], None) for namespace in namespaces
    )
    assert plain == moved
    assert len({plain, other, defaults, nested}) == 4
    arguments = [arguments_of((value,), {}) for value in (1, 1, 2, [1])]
    one, same, two, listed = (function_content(abs, each) for each in arguments)
    assert one == same
    assert len({one, two, listed}) == 3


def test_a_task_among_arguments_counts_by_its_own_digest() -> None:
    graph = WorkGraph()
    a, b = graph.add("a", int), graph.add("b", int)
    assert function_content(abs, arguments_of((a,), {})) == function_content(
        abs, arguments_of((b,), {})
    )
    assert function_content(abs, arguments_of((a,), {})) != function_content(
        abs, arguments_of((1,), {})
    )


def test_a_method_is_of_its_object() -> None:
    class_a = Definition(duration=1.0)
    class_b = Definition(duration=2.0)
    contents = [function_content(each._asdict, None) for each in (class_a, class_a, class_b)]
    assert contents[0] == contents[1] != contents[2]


def test_what_cannot_be_pickled_has_no_content() -> None:
    assert function_content(print, arguments_of((threading.Lock(),), {})) is None
