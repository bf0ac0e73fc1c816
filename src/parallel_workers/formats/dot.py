r"""DOT: a digraph as Graphviz draws it, whose nodes are tasks.

    digraph {
        node [retries=1]
        fetch [command="curl -O https://example.org/data.tar", duration="5m"]
        fetch -> {build lint} -> pack
        build [command="make", env=<{"CC": "clang"}>, shape=box]
    }

Attributes of a node that are named like the fields of a `Definition` are these fields; all others,
such as `label` and `shape`, are free data. Values are text in DOT, so `env` and `vars` are JSON
objects in text, and an empty value is none. A label that only lets Graphviz draw the name as it is
says nothing more, and `after` is no field: edges say what waits for what. Default attributes of
nodes, subgraphs and sets of nodes mean what they mean to Graphviz. Ports, and the attributes of
edges and graphs, say nothing of a task and are not kept; nor is whether a text was HTML. There is
no place for the limits of pools: every pool that a task names has the limit 1, or more if one task
needs more.
"""

import re
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from parallel_workers.definition import ATTRIBUTES, FIELDS, PLAIN, Definition, read_field
from parallel_workers.documents.problems import Findings, Place, Problem
from parallel_workers.documents.tree import Malformed, Parser
from parallel_workers.errors import FieldError
from parallel_workers.formats._dot_text import Attribute, Digraph, begins_as_dot, parse
from parallel_workers.formats._fields import (
    check_cycles,
    connect,
    name_pools,
    names_a_task,
    settle_edges,
    task,
)
from parallel_workers.formats._format import Reader, Writer
from parallel_workers.formats._writing import (
    describe,
    dump_json,
    edges_between_tasks,
    lost_limits,
    refuse_too_large,
    refuse_too_many,
    some,
)
from parallel_workers.graph import WorkGraph
from parallel_workers.wording import plural, shorten

SUFFIXES = (".dot", ".gv")

_CAN_BE_EMPTY = "description"

_AFTER = "after"
"""What is a field in work files, and free data here."""

