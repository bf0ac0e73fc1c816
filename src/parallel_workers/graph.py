"""The work graph: named tasks and the edges between them, as a person wrote them.

Tasks and gates are numbered in the order in which they came. What is known of them stands in
columns by that number, so that a graph of a million tasks is a handful of lists, and a `Task` is
made only when somebody asks for one. Readers of files fill the columns directly.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from parallel_workers.cycles import shortest_cycle
from parallel_workers.definition import FIELDS, PLAIN, Definition, check_name, read_field
from parallel_workers.errors import CycleError, FieldError, GraphError, UnknownTaskError
from parallel_workers.wording import shorten, suggestion


class Task:
    """A task of a work graph, as the user holds it.

    Attributes:
        graph: The graph that it belongs to.
        number: Its number there.
    """

    __slots__ = ("graph", "number")

    def __init__(self, graph: "WorkGraph", number: int) -> None:
        self.graph = graph
        self.number = number

    @property
    def name(self) -> str:
        """Its name, unique in its graph."""
        return self.graph.name(self.number)

    @property
    def definition(self) -> Definition:
        """What it does and how it is run."""
        return self.graph.definitions.get(self.number, PLAIN)

    def __repr__(self) -> str:
        return f"<Task {self.name!r}>"


class Topology(NamedTuple):
    """What follows from the edges alone.

    Attributes:
        order: Numbers of all tasks and gates, each behind all that it waits for.
        positions: By number, the longest path from a root in edges. Gates add nothing to it.
    """

    order: list[int]
    positions: list[int]


class WorkGraph:
    """Named pieces of work, some of which must wait for others.

    Attributes:
        names: By number, the name of a task, or None for a gate.
        numbers: The number of each task, by its name.
        successors: By number, the numbers of the direct successors, each once.
        waits: By number, how many direct predecessors there are.
        definitions: By number, what is known of a task beyond its name; others are not in it.
        pools: The limit of each pool, by its name.
        warnings: What the reader of the file found strange.

    >>> graph = WorkGraph()
    >>> build = graph.add("build", command="make")
    >>> test = graph.add("test", command="make test", after=[build])
    >>> [graph.name(number) for number in graph.topology().order]
    ['build', 'test']
    """

    def __init__(self) -> None:
        self.names: list[str | None] = []
        self.numbers: dict[str, int] = {}
        self.successors: list[list[int]] = []
        self.waits: list[int] = []
        self.definitions: dict[int, Definition] = {}
        self.pools: dict[str, int] = {}
        self.warnings: list[str] = []
        self._named_later: list[tuple[int, str]] = []
        self._topology: Topology | None = None

    def __len__(self) -> int:
        """Return the number of tasks; gates are not counted."""
        return len(self.numbers)

    def __contains__(self, name: object) -> bool:
        return name in self.numbers

    def __getitem__(self, name: str) -> Task:
        return Task(self, self.number(name))

    def __repr__(self) -> str:
        return f"<WorkGraph of {len(self)} tasks>"

    def add(self, name: str, *, after: Iterable[Task | str] = (), **fields: Any) -> Task:
        """Add a task.

        Args:
            name: Unique in this graph.
            after: Tasks, or names of tasks (also of those added later), that must have succeeded
                before this one starts.
            **fields: The fields of a `Definition`, such as `command="make"` or `timeout="5m"`.

        Returns:
            The task, for `after` of others.

        Raises:
            GraphError: The name is taken, a field does not exist or cannot hold its value, or a
                task is of another graph.
        """
        try:
            check_name(name, "the name of a task")
            definition = _define(fields)
        except FieldError as error:
            raise GraphError(f"task {shorten(str(name))}: {error.message}") from None
        if name in self.numbers:
            raise GraphError(f"there is a task named {shorten(name)} already")
        if isinstance(after, str):
            raise GraphError(f'task {shorten(name)}: after is a list: after=["{shorten(after)}"]')
        predecessors, later = self._find(after)
        number = self.add_plain(name)
        if definition is not PLAIN:
            self.definitions[number] = definition
        for predecessor in predecessors:
            self.connect(predecessor, number)
        self._named_later.extend((number, other) for other in later)
        return Task(self, number)

    def _find(self, after: Iterable[Task | str]) -> tuple[list[int], list[str]]:
        found: dict[int, None] = {}
        later: dict[str, None] = {}
        for other in after:
            if isinstance(other, str):
                known = self.numbers.get(other)
                if known is None:
                    later[other] = None
                else:
                    found[known] = None
            elif other.graph is not self:
                raise GraphError(f"the task {shorten(other.name)} is of another graph")
            else:
                found[other.number] = None
        return list(found), list(later)

    def add_plain(self, name: str) -> int:
        """Add a task of which only the name is known; a name that is new and has been checked.

        Returns:
            The number of the task.
        """
        number = self._add_node(name)
        self.numbers[name] = number
        return number

    def add_gate(self) -> int:
        """Add a gate: a hidden node that ends the moment all that it waits for has ended.

        Returns:
            The number of the gate.
        """
        return self._add_node(None)

    def _add_node(self, name: str | None) -> int:
        self.names.append(name)
        self.successors.append([])
        self.waits.append(0)
        self._topology = None
        return len(self.names) - 1

    def connect(self, predecessor: int, successor: int) -> None:
        """Add the edge from `predecessor` to `successor`, which must not be there yet."""
        self.successors[predecessor].append(successor)
        self.waits[successor] += 1
        self._topology = None

    def number(self, name: str) -> int:
        """Return the number of the task named `name`.

        Raises:
            UnknownTaskError: No task has that name; the nearest one is suggested.
        """
        try:
            return self.numbers[name]
        except KeyError:
            raise UnknownTaskError(
                f"there is no task named {shorten(name)}{suggestion(name, self.numbers)}"
            ) from None

    def name(self, number: int) -> str:
        """Return the name of the task with that number, which must not be that of a gate."""
        name = self.names[number]
        assert name is not None
        return name

    def topology(self) -> Topology:
        """Return an order that respects all edges, and the position of each task.

        Kahn's algorithm, a position at a time; O(tasks + edges). Kept until the graph changes.

        Raises:
            UnknownTaskError: A name in some `after` was never added.
            CycleError: Tasks wait for each other.

        Source:
            A. B. Kahn, "Topological sorting of large networks", CACM 5 (1962).
        """
        if self._topology is None:
            self._resolve_names()
            self._topology = self._sort()
        return self._topology

    def accept_positions(self, positions: list[int]) -> bool:
        """Make `positions` those of the topology, if they are what the edges give.

        To check positions that came with the edges takes under half the time of computing them:
        where each is one more than the highest before it, they are right, and there is no cycle.

        Args:
            positions: By number, the position of each task; the graph has no gates.

        Returns:
            Whether they are right. If not, nothing has changed.
        """
        reached = [0] * len(positions)
        for position, row in zip(positions, self.successors, strict=True):
            behind = position + 1
            for successor in row:
                if reached[successor] < behind:
                    reached[successor] = behind
        if reached != positions:
            return False
        order = sorted(range(len(positions)), key=positions.__getitem__)
        self._topology = Topology(order, positions)
        return True

    def _resolve_names(self) -> None:
        for number, name in self._named_later:
            if name not in self.numbers:
                raise UnknownTaskError(
                    f"task {self.name(number)} waits for {shorten(name)}, which is no task"
                    f"{suggestion(name, self.numbers)}"
                )
        for number, name in self._named_later:
            self.connect(self.numbers[name], number)
        self._named_later.clear()

    def _sort(self) -> Topology:
        successors = self.successors
        gates = {number for number, name in enumerate(self.names) if name is None}
        waiting = self.waits.copy()
        positions = [0] * len(waiting)
        order: list[int] = []
        level = [number for number, count in enumerate(waiting) if not count]
        position = 0
        while level:
            behind: list[int] = []
            for node in level:
                for successor in successors[node]:
                    left = waiting[successor] - 1
                    waiting[successor] = left
                    if left:
                        continue
                    if successor in gates:
                        # A gate adds nothing to positions: it ends within the level that frees it.
                        positions[successor] = position
                        level.append(successor)
                    else:
                        positions[successor] = position + 1
                        behind.append(successor)
            order += level
            level = behind
            position += 1
        if len(order) < len(waiting):
            suspects = [number for number, left in enumerate(waiting) if left]
            raise CycleError(self._names_on(shortest_cycle(successors, suspects)))
        return Topology(order, positions)

    def _names_on(self, cycle: list[int]) -> list[str]:
        """Return the names of the tasks on a cycle, beginning with the task that came first."""
        tasks = [number for number in cycle if self.names[number] is not None]
        first = tasks.index(min(tasks))
        return [self.name(number) for number in tasks[first:] + tasks[:first]]

    def predecessors(self) -> list[list[int]]:
        """Return, by number, the numbers of the direct predecessors, gates among them."""
        self._resolve_names()
        found: list[list[int]] = [[] for _ in self.names]
        for node, row in enumerate(self.successors):
            for successor in row:
                found[successor].append(node)
        return found

    def needed(self, names: Iterable[str]) -> "WorkGraph":
        """Return a new graph of the tasks named and all that they need, directly or not.

        Args:
            names: Names of tasks of this graph.

        Raises:
            UnknownTaskError: There is no such task.
        """
        chosen = {self.number(name): None for name in names}
        predecessors = self.predecessors()
        reached = list(chosen)
        for node in reached:
            for predecessor in predecessors[node]:
                if predecessor not in chosen:
                    chosen[predecessor] = None
                    reached.append(predecessor)
        return self._copy_of(sorted(reached))

    def _copy_of(self, nodes: Sequence[int]) -> "WorkGraph":
        graph = WorkGraph()
        graph.pools.update(self.pools)
        graph.warnings.extend(self.warnings)
        copies: dict[int, int] = {}
        for node in nodes:
            name = self.names[node]
            copies[node] = graph.add_gate() if name is None else graph.add_plain(name)
            if node in self.definitions:
                graph.definitions[copies[node]] = self.definitions[node]
        for node in nodes:
            for successor in self.successors[node]:
                if successor in copies:
                    graph.connect(copies[node], copies[successor])
        return graph


def _define(fields: Mapping[str, Any]) -> Definition:
    """Return the definition that `fields` make up.

    Raises:
        FieldError: A field does not exist or cannot hold its value.
    """
    if not fields:
        return PLAIN
    checked = {}
    for name, value in fields.items():
        if name not in FIELDS:
            raise FieldError(f'there is no option "{shorten(name)}"{suggestion(name, FIELDS)}')
        try:
            checked[name] = read_field(name, value)
        except FieldError as error:
            raise FieldError(f"{name}: {error.message}", (name, *error.place)) from None
    return Definition(**checked)
