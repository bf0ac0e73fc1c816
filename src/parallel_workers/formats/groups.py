"""Threads of run groups: three lists in each other, threads, their groups, and names of tasks.

    [[["fetch", "clean"], ["build"]],
     [["lint"]]]

The threads run in parallel, and so do the tasks of a group; a group ends before the next one of its
thread begins. A name that stands in several places is one task.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from parallel_workers.documents.problems import About, Findings, Place, Problem
from parallel_workers.formats._fields import check_cycles, connect, names_a_task, settle_edges
from parallel_workers.formats._format import Reader, Writer
from parallel_workers.formats._writing import as_list, dump_json, lost_definitions
from parallel_workers.graph import WorkGraph
from parallel_workers.wording import plural, shorten, shown

SHOWN_REASONS = 5
"""The most reasons that are told for one circle."""

_DEPTH = 'threads hold groups, and groups hold names: [[["a", "b"], ["c"]], [["d"]]]'


class Group(NamedTuple):
    """One group that has tasks.

    Attributes:
        place: Its index in its thread, those without tasks counted.
        tasks: The numbers of its tasks, each once.
    """

    place: int
    tasks: list[int]


Threads: TypeAlias = list[list[Group]]


def read(data: object, findings: Findings) -> WorkGraph:
    """Return the work graph that `data` describes; tasks are numbered as they come.

    Args:
        data: Threads of groups of names.
        findings: Gets all problems. With problems the graph is of no use.
    """
    graph = WorkGraph()
    threads = add_threads(data, graph, findings)
    settle_edges(graph)
    if not findings.problems:
        check_cycles(graph, findings, lambda names: explain_cycle(names, graph, threads))
    return graph


def add_threads(data: object, graph: WorkGraph, findings: Findings, place: Place = ()) -> Threads:
    """Add the tasks and edges of `data` to `graph`, which may have tasks already.

    Args:
        data: Threads of groups of names.
        graph: Gets a task for each name that it has not, and edges, some perhaps twice.
        findings: Gets all problems.
        place: Where `data` stands.

    Returns:
        The groups that have tasks, for `explain_cycle`.
    """
    if not isinstance(data, (list, tuple)):
        findings.about(place=place).problem(
            f"found {shown(data)} where a list of threads should be"
        )
        return []
    if wrong := _wrong_depth(data):
        findings.about(place=place).problem(f"{wrong}; {_DEPTH}")
        return []
    threads = [
        _read_thread(thread, graph, findings, (*place, index)) for index, thread in enumerate(data)
    ]
    barriers: set[tuple[tuple[int, ...], tuple[int, ...]]] = set()
    for thread in threads:
        for before, after in pairwise(thread):
            if (barrier := (tuple(before.tasks), tuple(after.tasks))) not in barriers:
                barriers.add(barrier)
                connect(before.tasks, after.tasks, graph)
    return threads


def _read_thread(thread: object, graph: WorkGraph, findings: Findings, place: Place) -> list[Group]:
    if not isinstance(thread, (list, tuple)):
        _about(findings, place).problem(f"found {shown(thread)} where a list of groups should be")
        return []
    groups = []
    for number, group in enumerate(thread):
        here = (*place, number)
        if not isinstance(group, (list, tuple)):
            _about(findings, here).problem(f"found {shown(group)} where a list of names should be")
        elif tasks := _read_group(group, graph, findings, here):
            groups.append(Group(number, tasks))
    return groups


def _read_group(
    group: Sequence[object], graph: WorkGraph, findings: Findings, place: Place
) -> list[int]:
    tasks: dict[int, None] = {}
    for index, name in enumerate(group):
        known = graph.numbers.get(name) if isinstance(name, str) else None
        if known is not None:
            tasks[known] = None
        elif names_a_task(name, _about(findings, (*place, index))):
            tasks[graph.add_plain(str(name))] = None
    return list(tasks)


def _about(findings: Findings, place: Place) -> About:
    """Return where to tell of what stands at `place`, counted from 1 as people do."""
    word = iter(("thread ", "group ", "name "))
    steps = (step for step in place if isinstance(step, int))
    said = [f"{next(word)}{step + 1}" for step in steps]
    return findings.about(", ".join(said), place)


def _wrong_depth(threads: Sequence[object]) -> str:
    """Return what is wrong with the depth of the lists, judged by the first name that comes."""
    for thread in threads:
        for group in thread if isinstance(thread, (list, tuple)) else ():
            if isinstance(group, str):
                return f"the lists are too shallow: found {shown(group)} where a group should be"
            for name in group if isinstance(group, (list, tuple)) else ():
                if isinstance(name, (list, tuple)):
                    return f"the lists are too deep: found {shown(name)} where a name should be"
                return ""
    return ""


def explain_cycle(names: Sequence[str], graph: WorkGraph, threads: Threads) -> Problem:
    """Return the problem of a circle of `names`: which groups make each wait for the one before.

    Args:
        names: Of the tasks on the circle.
        graph: The graph that they are of.
        threads: The groups that were added to it.

    Returns:
        A problem at the first of these groups, whose message goes on behind the circle.
    """
    numbers = [graph.numbers[name] for name in names]
    following = dict(zip(numbers, [*numbers[1:], numbers[0]], strict=True))
    reasons: list[str] = []
    place: Place = ()
    for index, thread in enumerate(threads):
        for first, second in pairwise(thread):
            inside = set(second.tasks)
            for before in [task for task in first.tasks if following.get(task) in inside]:
                after = following.pop(before)
                place = place or (index, first.place)
                reasons.append(
                    f"{shorten(graph.name(before))} before {shorten(graph.name(after))} in thread "
                    f"{index + 1} (groups {first.place + 1} and {second.place + 1})"
                )
    if len(reasons) > SHOWN_REASONS:
        reasons[SHOWN_REASONS:] = [f"and {len(reasons) - SHOWN_REASONS} more"]
    return Problem(f"; {', '.join(reasons)}" if reasons else "", place=place)


def losses(graph: WorkGraph) -> list[str]:
    """Return a line for each thing that groups cannot hold of `graph`, or add to it."""
    lines = lost_definitions(graph, "groups hold")
    if waiting := _wait_longer(graph):
        lines.append(
            f"a group waits for all of the group before it: {plural(waiting, 'task')} would wait "
            "for more than now"
        )
    return lines


def _wait_longer(graph: WorkGraph) -> int:
    """Return how many tasks do not wait for all tasks of the group before theirs."""
    predecessors = graph.predecessors()
    behind_gate = {
        node: frozenset(predecessors[node]) for node, name in enumerate(graph.names) if name is None
    }
    count = 0
    for thread in _by_component(graph):
        for before, after in pairwise(thread):
            everything = frozenset(before)
            # Tasks behind a barrier wait for the same, which may be very many.
            wait_the_same = Counter(tuple(predecessors[task]) for task in after)
            for direct, tasks in wait_the_same.items():
                waits = [behind_gate.get(node, frozenset((node,))) for node in direct]
                if everything not in waits and not everything <= frozenset().union(*waits):
                    count += tasks
    return count


def write(graph: WorkGraph) -> str:
    """Return `graph` as groups: a thread for each part of it that hangs together, a group for each
    position in that part. This may add waits, never takes one away; see `losses`. Edges that follow
    from others are not kept as such.
    """
    threads = [
        dump_json([[graph.name(number) for number in group] for group in thread])
        for thread in _by_component(graph)
    ]
    return as_list(threads)


def _by_component(graph: WorkGraph) -> list[list[list[int]]]:
    """Return the tasks of each connected part of `graph`, by position."""
    positions = graph.topology().positions
    neighbours = graph.predecessors()
    seen = [False] * len(graph.names)
    threads = []
    for start in graph.numbers.values():
        if seen[start]:
            continue
        seen[start] = True
        part = [start]
        for node in part:
            for other in (*neighbours[node], *graph.successors[node]):
                if not seen[other]:
                    seen[other] = True
                    part.append(other)
        tasks = sorted(node for node in part if graph.names[node] is not None)
        levels: list[list[int]] = [[] for _ in range(1 + max(positions[node] for node in tasks))]
        for node in tasks:
            levels[positions[node]].append(node)
        threads.append(levels)
    return threads


def _fits(data: object) -> bool:
    return isinstance(data, list) and bool(data) and isinstance(data[0], list)


READER = Reader(read, _fits)
WRITER = Writer(write, losses)
