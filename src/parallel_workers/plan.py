"""The plan: a work graph compiled into integers, with all that follows from it alone.

How the next task is chosen is decided here, once, by numbering: tasks are numbered by priority, so
that of two ready tasks the smaller number starts first, and the frontier's heap holds plain
integers.

A task's priority is the length of the longest path that begins with it: its own duration and what
must follow it at best. Starting what has the longest way to go first is the critical-path rule;
on the Standard Task Graph set it ends within half a percent of the optimum where first come,
first served is two to three percent over it. Equals keep the order of the file.

A duration that was measured wins over a declared one. A task whose duration is unknown counts as 1
second, so that with no durations at all the priority is the number of tasks on the longest path.

A shuffled plan numbers tasks at random instead: an edge that is missing shows sooner or later.

Source:
    T. L. Adam, K. M. Chandy, J. R. Dickson, "A comparison of list schedules for parallel
    processing systems", CACM 17 (1974): highest level first, with estimated times.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from functools import cached_property
from types import MappingProxyType

from parallel_workers.definition import PLAIN, Definition, Retries, with_variables
from parallel_workers.errors import GraphError
from parallel_workers.graph import WorkGraph, users_of
from parallel_workers.wording import shorten

UNKNOWN_DURATION = 1.0
"""Seconds that a task counts for whose duration nobody knows."""


class Plan:
    """The frozen form of a work graph.

    Tasks have the numbers from 0 to `tasks` - 1 by priority, or at random; gates have those behind.

    Args:
        graph: The graph; it is not changed, and what is changed in it later is not in the plan.
        measured: By name, the seconds that a task took in earlier runs; perhaps not of all.
        urgent: Names of tasks that come first among equals, such as those that failed last time.
        seed: Shuffles the tasks; the same one gives the same order, whatever was measured.

    Raises:
        UnknownTaskError: A name in some `after` was never added.
        CycleError: Tasks wait for each other.
        GraphError: A task needs more units of a pool than there are.

    Attributes:
        seed: What it was shuffled with, or None.
        tasks: How many tasks there are.
        names: By task, its name.
        definitions: By task, what it does and how it is run.
        positions: By task, the longest path from a root, in edges.
        durations: By task, the expected duration in seconds.
        paths: By number, the length in seconds of the longest path that begins there.
        successors: By number, the numbers of the direct successors.
        waits: By number, how many direct predecessors there are.
        retries: How many attempts more a task has when one fails; tasks with none are not in it.
        delays: By task that waits before another attempt, how long; others are not in it.
        retried_on: By task that is tried again after some exit statuses only, those.
        needs: By task, how many units of which pools it needs; tasks that need none are not in it.
        pools: By pool, its name and its limit.
        forgiven: Tasks whose failure counts as a success for everybody else.
        always: Tasks that run however what they wait for has ended.
        services: Tasks that stay up until the last of those that wait for them has ended.
        questions: By task that somebody has to confirm, what is asked.
        consoles: Tasks that have the terminal, where there is one.
        console: The pool of which those need the only unit; None where there is no terminal.
        timeouts: By task that calls a function, the seconds that an attempt may take; tasks that
            have no such limit are not in it.
        numbers: By number in the graph, the number here.
        functions: By task, the function that it calls, or None.
        arguments: By task, what that is called with, if with anything.

    >>> graph = WorkGraph()
    >>> short = graph.add("short", duration="1s")
    >>> long = graph.add("long", duration="5s")
    >>> last = graph.add("last", duration="2s", after=[short, long])
    >>> plan = Plan(graph)
    >>> plan.names, plan.critical_path, plan.lower_bound(jobs=1)
    (['long', 'short', 'last'], ['long', 'last'], 8.0)
    """

    def __init__(
        self,
        graph: WorkGraph,
        measured: Mapping[str, float] = MappingProxyType({}),
        urgent: Collection[str] = (),
        seed: int | None = None,
    ) -> None:
        order, positions = graph.topology()
        durations = _durations_of(graph, measured)
        paths = _longest_paths(graph, order, durations)

        tasks = list(graph.numbers.values())
        if seed is None:
            # Python's sort keeps the order of equals, also in reverse: here, that of the file.
            if urgent:
                tasks.sort(key=lambda number: graph.names[number] in urgent, reverse=True)
            tasks.sort(key=paths.__getitem__, reverse=True)
        else:
            _shuffle(tasks, seed)
        gates = [number for number, name in enumerate(graph.names) if name is None]
        renumbered = [*tasks, *gates]
        numbers = [0] * len(renumbered)
        for number, old in enumerate(renumbered):
            numbers[old] = number

        self.seed = seed
        self.tasks = len(tasks)
        self.names = [graph.name(old) for old in tasks]
        self.definitions: list[Definition] = [graph.definitions.get(old, PLAIN) for old in tasks]
        if graph.env:
            self.definitions = list(with_variables(self.definitions, graph.env, {}))
        self.positions = [positions[old] for old in tasks]
        self.durations = [durations[old] for old in tasks]
        self.paths = [paths[old] for old in renumbered]
        self.successors = [[numbers[to] for to in graph.successors[old]] for old in renumbered]
        self.waits = [graph.waits[old] for old in renumbered]
        self.pools = list(graph.pools.items())
        self.numbers = numbers
        self.functions = [graph.functions.get(old) for old in tasks]
        self.arguments = {numbers[old]: found for old, found in graph.arguments.items()}
        self._read_policies(graph, numbers)

    def _read_policies(self, graph: WorkGraph, numbers: list[int]) -> None:
        pool_numbers = {name: number for number, (name, _) in enumerate(self.pools)}
        self.retries: dict[int, int] = {}
        self.delays: dict[int, Retries] = {}
        self.retried_on: dict[int, tuple[int, ...]] = {}
        self.needs: dict[int, dict[int, int]] = {}
        self.timeouts: dict[int, float] = {}
        self.forgiven: set[int] = set()
        self.always: set[int] = set()
        self.services: set[int] = set()
        self.questions: dict[int, str] = {}
        self.consoles: set[int] = set()
        self.console: int | None = None
        for old, definition in graph.definitions.items():
            task = numbers[old]
            self._read_retries(task, definition)
            if definition.timeout is not None and old in graph.functions:
                self.timeouts[task] = definition.timeout
            if definition.pool:
                _check_units(self.names[task], definition, graph.pools)
                own = definition.needs.items()
                self.needs[task] = {pool_numbers[name]: units for name, units in own}
            self._read_kind(task, definition)

    def _read_retries(self, task: int, definition: Definition) -> None:
        if not definition.retries:
            return
        retries = definition.retrying
        self.retries[task] = retries.times
        if retries.delay:
            self.delays[task] = retries
        if retries.on:
            self.retried_on[task] = retries.on

    def _read_kind(self, task: int, definition: Definition) -> None:
        """Read what makes a task other than most."""
        if definition.allow_failure:
            self.forgiven.add(task)
        if definition.always:
            self.always.add(task)
        if definition.confirm is not None:
            self.questions[task] = definition.confirm
        if definition.console:
            self.consoles.add(task)
        if definition.service is not None:
            _check_service(self.names[task], definition)
            self.services.add(task)

    def have_console(self, asked: Collection[int]) -> None:
        """Let no two tasks use the terminal at once, since there is one: it is a pool.

        Args:
            asked: Tasks that a person is asked about there; they need it until they are confirmed.
        """
        self.console = len(self.pools)
        self.pools.append(("the console", 1))
        for task in self.consoles.union(asked):
            self.needs[task] = {**self.needs.get(task, {}), self.console: 1}

    @cached_property
    def by_name(self) -> dict[str, int]:
        """Each task by its name, in the order in which they were added to the graph."""
        order = [number for number in self.numbers if number < self.tasks]
        return {self.names[task]: task for task in order}

    def users(self, service: int) -> list[int]:
        """Return the tasks that wait for a service, directly or by gates alone."""
        return users_of(service, self.successors, self.tasks.__gt__)

    def not_needed(self, done: Collection[int]) -> set[int]:
        """Return the services that nobody needs.

        Args:
            done: Tasks that are done, and need nothing any more.
        """
        found: set[int] = set()
        # A service may be there for another one alone.
        for service in sorted(self.services, key=self.positions.__getitem__, reverse=True):
            if all(user in done or user in found for user in self.users(service)):
                found.add(service)
        return found

    @cached_property
    def work(self) -> float:
        """The sum of all durations, in seconds."""
        return sum(self.durations)

    @cached_property
    def span(self) -> float:
        """The length of the critical path, in seconds: no run is shorter."""
        return max(self.paths, default=0.0)

    @cached_property
    def width(self) -> int:
        """The most tasks that share a position."""
        return max(Counter(self.positions).values(), default=0)

    @cached_property
    def edges(self) -> int:
        """How many edges there are; those to and from gates count as they are."""
        return sum(map(len, self.successors))

    @cached_property
    def critical_path(self) -> list[str]:
        """Names of the tasks on a longest path, from its root to its end."""
        if not self.tasks:
            return []
        node = max(range(self.tasks), key=self.paths.__getitem__)
        path = [node]
        while self.successors[node]:
            node = max(self.successors[node], key=self.paths.__getitem__)
            path.append(node)
        return [self.names[node] for node in path if node < self.tasks]

    def lower_bound(self, jobs: int) -> float:
        """Return the seconds that no run on `jobs` workers can end within.

        Args:
            jobs: How many workers; 0 for no limit.

        Returns:
            The largest of the critical path, the work shared evenly by all workers, and for each
            pool the work in it, by the units that it needs, shared evenly by the pool's units.
        """
        bounds = [self.span]
        if jobs:
            bounds.append(self.work / jobs)
        in_pool = [0.0] * len(self.pools)
        for task, needs in self.needs.items():
            for pool, units in needs.items():
                in_pool[pool] += self.durations[task] * units
        bounds += [work / limit for work, (_, limit) in zip(in_pool, self.pools, strict=True)]
        return max(bounds)


def _shuffle(tasks: list[int], seed: int) -> None:
    from random import Random

    Random(seed).shuffle(tasks)


def _check_units(task: str, definition: Definition, limits: Mapping[str, int]) -> None:
    """Refuse a task that needs more of a pool than there is."""
    for pool, units in definition.needs.items():
        if units > limits[pool]:
            raise GraphError(
                f"task {shorten(task)} needs {units:,} units of pool {shorten(pool)}, which has "
                f"{limits[pool]:,}; so it could never start"
            )


def _check_service(task: str, definition: Definition) -> None:
    """Refuse what has no meaning for a service."""
    refused = {
        "pool": (definition.pool is not None, "it would hold units that its own users may need"),
        "always": (definition.always, "it runs whenever it is needed, and then only"),
        "console": (definition.console, "it runs in the background"),
        "done-if": (definition.done_if is not None, "nobody would know how long it stays up"),
    }
    for field, (given, why) in refused.items():
        if given:
            raise GraphError(f"task {shorten(task)}: a service cannot have {field}: {why}")


def _durations_of(graph: WorkGraph, measured: Mapping[str, float]) -> list[float]:
    """Return the expected duration of each task and gate, in seconds."""
    durations = [0.0 if name is None else UNKNOWN_DURATION for name in graph.names]
    for number, definition in graph.definitions.items():
        if definition.duration is not None:
            durations[number] = definition.duration
    for name, seconds in measured.items():
        task = graph.numbers.get(name)
        # What was measured of a service is how long it was up, and not when it was.
        if task is not None and graph.definitions.get(task, PLAIN).service is None:
            durations[task] = seconds
    return durations


def _longest_paths(graph: WorkGraph, order: list[int], durations: list[float]) -> list[float]:
    paths = durations.copy()
    for node in reversed(order):
        behind = graph.successors[node]
        if behind:
            paths[node] += max([paths[successor] for successor in behind])
    return paths
