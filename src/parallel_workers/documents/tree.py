"""Plain data from the events of a text, and the lines of its parts.

The parsers of JSON and YAML tell what they meet as a flat stream of events. Nothing here or there
recurses, so no depth of nesting can do harm, and the rules that hold for both syntaxes stand once.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from parallel_workers.documents.problems import Place
from parallel_workers.wording import shown

DEEPEST = 200
"""How deep a document may be nested; only free data has a reason to be deeper than five levels."""

TOO_DEEP = f"nested more than {DEEPEST} levels deep; make it flatter"

EMPTY = "is empty; to run nothing, write []"
"""What a text in JSON or YAML is called that holds nothing but white space and comments."""

MOST_DIGITS = 3500
"""The most digits of a number, in any base: Python refuses to write out more than 4,300 decimal
ones, for that takes long."""

VALUE: Final = "value"
KEY: Final = "key"
BEGIN: Final = "begin"
END: Final = "end"

Event: TypeAlias = tuple[str, Any, int]
"""A kind, what it carries and its mark: a number from which the syntax can tell the line.

`VALUE` carries the scalar, `KEY` the key of what comes next, `BEGIN` the type, `list` or `dict`.
"""

MERGE: Final = object()
"""The key whose value is not an item of its mapping but the source of more items (YAML's `<<`)."""


class Malformed(Exception):  # noqa: N818 - it never leaves this package
    """The text is not what its syntax allows, or more than can be dealt with.

    Attributes:
        mark: Where, as in `Event`; None for the text as a whole.
        message: What was found and what to do.
    """

    def __init__(self, mark: int | None, message: str) -> None:
        super().__init__(message)
        self.mark = mark
        self.message = message


class Parser(NamedTuple):
    """What one syntax can do with a text.

    Attributes:
        read: Gives its plain data; adds faults with which the rest can still be read to the list,
            and raises `Malformed` for any other.
        find: Gives the marks of places in it; None where the syntax cannot tell.
        lines: Gives what turns a mark into a line, counted from 1.
    """

    read: Callable[[str, list[Malformed]], object]
    find: Callable[[str, Collection[Place]], Mapping[Place, int]] | None
    lines: Callable[[str], Callable[[int], int]]


def build(events: Iterable[Event], faults: list[Malformed]) -> object:
    """Return the plain data that `events` tell.

    Args:
        events: Those of one document.
        faults: Gets what is wrong and yet lets the rest be read: keys that stand twice.

    Raises:
        Malformed: It is nested too deep, or a merge has no mapping to take from.
    """
    root: list[object] = []
    inside: Any = root
    key: Any = None
    around: list[tuple[Any, int]] = []
    for kind, value, mark in events:
        if kind is KEY:
            if value in inside:
                faults.append(_twice(mark, value))
            key = value
            continue
        if kind is END:
            key = None
            around_it, begin = around.pop()
            if inside.__class__ is dict and MERGE in inside:
                _merge(inside, begin)
            inside = around_it
            continue
        item = value() if kind is BEGIN else value
        if inside.__class__ is dict:
            inside[key] = item
        else:
            inside.append(item)
        if kind is BEGIN:
            if len(around) == DEEPEST:
                raise Malformed(mark, TOO_DEEP)
            around.append((inside, mark))
            inside = item
    return root[0]


def _twice(mark: int, key: object) -> Malformed:
    name = "<<" if key is MERGE else key
    return Malformed(mark, f"the key {shown(name)} stands twice in the same mapping; keep one")


def _merge(mapping: dict[Any, Any], mark: int) -> None:
    sources = mapping.pop(MERGE)
    for source in sources if isinstance(sources, list) else [sources]:
        if not isinstance(source, dict):
            raise Malformed(mark, f"<<: {shown(source)} is no mapping to merge; give an alias")
        for key, value in source.items():
            mapping.setdefault(key, value)


def locate(events: Iterable[Event], places: Collection[Place]) -> dict[Place, int]:
    """Return the marks of `places`, as far as they are there; an item's mark is that of its key.

    Complexity: O(events), and memory only for `places`.
    """
    wanted = _by_steps(places)
    found: dict[Place, int] = {}
    # For each open container: what is wanted in it (None: nothing), and its place.
    around: list[tuple[dict[Any, Any] | None, Place, int]] = []
    inside: dict[Any, Any] | None = {0: wanted}
    place: Place = ()
    step: Any = -1
    keyed: int | None = None
    for kind, value, mark in events:
        if kind is KEY:
            step, keyed = value, mark
        elif kind is END:
            inside, place, step = around.pop()
        else:
            if keyed is None:
                step += 1
            below = None if inside is None else inside.get(step)
            here = (*place, step) if below is not None else place
            if below is not None:
                found.setdefault(here[1:], mark if keyed is None else keyed)
            keyed = None
            if kind is BEGIN:
                around.append((inside, place, step))
                inside, place, step = below, here, -1
    return found


def _by_steps(places: Collection[Place]) -> dict[Any, Any]:
    """Return `places` as a tree: under each step, the steps that go on from there."""
    root: dict[Any, Any] = {}
    for place in places:
        below = root
        for step in place:
            below = below.setdefault(step, {})
    return root
