"""DOT text: the nodes and edges of a digraph, as Graphviz has them.

The parser keeps what it is inside of in a list of its own instead of recursing, and looks at every
character once or twice, whatever the text. Ends of edges are sets of nodes; who makes edges of them
can do it without multiplying them.

Source:
    The DOT language, https://graphviz.org/doc/info/lang.html; where that leaves something open, the
    behaviour of Graphviz itself.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from parallel_workers.documents.tree import DEEPEST, TOO_DEEP, Malformed
from parallel_workers.wording import SHOWN_NAME, shown

MOST_COPIES = 2_000_000
"""How often attributes may be copied into nodes, and nodes of subgraphs into ends of edges, beside
two copies for each character of the text."""

EMPTY = 'is empty; to run nothing, write "digraph {}"'

_UNDIRECTED = (
    "a graph without directions says nothing of what comes first; write digraph, and -> in its "
    "edges"
)

# Repetitions are possessive (`++`), so that nothing is tried a second time in another way.
_SPACE: Final = r"(?:[ \t\r\n]++|//[^\n]*+|\#[^\n]*+|/\*(?:[^*]++|\*(?!/))*+\*/)*+"
_BEYOND_ASCII: Final = r"[^\x00-\x7f]"
_TOKEN = re.compile(
    _SPACE
    + rf"""(?:
      ((?![0-9])(?:\w++|{_BEYOND_ASCII}++)++)                                # 1 word
    | (->|--|[{{}}\[\];,=:])                                                # 2 sign
    | (-?+(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++))(?![\w.]|{_BEYOND_ASCII})     # 3 number
    | "((?:[^"\\]++|\\.)*+)"                                                # 4 text in quotes
    | (<)                                                                   # 5 HTML begins
    )""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_WORD, _SIGN, _NUMBER, _QUOTED, _HTML = range(1, 6)
_SKIP = re.compile(_SPACE)
_PLUS = re.compile(_SPACE + r"\+")
_ANGLE = re.compile("[<>]")
_ESCAPE = re.compile(r'\\(?:(["\\])|\r?\n)')
_BETWEEN_WORDS = re.compile(r"""[\s"<>{}\[\];,=]""")

ID: Final = "an id"
END: Final = "the end"
_KEYWORDS = ("strict", "graph", "digraph", "subgraph", "node", "edge")


