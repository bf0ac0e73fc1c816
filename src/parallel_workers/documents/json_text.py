"""JSON as people write it by hand: with `#` comments and trailing commas.

A parser of its own, since it must tell what no JSON library tells: the line of everything, keys
that stand twice, and plainly what is wrong. It does not recurse, and looks at every character once
or twice, whatever the text.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from parallel_workers.documents.tree import (
    BEGIN,
    EMPTY,
    END,
    KEY,
    MOST_DIGITS,
    VALUE,
    Event,
    Malformed,
    Parser,
    build,
    locate,
)
from parallel_workers.wording import plural, shorten, shown

# Repetitions are possessive (`++`), so that nothing is tried a second time in another way.
_SPACE: Final = r"(?:[ \t\r\n]++|\#[^\n]*+)*+"
_TOKEN = re.compile(
    _SPACE
    + r"""(?:
      "([^"\\\x00-\x1f]*+)"                                           # 1 text without escapes
    | ([\[{])                                                         # 2 a list or object begins
    | ([\]}])                                                         # 3 and ends
    | (-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+)(?![\w.+-])  # 4 number
    | (true|false|null)(?!\w)                                         # 5
    | ("(?:[^"\\\x00-\x1f]++|\\.)*+")                                 # 6 text with escapes
    )""",
    re.VERBOSE,
)
_TEXT, _BEGIN, _END, _NUMBER, _CONSTANT, _ESCAPED_TEXT = range(1, 7)
_COMMA = re.compile(_SPACE + ",")
_COLON = re.compile(_SPACE + ":")
_SKIP = re.compile(_SPACE)
_WORD = re.compile(r"[\w.+-]+")
_OPEN_TEXT = re.compile(r'"(?:[^"\\\x00-\x1f]++|\\.)*+')
_ESCAPE = r'(?s)\\(?:(["\\/bfnrt])|u([0-9a-fA-F]{4})|(.?))'
_SURROGATE = "[\ud800-\udfff]"

_CONSTANTS = {"true": True, "false": False, "null": None}
_ESCAPED = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_KINDS: Final[dict[str, type]] = {"[": list, "{": dict}
_CLOSING = {"[": "]", "{": "}"}
_CALLED = {"[": "list", "{": "object"}

# What may come next. A list may end wherever an item of it could stand, for there may be a comma
# before its end; an object may end where a key could.
_A_VALUE: Final = "a value"
_AN_ITEM: Final = "an item"
_A_KEY: Final = "a key"
_THE_END: Final = "a comma, or the end"


def events(text: str) -> Iterator[Event]:
    """Yield what `text` holds; marks are offsets in it.

    Raises:
        Malformed: It is not JSON.
    """
    opened: list[tuple[str, int]] = []
    expected = _A_VALUE
    at = 0
    while opened or expected is _A_VALUE:
        token = _TOKEN.match(text, at)
        if token is None:
            raise _no_token(text, at, opened)
        group = token.lastindex or 0
        mark = token.start(group)
        at = token.end()
        if group == _END:
            _check_end(token[_END], mark, expected, opened, text)
            yield END, opened.pop(), mark
        elif expected is _THE_END:
            raise Malformed(mark, f"a comma is missing before {_found(text, mark)}")
        elif expected is _A_KEY:
            yield KEY, _key(token, group), mark
            at = _after_colon(text, at)
            expected = _A_VALUE
            continue
        elif group == _BEGIN:
            bracket = token[_BEGIN]
            opened.append((bracket, mark))
            yield BEGIN, _KINDS[bracket], mark
            expected = _AN_ITEM if bracket == "[" else _A_KEY
            continue
        else:
            yield VALUE, _SCALARS[group](token), mark
        comma = _COMMA.match(text, at)
        if comma is None or not opened:
            expected = _THE_END
        else:
            expected = _AN_ITEM if opened[-1][0] == "[" else _A_KEY
            at = comma.end()
    _check_rest(text, at)


def _key(token: re.Match[str], group: int) -> str:
    if group == _TEXT:
        return token[_TEXT]
    if group == _ESCAPED_TEXT:
        return _unescape(token)
    raise Malformed(
        token.start(group), f"{shorten(token[group])} is no key; a key is text in double quotes"
    )


def _after_colon(text: str, at: int) -> int:
    colon = _COLON.match(text, at)
    if colon is None:
        raise Malformed(at, 'a colon is missing after a key; write {"key": value}')
    return colon.end()


def _number(token: re.Match[str]) -> int | float:
    text = token[_NUMBER]
    if len(text) > MOST_DIGITS:
        raise Malformed(token.start(_NUMBER), f"a number of {plural(len(text), 'digit')}")
    try:
        return int(text)
    except ValueError:
        number = float(text)
    if number in (float("inf"), float("-inf")):
        raise Malformed(token.start(_NUMBER), f"{shorten(text)} is too large a number")
    return number


def _unescape(token: re.Match[str]) -> str:
    start = token.start(_ESCAPED_TEXT)

    def meaning(escape: re.Match[str]) -> str:
        if escape[1]:
            return _ESCAPED[escape[1]]
        if escape[2]:
            return chr(int(escape[2], 16))
        raise Malformed(start, f"{escape[0]} is no escape; write a backslash as \\\\")

    text = re.sub(_ESCAPE, meaning, token[_ESCAPED_TEXT][1:-1])
    if not re.search(_SURROGATE, text):
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise Malformed(start, f"{shown(text)} holds half a surrogate pair; take it out") from None


_SCALARS: dict[int, Callable[[re.Match[str]], Any]] = {
    _TEXT: lambda token: token[_TEXT],
    _NUMBER: _number,
    _CONSTANT: lambda token: _CONSTANTS[token[_CONSTANT]],
    _ESCAPED_TEXT: _unescape,
}


def _check_end(
    bracket: str, mark: int, expected: str, opened: list[tuple[str, int]], text: str
) -> None:
    if expected is _A_VALUE:
        raise Malformed(mark, f"found {bracket} where a value should be")
    kind, begin = opened[-1]
    if _CLOSING[kind] != bracket:
        raise Malformed(
            mark,
            f"found {bracket}, but the {_CALLED[kind]} that begins on line {_line(text, begin)} "
            f"ends with {_CLOSING[kind]}",
        )


def _line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def _check_rest(text: str, at: int) -> None:
    end = _skip(text, at)
    if end < len(text):
        raise Malformed(
            end, f"found {_found(text, end)} after the end; a file holds one list or object"
        )


def _skip(text: str, at: int) -> int:
    space = _SKIP.match(text, at)
    return at if space is None else space.end()


def _found(text: str, at: int) -> str:
    """Return what stands at `at`, as a message shows it."""
    word = _WORD.match(text, at)
    return shown(text[at]) if word is None else shorten(word[0])


def _no_token(text: str, at: int, opened: list[tuple[str, int]]) -> Malformed:
    """Return what is wrong where nothing that JSON knows begins."""
    at = _skip(text, at)
    if at == len(text):
        if not opened:
            return Malformed(None, EMPTY)
        kind, begin = opened[-1]
        return Malformed(begin, f"this {_CALLED[kind]} never ends; close it with {_CLOSING[kind]}")
    if text[at] == '"':
        return _broken_text(text, at)
    found = _found(text, at)
    if text[at] in "0123456789+-." or found in ("NaN", "Infinity"):
        return Malformed(at, f"{found} is no number in JSON")
    advice = {
        "/": "a comment begins with #",
        ",": "there is a comma too many",
        "'": "text stands in double quotes",
    }.get(text[at], 'a value is a list, an object, "text", a number, true, false or null')
    return Malformed(at, f"not JSON: found {found}; {advice}")


def _broken_text(text: str, at: int) -> Malformed:
    broken = _OPEN_TEXT.match(text, at)
    end = at if broken is None else broken.end()
    if end >= len(text) - 1 or text[end] in "\r\n\\":
        return Malformed(at, 'this text does not end in its line; close it with " or write \\n')
    return Malformed(
        at, f"text cannot hold the control character U+{ord(text[end]):04X}; take it out"
    )


def _lines(text: str) -> Callable[[int], int]:
    from bisect import bisect_left

    ends = [end.start() for end in re.finditer("\n", text)]
    return lambda offset: bisect_left(ends, offset) + 1


PARSER = Parser(
    read=lambda text, faults: build(events(text), faults),
    find=lambda text, places: locate(events(text), places),
    lines=_lines,
)
