"""Tasks as a user holds them, and how they are found and replaced among a function's arguments."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from parallel_workers.definition import PLAIN, Definition
from parallel_workers.errors import GraphError
from parallel_workers.wording import plural

if TYPE_CHECKING:
    from parallel_workers.graph import WorkGraph

T_co = TypeVar("T_co", covariant=True)


class Task(Generic[T_co]):
    """A task of a work graph; as an argument of another task it stands for its value.

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
    def numbers(self) -> tuple[int]:
        """Its number, as a group has its numbers."""
        return (self.number,)

    @property
    def definition(self) -> Definition:
        """What it does and how it is run."""
        return self.graph.definitions.get(self.number, PLAIN)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Task):
            return self.graph is other.graph and self.number == other.number
        return NotImplemented

    def __hash__(self) -> int:
        return hash((id(self.graph), self.number))

    def __repr__(self) -> str:
        return f"<Task {self.name!r}>"


class TaskGroup(Generic[T_co]):
    """Tasks that were added together; as an argument it stands for the list of their values.

    Attributes:
        graph: The graph that they belong to.
        numbers: Their numbers there, in order.
    """

    __slots__ = ("_gate", "graph", "numbers")

    def __init__(self, graph: "WorkGraph", numbers: list[int]) -> None:
        self.graph = graph
        self.numbers = numbers
        self._gate: int | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Task[T_co]]:
        return (Task(self.graph, number) for number in self.numbers)

    def __getitem__(self, index: int) -> Task[T_co]:
        return Task(self.graph, self.numbers[index])

    def __repr__(self) -> str:
        ends = " … ".join([repr(self[index].name) for index in (0, -1)][: len(self)])
        return f"<TaskGroup of {plural(len(self), 'task')}{ends and ': '}{ends}>"

    def gate(self) -> int | None:
        """Return the number of what ends when all of them have; None where there are none."""
        if len(self.numbers) < 2:
            return self.numbers[0] if self.numbers else None
        if self._gate is None:
            self._gate = self.graph.add_gate()
            for number in self.numbers:
                self.graph.connect(number, self._gate)
        return self._gate


class Arguments(NamedTuple):
    """What a function is called with.

    Attributes:
        args: Its positional arguments, tasks where their values are to stand.
        kwargs: Those by keyword, likewise.
        tasks: All tasks and groups among them.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    tasks: tuple[Task[Any] | TaskGroup[Any], ...]

    def filled(self, value_of: Callable[[int], Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """Return `args` and `kwargs` with the values of tasks in their places.

        Args:
            value_of: Gives the value of a task, by its number in the graph.
        """
        if not self.tasks:
            return self.args, self.kwargs

        def value(found: Task[Any] | TaskGroup[Any]) -> Any:
            if isinstance(found, Task):
                return value_of(found.number)
            return [value_of(number) for number in found.numbers]

        return replaced(self.args, value), replaced(self.kwargs, value)


def arguments_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments:
    """Return what a function is called with; finds tasks in lists, tuples and dicts, too.

    Raises:
        GraphError: A task stands where it cannot be replaced by its value.
    """
    found: list[Task[Any] | TaskGroup[Any]] = []
    waiting: list[Any] = [*args, *kwargs.values()]
    seen: set[int] = set()
    for value in waiting:  # grows while it is walked
        if _is_task(value):
            found.append(value)
        elif isinstance(value, (list, tuple, dict)):
            if id(value) not in seen:
                seen.add(id(value))
                waiting += value.values() if isinstance(value, dict) else value
        elif isinstance(value, (set, frozenset)) and any(map(_is_task, value)):
            raise GraphError("a task in a set cannot be replaced by its value; use a list")
    if not found:
        return Arguments(args, kwargs, ())
    try:
        # What the caller does later to lists and dictionaries is not meant.
        args, kwargs = replaced(args, _itself), replaced(dict(kwargs), _itself)
    except RecursionError:
        raise GraphError("an argument that holds a task holds itself, too") from None
    return Arguments(args, kwargs, tuple(found))


def replaced(value: Any, replace: Callable[[Any], Any]) -> Any:
    """Return a value with others in the places of the tasks and groups in it.

    Args:
        value: Any value. Lists, tuples and dictionaries are searched, also named tuples and
            subclasses; those with a task in them are copied, all others left as they are.
        replace: Returns what is to stand in the place of a task or group.

    Raises:
        GraphError: A container with a task in it cannot be copied with other items.

    >>> from parallel_workers import WorkGraph
    >>> one = WorkGraph().add("one", int)
    >>> replaced({"a": [one, 2], "b": (3,)}, lambda task: task.name)
    {'a': ['one', 2], 'b': (3,)}
    """
    kind = value.__class__
    if kind is Task or kind is TaskGroup:
        return replace(value)
    if not isinstance(value, (list, tuple, dict)):
        return value
    changed, items = False, []
    for old in value.values() if isinstance(value, dict) else value:
        new = replaced(old, replace)
        changed = changed or new is not old or _is_task(old)
        items.append(new)
    return _with_items(value, items) if changed else value


def _is_task(value: object) -> bool:
    kind = value.__class__
    return kind is Task or kind is TaskGroup


def _itself(task: Any) -> Any:
    return task


def _with_items(container: Any, items: list[Any]) -> Any:
    """Return a container of the same kind as another, with other items.

    Raises:
        GraphError: There is no telling how to make one.
    """
    kind = type(container)
    if kind is tuple:
        return tuple(items)
    if kind is list:
        return items
    if kind is dict:
        return dict(zip(container, items, strict=True))
    from copy import copy

    try:
        if isinstance(container, tuple):
            return kind._make(items)  # of named tuples
        changed = copy(container)
        places = container if isinstance(container, dict) else range(len(items))
        for place, item in zip(places, items, strict=True):
            changed[place] = item
    except RecursionError:
        raise
    except Exception as error:  # whatever a class of the user's does
        raise GraphError(
            f"a task in a {kind.__name__} cannot be replaced by its value, for a copy with other "
            f"items cannot be made ({type(error).__name__}: {error}); use a list or a dictionary"
        ) from None
    return changed