class Token(NamedTuple):
    """A part of the text.

    Attributes:
        kind: `ID` or `END`; else the keyword, in lower case, or the sign.
        text: What an id names.
        at: Its offset.
    """

    kind: str
    text: str
    at: int


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of `text`, the last one of the kind `END`.

    Raises:
        Malformed: Something stands there that is no token.
    """
    at = 0
    while (found := _TOKEN.match(text, at)) is not None:
        group = found.lastindex or 0
        start, at = found.start(group), found.end()
        value = found[group]
        if group == _WORD and value.lower() in _KEYWORDS:
            yield Token(value.lower(), value, start)
        elif group == _SIGN:
            yield Token(value, value, start)
        elif group in (_QUOTED, _HTML):
            value, at = _joined(text, found)
            yield Token(ID, value, start - 1 if group == _QUOTED else start)
        else:
            yield Token(ID, value, start)
    at = _skip(text, at)
    if at < len(text):
        raise _no_token(text, at)
    yield Token(END, "", at)


def _joined(text: str, found: re.Match[str]) -> tuple[str, int]:
    """Return the text that begins with a token in quotes, and goes on behind each `+`; its end."""
    value, at = _delimited(text, found)
    parts = [value]
    while (plus := _PLUS.match(text, at)) is not None:
        piece = _TOKEN.match(text, plus.end())
        if piece is None or piece.lastindex not in (_QUOTED, _HTML):
            raise Malformed(plus.end() - 1, "behind + should follow a text in double quotes")
        value, at = _delimited(text, piece)
        parts.append(value)
    return "".join(parts), at


def _delimited(text: str, found: re.Match[str]) -> tuple[str, int]:
    if found.lastindex == _QUOTED:
        return _unescape(found[_QUOTED]), found.end()
    start = found.start(_HTML)
    end = _end_of_html(text, start)
    return text[start + 1 : end - 1], end


def _unescape(quoted: str) -> str:
    """Return what a text in quotes stands for: `\\` before anything but a quote is itself."""
    if "\\" not in quoted:
        return quoted
    return _ESCAPE.sub(lambda escape: escape[0] if escape[1] == "\\" else escape[1] or "", quoted)


def _end_of_html(text: str, start: int) -> int:
    depth = 0
    for angle in _ANGLE.finditer(text, start):
        depth += 1 if angle[0] == "<" else -1
        if not depth:
            return angle.end()
    raise Malformed(start, "this HTML never ends; close each < with >")


def _skip(text: str, at: int) -> int:
    space = _SKIP.match(text, at)
    return at if space is None else space.end()


def _no_token(text: str, at: int) -> Malformed:
    """Return what is wrong where nothing that DOT knows begins."""
    if text[at] == '"':
        return Malformed(at, 'this text never ends; close it with "')
    if text.startswith("/*", at):
        return Malformed(at, "this comment never ends; close it with */")
    before = _BETWEEN_WORDS.split(text[max(0, at - SHOWN_NAME) : at])[-1]
    behind = _BETWEEN_WORDS.split(text[at + 1 : at + SHOWN_NAME], maxsplit=1)[0]
    word = shown(before + text[at] + behind)
    return Malformed(at, f"{word} is no id as it stands; put it in double quotes")


class Attribute(NamedTuple):
    """What was set to a node, or is a default of nodes.

    Attributes:
        value: The text that it was set to.
        at: Where it stands.
    """

    value: str
    at: int


class Edge(NamedTuple):
    """An edge from each of some nodes to each of others; all by number, each once.

    Attributes:
        tails: Where it begins.
        heads: Where it ends.
        at: Where its end stands.
    """

    tails: Sequence[int]
    heads: Sequence[int]
    at: int


class Digraph:
    """What was drawn.

    Attributes:
        numbers: By name, the number of each node, in the order in which they came.
        places: By number, where the node stands first.
        attributes: By number, the attributes of the node. Nodes with none of their own share one
            mapping.
        edges: All edges.
        room: How many copies may still be made of what stands in the text once.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.numbers: dict[str, int] = {}
        self.places: list[int] = []
        self.attributes: list[dict[str, Attribute]] = []
        self.edges: list[Edge] = []


class _Subgraph:
    """A graph in a graph.

    Attributes:
        own: The default attributes that are set in it.
        inherited: The defaults of what is around it, as they were when it was last gone into.
        defaults: What a node gets that stands here first: its own, over what is inherited.
        nodes: The numbers of nodes that stand in it directly, perhaps more than once.
        parts: The subgraphs directly in it, by name; those without one by a number.
    """

    __slots__ = ("defaults", "inherited", "nodes", "own", "parts")

    def __init__(self) -> None:
        self.own: dict[str, Attribute] = {}
        self.inherited: dict[str, Attribute] = {}
        self.defaults = self.inherited
        self.nodes: list[int] = []
        self.parts: dict[str | int, _Subgraph] = {}


class _End(NamedTuple):
    """What stands at an end of an edge, or alone: a list of nodes, or a subgraph."""

    nodes: list[int] | _Subgraph
    at: int


class _Level(NamedTuple):
    """What the parser is inside of.

    Attributes:
        graph: The subgraph.
        ends: Those of the statement that is being read; the next one is to come.
        at: Where it begins.
    """

    graph: _Subgraph
    ends: list[_End]
    at: int


def parse(text: str) -> Digraph:
    """Return the digraph in `text`.

    Raises:
        Malformed: It is not DOT, undirected, or grows too large; its mark is an offset.

    >>> drawn = parse('digraph { node [retries=1] a -> {b "c d"} }')
    >>> list(drawn.numbers), [(edge.tails, edge.heads) for edge in drawn.edges]
    (['a', 'b', 'c d'], [([0], [1, 2])])
    """
    return _Parser(text).parse()


