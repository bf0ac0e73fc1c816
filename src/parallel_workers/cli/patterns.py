"""What people type for tasks: names, and patterns of these with `*`, `?` or `[…]`."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING

from parallel_workers.errors import UnknownTaskError, UsageError
from parallel_workers.wording import nearest, shorten, shown, suggestion

if TYPE_CHECKING:
    from parallel_workers.graph import WorkGraph

_WILD = frozenset("*?[")

_COMBINATION = r"(.+?)\[[^][=,]+=.*\]"
"""The name of a task that a matrix has become, in which the name of the matrix comes first."""

_NO_MATRICES: Mapping[str, Sequence[str]] = MappingProxyType({})


def find_tasks(graph: "WorkGraph", patterns: Iterable[str]) -> list[str]:
    """Return the names of the tasks of a graph that are meant; for the rest see `find_names`."""
    return find_names(patterns, graph.numbers, graph.matrices)


def find_names(
    patterns: Iterable[str], names: Collection[str], matrices: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return the names that are meant, each once.

    Args:
        patterns: Names of tasks or matrices, or patterns of these.
        names: The names of all tasks.
        matrices: By the name of a task with a matrix, the names of those that it has become.

    Raises:
        UsageError: A pattern matches none; the nearest that does is suggested.
        UnknownTaskError: There is no task of that name.

    >>> find_names(["lint", "test/*"], ["test/a", "test/b", "lint"], {})
    ['lint', 'test/a', 'test/b']
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        meant = matches(pattern, names, matrices)
        if not meant:
            raise _unknown(pattern, [*names, *matrices])
        found.update(dict.fromkeys(meant))
    return list(found)


def matrices_in(names: Iterable[str]) -> dict[str, list[str]]:
    """Return, by the name of a task with a matrix, the names of those that it has become.

    Args:
        names: The names of tasks, which are all that is known of them.

    >>> matrices_in(["lint", "test[os=a]", "test[os=b]", "x[1]"])
    {'test': ['test[os=a]', 'test[os=b]']}
    """
    found: dict[str, list[str]] = {}
    for name in names:
        if combination := re.fullmatch(_COMBINATION, name):
            found.setdefault(combination[1], []).append(name)
    return found


def matches(
    pattern: str, names: Collection[str], matrices: Mapping[str, Sequence[str]] = _NO_MATRICES
) -> list[str]:
    """Return the names that are meant by a name, or by a pattern with `*`, `?` or `[…]`.

    A task that is really called so is meant, whatever else would match. Likewise, where brackets
    of the pattern stand in names, as in those of a matrix, they are no set of characters.

    Args:
        pattern: The name or pattern.
        names: The names of all tasks.
        matrices: By the name of a task with a matrix, the names of those that it has become.

    >>> matches("t[os=*]", ["t[os=a]", "t[os=b]", "ts"])
    ['t[os=a]', 't[os=b]']
    """
    if pattern in names:
        return [pattern]
    if pattern in matrices:
        return list(matrices[pattern])
    if _WILD.isdisjoint(pattern):
        return []
    literal = _fitting(pattern.replace("[", "[[]"), names) if "[" in pattern else []
    if literal:
        return literal
    members = [matrices[matrix] for matrix in _fitting(pattern, matrices)]
    return list(dict.fromkeys(chain(_fitting(pattern, names), *members)))


def _fitting(pattern: str, names: Iterable[str]) -> list[str]:
    from fnmatch import translate

    fits = re.compile(translate(pattern)).match
    return [name for name in names if fits(name)]


def typed(pattern: str) -> str:
    r"""Return what messages call a name or pattern that matches nothing: in quotes if need be.

    >>> print(typed("a b"), typed(""), typed("a\nb"))
    a b "" "a\nb"
    """
    return shorten(pattern) if pattern and pattern.isprintable() else shown(pattern)


def _unknown(pattern: str, names: Collection[str]) -> UsageError | UnknownTaskError:
    if _WILD.isdisjoint(pattern):
        return UnknownTaskError(
            f"there is no task named {typed(pattern)}{suggestion(pattern, names)}"
        )
    better = _better(pattern, names) or "; a pattern is for whole names"
    return UsageError(f"no task matches {typed(pattern)}{better}")


def _better(pattern: str, names: Collection[str]) -> str:
    """Return a suggestion: the same pattern behind the beginning of a name, if some name fits."""
    end = min(pattern.index(char) for char in _WILD if char in pattern)
    lengths = range(max(end - 1, 1), end + 2)
    beginnings = {name[:length] for length in lengths for name in names}
    found = nearest(pattern[:end], beginnings)
    if found is not None and matches(found + pattern[end:], names):
        return f"; did you mean {shorten(found + pattern[end:])}?"
    return suggestion(pattern, names)


def pattern_of(name: str) -> str:
    """Return what to type for a task: its name, or a pattern where that would be an option.

    >>> pattern_of("test"), pattern_of("-test")
    ('test', '[-]test')
    """
    if name[0] != "-":
        return name
    import glob

    return f"[-]{glob.escape(name[1:])}"
