"""What the tests of formats share: reading a text as a file, and telling graphs apart."""

from pathlib import Path
from typing import Any

import pytest

from parallel_workers.definition import PLAIN
from parallel_workers.errors import InvalidInput
from parallel_workers.formats import load
from parallel_workers.graph import WorkGraph


def read(directory: Path, text: str | bytes, name: str = "work.json", **options: Any) -> WorkGraph:
    path = directory / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(path, **options)


def refused(
    directory: Path, text: str | bytes, name: str = "work.json", **options: Any
) -> list[str]:
    """Return the problems of a file that must have some, as if it lay in this directory."""
    with pytest.raises(InvalidInput) as caught:
        read(directory, text, name, **options)
    return [problem.removeprefix(f"{directory}/") for problem in caught.value.problems]


def edges(graph: WorkGraph) -> set[tuple[str, str]]:
    """Return who comes before whom, by name, with gates multiplied out."""
    found = set()
    for name, number in graph.numbers.items():
        waiting = list(graph.successors[number])
        for node in waiting:
            other = graph.names[node]
            if other is None:
                waiting += graph.successors[node]
            else:
                found.add((name, other))
    return found


def facts(graph: WorkGraph) -> tuple[object, ...]:
    """Return all that makes two graphs the same for those who run them."""
    definitions = {graph.name(n): found for n, found in graph.definitions.items() if found != PLAIN}
    return list(graph.numbers), edges(graph), definitions, graph.pools