def begins_as_dot(text: str) -> bool:
    """Tell whether `text` begins with the head of a graph in DOT.

    >>> begins_as_dot("// mine\\nstrict digraph G {"), begins_as_dot("graph: [a]")
    (True, False)
    """
    kinds = (token.kind for token in tokens(text))
    try:
        kind = next(kinds)
        if kind == "strict":
            kind = next(kinds)
        if kind not in ("graph", "digraph"):
            return False
        kind = next(kinds)
        return (next(kinds) if kind == ID else kind) == "{"
    except Malformed:
        return False


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens = tokens(text)
        self.token = next(self.tokens)
        self.drawn = Digraph(MOST_COPIES + 2 * len(text))
        self.levels: list[_Level] = []
        self.with_own: set[int] = set()

    def parse(self) -> Digraph:
        self._read_head()
        self._enter(_Subgraph())
        while self.levels:
            self._read_part(self.levels[-1])
        if self.token.kind in ("strict", "graph", "digraph"):
            raise Malformed(
                self.token.at, "a second graph begins here; a file holds one work graph"
            )
        if self.token.kind != END:
            raise self._unexpected("the end")
        return self.drawn

    def _read_head(self) -> None:
        if self.token.kind == END:
            raise Malformed(None, EMPTY)
        self._accept("strict")
        if self.token.kind == "graph":
            raise Malformed(self.token.at, _UNDIRECTED)
        self._expect("digraph")
        self._accept(ID)

    def _advance(self) -> Token:
        token = self.token
        self.token = next(self.tokens, token)
        return token

    def _accept(self, *kinds: str) -> bool:
        """Go past the next token if it is one of `kinds`; tell whether it is."""
        if self.token.kind not in kinds:
            return False
        self._advance()
        return True

    def _expect(self, kind: str) -> Token:
        if self.token.kind != kind:
            raise self._unexpected(kind)
        return self._advance()

    def _unexpected(self, wanted: str) -> Malformed:
        kind, text, at = self.token
        if kind == "--":
            return Malformed(at, "-- has no direction; write ->")
        if kind == END and self.levels:
            begin = self.levels[-1].at
            return Malformed(begin, "what begins here with { never ends; close it with }")
        found = END if kind == END else shown(text)
        advice = "; to name a node so, put it in quotes" if kind in _KEYWORDS else ""
        return Malformed(at, f"found {found} where {wanted} should be{advice}")

    def _read_part(self, level: _Level) -> None:
        """Read a statement, or up to the next subgraph in it, or to the end of this one."""
        kind = self.token.kind
        if kind == ID:
            token = self._advance()
            if self.token.kind == "=" and not level.ends:
                self._read_value()
                self._accept(";")
            else:
                self._add_end(level, self._read_nodes(token), token.at)
        elif kind in ("{", "subgraph"):
            self._open_part(level.graph)
        elif level.ends:
            raise self._unexpected("a node or a subgraph")
        elif kind == "}":
            self._close()
        elif kind in ("node", "edge", "graph"):
            self._read_defaults(level.graph)
        else:
            raise self._unexpected("a node, an edge or }")

    def _open_part(self, around: _Subgraph) -> None:
        """Go into a subgraph, one that is there already if it has the name of that."""
        key: str | int = len(around.parts)
        if self._accept("subgraph") and self.token.kind == ID:
            key = self._advance().text
        graph = around.parts.setdefault(key, _Subgraph())
        if graph.inherited is not around.defaults:
            graph.inherited = around.defaults
            graph.defaults = self._over(graph.inherited, graph.own, self.token.at)
        self._enter(graph)

    def _enter(self, graph: _Subgraph) -> None:
        at = self._expect("{").at
        if len(self.levels) == DEEPEST:
            raise Malformed(at, TOO_DEEP)
        self.levels.append(_Level(graph, [], at))

    def _close(self) -> None:
        self._advance()
        closed = self.levels.pop()
        if self.levels:
            self._add_end(self.levels[-1], closed.graph, closed.at)

    def _over(
        self, common: dict[str, Attribute], own: dict[str, Attribute], at: int
    ) -> dict[str, Attribute]:
        """Return the attributes of both; nothing is copied where there is nothing to add."""
        if not own:
            return common
        self._spend(len(common) + len(own), at)
        return {**common, **own}

    def _spend(self, copies: int, at: int) -> None:
        self.drawn.room -= copies
        if self.drawn.room < 0:
            raise Malformed(
                at,
                "with so many default attributes, or so many edges of the same subgraphs, this "
                "becomes too large; use fewer",
            )

    def _read_defaults(self, graph: _Subgraph) -> None:
        token = self._advance()
        if self.token.kind != "[":
            raise self._unexpected("[")
        attributes = self._read_attributes()
        if token.kind == "node":
            graph.own.update(attributes)
            graph.defaults = self._over(graph.defaults, attributes, token.at)
        self._accept(";")

    def _read_attributes(self) -> dict[str, Attribute]:
        """Read all lists of attributes that stand here, if any; what comes last holds."""
        attributes: dict[str, Attribute] = {}
        while self._accept("["):
            while not self._accept("]"):
                key = self._expect(ID)
                attributes[key.text] = Attribute(self._read_value(), key.at)
                self._accept(";", ",")
        return attributes

    def _read_value(self) -> str:
        self._expect("=")
        return self._expect(ID).text

    def _read_nodes(self, token: Token) -> list[int]:
        """Return the numbers of the nodes in a list that begins with `token`."""
        numbers = [self._node(token)]
        self._skip_port()
        while self._accept(","):
            numbers.append(self._node(self._expect(ID)))
            self._skip_port()
        return numbers

    def _skip_port(self) -> None:
        if self._accept(":"):
            self._expect(ID)
            if self._accept(":"):
                self._expect(ID)

    def _node(self, token: Token) -> int:
        graph = self.levels[-1].graph
        drawn = self.drawn
        number = drawn.numbers.setdefault(token.text, len(drawn.places))
        if number == len(drawn.places):
            drawn.places.append(token.at)
            drawn.attributes.append(graph.defaults)
        graph.nodes.append(number)
        return number

    def _add_end(self, level: _Level, nodes: list[int] | _Subgraph, at: int) -> None:
        """Add an end to the statement, and finish that if it is the last one."""
        level.ends.append(_End(nodes, at))
        if self._accept("->"):
            return
        attributes = self._read_attributes()
        self._accept(";")
        if len(level.ends) > 1:
            self._add_edges(level.ends)
        elif isinstance(nodes, list):
            for number in nodes:
                self._set(number, attributes, at)
        level.ends.clear()

    def _set(self, number: int, attributes: dict[str, Attribute], at: int) -> None:
        column = self.drawn.attributes
        if number in self.with_own:
            self._spend(len(attributes), at)
            column[number].update(attributes)
        elif attributes:
            column[number] = self._over(column[number], attributes, at)
            self.with_own.add(number)

    def _add_edges(self, ends: Sequence[_End]) -> None:
        sets = [self._members(end) for end in ends]
        for (tails, heads), end in zip(pairwise(sets), ends[1:], strict=True):
            if tails and heads:
                self.drawn.edges.append(Edge(tails, heads, end.at))

    def _members(self, end: _End) -> list[int]:
        """Return the numbers of the nodes at an end, those that came first in front."""
        if isinstance(end.nodes, list):
            return end.nodes if len(end.nodes) == 1 else sorted(set(end.nodes))
        members: set[int] = set()
        inside = [end.nodes]
        for graph in inside:  # grows while it is walked
            self._spend(1 + len(graph.nodes), end.at)
            members.update(graph.nodes)
            inside += graph.parts.values()
        return sorted(members)
