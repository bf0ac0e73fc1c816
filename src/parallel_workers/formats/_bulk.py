"""Large files of records that are plain and right, read fast; whatever else goes to another reader.

What costs is not the parsing but the looking up of names: with a million tasks each look-up reads
five places of memory that no cache holds. So the text is cut into parts that a cache does hold, and
read twice: once for the names and their numbers, once for all the rest. The lists of successors
become numbers while their names are at hand. The lists of ancestors tell the same edges again; that
they do is seen from sums of hashes, so their names need not be looked up. Only where lists are
absent are they read once more, name by name.

Complexity: O(bytes) in time; beside the text and the graph, about 40 bytes of memory a task.
"""

import re
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, count, islice, repeat
from operator import attrgetter, itemgetter, mul, xor
from typing import Any, Final

from msgspec import UNSET, DecodeError, Struct, UnsetType, ValidationError, defstruct
from msgspec.json import Decoder

from parallel_workers.definition import (
    ATTRIBUTES,
    FIELD_OF,
    FIELDS,
    Definition,
    check_name,
    read_field,
)
from parallel_workers.errors import CycleError, FieldError
from parallel_workers.formats._fields import name_pools
from parallel_workers.graph import WorkGraph

PART_SIZE = 1 << 16
"""About how many bytes are decoded at a time: what is made of them stays in a core's own cache."""

