"""What the writers share: definitions as plain data, JSON a line at a time, edges without gates,
and what a format without a place for something says of it.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from parallel_workers.definition import FIELD_OF, PLAIN, Definition, Retries, Service
from parallel_workers.errors import UsageError
from parallel_workers.graph import WorkGraph
from parallel_workers.wording import plural, shorten

MOST_EDGES = 1_000_000
"""The most edges that barriers may become where a format has no place for them."""

MOST_REPEATED = 100_000_000
"""The most characters that are written more than once of names and texts that a graph has once."""

MOST_REPEATS = 100
"""How often all names and texts may be written on average, however many characters that is."""

SHOWN_ITEMS = 3
"""How many tasks or pools one warning names."""

# Part of text in JSON, but in YAML not allowed or a line break; what is JSON can be read as either.
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def describe(definition: Definition) -> dict[str, Any]:
    """Return the fields of `definition` that say something, as a document has them.

    >>> describe(Definition(command=("make", "-s"), duration=300.0))
    {'command': ['make', '-s'], 'duration': 300}
    """
    if definition is PLAIN:
        return {}
    fields = {}
    for name in Definition._fields:
        value = getattr(definition, name)
        if value == getattr(PLAIN, name):
            continue
        fields[FIELD_OF[name]] = _as_data(value)
    return fields


def _as_data(value: Any) -> Any:
    """Return what a field holds as a document has it."""
    if isinstance(value, Retries):
        default = Retries(value.times)
        return {
            name: _as_data(part)
            for name, part in value._asdict().items()
            if name == "times" or part != getattr(default, name)
        }
    if isinstance(value, Service):
        return {name: _as_data(part) for name, part in value._asdict().items() if part is not None}
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def dump_json(value: object) -> str:
    """Return `value` as JSON on one line, which is YAML as well.

    Raises:
        UsageError: It holds what JSON has no word for.
    """
    import json

    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"the free data of a task cannot be written as JSON: {error}") from None
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def as_list(lines: Sequence[str]) -> str:
    """Return the JSON list whose items are `lines`, each on a line of its own.

    >>> as_list(["1", "2"])
    '[\\n  1,\\n  2\\n]\\n'
    """
    return f"{enclose('[', lines, ']')}\n"


def enclose(begin: str, lines: Sequence[str], end: str, indent: str = "") -> str:
    """Return `lines` between brackets, each on a line of its own, and further in than those."""
    if not lines:
        return begin + end
    inner = ",\n".join(f"{indent}  {line}" for line in lines)
    return f"{begin}\n{inner}\n{indent}{end}"


def lost_definitions(graph: WorkGraph, who_holds: str) -> list[str]:
    """Return a line if more than names is known of `graph`.

    Args:
        graph: What is written.
        who_holds: What it is written as, and its verb.
    """
    lost = []
    if count := sum(definition != PLAIN for definition in graph.definitions.values()):
        lost.append(f"commands and other fields of {plural(count, 'task')}")
    if graph.pools:
        lost.append(f"the limits of {plural(len(graph.pools), 'pool')}")
    return [f"{who_holds} names only: {' and '.join(lost)} are left out"] if lost else []


def lost_limits(graph: WorkGraph, kind: str) -> list[str]:
    """Return a line for each thing that is lost of pools where tasks name them and nothing else.

    Args:
        graph: What is written.
        kind: What it is written as.
    """
    needed: dict[str, int] = {}
    for definition in graph.definitions.values():
        for name, units in definition.needs.items():
            needed[name] = max(units, needed.get(name, 1))
    limited = [
        f"{shorten(name)} ({limit})"
        for name, limit in graph.pools.items()
        if limit != needed.get(name, limit)
    ]
    unused = [shorten(name) for name in graph.pools if name not in needed]
    lines = []
    if limited:
        lines.append(f"pools in {kind} have the limit 1: other limits are lost, of {some(limited)}")
    if unused:
        lines.append(f"pools in {kind} are those that tasks name: left out is {some(unused)}")
    return lines


def some(items: Sequence[str]) -> str:
    """Return the first few of `items`, and how many more there are.

    >>> some(["a", "b"]), some(["a", "b", "c", "d", "e"])
    ('a, b', 'a, b, c and 2 more')
    """
    more = len(items) - SHOWN_ITEMS
    return ", ".join(items[:SHOWN_ITEMS]) + (f" and {more:,} more" if more > 0 else "")


def refuse_too_many(graph: WorkGraph, kind: str) -> None:
    """Count what the barriers would become, before anything of that size is made.

    Args:
        graph: What is to be written with barriers multiplied out.
        kind: What it is to be written as.

    Raises:
        UsageError: They would become more than `MOST_EDGES` edges.
    """
    before = [0] * len(graph.names)
    for row in graph.successors:
        for successor in row:
            before[successor] += 1
    edges = sum(
        before[node] * len(graph.successors[node])
        for node, name in enumerate(graph.names)
        if name is None
    )
    if edges > MOST_EDGES:
        raise UsageError(
            f"as {kind} the barriers would become {plural(edges, 'edge')}; the most is "
            f"{MOST_EDGES:,}. Keep them as groups or as a work file."
        )


def refuse_too_large(
    graph: WorkGraph,
    successors: Sequence[Sequence[int]],
    kind: str,
    definitions: Iterable[Definition] = (),
) -> None:
    """Count how often names and values would be written, before anything of that size is made.

    One long name may stand in many edges, and one long value in many tasks.

    Args:
        graph: What is to be written.
        successors: By number, where its edges lead to as they are to be written.
        kind: What it is to be written as.
        definitions: Those of its tasks, where they are to be written too.

    Raises:
        UsageError: There would be more than `MOST_REPEATED` characters of repetitions.
    """
    values = _Values()
    for definition in definitions:
        for value in definition:
            values.add_field(value)
    lengths = [len(name or "") for name in graph.names]
    once = values.once + sum(lengths)
    again = values.again
    for length, row in zip(lengths, successors, strict=True):
        again += length * len(row) + sum(map(lengths.__getitem__, row))
    most = max(MOST_REPEATED, MOST_REPEATS * once)
    if again > most:
        raise UsageError(
            f"as {kind}, names in edges and values that tasks share would be repeated in "
            f"{plural(again, 'character')}; the most is {most:,}. Make the long ones "
            "shorter, or keep the file as it is."
        )


class _Values:
    """How many characters the values of fields are: each object once, and all repetitions."""

    def __init__(self) -> None:
        self.once = 0
        self.again = 0
        self._sizes: dict[int, int] = {}

    def add_field(self, value: object) -> None:
        """Add what a field holds; the items of a mapping may be shared where it is not."""
        if not isinstance(value, dict) or id(value) in self._sizes:
            self._add(value)
            return
        self._sizes[id(value)] = sum(
            self._add(key) + self._add(item) for key, item in value.items()
        )

    def _add(self, value: object) -> int:
        size = self._sizes.get(id(value))
        if size is None:
            size = len(value) if isinstance(value, str) else len(dump_json(value))
            self._sizes[id(value)] = size
            self.once += size
        else:
            self.again += size
        return size


def edges_between_tasks(graph: WorkGraph) -> list[list[int]]:
    """Return, by number, the tasks that wait for that one, directly or through a gate; each once.

    Complexity: O(tasks + edges that come out), and a gate is multiplied out.
    """
    names, successors = graph.names, graph.successors
    found: list[list[int]] = []
    for row in successors:
        if any(names[successor] is None for successor in row):
            row = _through_gates(row, graph)
        found.append(row)
    return found


def _through_gates(row: Sequence[int], graph: WorkGraph) -> list[int]:
    tasks: dict[int, None] = {}
    for node in row:
        if graph.names[node] is None:
            tasks.update(dict.fromkeys(graph.successors[node]))
        else:
            tasks[node] = None
    return list(tasks)
