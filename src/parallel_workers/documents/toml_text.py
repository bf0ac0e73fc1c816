"""TOML, as far as it is plain data. Its parser tells no lines; places stand for them."""

import re

from parallel_workers.documents.tree import MOST_DIGITS, Malformed, Parser
from parallel_workers.wording import one_line, plural

_AT_LINE = re.compile(r"line (\d+), column")

MOST_PARTS = 50
"""The most parts of one dotted key: the library's time for a key grows with their square."""

EMPTY = "is empty; to run nothing, write [tasks]"
"""What a text is called that holds nothing but white space and comments."""

_LARGEST = 16**MOST_DIGITS
_LONG_NUMBER = re.compile(rf"(?<!\w)(?:0[xob])?[0-9a-fA-F_]{{{MOST_DIGITS},}}")

_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+"""
_ENDLESS_KEY = re.compile(rf"(?<![\w-])(?:{_PART}){{{MOST_PARTS}}}")


def read(text: str) -> object:
    """Return the plain data of `text`; dates and times as text, as they stand.

    Raises:
        Malformed: It is not TOML; its mark is a line.
    """
    import tomllib

    if endless := _ENDLESS_KEY.search(text):
        raise Malformed(
            _line(text, endless), f"a key of more than {MOST_PARTS} parts; make it shorter"
        )
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise Malformed(None, "nested too deep; make it flatter") from None
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(str(error), text) from None
    except ValueError:
        raise _long_number(text) from None
    if not data:
        raise Malformed(None, EMPTY)
    _make_plain(data, text)
    return data


def _not_toml(message: str, text: str) -> Malformed:
    why, _, where = message.rpartition(" (at ")
    at = _AT_LINE.match(where)
    line = int(at[1]) if at else text.rstrip().count("\n") + 1
    return Malformed(line, f"not TOML: {one_line(why, 200)}")


def _line(text: str, found: re.Match[str]) -> int:
    return text.count("\n", 0, found.start()) + 1


def _long_number(text: str) -> Malformed:
    """Return the fault of a number that is too long, at the first in `text` that looks like it."""
    found = _LONG_NUMBER.search(text)
    message = f"a number of more than {plural(MOST_DIGITS, 'digit')}"
    return Malformed(_line(text, found) if found else None, message)


def _make_plain(data: dict[str, object], text: str) -> None:
    """Make text of dates and times in `data`, and refuse numbers that are too long."""
    import datetime

    waiting: list[dict[str, object] | list[object]] = [data]
    while waiting:
        container = waiting.pop()
        items = container.items() if isinstance(container, dict) else enumerate(container)
        for step, item in items:
            if isinstance(item, (dict, list)):
                waiting.append(item)
            elif isinstance(item, (datetime.date, datetime.time)):
                container[step] = item.isoformat()  # type: ignore[index]
            elif isinstance(item, int) and abs(item) > _LARGEST:
                raise _long_number(text)


PARSER = Parser(
    read=lambda text, faults: read(text), find=None, lines=lambda text: lambda line: line
)
