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

from parallel_workers.definition import ENVIRONMENT, NAME, Schema, check_name, read_environment
from parallel_workers.errors import FieldError
from parallel_workers.wording import plural, shown

MOST_COMBINATIONS = 5_000
"""The most tasks that the matrices of one file may become."""

MOST_VALUES = 100_000
"""The most values that its matrices may have together; a file may hold one in many places."""

MOST_CHARACTERS = 5_000_000
"""The most characters that the names of those tasks may have together."""

Matrix: TypeAlias = Mapping[str, Sequence[str]]
"""By variable, its values."""

MATRIX: Schema = {
    "description": "Variables, and the values of each: the task becomes one for each combination.",
    "type": "object",
    "minProperties": 1,
    "propertyNames": {**ENVIRONMENT["propertyNames"], "not": NAME["not"]},
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


class Budget:
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
