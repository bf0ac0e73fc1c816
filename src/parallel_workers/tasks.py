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
        return _fill(self.args, value_of), _fill(self.kwargs, value_of)


def arguments_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments:
    """Return what a function is called with; finds tasks in lists, tuples and dicts, too."""
    found: list[Task[Any] | TaskGroup[Any]] = []
    waiting: list[Any] = [*args, *kwargs.values()]
    seen: set[int] = set()
    for value in waiting:  # grows while it is walked
        kind = value.__class__
        if kind is Task or kind is TaskGroup:
            found.append(value)
        elif kind in _CONTAINERS and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if kind is dict else value
        elif kind in (set, frozenset) and any(isinstance(item, Task) for item in value):
            raise GraphError("a task in a set cannot be replaced by its value; use a list")
    if not found:
        return Arguments(args, kwargs, ())
    try:
        # What the caller does later to lists and dictionaries is not meant.
        args, kwargs = _copied(args), _copied(dict(kwargs))
    except RecursionError:
        raise GraphError("an argument that holds a task holds itself, too") from None
    return Arguments(args, kwargs, tuple(found))


_CONTAINERS = (list, tuple, dict)


def _copied(value: Any) -> Any:
    """Return `value` with copies of the containers in it that hold tasks."""
    kind = value.__class__
    if kind is dict:
        copy = {key: _copied(item) for key, item in value.items()}
        return copy if any(map(_holds_task, copy.values())) else value
    if kind is list or kind is tuple:
        items = [_copied(item) for item in value]
        return kind(items) if any(map(_holds_task, items)) else value
    return value


def _holds_task(value: Any) -> bool:
    """Tell whether a value is a task, or a container that was copied since it holds one."""
    kind = value.__class__
    if kind is dict:
        return any(map(_holds_task, value.values()))
    if kind is list or kind is tuple:
        return any(map(_holds_task, value))
    return kind is Task or kind is TaskGroup


def _fill(value: Any, value_of: Callable[[int], Any]) -> Any:
    """Return `value` with the values of tasks in their places; what holds none is left as it is."""
    kind = value.__class__
    if kind is Task:
        return value_of(value.number)
    if kind is TaskGroup:
        return [value_of(number) for number in value.numbers]
    if kind is dict:
        items = {key: _fill(item, value_of) for key, item in value.items()}
        return items if any(items[key] is not value[key] for key in items) else value
    if kind is list or kind is tuple:
        filled = [_fill(item, value_of) for item in value]
        if all(new is old for new, old in zip(filled, value, strict=True)):
            return value
        return filled if kind is list else tuple(filled)
    return value
