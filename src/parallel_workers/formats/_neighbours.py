"""Edges of formats in which each task may list its neighbours in both directions."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from parallel_workers.documents.problems import About
from parallel_workers.formats._fields import find_neighbours, settle_edges
from parallel_workers.graph import WorkGraph
from parallel_workers.wording import shown


class Lists(NamedTuple):
    """What a format calls its two lists of names.

    Attributes:
        after: The list of the tasks that wait for a task.
        before: The list of those that it waits for.
    """

    after: str
    before: str


def connect_neighbours(
    entries: Sequence[Mapping[str, Any]],
    lists: Lists,
    graph: WorkGraph,
    about: Callable[[int], About],
) -> None:
    """Add the edges of both kinds of lists to `graph`; either list, or both, may be absent.

    The successors of a task are those that it lists itself, and behind them those that only list
    it.

    Args:
        entries: By number, each task as the document has it.
        lists: Their names.
        graph: Has all tasks, and no edges.
        about: Gives, by number, where to tell of a task: problems, and a warning for each edge that
            a list lacks and the other end names.
    """
    after: list[list[int] | None] = []
    before: list[list[int] | None] = []
    for number, entry in enumerate(entries):
        about_it = about(number)
        after.append(_listed(entry, lists.after, number, graph, about_it))
        before.append(_listed(entry, lists.before, number, graph, about_it))
    behind: list[list[int]] = [[] for _ in entries]
    for number, row in enumerate(before):
        for predecessor in row or ():
            behind[predecessor].append(number)

    def warn(number: int, lacking: str, other: int, having: str) -> None:
        mine, theirs = shown(graph.name(number)), shown(graph.name(other))
        about(number).warn(f"{theirs} is missing here, whose {having} hold {mine}", lacking)

    for number, mine in enumerate(after):
        theirs = behind[number]
        graph.successors[number] = [*(mine or ()), *theirs]
        if mine is not None:
            for other in _missing(theirs, mine):
                warn(number, lists.after, other, lists.before)
        for other in _missing(mine or (), theirs):
            if before[other] is not None:
                warn(other, lists.before, number, lists.after)
    settle_edges(graph)


def _listed(
    entry: Mapping[str, Any], field: str, number: int, graph: WorkGraph, about: About
) -> list[int] | None:
    """Return the tasks that an entry lists in `field`; None where it has no such list."""
    if field not in entry:
        return None
    names = entry[field]
    if isinstance(names, (list, tuple)):
        return find_neighbours(names, number, graph, about, field)
    advice = f"write {shown([names])}" if isinstance(names, str) else "leave it out for none"
    about.problem(f"{shown(names)} is not a list of names; {advice}", field)
    return None


def _missing(wanted: Collection[int], present: Collection[int]) -> Collection[int]:
    """Return those of `wanted` that are not among `present`."""
    if wanted == present:
        return ()
    there = set(present)
    return [number for number in wanted if number not in there]
