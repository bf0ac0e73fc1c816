"""A matrix: several tasks that a work file describes as one, a task for each combination of values.

    test:
      command: tox
      matrix: {python: ["3.11", "3.12"], os: [a, b]}

gives `test[python=3.11,os=a]`, `test[python=3.11,os=b]` and so on, the last values changing first.
Each has those variables in its environment.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple, TypeAlias

from parallel_workers.definition import (
    ENVIRONMENT,
    NAME,
    Schema,
    check_name,
    check_variable,
    read_environment,
)
from parallel_workers.errors import FieldError
from parallel_workers.formats._fields import connect
from parallel_workers.graph import WorkGraph
from parallel_workers.wording import plural, shown

MOST_COMBINATIONS = 5_000
"""The most tasks that the matrices of one file may become."""

MOST_VALUES = 100_000
"""The most values that its matrices may have together; a file may hold one in many places."""

MOST_CHARACTERS = 5_000_000
"""The most characters that the names of those tasks may have together."""

MOST_EXPANDED = 2_000_000
"""The most tasks that may stand in threads by the names of matrices."""

Matrix: TypeAlias = Mapping[str, Sequence[str]]
"""By variable, its values."""

MATRIX: Schema = {
    "description": "Variables, and the values of each: the task becomes one for each combination.",
    "type": "object",
    "minProperties": 1,
    "propertyNames": {"allOf": [ENVIRONMENT["propertyNames"], {"not": NAME["not"]}]},
    "additionalProperties": {
        "type": "array",
        "minItems": 1,
        "uniqueItems": True,
        "items": {"type": ["string", "integer"], "not": NAME["not"]},
    },
}
"""What `read_matrix` takes."""


class Combination(NamedTuple):
    """One task of a matrix.

    Attributes:
        name: The name of the task.
        variables: What it has in its environment.
    """

    name: str
    variables: dict[str, str]


def read_matrix(value: object) -> Matrix:
    """Return `value` as a matrix.

    Raises:
        FieldError: It is no mapping from variables to lists of text or whole numbers.

    >>> read_matrix({"python": ["3.11", "3.12"], "level": [1]})
    {'python': ['3.11', '3.12'], 'level': ['1']}
    """
    if not isinstance(value, Mapping) or not value:
        raise FieldError(
            f'{shown(value)} is no matrix; write variables and their values, {{"A": ["1", "2"]}}'
        )
    return {key: _read_values(key, values) for key, values in value.items()}


def _read_values(key: str, values: object) -> list[str]:
    if not isinstance(values, (list, tuple)) or not values:
        raise FieldError(f"{shown(values)} is no list of values; write at least one in [ ]", (key,))
    try:
        check_variable(key)
    except FieldError as error:
        raise FieldError(error.message, (key,)) from None
    found: dict[str, None] = {}
    for index, value in enumerate(values):
        try:
            text = read_environment({key: value})[key]
            check_name(f"{key}={text}", "part of the name of a task")
        except FieldError as error:
            raise FieldError(error.message, (key, index)) from None
        if text in found:
            raise FieldError(f"{shown(text)} stands here twice; take one out", (key, index))
        found[text] = None
    return list(found)


def combinations(name: str, matrix: Matrix) -> Iterator[Combination]:
    """Yield what a matrix becomes.

    Args:
        name: The name of its task.
        matrix: The matrix.

    >>> [each.name for each in combinations("test", {"python": ["3.11", "3.12"], "os": ["a"]})]
    ['test[python=3.11,os=a]', 'test[python=3.12,os=a]']
    """
    for values in product(*matrix.values()):
        variables = dict(zip(matrix, values, strict=True))
        pairs = ",".join(f"{key}={value}" for key, value in variables.items())
        yield Combination(f"{name}[{pairs}]", variables)


class Matrices:
    """The tasks of one file that have a matrix, each by its name and the tasks that it has become.

    Where numbers of tasks stand, a number below 0 stands for all tasks of a matrix.

    Args:
        graph: Has, or gets, all of these tasks.

    Attributes:
        numbers: By the name of a task with a matrix, that number.
    """

    def __init__(self, graph: WorkGraph) -> None:
        self._graph = graph
        self._budget = _Budget()
        self._members: dict[int, list[int]] = {}
        self._gates: dict[int, int] = {}
        self._expanded = 0
        self.numbers: dict[str, int] = {}

    def combinations(self, name: str, content: object) -> Iterator[Combination]:
        """Return the tasks that a matrix becomes.

        Args:
            name: The name of the task that has it.
            content: What stands in its place.

        Raises:
            FieldError: It is no matrix, or what all of the file become is too much.
        """
        self._budget.look(content)
        matrix = read_matrix(content)
        self._budget.spend(name, matrix)
        return combinations(name, matrix)

    def add(self, name: str, members: Sequence[int]) -> None:
        """Let a name stand for tasks.

        Args:
            name: The name.
            members: Their numbers; one at least.
        """
        number = self.number_of(members)
        self.numbers[name] = number
        self._members[number] = list(members)
        self._graph.matrices[name] = [self._graph.name(member) for member in members]

    def number_of(self, members: Sequence[int]) -> int:
        """Return what stands for the tasks of a description: for one, its own number."""
        return members[0] if len(members) == 1 else -1 - members[0]

    def members(self, number: int) -> Sequence[int]:
        """Return the tasks that a number stands for."""
        return self._members.get(number, [number])

    def gate(self, number: int) -> int:
        """Return what waits for all that a number stands for: a gate, or the task if it is one."""
        members = self.members(number)
        if len(members) == 1:
            return members[0]
        if number not in self._gates:
            self._gates[number] = gate = self._graph.add_gate()
            connect(members, [gate], self._graph)
        return self._gates[number]

    def described_as(self, name: str) -> str:
        """Return the name under which a task is described, which is another one in a matrix."""
        task = self._graph.numbers[name]
        return next(
            (base for base, number in self.numbers.items() if task in self.members(number)), name
        )

    def in_threads(self, threads: object) -> object:
        """Return threads with the tasks of a matrix in the place of its name.

        The first one stands there and the others at the end, so that all other places stay.

        Args:
            threads: What stands in their place.

        Raises:
            FieldError: That is too much.
        """
        if not self.numbers or not isinstance(threads, (list, tuple)):
            return threads
        return [
            [self._in_group(group) if isinstance(group, list) else group for group in thread]
            if isinstance(thread, list)
            else thread
            for thread in threads
        ]

    def _in_group(self, group: Sequence[object]) -> list[object]:
        names, more = list(group), dict[object, None]()
        for index, name in enumerate(names):
            number = self.numbers.get(name) if isinstance(name, str) else None
            if number is None:
                continue
            members = self.members(number)
            self._expanded += len(members)
            if self._expanded > MOST_EXPANDED:
                raise FieldError(
                    "tasks with a matrix are named here so often that too much would come of it; "
                    "use their after"
                )
            first, *others = map(self._graph.name, members)
            names[index] = first
            more.update(dict.fromkeys(others))
        return [*names, *more]


class _Budget:
    """How much may still be made of the matrices of one file."""

    def __init__(self) -> None:
        self._values = 0
        self._combinations = 0
        self._characters = 0

    def look(self, value: object) -> None:
        """Count what is to be read as a matrix, before it is.

        Args:
            value: What stands in its place.

        Raises:
            FieldError: That is too much.
        """
        if isinstance(value, Mapping):
            lists = (values for values in value.values() if isinstance(values, (list, tuple)))
            self._values += len(value) + sum(map(len, lists))
        if self._values > MOST_VALUES:
            raise FieldError(f"the matrices of this file have more than {MOST_VALUES:,} values")

    def spend(self, name: str, matrix: Matrix) -> None:
        """Count what a matrix becomes, before it is made.

        Args:
            name: The name of its task.
            matrix: The matrix.

        Raises:
            FieldError: That is too much.
        """
        count = math.prod(map(len, matrix.values()))
        self._combinations += count
        if self._combinations > MOST_COMBINATIONS:
            raise FieldError(
                f"with its {plural(count, 'combination')} the matrices of this file become more "
                f"than {MOST_COMBINATIONS:,} tasks; leave some values out"
            )
        longest = sum(len(key) + max(map(len, values)) + 2 for key, values in matrix.items())
        self._characters += count * (len(name) + longest)
        if self._characters > MOST_CHARACTERS:
            raise FieldError(
                "the names of the tasks that it becomes would be too long together; make the name "
                "of the task, or the values, shorter"
            )