_BETWEEN_RECORDS: Final = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*\{")
_MAYBE_KEY: Final = re.compile(rb'"[ \t\r\n]*:')
_DEEPEST_FREE_DATA: Final = 50
"""How many levels of free data are plain: less than the other reader allows."""

_GROUP_SIZE: Final = 1 << 10
"""How many tasks are taken at a time to add to their successors."""

_Rows = Sequence[Collection[str]]
"""The names in a list of each of some records."""


class _NotPlain(Exception):  # noqa: N818 - it never leaves this module
    """Something is wrong or strange; what it is, the other reader says."""


class _Named(Struct, gc=False):
    name: str


class _Descended(Struct, gc=False):
    ancestors: list[str] | UnsetType = UNSET


class _Bare(Struct, gc=False, forbid_unknown_fields=True):
    name: str
    position: int | UnsetType = UNSET
    successors: list[str] | UnsetType = UNSET
    ancestors: list[str] | UnsetType = UNSET


_Described: Final = defstruct(
    "_Described",
    [(attribute, Any, UNSET) for attribute in ATTRIBUTES.values()],
    rename=FIELD_OF,
    bases=(_Bare,),
    gc=False,
    forbid_unknown_fields=True,
)

_SALT: Final = 0x5851F42D4C957F2D
"""Any number of which half of the bits are set."""

_values_of_fields: Final = attrgetter(*ATTRIBUTES.values())

_decode_names: Final = Decoder(list[_Named]).decode
_decode_ancestors: Final = Decoder(list[_Descended]).decode
_decode_bare: Final = Decoder(list[_Bare]).decode
_decode_described: Final = Decoder(list[_Described]).decode  # type: ignore[valid-type]


def read_bulk(raw: bytes) -> WorkGraph | None:
    """Return the graph of a records file that is plain and right.

    Plain is strict JSON, and right is what calls for no error and no warning. Tasks are numbered in
    the order of their records. The successors of a task stand as its own list has them; if it has
    none, in the order of the records that name it as an ancestor.

    Where every record has both lists, they agree if as many edges with the same sum of hashes stand
    in both kinds. Lists that differ pass as well with a chance of about 2**-64, drawn anew in each
    process (unless PYTHONHASHSEED is set), since Python's hashes of text have a random key.

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
        graph.numbers.update(zip(names, count(len(graph.names)), strict=False))
        graph.names += names
    if len(graph.numbers) < len(graph.names) or "" in graph.numbers:
        raise _NotPlain
    told = _Told(graph)
    for part in parts:
        told.add(_text(raw, part))
    _complete(graph, told, (_text(raw, part) for part in parts))
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

    The lists of successors go to the graph at once.

    Attributes:
        positions: Its position; UNSET where it has none.
        has_successors: Whether it has a list of successors.
        has_ancestors: Whether it has a list of ancestors.
        ancestor_counts: How many are in that list.
        surplus: The sum of the hashes of all edges in lists of successors, less that of all edges
            in lists of ancestors.
    """

    def __init__(self, graph: WorkGraph) -> None:
        self._graph = graph
        self.positions: list[int | UnsetType] = []
        self.has_successors: list[bool] = []
        self.has_ancestors: list[bool] = []
        self.ancestor_counts: list[int] = []
        self.surplus = 0

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
        names = [record.name for record in records]
        self._add_successors(names, [row or () for row in successors])
        self._add_ancestors(names, [row or () for row in ancestors])

    def _describe(self, records: Iterable[_Bare]) -> int:
        """Keep the definitions of `records`, which are the next; return how many keys they have."""
        graph = self._graph
        keys = 0
        for number, record in enumerate(records, len(self.positions)):
            found = zip(FIELDS, _values_of_fields(record), strict=True)
            fields = {field: value for field, value in found if value is not UNSET}
            if not fields:
                continue
            keys += _count_keys(fields)
            checked = {
                ATTRIBUTES[field]: read_field(field, value) for field, value in fields.items()
            }
            definition = Definition(**checked)
            graph.definitions[number] = definition
            if definition.pool is not None:
                name_pools(graph, definition)
        return keys

    def _add_successors(self, names: list[str], rows: _Rows) -> None:
        counts = list(map(len, rows))
        if sum(map(len, map(set, rows))) < sum(counts):
            raise _NotPlain  # A list holds a name twice.
        self._graph.successors += _look_up(self._graph.numbers, rows)
        self.surplus += sum(map(mul, map(hash, names), map(_sum_of_salted, rows)))

    def _add_ancestors(self, names: list[str], rows: _Rows) -> None:
        self.ancestor_counts += map(len, rows)
        salted = map(xor, map(hash, names), repeat(_SALT))
        self.surplus -= sum(map(mul, map(_sum_of_hashes, rows), salted))


def _look_up(numbers: dict[str, int], rows: _Rows) -> Iterator[list[int]]:
    """Yield the numbers of the names in each of `rows`.

    One `itemgetter` gets them all: its loop is so tight that the processor waits for the memory of
    several names at a time, which takes 60 % of the time of a `map`. The numbers are then made
    anew, so that those of a row lie side by side, and not where `numbers` has them.
    """
    names = list(chain.from_iterable(rows))
    try:
        found = itemgetter(*names)(numbers) if len(names) > 1 else [numbers[n] for n in names]
    except KeyError:
        raise _NotPlain from None
    anew = iter(array("i", found))
    return (list(islice(anew, len(row))) for row in rows)


# The hash of an edge is the product of the hashes of both ends, exact and not cut to a word. The
# hash of a pair, as Python has it, will not do: it is so nearly a sum of its parts that edges could
# change their ends unseen. That of an end is salted: an edge the other way round is another edge.
# Edges of a row share a factor, so that the others are summed up before they are multiplied.


def _sum_of_hashes(begins: Collection[str]) -> int:
    return sum(map(hash, begins))


def _sum_of_salted(ends: Collection[str]) -> int:
    return sum(map(xor, map(hash, ends), repeat(_SALT)))


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


def _complete(graph: WorkGraph, told: _Told, texts: Iterable[bytes]) -> None:
    """Complete the edges of `graph`, which has those that lists of successors tell.

    Args:
        graph: The graph.
        told: What the records tell.
        texts: JSON, all records in lists.
    """
    if all(told.has_successors) and all(told.has_ancestors):
        if told.surplus or sum(told.ancestor_counts) != sum(map(len, graph.successors)):
            raise _NotPlain
        graph.waits = told.ancestor_counts
        return
    if any(told.has_ancestors):
        _add_ancestors(graph, told, texts)
    graph.waits = [0] * len(graph.names)
    for successor in chain.from_iterable(graph.successors):
        graph.waits[successor] += 1


def _add_ancestors(graph: WorkGraph, told: _Told, texts: Iterable[bytes]) -> None:
    """Add the edges that only lists of ancestors tell.

    Such a list must hold all that tell the same edge in a list of successors, and beside those only
    records that have no list of successors. The edges found are put aside by the group of tasks at
    which they begin, so that a cache holds the rows that are added to at one time.
    """
    size = len(graph.names)
    groups: list[list[int]] = [[] for _ in range(0, size, _GROUP_SIZE)]
    predecessors = graph.predecessors()
    for number, row in enumerate(_rows_of_ancestors(graph.numbers, texts)):
        if not told.has_ancestors[number]:
            continue
        silent = [ancestor for ancestor in row if not told.has_successors[ancestor]]
        telling = [ancestor for ancestor in row if told.has_successors[ancestor]]
        if sorted(telling) != predecessors[number] or len(set(silent)) < len(silent):
            raise _NotPlain
        for ancestor in silent:
            groups[ancestor // _GROUP_SIZE].append(ancestor * size + number)
    for edge in chain.from_iterable(groups):
        graph.successors[edge // size].append(edge % size)


def _rows_of_ancestors(numbers: dict[str, int], texts: Iterable[bytes]) -> Iterator[list[int]]:
    """Yield the numbers in the list of ancestors of each record; none where it has no list."""
    for text in texts:
        yield from _look_up(numbers, [record.ancestors or () for record in _decode_ancestors(text)])


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
