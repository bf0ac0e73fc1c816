"""The work graph: named tasks and the edges between them, as a person wrote them.

Tasks and gates are numbered in the order in which they came. What is known of them stands in
columns by that number, so that a graph of a million tasks is a handful of lists, and a `Task` is
made only when somebody asks for one. Readers of files fill the columns directly.
"""

from collections.abc import (
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NamedTuple,
    Protocol,
    TypeAlias,
    TypeVar,
    Unpack,
    overload,
)

from parallel_workers.cycles import shortest_cycle
from parallel_workers.definition import (
    FIELD_OF,
    PLAIN,
    Definition,
    Fields,
    check_name,
    read_field,
)
from parallel_workers.errors import CycleError, FieldError, GraphError, UnknownTaskError
from parallel_workers.events import CommandResult
from parallel_workers.tasks import Arguments, Task, TaskGroup, arguments_of
from parallel_workers.wording import plural, shorten, shown, suggestion

if TYPE_CHECKING:
    import threading
    from os import PathLike

    from parallel_workers.events import Event
    from parallel_workers.executors import Executor
    from parallel_workers.forecast import Forecast
    from parallel_workers.plan import Plan
    from parallel_workers.run import Run

T = TypeVar("T")

After: TypeAlias = Iterable[Task[Any] | TaskGroup[Any] | str]
"""What a task waits for: tasks, groups of tasks, or names of tasks."""

Listen: TypeAlias = Callable[[list["Event"]], object]
"""Is told of what happens in a run, several events at a time, in order."""

Keep: TypeAlias = Literal["all", "leaves"]
"""Which values a run keeps to its end."""

Output: TypeAlias = Literal["task"]
"""Where to a run keeps what functions print and log: by task."""