_NUMBER = re.compile(r"-?(?:[0-9]{1,300}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_PLAIN_KEY = re.compile(r"(?!(?i:node|edge|graph|digraph|subgraph|strict)$)[A-Za-z_][A-Za-z0-9_]*")
# What ends with a character that a text in quotes cannot hold in its place: a backslash before a
# quote or an end, for two of them stay two; a line break alone between such, for Graphviz drops it.
_UNQUOTABLE = re.compile(r'(?<!\\)(?:\\\\)*+\\(?="|\r?\n|\Z)|(?:\A|(?<=["\\]))\n(?=["\\]|\Z)')


def read(drawn: Digraph, findings: Findings) -> WorkGraph:
    """Return the work graph that a digraph stands for; tasks are numbered as they come.

    Args:
        drawn: The nodes and edges.
        findings: Gets all problems. With problems the graph is of no use.
    """
    reader = _Reader(drawn, findings)
    for name, number in drawn.numbers.items():
        reader.add(name, number)
    reader.connect()
    if not findings.problems:
        check_cycles(reader.graph, findings, reader.cycle)
    return reader.graph


class _Reader:
    """What is read so far.

    Attributes:
        graph: The tasks, with the numbers of their nodes, and in the end their edges.
        values: By its place, what an attribute says; None if it is wrong.
        definitions: By the identity of attributes, which nodes may share, what they define.
    """

    def __init__(self, drawn: Digraph, findings: Findings) -> None:
        self.drawn = drawn
        self.findings = findings
        self.graph = WorkGraph()
        self.values: dict[int, Any] = {}
        self.definitions: dict[int, Definition] = {}

    def add(self, name: str, number: int) -> None:
        names_a_task(name, self.findings.about(place=(self.drawn.places[number],)))
        self.graph.add_plain(name)
        attributes = self.drawn.attributes[number]
        if not attributes:
            return
        if (label := attributes.get("label")) and label.value == _label_for(name):
            others = {key: value for key, value in attributes.items() if key != "label"}
            definition = self._define(name, others)
        else:
            definition = self._define_once(name, attributes)
        if definition is not PLAIN:
            self.graph.definitions[number] = definition
        name_pools(self.graph, definition)

    def _define_once(self, name: str, attributes: Mapping[str, Attribute]) -> Definition:
        definition = self.definitions.get(id(attributes))
        if definition is None:
            definition = self.definitions[id(attributes)] = self._define(name, attributes)
        return definition

    def _define(self, name: str, attributes: Mapping[str, Attribute]) -> Definition:
        fields: dict[str, Any] = {}
        free = {}
        for key, attribute in attributes.items():
            if key not in FIELDS:
                free[key] = attribute.value
                if key == _AFTER:
                    self._warn_of_after(name, attribute)
            elif attribute.value or key == _CAN_BE_EMPTY:
                value = self._value(name, key, attribute)
                if value is not None:
                    fields[ATTRIBUTES[key]] = value
        if free and "vars" in fields:
            fields["vars"] = self._merge(free, fields["vars"], attributes["vars"].at)
        elif free:
            fields["vars"] = free
        return Definition(**fields) if fields else PLAIN

    def _warn_of_after(self, name: str, attribute: Attribute) -> None:
        if attribute.at not in self.values:
            self.values[attribute.at] = attribute.value
            self.findings.about(task(name), (attribute.at,)).warn(
                "this is free data in DOT; write an edge, a -> b, to let b wait for a", _AFTER
            )

    def _value(self, name: str, key: str, attribute: Attribute) -> Any:
        """Return what an attribute says; where it is wrong, tell that once and return None."""
        if attribute.at not in self.values:
            self.values[attribute.at] = None
            try:
                self.values[attribute.at] = _read_text(key, attribute.value)
            except FieldError as error:
                about = self.findings.about(task(name), (attribute.at,))
                about.problem(error.message, key, *error.place)
        return self.values[attribute.at]

    def _merge(self, free: dict[str, Any], given: dict[str, Any], at: int) -> dict[str, Any]:
        had_room = self.drawn.room >= 0
        self.drawn.room -= len(given)
        if self.drawn.room >= 0:
            return {**free, **given}
        if had_room:
            self.findings.about(place=(at,)).problem(
                "with so many items here for many tasks, so many of these cannot have data of "
                "their own; give fewer",
                "vars",
            )
        return free

    def connect(self) -> None:
        for tails, heads, at in self.drawn.edges:
            for number in sorted(set(tails).intersection(heads))[:1]:
                about = self.findings.about(task(self.graph.name(number)), (at,))
                about.problem("the task waits for itself; take this edge out")
            connect(tails, heads, self.graph)
        settle_edges(self.graph)

    def cycle(self, names: Sequence[str]) -> Problem:
        """Return where the first edge on the circle of `names` stands."""
        tail, head = (self.graph.numbers[name] for name in names[:2])
        edges = self.drawn.edges
        return Problem(
            "", place=(next(e.at for e in edges if tail in e.tails and head in e.heads),)
        )


def _read_text(key: str, text: str) -> Any:
    """Return what the field `key` holds when it is set to `text`.

    Raises:
        FieldError: It is nothing that the field can hold.

    >>> _read_text("retries", "3"), _read_text("timeout", "5m"), _read_text("env", '{"A": "b"}')
    (3, 300.0, {'A': 'b'})
    """
    meaning = _MEANINGS.get(key)
    return read_field(key, text if meaning is None else meaning(text))


def _number(text: str) -> object:
    if not _NUMBER.fullmatch(text):
        return text
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _number_or_object(text: str) -> object:
    return _object(text) if text.lstrip().startswith("{") else _number(text)


def _flag(text: str) -> object:
    return {"true": True, "false": False}.get(text, text)


def _object(text: str) -> object:
    """Return the JSON object in `text`; anything else as it is, for the field to refuse."""
    from parallel_workers.documents.json_text import PARSER

    if not text.lstrip().startswith("{"):
        return text
    faults: list[Malformed] = []
    try:
        data = PARSER.read(text, faults)
    except Malformed as fault:
        faults.append(fault)
    if faults:
        raise FieldError(f"no JSON object: {faults[0].message.removeprefix('not JSON: ')}")
    return data


_MEANINGS: dict[str, Callable[[str], object]] = {
    "env": _object,
    "duration": _number,
    "pool": _object,
    "retries": _number_or_object,
    "timeout": _number,
    "allow-failure": _flag,
    "always": _flag,
    "console": _flag,
    "service": _object,
    "vars": _object,
}
"""What the text of a field stands for, where that is no text."""


def losses(graph: WorkGraph) -> list[str]:
    """Return a line for each thing that DOT cannot hold of `graph`."""
    lines = lost_limits(graph, "DOT")
    lists = [
        shorten(graph.name(number))
        for number, definition in sorted(graph.definitions.items())
        if isinstance(definition.command, tuple) or isinstance(definition.done_if, tuple)
    ]
    if lists:
        lines.append(
            "commands in DOT are text: the list of words becomes a line for the shell in "
            f"{plural(len(lists), 'task')}: {some(lists)}"
        )
    return lines


def write(graph: WorkGraph) -> str:
    """Return `graph` as a digraph, a task or an edge a line, with barriers multiplied out.

    Raises:
        UsageError: Barriers would become too many edges, what tasks share too large, or the free
            data of a task is nothing that JSON can hold.
    """
    refuse_too_many(graph, "DOT")
    successors = edges_between_tasks(graph)
    refuse_too_large(graph, successors, "DOT", graph.definitions.values())
    ids = {number: _id(name) for name, number in graph.numbers.items()}
    lines = ["digraph {"]
    lines += [
        f"  {ids[number]}{_attributes(name, graph.definitions.get(number, PLAIN))};"
        for name, number in graph.numbers.items()
    ]
    lines += [f"  {ids[tail]} -> {ids[head]};" for tail in ids for head in successors[tail]]
    lines.append("}\n")
    return "\n".join(lines)


def _attributes(name: str, definition: Definition) -> str:
    """Return the fields of a task as a list of attributes; nothing if there are none."""
    fields = describe(definition)
    free = fields.pop("vars", {})
    label = _label_for(name)
    plain = {
        key: value
        for key, value in free.items()
        if _is_plain(key, value) and (key, value) != ("label", label)
    }
    if len(plain) < len(free):
        fields["vars"] = {key: value for key, value in free.items() if key not in plain}
    if label is not None:
        plain.setdefault("label", label)
    given = [f"{_key(key)}={_id(_as_text(value))}" for key, value in {**fields, **plain}.items()]
    return f" [{', '.join(given)}]" if given else ""


def _label_for(name: str) -> str | None:
    r"""Return the label that Graphviz draws as `name`; None where it needs none for that.

    >>> print(_label_for(r"C:\new"), _label_for("a&b"), _label_for("a b"))
    C:\\new a&amp;b None
    """
    label = name.replace("\\", "\\\\").replace("&", "&amp;")
    return None if label == name else label


def _is_plain(key: str, value: object) -> bool:
    """Tell whether an item of free data can be an attribute, whatever Graphviz does with that."""
    return (
        isinstance(value, str)
        and key not in FIELDS
        and key != _AFTER
        and _PLAIN_KEY.fullmatch(key) is not None
        and "\0" not in value
        and not _UNQUOTABLE.search(value)
    )


def _key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else _quoted(key)


def _as_text(value: object) -> str:
    """Return what a field holds as the text that `_read_text` reads the same."""
    if isinstance(value, dict):
        # With these escapes there is no backslash before a quote, which DOT has no way to write.
        return re.sub(r'\\(["\\])', lambda found: f"\\u{ord(found[1]):04x}", dump_json(value))
    if isinstance(value, list):
        return shlex.join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _id(text: str) -> str:
    r"""Return `text` as an id of DOT.

    >>> print(_id("two words"), _id('"'), _id(r'echo \"'))
    "two words" "\"" <echo \">
    """
    ends = [found.end() for found in _UNQUOTABLE.finditer(text)]
    if not ends:
        return _quoted(text)
    if _is_balanced(text):
        return f"<{text}>"
    # Not in the grammar of DOT, but Graphviz joins HTML like text in quotes.
    pieces = []
    begin = 0
    for end in ends:
        pieces += [_quoted(text[begin : end - 1]), f"<{text[end - 1]}>"]
        begin = end
    return " + ".join([*pieces, _quoted(text[begin:])])


def _quoted(text: str) -> str:
    return '"' + text.replace('"', r"\"") + '"'


def _is_balanced(text: str) -> bool:
    """Tell whether each `>` in `text` closes a `<`, and none is left open."""
    depth = 0
    for angle in re.findall("[<>]", text):
        depth += 1 if angle == "<" else -1
        if depth < 0:
            return False
    return not depth


def _fits(text: object) -> bool:
    return isinstance(text, str) and begins_as_dot(text)


def _find(text: str, places: Collection[Place]) -> Mapping[Place, int]:
    return {place[:1]: place[0] for place in places if place and isinstance(place[0], int)}


def _lines(text: str) -> Callable[[int], int]:
    from parallel_workers.documents.json_text import PARSER

    return PARSER.lines(text)


READER = Reader(
    read, _fits, SUFFIXES, Parser(read=lambda text, faults: parse(text), find=_find, lines=_lines)
)
WRITER = Writer(write, losses, SUFFIXES)
