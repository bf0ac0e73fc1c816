"""Every writer with every reader: what is written is read the same, or a loss is told."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_workers import formats
from parallel_workers.definition import FIELDS
from parallel_workers.errors import UsageError
from parallel_workers.graph import WorkGraph
from tests.formats.reading import edges, facts, read
from tests.formats.test_groups import waits

BOTH = [name for name in formats.writable() if name in formats.readable()]
PLACES = [(name, suffix) for name in BOTH for suffix in formats.writer_named(name).suffixes]

NOT_IN_NAMES = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029]))
names = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters=NOT_IN_NAMES), min_size=1, max_size=6),
    st.sampled_from(
        ["a b", "\ufeffa", "\ufeff", "#", "[", "{}", "-", "digraph", "null", "<<", "é"]
    ),
)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
free = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | texts | st.just("\0") | st.just(10**3400),
    lambda items: st.lists(items, max_size=3) | st.dictionaries(texts, items, max_size=3),
    max_leaves=4,
)  # fmt: skip
values: dict[str, st.SearchStrategy[Any]] = {
    "command": texts.filter(str.strip) | st.tuples(texts.filter(bool), texts),
    "env": st.dictionaries(st.text("A=é \n", min_size=1).filter(lambda key: "=" not in key), texts),
    "cwd": texts.filter(bool),
    "duration": st.floats(0, 1e8) | st.integers(0, 100),
    "pool": st.sampled_from(["db", "net"]),
    "retries": st.integers(0, 1_000_000)
    | st.fixed_dictionaries(
        {"times": st.integers(0, 9)},
        optional={
            "delay": st.integers(0, 90),
            "backoff": st.sampled_from([1, 1.5, 2]),
            "jitter": st.sampled_from([0, 0.25]),
            "on": st.lists(st.integers(1, 255), min_size=1, max_size=3),
        },
    ),
    "allow-failure": st.booleans(),
    "always": st.booleans(),
    "timeout": st.floats(1e-9, 1e8),
    "vars": st.dictionaries(texts, free, max_size=3),
    "description": texts,
}


@st.composite
def graphs(draw: st.DrawFn) -> WorkGraph:
    """Return graphs with all that a work file can hold, every edge leading onwards."""
    chosen = draw(st.lists(names, unique=True, max_size=7))
    tasks = {}
    for index, name in enumerate(chosen):
        fields = draw(st.lists(st.sampled_from(list(values)), unique=True, max_size=2))
        after = draw(st.lists(st.sampled_from(chosen[:index]), max_size=3)) if index else []
        tasks[name] = {"after": after, **{field: draw(values[field]) for field in fields}}
    cuts = sorted(draw(st.lists(st.integers(0, len(chosen)), max_size=3)))
    thread = [chosen[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]
    pools = {"db": draw(st.integers(1, 3)), "net": 1}
    for name in draw(st.sets(st.sampled_from(list(pools)))):
        if all(task.get("pool") != name for task in tasks.values()):
            del pools[name]
    order = draw(st.permutations(chosen))
    data = {
        "pools": pools,
        "tasks": {name: tasks[name] for name in order},
        "threads": [thread] if draw(st.booleans()) else [],
    }
    return formats.from_data(data, "workfile")


def told_apart_by(graph: WorkGraph, name: str) -> tuple[object, ...]:
    """Return what has to stay the same: all but the order of tasks.

    Groups do not keep the edges that follow from others, only the waits.
    """
    _, found, *others = facts(graph)
    return set(graph.numbers), waits(graph) if name == "groups" else found, *others


def written_and_read(graph: WorkGraph, directory: Path, name: str, suffix: str) -> WorkGraph:
    again = read(directory, formats.dump(graph, name), f"graph{suffix}", strict=True)
    assert set(again.numbers) == set(graph.numbers)
    if not formats.losses(graph, name):
        assert told_apart_by(again, name) == told_apart_by(graph, name)
    elif name == "groups":
        assert waits(again) >= waits(graph)
    else:
        assert edges(again) == edges(graph)
    return again


@settings(deadline=None, max_examples=200)
@given(graphs(), st.lists(st.sampled_from(PLACES), min_size=1, max_size=3))
def test_whatever_way_a_graph_goes_it_stays_the_same_or_a_loss_is_told(
    tmp_path_factory: pytest.TempPathFactory, graph: WorkGraph, way: Sequence[tuple[str, str]]
) -> None:
    for name, suffix in [*way, way[0]]:
        if name == "edges" and any(" " in task for task in graph.numbers):
            with pytest.raises(UsageError, match="white space"):
                formats.dump(graph, name)
            return
        graph = written_and_read(graph, tmp_path_factory.getbasetemp(), name, suffix)


EXAMPLES: dict[str, object] = {
    "command": ["make", "-s"],
    "env": {"A": "b"},
    "cwd": "tests",
    "duration": 5,
    "pool": {"db": 1, "net": 4},
    "retries": {"times": 2, "delay": 1.5, "on": [75]},
    "timeout": "5m",
    "allow-failure": True,
    "always": True,
    "done-if": ["test", "-e", "made"],
    "confirm": "Apply this plan?",
    "console": True,
    "service": {"ready": ["pg_isready", "-q"]},
    "vars": {"n": 1},
    "description": "Makes it.",
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("name", formats.writable())
def test_no_field_is_left_out_in_silence(tmp_path: Path, name: str, field: str) -> None:
    graph = formats.from_data([{"name": "a", field: EXAMPLES[field]}], "records")
    if not formats.losses(graph, name):
        suffix = formats.writer_named(name).suffixes[0]
        assert facts(read(tmp_path, formats.dump(graph, name), f"graph{suffix}")) == facts(graph)


def of_a_pool() -> WorkGraph:
    return formats.from_data({"pools": {"db": 2}, "tasks": {"a": None}}, "workfile")


def of_a_function() -> WorkGraph:
    graph = WorkGraph()
    graph.add("a", print)
    return graph


def of_nothing_said() -> WorkGraph:
    return formats.from_data([{"name": "a", "retries": 0, "env": {}}], "records")


@pytest.mark.parametrize(
    ("make", "lossless"),
    [(of_a_pool, {"workfile"}), (of_a_function, set()), (of_nothing_said, {*formats.writable()})],
)
def test_pools_and_functions_are_told_where_they_are_lost_and_defaults_are_not(
    make: Callable[[], WorkGraph], lossless: set[str]
) -> None:
    assert {name for name in formats.writable() if not formats.losses(make(), name)} == lossless
