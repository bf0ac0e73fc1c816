"""How names, numbers and lists are put into sentences for people."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

SHOWN_NAME = 80
"""The most characters of one name, or of one found value, that a message shows."""

SHOWN_ITEMS = 20
"""The most problems or warnings that are shown before "and N more"."""


def shorten(text: str, limit: int = SHOWN_NAME) -> str:
    """Cut `text` in its middle to at most `limit` characters.

    Args:
        text: What may be too long for a message.
        limit: The most characters to return.

    Returns:
        `text` itself where it is short enough; else its two ends around an ellipsis.

    >>> shorten("abcdefghij", 7)
    'abc…hij'
    """
    if len(text) <= limit:
        return text
    head = limit // 2
    tail = limit - head - 1
    return f"{text[:head]}…{text[len(text) - tail :]}"


def shown(value: object) -> str:
    """Return `value` as a message shows what was found: as JSON has it, and never long.

    >>> shown(None), shown(True), shown("b"), shown([1, "x"])
    ('null', 'true', '"b"', '[1, "x"]')
    """
    import json

    value = _excerpt(value, [_EXCERPT])
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__ if isinstance(value, (dict, list, int)) else str(value)
    return shorten(printable(text))


_EXCERPT = 10 * SHOWN_NAME
"""About how many letters of a value are looked at: one of a megabyte may be shown many times."""


def _excerpt(value: object, room: list[int]) -> object:
    """Return `value`, or the beginning of one that is large; takes what that needs from `room`."""
    room[0] -= 4
    if isinstance(value, str):
        room[0] -= len(value)
        return value if len(value) < _EXCERPT else value[:SHOWN_NAME] + value[-SHOWN_NAME:]
    if isinstance(value, (list, tuple)):
        return [_excerpt(item, room) for item in _while_room(value, room)]
    if isinstance(value, dict):
        # Keys from Python may be anything; what is no text is not looked into.
        return {
            _excerpt(key, room) if isinstance(key, str) else str(key): _excerpt(value[key], room)
            for key in _while_room(value, room)
        }
    return value


def _while_room(items: Iterable[Any], room: list[int]) -> Iterator[Any]:
    for item in items:
        if room[0] <= 0:
            return
        yield item


def printable(text: str) -> str:
    r"""Replace what a terminal would act on, or cannot encode, by an escape.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def encodable(text: str) -> str:
    r"""Replace what UTF-8 has no bytes for by an escape: the path of a file may hold any bytes.

    >>> encodable("d\udcff")
    'd\\udcff'
    """
    return text.encode(errors="backslashreplace").decode()


def one_line(text: str, limit: int = SHOWN_NAME) -> str:
    r"""Fold `text` into one printable line of at most `limit` characters.

    >>> one_line("make all\n  make install")
    'make all make install'
    """
    return shorten(printable(" ".join(text.split())), limit)


def plural(count: int, noun: str) -> str:
    """Return `count` and `noun`, the noun in the number that goes with it.

    >>> plural(1, "task"), plural(1200, "task"), plural(2, "library")
    ('1 task', '1,200 tasks', '2 libraries')
    """
    if count != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {noun}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that `word` was most likely meant to be, if there is one.

    >>> nearest("comand", ["command", "cwd"])
    'command'
    """
    import difflib

    # Comparing is slow for long words, and a graph has many names: a typing error keeps the length.
    near = [other for other in known if abs(len(other) - len(word)) <= 3]
    close = difflib.get_close_matches(word[:200], near[:20_000], n=1)
    return close[0] if close else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean "x"?` for the nearest of `known`, or nothing.

    >>> suggestion("comand", ["command", "cwd"])
    '; did you mean "command"?'
    """
    found = nearest(word, known)
    return "" if found is None else f'; did you mean "{shorten(found)}"?'


def at_most(items: Sequence[str], noun: str, limit: int = SHOWN_ITEMS) -> list[str]:
    """Return the first `limit` of `items`, and a line that counts the others.

    >>> at_most(["a", "b", "c"], "problem", limit=2)
    ['a', 'b', '… and 1 more problem']
    """
    if len(items) <= limit:
        return list(items)
    rest = plural(len(items) - limit, f"more {noun}")
    return [*items[:limit], f"… and {rest}"]
