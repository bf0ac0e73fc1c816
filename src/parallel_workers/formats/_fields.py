"""What the formats that describe tasks share: checks of names and fields, edges, the last check."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from parallel_workers.definition import (
    ATTRIBUTES,
    FIELDS,
    Definition,
    check_name,
    read_field,
)
from parallel_workers.documents.problems import About, Findings, Problem
from parallel_workers.errors import CycleError, FieldError
from parallel_workers.graph import WorkGraph
from parallel_workers.wording import shorten, shown


def read_fields(given: Mapping[str, Any], about: About) -> dict[str, Any]:
    """Return those of `given` that are fields of a `Definition`, checked, by their attributes.

    Args:
        given: A task as the document has it.
        about: Gets a problem for each value that a field cannot hold.
    """
    fields = {}
    for name, value in given.items():
        if name in FIELDS:
            try:
                fields[ATTRIBUTES[name]] = read_field(name, value)
            except FieldError as error:
                about.problem(error.message, name, *error.place)
    return fields


def check_keys(given: Mapping[Any, Any], known: Sequence[str], about: About) -> None:
    """Add a problem for each key of `given` that is not among `known`."""
    for key in given:
        if key not in known:
            hint = about.findings.suggestion(str(key), known)
            about.problem(
                f"there is no field of that name{hint or '; there are ' + ', '.join(known)}", key
            )


def name_pools(graph: WorkGraph, definition: Definition) -> None:
    """Let there be the pools that a definition names, where a format has no place for limits.

    Each has the limit 1, or as many units as one task needs of it at least.
    """
    for pool, units in definition.needs.items():
        graph.pools[pool] = max(units, graph.pools.get(pool, 1))


def names_a_task(value: object, about: About, *field: str | int) -> bool:
    """Tell whether `value` can be the name of a task; where it cannot, that is a problem."""
    try:
        check_name(value, "the name of a task")
    except FieldError as error:
        about.problem(error.message, *field)
        return False
    return True


def find_neighbours(
    names: Iterable[object],
    number: int,
    graph: WorkGraph,
    about: About,
    field: str,
    others: Mapping[str, int] = MappingProxyType({}),
) -> list[int]:
    """Return the numbers of the tasks in `names`, each once.

    Args:
        names: What stands in a field of a task.
        number: The number of that task, which cannot be a neighbour of its own.
        graph: Has all tasks.
        about: Gets a problem for each item that names no other task.
        field: The name of the field.
        others: Numbers that are returned for names of no task.
    """
    found: dict[int, None] = {}
    for index, name in enumerate(names):
        other = graph.numbers.get(name, others.get(name)) if isinstance(name, str) else None
        if other is None:
            if names_a_task(name, about, field, index):
                suggest = about.findings.suggestion
                hint = suggest(str(name), graph.numbers) or suggest(str(name), others)
                about.problem(f"there is no task {shown(name)}{hint}", field, index)
        elif other == number:
            about.problem("the task waits for itself; take its own name out", field, index)
        else:
            found[other] = None
    return list(found)


def connect(before: Sequence[int], after: Sequence[int], graph: WorkGraph) -> None:
    """Let each of `after` wait for all of `before`: m + n edges through a gate, never m × n."""
    if len(before) > 1 and len(after) > 1:
        gate = graph.add_gate()
        graph.successors[gate] += after
        after = [gate]
    for number in before:
        graph.successors[number] += after


def settle_edges(graph: WorkGraph) -> None:
    """Leave each edge of `graph` once in the lists of successors, and count who waits for whom."""
    waits = [0] * len(graph.names)
    for node, row in enumerate(graph.successors):
        if len(row) > 1:
            graph.successors[node] = row = list(dict.fromkeys(row))
        for successor in row:
            waits[successor] += 1
    graph.waits[:] = waits


def check_cycles(
    graph: WorkGraph, findings: Findings, locate: Callable[[Sequence[str]], Problem]
) -> bool:
    """Tell whether every task of `graph` can start at last; where not, that is a problem.

    Args:
        graph: Has all edges.
        findings: Gets the problem.
        locate: Makes it of the names on the circle; its message is put behind the circle's.
    """
    try:
        graph.topology()
    except CycleError as error:
        found = locate(error.names)
        findings.problems.append(found._replace(message=f"{error}{found.message}"))
        return False
    return True


def task(name: str) -> str:
    """Return what messages call the task of that name."""
    return f"task {shorten(name)}"
