"""Records: a list of tasks, each with its direct neighbours.

    [{"position": 0, "name": "build", "successors": ["test"], "ancestors": []},
     {"position": 1, "name": "test", "successors": [], "ancestors": ["build"]}]

Records come in any order and may carry the fields of a `Definition`. An edge may stand in the
`successors` of its one end, in the `ancestors` of the other, or in both. There is no place for the
limits of pools: every pool that a record names has the limit 1, or more if one task needs more.
"""

from collections.abc import Sequence
from typing import Any

from parallel_workers.definition import FIELDS, PLAIN, Definition
from parallel_workers.documents.problems import About, Findings, Problem
from parallel_workers.formats._fields import (
    check_cycles,
    check_keys,
    name_pools,
    names_a_task,
    read_fields,
    task,
)
from parallel_workers.formats._format import Reader, Writer
from parallel_workers.formats._neighbours import Lists, connect_neighbours
from parallel_workers.formats._writing import (
    as_list,
    describe,
    dump_json,
    edges_between_tasks,
    lost_limits,
    refuse_too_large,
    refuse_too_many,
)
from parallel_workers.graph import WorkGraph
from parallel_workers.wording import shown

LISTS = Lists(after="successors", before="ancestors")

KNOWN = ("position", "name", *LISTS, *FIELDS)
"""The fields of a record, in the order in which they are written."""


def read(data: object, findings: Findings) -> WorkGraph:
    """Return the work graph that `data` describes.

    Tasks are numbered in the order of their records; the successors of a task are those that its
    own record lists, and behind them those that only list it among their ancestors.

    Args:
        data: A list of records.
        findings: Gets all problems, and warnings where a list lacks an edge that the other end
            names, or a position is not what the edges make it. With problems the graph is of no
            use.
    """
    reader = _Reader(findings)
    if not isinstance(data, (list, tuple)):
        findings.about().problem(f"found {shown(data)} where a list of records should be")
        return reader.graph
    for index, record in enumerate(data):
        reader.add(index, record)
    connect_neighbours(reader.records, LISTS, reader.graph, reader.about)
    if not findings.problems and check_cycles(reader.graph, findings, reader.cycle):
        reader.check_positions()
    return reader.graph


class _Reader:
    def __init__(self, findings: Findings) -> None:
        self.graph = WorkGraph()
        self.findings = findings
        # By number: the record, and its place in the list.
        self.records: list[dict[str, Any]] = []
        self.indices: list[int] = []

    def about(self, number: int) -> About:
        return self.findings.about(task(self.graph.name(number)), (self.indices[number],))

    def add(self, index: int, record: object) -> None:
        about = self.findings.about(f"record {index + 1}", (index,))
        if not isinstance(record, dict):
            about.problem(f"found {shown(record)} where an object with a name should be")
            return
        if "name" not in record:
            about.problem("it has no name; every record needs one")
            return
        name = record["name"]
        if not names_a_task(name, about, "name"):
            return
        if name in self.graph.numbers:
            about._replace(subject=task(name)).problem(self._twice(name, record), "name")
            return
        self.graph.add_plain(name)
        self.records.append(record)
        self.indices.append(index)
        self._define(len(self.records) - 1)

    def _twice(self, name: str, record: dict[str, Any]) -> str:
        first = self.graph.numbers[name]
        where = f"record {self.indices[first] + 1}"
        if self.records[first] == record:
            return f"the same record stands twice, first as {where}; keep one"
        return f"{where} has that name too, and says something else of it; keep or rename one"

    def _define(self, number: int) -> None:
        record = self.records[number]
        about = self.about(number)
        check_keys(record, KNOWN, about)
        position = record.get("position", 0)
        if isinstance(position, bool) or not isinstance(position, int) or position < 0:
            about.problem(
                f"{shown(position)} is not a position; give a whole number, 0 or more, or leave "
                "it out",
                "position",
            )
        if fields := read_fields(record, about):
            definition = Definition(**fields)
            self.graph.definitions[number] = definition
            name_pools(self.graph, definition)

    def cycle(self, names: Sequence[str]) -> Problem:
        """Return where the first of `names` stands, for an error that says the rest."""
        return Problem("", place=(self.indices[self.graph.numbers[names[0]]],))

    def check_positions(self) -> None:
        """Warn of each position that is not the one that the edges give."""
        positions = self.graph.topology().positions
        wrong = [
            number
            for number, record in enumerate(self.records)
            if record.get("position", positions[number]) != positions[number]
        ]
        predecessors = self.graph.predecessors() if wrong else []
        for number in wrong:
            position = positions[number]
            before = [p for p in predecessors[number] if positions[p] == position - 1]
            why = (
                f"{position}, for the task waits for {shown(self.graph.name(before[0]))} at "
                f"{position - 1}"
                if before
                else "0, for the task waits for nothing"
            )
            found = shown(self.records[number]["position"])
            self.about(number).warn(f"{found} is not what the edges give: {why}", "position")


def losses(graph: WorkGraph) -> list[str]:
    """Return a line for each thing that records cannot hold of `graph`."""
    return lost_limits(graph, "records")


def write(graph: WorkGraph) -> str:
    """Return `graph` as records, one a line, with computed positions and barriers multiplied out.

    Raises:
        UsageError: Barriers would become too many edges, or what tasks share too large.
    """
    refuse_too_many(graph, "records")
    successors = edges_between_tasks(graph)
    refuse_too_large(graph, successors, "records", graph.definitions.values())
    ancestors: list[list[str]] = [[] for _ in graph.names]
    for number in graph.numbers.values():
        for successor in successors[number]:
            ancestors[successor].append(graph.name(number))
    positions = graph.topology().positions
    lines = [
        dump_json(
            {
                "position": positions[number],
                "name": name,
                "successors": [graph.name(successor) for successor in successors[number]],
                "ancestors": ancestors[number],
                **describe(graph.definitions.get(number, PLAIN)),
            }
        )
        for name, number in graph.numbers.items()
    ]
    return as_list(lines)


def _fits(data: object) -> bool:
    return isinstance(data, list) and (not data or isinstance(data[0], dict))


READER = Reader(read, _fits)
WRITER = Writer(write, losses)
