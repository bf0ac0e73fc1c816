"""Edge lists: names in pairs, the first of which comes before the second, as `tsort` reads them.

    fetch build
    build test
    lint lint

White space parts the names, and a line break is white space like any other. A name that is paired
with itself is a task; the pair says no more than that.
"""

import re
from collections.abc import Collection, Mapping, Sequence

from parallel_workers.documents.problems import Findings, Place, Problem
from parallel_workers.documents.tree import Parser
from parallel_workers.errors import UsageError
from parallel_workers.formats._fields import check_cycles, names_a_task, settle_edges
from parallel_workers.formats._format import Reader, Writer
from parallel_workers.formats._writing import (
    edges_between_tasks,
    lost_definitions,
    refuse_too_large,
    refuse_too_many,
    some,
)
from parallel_workers.graph import WorkGraph
from parallel_workers.wording import shown

# What else Unicode calls a space can be part of a name.
_NAME = re.compile(r"[^ \t\n\r\f\v]++")

# Conservative: with none of what YAML, JSON, TOML, DOT or make have between and around words.
_WORD = r"""(?!-)[^\s\[\]{}()<>"'`,;=#&*!|%?\\]++(?<!:)"""
_PAIR = re.compile(rf"\s*+{_WORD}[ \t]++{_WORD}\s*+")


def read(data: Sequence[str], findings: Findings) -> WorkGraph:
    """Return the work graph that `data` describes; tasks are numbered as their names come.

    Args:
        data: Names, an even number.
        findings: Gets all problems. With problems the graph is of no use.

    >>> read(["a", "b", "a", "b", "c", "c"], Findings())
    <WorkGraph of 3 tasks>
    """
    graph = WorkGraph()
    numbers = graph.numbers
    for index, name in enumerate(data):
        if name not in numbers and names_a_task(name, findings.about("", (index,))):
            graph.add_plain(name)
    if len(data) % 2:
        findings.about("", (len(data) - 1,)).problem(
            f"{shown(data[-1])} is the last of an odd number of names; give pairs, where the first "
            "comes before the second, and a task alone twice"
        )
    if findings.problems:
        return graph
    for before, after in zip(data[::2], data[1::2], strict=True):
        if before != after:
            graph.successors[numbers[before]].append(numbers[after])
    settle_edges(graph)
    check_cycles(graph, findings, lambda names: _cycle(names, data))
    return graph


def _cycle(names: Sequence[str], data: Sequence[str]) -> Problem:
    """Return where the first edge on a circle stands."""
    edge = names[0], names[1]
    pairs = zip(data[::2], data[1::2], strict=True)
    return Problem("", place=(2 * list(pairs).index(edge),))


def _find_lines(text: str, places: Collection[Place]) -> Mapping[Place, int]:
    wanted = set(places)
    found: dict[Place, int] = {}
    index = 0
    for line, content in enumerate(text.split("\n"), 1):
        for _ in _NAME.finditer(content):
            if (index,) in wanted:
                found[(index,)] = line
            index += 1
    return found


_PARSER = Parser(
    read=lambda text, faults: _NAME.findall(text),
    find=_find_lines,
    lines=lambda text: lambda line: line,
)


def losses(graph: WorkGraph) -> list[str]:
    """Return a line if edge lists cannot hold all of `graph`."""
    return lost_definitions(graph, "edge lists hold")


def write(graph: WorkGraph) -> str:
    """Return `graph` as pairs of names, an edge a line, with barriers multiplied out.

    Raises:
        UsageError: A name holds white space, barriers would become too many edges, or names that
            stand in many edges too large.
    """
    _refuse_white_space(graph)
    refuse_too_many(graph, "edge lists")
    rows = edges_between_tasks(graph)
    refuse_too_large(graph, rows, "edge lists")
    lines = []
    waiting = {successor for number in graph.numbers.values() for successor in rows[number]}
    for name, number in graph.numbers.items():
        lines += [f"{name} {graph.name(successor)}\n" for successor in rows[number]]
        if not rows[number] and number not in waiting:
            lines.append(f"{name} {name}\n")
    text = "".join(lines)
    # At the beginning of a file it would be taken for the mark that is no part of the text.
    return f"\n{text}" if text.startswith("\ufeff") else text


def _refuse_white_space(graph: WorkGraph) -> None:
    wrong = [shown(name) for name in graph.numbers if " " in name]
    if wrong:
        raise UsageError(
            f"in an edge list white space parts names, and cannot be in one, as in {some(wrong)}; "
            "rename these tasks, or write another format"
        )


def _fits(text: object) -> bool:
    if not isinstance(text, str) or not text.strip():
        return False
    return all(_PAIR.fullmatch(line) for line in text.split("\n") if line.strip())


READER = Reader(read, _fits, suffixes=(".edges", ".tsort"), parser=_PARSER)
WRITER = Writer(write, losses, suffixes=(".edges", ".tsort"))
