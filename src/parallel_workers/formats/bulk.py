"""Large files of records that are plain and right, read fast; whatever else goes to another reader.

What costs is not the parsing but the looking up of names: with a million tasks each look-up reads
three places of memory that no cache holds. So the text is cut into parts that a cache does hold,
and read twice. The first time gives the names and their numbers, the second time all the rest: each
name is looked up while it is still at hand, and only numbers are kept. Numbers are then made anew
row by row, so that those of a row lie side by side, and not where the table of names has them.

Complexity: O(bytes) in time; beside the text and the graph, about 44 bytes of memory an edge.
"""

import re
from array import array
from collections.abc import Collection, Iterable, Iterator
from itertools import chain, islice
from typing import Any, Final

from msgspec import UNSET, DecodeError, Struct, UnsetType, ValidationError, defstruct
from msgspec.json import Decoder

from parallel_workers.definition import FIELDS, Definition, check_name, read_field
from parallel_workers.errors import CycleError, FieldError
from parallel_workers.graph import WorkGraph

PART_SIZE = 1 << 16
"""About how many bytes are decoded at a time: what is made of them stays in a core's own cache."""

_BETWEEN_RECORDS: Final = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*\{")
_MAYBE_KEY: Final = re.compile(rb'"[ \t\r\n]*:')
_DEEPEST_FREE_DATA: Final = 50
"""How many levels of free data are plain: less than the other reader allows."""

_GROUP_SIZE: Final = 1 << 10
"""How many tasks are taken at a time to compare both kinds of lists."""


class _NotPlain(Exception):  # noqa: N818 - it never leaves this module
    """Something is wrong or strange; what it is, the other reader says."""


class _Named(Struct, gc=False):
    name: str


class _Bare(Struct, gc=False, forbid_unknown_fields=True):
    name: str
    position: int | UnsetType = UNSET
    successors: list[str] | UnsetType = UNSET
    ancestors: list[str] | UnsetType = UNSET


_Described: Final = defstruct(
    "_Described",
    [(field, Any, UNSET) for field in FIELDS],
    bases=(_Bare,),
    gc=False,
    forbid_unknown_fields=True,
)

_decode_names: Final = Decoder(list[_Named]).decode
_decode_bare: Final = Decoder(list[_Bare]).decode
_decode_described: Final = Decoder(list[_Described]).decode  # type: ignore[valid-type]


def read_bulk(raw: bytes) -> WorkGraph | None:
    """Return the graph of a records file that is plain and right.

    Plain is strict JSON, and right is what calls for no error and no warning. Tasks are numbered in
    the order of their records. The successors of a task stand as its own list has them; if it has
    none, in the order of the records that name it as an ancestor.

    Nothing here makes cycles of objects: a caller does well to pause the garbage collector.

    Args:
        raw: What the file holds: a list of objects.

    Returns:
        The graph, its topology known; None where anything is not plain and right.

    >>> graph = read_bulk(b'[{"name": "test", "ancestors": ["build"]}, {"name": "build"}]')
    >>> graph.names, graph.successors, graph.topology().positions
    (['test', 'build'], [[], [0]], [1, 0])
    >>> read_bulk(b'[{"name": "test", "ancestors": ["biuld"]}, {"name": "build"}]') is None
    True
    """
    try:
        return _read(raw)
    except (_NotPlain, DecodeError, FieldError, CycleError, UnicodeDecodeError, RecursionError):
        return None


def _read(raw: bytes) -> WorkGraph:
    graph = WorkGraph()
    parts = []
    for part, names in _parts(raw):
        check_name("".join(names) or "-")
        parts.append(part)
        graph.names += names
        graph.numbers.update(zip(names, range(len(graph.numbers), len(graph.names)), strict=True))
    if len(graph.numbers) < len(graph.names) or "" in graph.numbers:
        raise _NotPlain
    told = _Told(graph)
    for part in parts:
        told.add(_text(raw, part))
    _connect(graph, told)
    _place(graph, told.positions)
    return graph


def _parts(raw: bytes) -> Iterator[tuple[slice, list[str]]]:
    """Yield where in `raw` runs of records stand, of about `PART_SIZE` bytes, and their names.

    What looks like the end of one record and the beginning of the next may stand within free data
    or within text. Cut there, a part never is JSON, and a longer one is tried.
    """
    start, end = _inside_of_list(raw)
    size = PART_SIZE
    while start < end:
        between = _BETWEEN_RECORDS.search(raw, min(start + size, end), end)
        part = slice(start, between.start() + 1 if between else end)
        try:
            records = _decode_names(_text(raw, part))
        except ValidationError:
            raise
        except DecodeError:
            if between is None:
                raise
            size *= 2
            continue
        yield part, [record.name for record in records]
        start = between.end() - 1 if between else end
        size = PART_SIZE


def _inside_of_list(raw: bytes) -> tuple[int, int]:
    text = raw.strip(b" \t\r\n")
    if not (text.startswith(b"[") and text.endswith(b"]")):
        raise _NotPlain
    return raw.index(b"[") + 1, raw.rindex(b"]")


def _text(raw: bytes, part: slice) -> bytes:
    return b"[%b]" % raw[part]


class _Told:
    """What the records tell beside their names; one item for each record, in their order.

    Attributes:
        positions: Its position; UNSET where it has none.
        successors: The numbers in its list of successors.
        has_successors: Whether it has that list.
        ancestor_counts: How many are in its list of ancestors.
        has_ancestors: Whether it has that list.
        ancestors: The numbers in all lists of ancestors, one list behind the other.
    """

    def __init__(self, graph: WorkGraph) -> None:
        self._graph = graph
        self.positions: list[int | UnsetType] = []
        self.successors: list[list[int]] = []
        self.has_successors: list[bool] = []
        self.ancestor_counts: list[int] = []
        self.has_ancestors: list[bool] = []
        self.ancestors = array("i")

    def add(self, text: bytes) -> None:
        """Add what the next records tell.

        Args:
            text: JSON, a list of them.
        """
        try:
            records = _decode_bare(text)
            described_keys = 0
        except ValidationError:
            records = _decode_described(text)
            described_keys = self._describe(records)
        positions = [record.position for record in records]
        successors = [record.successors for record in records]
        ancestors = [record.ancestors for record in records]
        absent = sum(column.count(UNSET) for column in (positions, successors, ancestors))
        _check_no_key_twice(text, described_keys + 4 * len(records) - absent)
        self.positions += positions
        self.has_successors += [row is not UNSET for row in successors]
        self.has_ancestors += [row is not UNSET for row in ancestors]
        self._add_successors([row or () for row in successors])
        self._add_ancestors([row or () for row in ancestors])

    def _describe(self, records: Iterable[_Bare]) -> int:
        """Keep the definitions of `records`, which are the next; return how many keys they have."""
        graph = self._graph
        keys = 0
        for number, record in enumerate(records, len(self.positions)):
            found = {field: getattr(record, field) for field in FIELDS}
            fields = {field: value for field, value in found.items() if value is not UNSET}
            if not fields:
                continue
            keys += _count_keys(fields)
            checked = {field: read_field(field, value) for field, value in fields.items()}
            definition = Definition(**checked)
            graph.definitions[number] = definition
            if definition.pool is not None:
                graph.pools[definition.pool] = 1
        return keys

    def _add_successors(self, rows: list[Collection[str]]) -> None:
        counts = list(map(len, rows))
        numbers = iter(self._look_up(rows))
        self.successors += [list(islice(numbers, count)) for count in counts]

    def _add_ancestors(self, rows: list[Collection[str]]) -> None:
        self.ancestor_counts += map(len, rows)
        self.ancestors += self._look_up(rows)

    def _look_up(self, rows: list[Collection[str]]) -> "array[int]":
        """Return the numbers of all names in `rows`, one row behind the other."""
        try:
            return array("i", map(self._graph.numbers.__getitem__, chain.from_iterable(rows)))
        except KeyError:
            raise _NotPlain from None


def _count_keys(data: object) -> int:
    """Return how many keys the objects in `data` have, however deep they are."""
    count = 0
    level = [data]
    for _ in range(_DEEPEST_FREE_DATA):
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                count += len(item)
                below += item.values()
            elif isinstance(item, list):
                below += item
        if not below:
            return count
        level = below
    raise _NotPlain


def _check_no_key_twice(text: bytes, keys: int) -> None:
    """Raise if `text` may hold more than the `keys` that were decoded: one was overwritten then.

    Every key has a colon behind it, so there are no more keys than colons. Names may hold colons
    too; what holds a quote and then a colon costs the other reader's time, and does no other harm.
    """
    if text.count(b":") > keys and len(_MAYBE_KEY.findall(text)) > keys:
        raise _NotPlain


def _connect(graph: WorkGraph, told: _Told) -> None:
    """Give `graph` the edges that the lists tell, if they agree.

    To look for each edge where the other list should have it would read memory all over the place.
    So tasks are taken `_GROUP_SIZE` at a time, with all edges that begin at them, as a set of
    numbers from either kind of list: what is at hand at one time, a cache holds.
    """
    graph.successors = told.successors
    graph.waits = told.ancestor_counts.copy()
    size = len(graph.names)
    by_ancestors = _edges_by_ancestors(told, size)
    for first, edges in zip(range(0, size, _GROUP_SIZE), by_ancestors, strict=True):
        by_ancestor = set(edges)
        rows = told.successors[first : first + _GROUP_SIZE]
        by_successor = {
            start + number
            for start, row in zip(range(0, _GROUP_SIZE * size, size), rows)  # noqa: B905
            for number in row
        }
        if len(by_ancestor) < len(edges) or len(by_successor) < sum(map(len, rows)):
            raise _NotPlain  # A list holds a name twice.
        if by_ancestor != by_successor:
            _take_from_one_list(graph, told, first, by_ancestor, by_successor)


def _edges_by_ancestors(told: _Told, size: int) -> list[list[int]]:
    """Return the edges of all lists of ancestors, by the group of tasks at which they begin.

    The edge from the task `first + i` of a group to the task `number` is `i * size + number`: with
    a million tasks it still is an integer of the short kind.
    """
    groups: list[list[int]] = [[] for _ in range(0, size, _GROUP_SIZE)]
    appends = [group.append for group in groups]
    ancestors = iter(told.ancestors)
    for number, count in enumerate(told.ancestor_counts):
        for ancestor in islice(ancestors, count):
            appends[ancestor // _GROUP_SIZE](ancestor % _GROUP_SIZE * size + number)
    return groups


def _take_from_one_list(
    graph: WorkGraph, told: _Told, first: int, by_ancestor: set[int], by_successor: set[int]
) -> None:
    """Take the edges that only one list tells; the other may be absent, but must not lack them."""
    size = len(graph.names)
    for edge in by_successor - by_ancestor:
        number = edge % size
        if told.has_ancestors[number]:
            raise _NotPlain
        graph.waits[number] += 1
    for edge in sorted(by_ancestor - by_successor):
        ancestor = first + edge // size
        if told.has_successors[ancestor]:
            raise _NotPlain
        graph.successors[ancestor].append(edge % size)


def _place(graph: WorkGraph, positions: list[int | UnsetType]) -> None:
    """Make the topology of `graph` known, with which `positions` must agree."""
    given = [position for position in positions if isinstance(position, int)]
    if len(given) == len(positions):
        if not graph.accept_positions(given):
            raise _NotPlain
        return
    for position, computed in zip(positions, graph.topology().positions, strict=True):
        if position is not UNSET and position != computed:
            raise _NotPlain