class Decorator(Protocol):
    """Makes a task of the function that it decorates."""

    @overload
    def __call__(self, function: Callable[..., Coroutine[Any, Any, T]], /) -> Task[T]: ...

    @overload
    def __call__(self, function: Callable[..., T], /) -> Task[T]: ...


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
        functions: By number, the function that a task calls; others are not in it.
        arguments: By number, what that is called with, if with anything.
        pools: The limit of each pool, by its name.
        env: Variables that the commands of all tasks get that do not set them themselves.
        env_files: The paths of the files that those were read from, as the work file has them.
        matrices: By the name of a task with a matrix, the names of those that it has become.
        warnings: What the reader of the file found strange.
        runs: What tells of each run whether it is over; until then, this cannot be changed.

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
        self.functions: dict[int, Callable[..., Any]] = {}
        self.arguments: dict[int, Arguments] = {}
        self.pools: dict[str, int] = {}
        self.env: dict[str, str] = {}
        self.env_files: list[str] = []
        self.matrices: dict[str, list[str]] = {}
        self.warnings: list[str] = []
        self._named_later: list[tuple[int, str]] = []
        self._topology: Topology | None = None
        self._plan: Plan | None = None
        self.runs: list[threading.Event] = []

    def __len__(self) -> int:
        """Return the number of tasks; gates are not counted."""
        return len(self.numbers)

    def __contains__(self, name: object) -> bool:
        return name in self.numbers

    def __getitem__(self, name: str) -> Task[Any]:
        return Task(self, self.number(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self.numbers)

    def __repr__(self) -> str:
        return f"<WorkGraph of {plural(len(self), 'task')}>"

    @overload
    def add(
        self,
        name: str,
        function: Callable[..., Coroutine[Any, Any, T]],
        /,
        *args: Any,
        after: After = (),
        kwargs: Mapping[str, Any] | None = None,
        **fields: Unpack[Fields],
    ) -> Task[T]: ...

    @overload
    def add(
        self,
        name: str,
        function: Callable[..., T],
        /,
        *args: Any,
        after: After = (),
        kwargs: Mapping[str, Any] | None = None,
        **fields: Unpack[Fields],
    ) -> Task[T]: ...

    @overload
    def add(
        self,
        name: str,
        /,
        *,
        command: str | list[str] | tuple[str, ...],
        after: After = (),
        **fields: Unpack[Fields],
    ) -> Task[CommandResult]: ...

    @overload
    def add(self, name: str, /, *, after: After = (), **fields: Unpack[Fields]) -> Task[Any]: ...

    def add(
        self,
        name: str,
        function: Callable[..., Any] | None = None,
        /,
        *args: Any,
        after: After = (),
        kwargs: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Task[Any]:
        """Add a task: a function, or by `command=` a command.

        Args:
            name: Unique in this graph.
            function: What it calls, if it is no command. What that returns is the task's value.
            *args: What the function is called with. A task or a group in it, also within lists,
                tuples and dictionaries, is replaced by its value, and waited for.
            after: Tasks, groups, or names of tasks (also of those added later), that must have
                succeeded before this one starts.
            kwargs: What the function is called with by keyword, as in `args`.
            **fields: The fields of a `Definition`, such as `command="make"` or `timeout="5m"`.

        Returns:
            The task, for `after` and arguments of others.

        Raises:
            GraphError: The name is taken, a field does not exist or cannot hold its value, the
                function cannot be called, a task is of another graph, or a run is under way.

        >>> graph = WorkGraph()
        >>> three = graph.add("three", max, 1, 3)
        >>> four = graph.add("four", sum, [three, 1])
        >>> graph.run()["four"]
        4
        """
        definition = PLAIN
        if fields or name.__class__ is not str or not name.isprintable() or not name:
            definition = self._check(name, fields)
        if name in self.numbers:
            raise GraphError(f"there is a task named {shorten(name)} already")
        arguments = _arguments(name, args, kwargs) if args or kwargs else None
        if definition is not PLAIN or not callable(function):
            _check_function(name, function, arguments, definition)
        waits_for: tuple[Iterable[int], Iterable[str]] = (), ()
        if after or arguments is not None:
            waits_for = self._find(name, after, arguments)
        number = self.add_plain(name)
        if function is not None:
            self.functions[number] = function
        if arguments is not None:
            self.arguments[number] = arguments
        if definition is not PLAIN:
            self.definitions[number] = definition
            for pool, units in definition.needs.items():
                self.pools.setdefault(pool, units)
        self._wait_for(number, *waits_for)
        return Task(self, number)

    def _wait_for(self, number: int, predecessors: Iterable[int], later: Iterable[str]) -> None:
        count = 0
        for predecessor in predecessors:
            self.successors[predecessor].append(number)
            count += 1
        self.waits[number] = count
        for name in later:
            self._named_later.append((number, name))

    def _check(self, name: str, fields: Mapping[str, Any]) -> Definition:
        try:
            check_name(name, "the name of a task")
            return _define(fields)
        except FieldError as error:
            raise GraphError(f"task {shorten(str(name))}: {error.message}") from None

    def _find(
        self, name: str, after: After, arguments: Arguments | None
    ) -> tuple[Iterable[int], Iterable[str]]:
        """Return the numbers of what a task waits for, each once, and names of tasks to come."""
        if isinstance(after, str):
            raise GraphError(f'task {shorten(name)}: after is a list: after=["{shorten(after)}"]')
        found: dict[int, None] = {}
        later: dict[str, None] = {}
        for other in after if arguments is None else (*after, *arguments.tasks):
            if other.__class__ is Task and other.graph is self:
                found[other.number] = None
            elif isinstance(other, str):
                known = self.numbers.get(other)
                if known is not None:
                    found[known] = None
                elif other in self.matrices:
                    found.update(dict.fromkeys(self._meant_by(other)))
                else:
                    later[other] = None
            elif not isinstance(other, (Task, TaskGroup)):
                raise GraphError(
                    f"task {shorten(name)}: {shown(other)} is no task; after holds "
                    "tasks, or names of tasks"
                )
            elif other.graph is not self:
                raise GraphError(f"task {shorten(name)}: {other!r} is of another graph")
            elif isinstance(other, TaskGroup) and (gate := other.gate()) is not None:
                found[gate] = None
        return found, later

    @overload
    def map(
        self,
        name: str,
        function: Callable[[Any], Coroutine[Any, Any, T]],
        items: Iterable[Any],
        *,
        after: After = (),
        **fields: Unpack[Fields],
    ) -> TaskGroup[T]: ...

    @overload
    def map(
        self,
        name: str,
        function: Callable[[Any], T],
        items: Iterable[Any],
        *,
        after: After = (),
        **fields: Unpack[Fields],
    ) -> TaskGroup[T]: ...

    def map(
        self,
        name: str,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        *,
        after: After = (),
        **fields: Unpack[Fields],
    ) -> TaskGroup[Any]:
        """Add a task for each of `items`: `name[0]`, `name[1]`, … call `function(item)`.

        Args:
            name: What their names begin with.
            function: What each calls.
            items: What each calls it with; tasks among them stand for their values.
            after: What all of them wait for, as in `add`.
            **fields: The fields of the `Definition` of each.

        Returns:
            The group: as an argument of another task it is the list of values, in order.

        Raises:
            GraphError: As in `add`.

        >>> graph = WorkGraph()
        >>> squares = graph.map("square", lambda n: n * n, [1, 2, 3])
        >>> total = graph.add("total", sum, squares)
        >>> graph.run()[total]
        14
        """
        if isinstance(after, str):
            raise GraphError(f'map {shorten(name)}: after is a list: after=["{shorten(after)}"]')
        everything, given = list(after), list(items)
        for index in range(len(given)):
            if f"{name}[{index}]" in self.numbers:
                raise GraphError(f"there is a task named {shorten(f'{name}[{index}]')} already")
        return TaskGroup(
            self,
            [
                self.add(f"{name}[{index}]", function, item, after=everything, **fields).number
                for index, item in enumerate(given)
            ],
        )

    @overload
    def task(self, function: Callable[..., Coroutine[Any, Any, T]], /) -> Task[T]: ...

    @overload
    def task(self, function: Callable[..., T], /) -> Task[T]: ...

    @overload
    def task(
        self, /, *, after: After = (), name: str | None = None, **fields: Unpack[Fields]
    ) -> Decorator: ...

    def task(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        after: After = (),
        name: str | None = None,
        **fields: Any,
    ) -> Any:
        """Add the decorated function as a task, and give its name to the task.

        Args:
            function: The function, where the decorator is used without parentheses.
            after: As in `add`.
            name: The name of the task; that of the function if None.
            **fields: As in `add`.

        Raises:
            GraphError: As in `add`.

        >>> graph = WorkGraph()
        >>> @graph.task(retries=2)
        ... def report(): return "done"
        >>> report
        <Task 'report'>
        """

        def add(function: Callable[..., Any]) -> Task[Any]:
            return self.add(name or function.__name__, function, after=after, **fields)

        return add if function is None else add(function)

    @classmethod
    def from_records(
        cls, records: Iterable[Mapping[str, Any]], *, call: Callable[[str], Any] | None = None
    ) -> "WorkGraph":
        """Return the graph that records describe: one for each task, with its neighbours.

        Args:
            records: Dictionaries with `name`, and perhaps `successors`, `ancestors`, `position`
                and the fields of a `Definition`; in any order.
            call: What each task without a command calls, with its name.

        Raises:
            InvalidInput: They are no work graph; all problems, each with its place.

        >>> graph = WorkGraph.from_records([{"name": "a", "successors": ["b"]}, {"name": "b"}])
        >>> graph.plan().critical_path
        ['a', 'b']
        """
        return cls._from_data([dict(record) for record in records], "records", call)

    @classmethod
    def from_groups(
        cls,
        threads: Iterable[Iterable[Iterable[str]]],
        *,
        call: Callable[[str], Any] | None = None,
    ) -> "WorkGraph":
        """Return the graph that threads of run groups describe.

        Args:
            threads: Threads, of groups, of names (three levels). Threads run in parallel, and so
                do the items of a group; a group ends before the next of its thread begins.
            call: What each task calls, with its name.

        Raises:
            InvalidInput: They are no work graph; all problems, each with its place.

        >>> graph = WorkGraph.from_groups([[["a", "b"], ["c"]]], call=str.upper)
        >>> graph.run()["c"]
        'C'
        """
        data = [[list(group) for group in thread] for thread in threads]
        return cls._from_data(data, "groups", call)

    @classmethod
    def from_predecessors(
        cls,
        predecessors: Mapping[str, Iterable[str]],
        *,
        call: Callable[[str], Any] | None = None,
    ) -> "WorkGraph":
        """Return the graph of a mapping such as `graphlib.TopologicalSorter` takes.

        Args:
            predecessors: By name, the names of what must have succeeded before. Names that are
                no keys are tasks, too.
            call: What each task calls, with its name.

        Raises:
            GraphError: A name cannot name a task.

        >>> graph = WorkGraph.from_predecessors({"b": ["a"], "a": []}, call=str.upper)
        >>> graph.run()["b"]
        'B'
        """
        graph = cls()
        for name, others in predecessors.items():
            graph.add(name, after=dict.fromkeys(others))
        for name in dict.fromkeys(name for _, name in graph._named_later):
            if name not in graph.numbers:
                graph.add(name)
        return graph.calling(call)

    @classmethod
    def _from_data(cls, data: object, kind: str, call: Callable[[str], Any] | None) -> "WorkGraph":
        from parallel_workers.formats import from_data

        return from_data(data, kind).calling(call)

    def calling(self, call: Callable[[str], Any] | None) -> "WorkGraph":
        """Have all tasks that have no command call `call` with their name.

        Args:
            call: What they call; None for nothing.

        Returns:
            This graph.
        """
        if call is not None:
            self._plan = None
            for name, number in self.numbers.items():
                if self.definitions.get(number, PLAIN).command is None:
                    self.functions[number] = call
                    self.arguments[number] = Arguments((name,), {}, ())
        return self

    def compiled(self) -> "Plan":
        """Return the plan of this graph, which is kept until the graph changes.

        Raises:
            UnknownTaskError: A name in some `after` was never added.
            CycleError: Tasks wait for each other.
        """
        from parallel_workers.plan import Plan

        if self._plan is None:
            self._plan = Plan(self)
        return self._plan

    def plan(self, jobs: int | None = None) -> "Forecast":
        """Return what follows from the graph before anything runs.

        Args:
            jobs: How many tasks may run at once; 0 for no limit; the cores that this process may
                use if None.

        Raises:
            UnknownTaskError: A name in some `after` was never added.
            CycleError: Tasks wait for each other.

        >>> graph = WorkGraph.from_predecessors({"b": ["a"], "c": ["a"]})
        >>> graph.plan(jobs=1).makespan
        3.0
        """
        from parallel_workers.forecast import Forecast
        from parallel_workers.starting import checked_jobs

        return Forecast(self.compiled(), checked_jobs(jobs))

    def start(
        self,
        *,
        jobs: int | None = None,
        on: "str | Executor" = "threads",
        keep_going: bool = False,
        max_failures: int | None = None,
        fail_fast: bool = False,
        yes: bool = False,
        timeout: float | str | None = None,
        listen: Listen | None = None,
        keep: Keep = "all",
        output: Output | None = None,
        journal: "str | PathLike[str] | None" = None,
        resume: bool = False,
    ) -> "Run":
        """Start a run, and return at once.

        Args:
            jobs: How many tasks may run at once; 0 for no limit; the cores that this process may
                use if None.
            on: Where they run: "threads", "processes", "asyncio" (an event loop in a thread of its
                own; where a loop runs already, await `run_async`), "inline", or an executor.
            keep_going: Whether what does not depend on a failed task goes on.
            max_failures: The same, until so many tasks have failed; None for no such limit.
            fail_fast: Whether what runs is ended when a failure lets nothing new start: commands
                and worker processes are told to end, coroutines cancelled. Functions in threads,
                and tasks that run always, run to their end.
            yes: Whether tasks that somebody has to confirm are confirmed; if not, they are parked,
                and what is behind them is skipped.
            timeout: After how many seconds, or text such as "5m", the whole run is ended, as
                `Run.cancel` does it; None for no such limit.
            listen: Called with lists of events, in order, while the run goes on.
            keep: Which values are kept: "all", or those of "leaves", where every other is let go
                as soon as the last task that reads it has run.
            output: "task" to keep what each function prints and logs for `run.tasks[name].output`,
                and to show nothing of it; None to leave it alone.
            journal: The state directory in which the run is recorded, made if need be; None to
                record nothing. Where that cannot be, the run goes on, and a warning says so at
                its end.
            resume: Whether to go on with the last run that the same program (its main script)
                recorded there: what has succeeded and does the same as then is not done again, and
                has the value that it had.

        Raises:
            GraphError: The graph cannot be run as it is.
            UsageError: An argument is wrong, or the executor cannot do this.

        >>> graph = WorkGraph()
        >>> three = graph.add("three", max, 1, 3)
        >>> run = graph.start(jobs=2)
        >>> [task.name for task in run.as_completed()]
        ['three']
        """
        from parallel_workers.starting import prepare

        run = prepare(
            self,
            jobs=jobs,
            on=on,
            keep_going=keep_going,
            max_failures=max_failures,
            fail_fast=fail_fast,
            yes=yes,
            timeout=timeout,
            listen=listen,
            keep=keep,
            output=output,
            journal=journal,
            resume=resume,
        )
        run.begin()
        return run

    def run(
        self,
        *,
        jobs: int | None = None,
        on: "str | Executor" = "threads",
        check: bool = True,
        keep_going: bool = False,
        max_failures: int | None = None,
        fail_fast: bool = False,
        yes: bool = False,
        timeout: float | str | None = None,
        listen: Listen | None = None,
        keep: Keep = "all",
        output: Output | None = None,
        journal: "str | PathLike[str] | None" = None,
        resume: bool = False,
    ) -> "Run":
        """Run every task, each as soon as all that it waits for has succeeded.

        At Ctrl-C nothing starts any more, and what runs is waited for; a second one returns at
        once and leaves it running.

        Args:
            jobs: As in `start`.
            on: As in `start`.
            check: Whether it is an error if some task does not succeed.
            keep_going: As in `start`.
            max_failures: As in `start`.
            fail_fast: As in `start`.
            yes: As in `start`.
            timeout: As in `start`.
            listen: As in `start`.
            keep: As in `start`.
            output: As in `start`.
            journal: As in `start`.
            resume: As in `start`.

        Raises:
            GraphError: The graph cannot be run as it is.
            UsageError: An argument is wrong, or the executor cannot do this.
            RunFailed: Some task did not succeed; a group of what the tasks raised.

        >>> graph = WorkGraph()
        >>> graph.add("a", int, "5").name
        'a'
        >>> graph.run()["a"]
        5
        """
        from parallel_workers.starting import prepare

        run = prepare(
            self,
            jobs=jobs,
            on=on,
            keep_going=keep_going,
            max_failures=max_failures,
            fail_fast=fail_fast,
            yes=yes,
            timeout=timeout,
            listen=listen,
            keep=keep,
            output=output,
            journal=journal,
            resume=resume,
        )
        run.attend()
        if check:
            run.check()
        return run

    async def run_async(
        self,
        *,
        jobs: int | None = None,
        check: bool = True,
        keep_going: bool = False,
        max_failures: int | None = None,
        fail_fast: bool = False,
        yes: bool = False,
        timeout: float | str | None = None,
        listen: Listen | None = None,
        keep: Keep = "all",
        output: Output | None = None,
        journal: "str | PathLike[str] | None" = None,
        resume: bool = False,
    ) -> "Run":
        """Run every task, coroutine functions on the running event loop of asyncio.

        Other functions, and commands, run in threads, so that they do not hold up the loop. What a
        function returns that is a coroutine is awaited, too. Each task has a copy of the context
        of whoever calls this.

        Whoever cancels this cancels the run: nothing starts any more, coroutines are cancelled,
        commands are ended, functions in threads are waited for.

        Args:
            jobs: As in `start`. Coroutines that wait need no core: 0 lets all wait at once.
            check: As in `run`.
            keep_going: As in `start`.
            max_failures: As in `start`.
            fail_fast: As in `start`.
            yes: As in `start`.
            timeout: As in `start`.
            listen: As in `start`; called on the loop.
            keep: As in `start`.
            output: As in `start`.
            journal: As in `start`.
            resume: As in `start`.

        Raises:
            GraphError: The graph cannot be run as it is.
            UsageError: An argument is wrong.
            RunFailed: Some task did not succeed; a group of what the tasks raised.
            CancelledError: This was cancelled; nothing of the run is left.

        >>> import asyncio
        >>> async def double(number):
        ...     await asyncio.sleep(0)
        ...     return 2 * number
        >>> graph = WorkGraph()
        >>> two = graph.add("two", double, 1)
        >>> four = graph.add("four", double, two)
        >>> asyncio.run(graph.run_async())["four"]
        4
        """
        from parallel_workers.executors.asyncio import RunningLoop

        loop = RunningLoop()
        run = self.start(
            jobs=jobs,
            on=loop,
            keep_going=keep_going,
            max_failures=max_failures,
            fail_fast=fail_fast,
            yes=yes,
            timeout=timeout,
            listen=listen,
            keep=keep,
            output=output,
            journal=journal,
            resume=resume,
        )
        await loop.attend(run)
        if check:
            run.check()
        return run

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
        if self.runs:
            self._check_runs()
        number = len(self.names)
        self.names.append(name)
        self.successors.append([])
        self.waits.append(0)
        self._topology = self._plan = None
        return number

    def _check_runs(self) -> None:
        self.runs = [over for over in self.runs if not over.is_set()]
        if self.runs:
            raise GraphError("a graph cannot be changed while it runs")

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
            hint = suggestion(name, [*self.numbers, *self.matrices])
            raise UnknownTaskError(f"there is no task named {shorten(name)}{hint}") from None

    def _meant_by(self, name: str) -> list[int]:
        """Return the numbers of the tasks that a name means: one, all of a matrix, or none."""
        number = self.numbers.get(name)
        if number is not None:
            return [number]
        return [self.numbers[each] for each in self.matrices.get(name, ())]

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
            names: Names of tasks of this graph; that of a task with a matrix means all of its.

        Raises:
            UnknownTaskError: There is no such task.
        """
        predecessors = self.predecessors()
        named = [number for name in names for number in self._meant_by(name) or [self.number(name)]]
        return self._copy_of(sorted(reached(named, predecessors)))

    def users(self, name: str) -> list[str]:
        """Return the names of the tasks that wait for a task, directly or by gates alone.

        >>> graph = WorkGraph.from_predecessors({"a": [], "b": ["a"], "c": ["b"]})
        >>> graph.users("a")
        ['b']
        """
        names = self.names
        found = users_of(self.number(name), self.successors, lambda node: names[node] is not None)
        return [self.name(node) for node in found]

    def part(self, tasks: Collection[int]) -> "WorkGraph":
        """Return a new graph of these tasks alone, in the order and the positions that they have.

        What lies between two of them and is left out becomes a gate: it is not run, and one still
        waits for the other.

        Args:
            tasks: Numbers of tasks of this graph.

        >>> graph = WorkGraph.from_predecessors({"a": [], "b": ["a"], "c": ["b"]})
        >>> part = graph.part([graph.number("a"), graph.number("c")])
        >>> list(part), part.topology().positions
        (['a', 'c'], [0, 1, 2])
        """
        order, positions = self.topology()
        between = reached(tasks, self.successors) & reached(tasks, self.predecessors())
        nodes = sorted(between)
        graph = self._copy_of(nodes, hidden=between.difference(tasks))
        copies = {node: copy for copy, node in enumerate(nodes)}
        graph._topology = Topology(
            [copies[node] for node in order if node in copies], [positions[node] for node in nodes]
        )
        return graph

    def _copy_of(self, nodes: Sequence[int], hidden: Collection[int] = ()) -> "WorkGraph":
        graph = WorkGraph()
        graph.pools.update(self.pools)
        graph.env.update(self.env)
        graph.env_files.extend(self.env_files)
        graph.warnings.extend(self.warnings)
        copies: dict[int, int] = {}
        for node in nodes:
            name = None if node in hidden else self.names[node]
            copies[node] = graph.add_gate() if name is None else graph.add_plain(name)
            if name is not None and node in self.definitions:
                graph.definitions[copies[node]] = self.definitions[node]
        for node in nodes:
            for successor in self.successors[node]:
                if successor in copies:
                    graph.connect(copies[node], copies[successor])
        for matrix, tasks in self.matrices.items():
            if left := [task for task in tasks if task in graph.numbers]:
                graph.matrices[matrix] = left
        return graph


def reached(
    start: Iterable[int],
    neighbours: Sequence[Sequence[int]],
    without: Collection[int] = (),
) -> set[int]:
    """Return the numbers from which one starts, and all that are reached from these.

    Args:
        start: Where to start.
        neighbours: By number, those that one goes on to from there.
        without: Those that are not reached, nor anything only through them.

    >>> reached([0], [[1], [2], [], []])
    {0, 1, 2}
    """
    seen = {node for node in start if node not in without}
    left = list(seen)
    while left:
        for neighbour in neighbours[left.pop()]:
            if neighbour not in seen and neighbour not in without:
                seen.add(neighbour)
                left.append(neighbour)
    return seen


def users_of(
    node: int, successors: Sequence[Sequence[int]], is_task: Callable[[int], bool]
) -> list[int]:
    """Return the tasks that wait for a task or gate, directly or by gates alone, each once.

    Args:
        node: Its number.
        successors: By number, the numbers of the direct successors.
        is_task: Whether a number is that of a task; all others are gates.

    >>> users_of(0, [[1, 2], [], [1]], is_task=lambda number: number < 2)
    [1]
    """
    found = dict.fromkeys(successors[node])
    waiting = list(found)
    for number in waiting:  # grows while it is walked
        if not is_task(number):
            waiting += [each for each in successors[number] if each not in found]
            found.update(dict.fromkeys(successors[number]))
    return [number for number in found if is_task(number)]


def _arguments(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> Arguments:
    try:
        return arguments_of(args, kwargs or {})
    except GraphError as error:
        raise GraphError(f"task {shorten(name)}: {error}") from None


def _check_function(
    name: str, function: object, arguments: Arguments | None, definition: Definition
) -> None:
    """Refuse what cannot be called, or is said in two ways."""
    task = f"task {shorten(name)}"
    if function is None:
        if arguments is not None:
            raise GraphError(f"{task}: there are arguments, but no function")
    elif not callable(function):
        advice = "; a command goes into command=" if isinstance(function, (str, list)) else ""
        raise GraphError(f"{task}: {shown(function)} cannot be called{advice}")
    elif definition.command is not None:
        raise GraphError(f"{task}: it is a function or a command, not both")
    elif definition.env or definition.cwd is not None:
        raise GraphError(f"{task}: env and cwd are for commands; a function has those of the run")
    elif definition.retrying.on:
        raise GraphError(f"{task}: retries on exit statuses are for commands; a function has none")
    elif definition.done_if is not None:
        raise GraphError(f"{task}: done_if is for commands; a function can look for itself")
    elif definition.console:
        raise GraphError(f"{task}: the console is for commands; a function runs in this process")
    elif definition.service is not None:
        raise GraphError(f"{task}: a service is a command, which runs in the background")


def _define(fields: Mapping[str, Any]) -> Definition:
    """Return the definition that `fields` make up.

    Raises:
        FieldError: A field does not exist or cannot hold its value.
    """
    if not fields:
        return PLAIN
    checked = {}
    for name, value in fields.items():
        field = FIELD_OF.get(name)
        if field is None:
            raise FieldError(f'there is no option "{shorten(name)}"{suggestion(name, FIELD_OF)}')
        try:
            checked[name] = read_field(field, value)
        except FieldError as error:
            raise FieldError(f"{name}: {error.message}", (name, *error.place)) from None
    return Definition(**checked)
