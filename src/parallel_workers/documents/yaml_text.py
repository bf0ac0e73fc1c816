"""YAML, as far as it is plain data.

PyYAML gives the events; everything above them is done here, since its own loaders recurse, keep
the last of two keys silently, and let a few lines of aliases fill the memory. Plain words mean what
the core schema of YAML 1.2 says: `yes`, `on`, `12:30` and dates are text. Keys are text as they
stand, so that a task may be called `3.10`.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias

from parallel_workers.documents.tree import (
    BEGIN,
    EMPTY,
    END,
    KEY,
    MERGE,
    MOST_DIGITS,
    TOO_DEEP,
    VALUE,
    Event,
    Malformed,
    Parser,
    build,
    locate,
)
from parallel_workers.wording import one_line, plural, shorten

MOST_BY_ALIAS = 1_000_000
"""The most values that all aliases of a file may stand for."""

LETTERS = 64
"""How many letters of what an alias stands for count as another value."""

MOST_DIRECTIVES = 100
"""The most directives of a file: libyaml looks through all of them for each."""

# More than a line feed ends a line of YAML 1.1.
_DIRECTIVE = re.compile("(?:^|[\r\x85\u2028\u2029])%", re.MULTILINE)

_ALIAS: Final = "alias"
_Node: TypeAlias = tuple[str, Any, int, str | None]
"""An event that may be an alias, and the anchor that it carries."""

_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_BASES = {"0o": 8, "0x": 16}


def resolve(word: str) -> Any:
    """Return what a plain word stands for.

    >>> [resolve(word) for word in ("yes", "true", "010", "0x1F", "1e3", "2001-01-01", "~")]
    ['yes', True, 10, 31, 1000.0, '2001-01-01', None]
    """
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    if len(word) > MOST_DIGITS:
        return word
    if _INTEGER.fullmatch(word):
        return int(word, _BASES.get(word[:2], 10))
    if _FLOAT.fullmatch(word):
        return float(word)
    if _NO_NUMBER.fullmatch(word):
        return float(word.replace(".", ""))
    return word


def events(text: str) -> Iterator[Event]:
    """Yield what `text` holds, aliases replaced by what they stand for; marks are lines.

    Raises:
        Malformed: It is not YAML, or has what plain data has not: tags, keys that are no text,
            several documents, an alias within what it stands for, too much by aliases.
    """
    if (directives := len(_DIRECTIVE.findall(text))) > MOST_DIRECTIVES:
        raise Malformed(None, f"{directives:,} directives (lines with %); a work file needs none")
    return _without_aliases(_nodes(text))


def _without_aliases(nodes: Iterable[_Node]) -> Iterator[Event]:
    # Everything since the first anchor that is still open; what an anchor names is a slice of it.
    record: list[Event] = []
    opened: list[tuple[str, int, int]] = []
    named: dict[str, slice] = {}
    by_alias = depth = 0
    for kind, value, line, anchor in nodes:
        told: list[Event] = [(kind, value, line)]
        if kind is _ALIAS:
            told = record[_meaning(value, line, named, opened)]
            by_alias += len(told)
            by_alias += sum(len(each) for _, each, _ in told if each.__class__ is str) // LETTERS
            if by_alias > MOST_BY_ALIAS:
                raise Malformed(
                    line, f"aliases stand for more than {MOST_BY_ALIAS:,} values; use fewer"
                )
        if anchor is not None:
            opened.append((anchor, depth, len(record)))
        if opened:
            record += told
        depth += (kind is BEGIN) - (kind is END)
        while opened and opened[-1][1] == depth:
            name, _, start = opened.pop()
            named[name] = slice(start, len(record))
        yield from told


def _meaning(
    alias: str, line: int, named: dict[str, slice], opened: list[tuple[str, int, int]]
) -> slice:
    if any(alias == name for name, _, _ in opened):
        raise Malformed(line, f"the alias *{shorten(alias)} stands within what it stands for")
    if alias not in named:
        raise Malformed(line, f"the alias *{shorten(alias)} has no anchor &{shorten(alias)} above")
    return named[alias]


def _nodes(text: str) -> Iterator[_Node]:
    import yaml

    # Tabs are no white space between tokens to YAML.
    if not text.strip():
        raise Malformed(None, EMPTY)
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        yield from _translate(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, text) from None
    except yaml.reader.ReaderError as error:
        code = error.character if isinstance(error.character, int) else ord(error.character)
        line = text.count("\n", 0, max(0, text.find(chr(code)))) + 1
        raise Malformed(line, f"YAML cannot hold the character U+{code:04X}; take it out") from None


def _not_yaml(error: Any, text: str) -> Malformed:
    mark = error.problem_mark or error.context_mark
    # The end of the text counts as a line of its own there.
    line = min(mark.line, text.rstrip().count("\n")) + 1 if mark else None
    why = error.problem or "it cannot be read"
    if "nesting depth" in why:  # libyaml has a limit of its own
        return Malformed(line, TOO_DEEP)
    if error.context and error.context_mark:
        why += f" {error.context} that begins on line {error.context_mark.line + 1}"
    if "cannot start any token" in why:
        why += "; put text in quotes, and indent with spaces, not tabs"
    return Malformed(line, f"not YAML: {one_line(why, 200)}")


def _translate(parsed: Iterable[Any]) -> Iterator[_Node]:
    # For each open node, what comes next in it: a key or a value of a mapping, an item of a list.
    expected: list[str] = ["document"]
    for event in parsed:
        name = type(event).__name__
        line = event.start_mark.line + 1
        if name == "DocumentStartEvent":
            _begin_document(expected, line)
        elif name in ("MappingEndEvent", "SequenceEndEvent"):
            expected.pop()
            yield END, None, line, None
        elif name in ("MappingStartEvent", "SequenceStartEvent", "ScalarEvent", "AliasEvent"):
            yield _node(event, name, expected, line)
    if expected[0] == "document":
        raise Malformed(None, EMPTY)


def _begin_document(expected: list[str], line: int) -> None:
    if expected[0] == "nothing more":
        raise Malformed(line, "a second document begins here; a file holds one work graph")
    expected[0] = "nothing more"


def _node(event: Any, name: str, expected: list[str], line: int) -> _Node:
    is_key = expected[-1] == "key"
    if expected[-1] in ("key", "value"):
        expected[-1] = "value" if is_key else "key"
    if is_key and name != "ScalarEvent":
        raise Malformed(line, "a key is plain text here, no list, mapping or alias")
    if name == "AliasEvent":
        return _ALIAS, event.anchor, line, None
    if event.tag is not None:
        raise Malformed(line, f"the tag {_tag(event.tag)} is not read here; leave it out")
    if name == "MappingStartEvent":
        expected.append("key")
        return BEGIN, dict, line, event.anchor
    if name == "SequenceStartEvent":
        expected.append("item")
        return BEGIN, list, line, event.anchor
    plain = event.implicit[0]
    if is_key:
        return KEY, MERGE if plain and event.value == "<<" else event.value, line, None
    return VALUE, _scalar(event.value, line) if plain else event.value, line, event.anchor


def _scalar(word: str, line: int) -> Any:
    if len(word) > MOST_DIGITS and _INTEGER.fullmatch(word):
        raise Malformed(line, f"a number of {plural(len(word), 'digit')}")
    return resolve(word)


def _tag(tag: str) -> str:
    return one_line(tag.replace("tag:yaml.org,2002:", "!!"))


PARSER = Parser(
    read=lambda text, faults: build(events(text), faults),
    find=lambda text, places: locate(events(text), places),
    lines=lambda text: lambda line: line,
)
