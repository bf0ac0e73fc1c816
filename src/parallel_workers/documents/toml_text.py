"""TOML, as far as it is plain data. Its parser tells no lines; places stand for them."""

import re

from parallel_workers.documents.tree import Malformed, Parser
from parallel_workers.wording import one_line

_AT_LINE = re.compile(r"line (\d+), column")

MOST_PARTS = 50
"""The most parts of one dotted key: the library's time for a key grows with their square."""

_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+"""
_ENDLESS_KEY = re.compile(rf"(?<![\w-])(?:{_PART}){{{MOST_PARTS}}}")


def read(text: str) -> object:
    """Return the plain data of `text`; dates and times as text, as they stand.

    Raises:
        Malformed: It is not TOML; its mark is a line.
    """
    import tomllib

    if endless := _ENDLESS_KEY.search(text):
        line = text.count("\n", 0, endless.start()) + 1
        raise Malformed(line, f"a key of more than {MOST_PARTS} parts; make it shorter")
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise Malformed(None, "nested too deep; make it flatter") from None
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(str(error), text) from None
    except ValueError:
        raise Malformed(None, "a number of more digits than can be read") from None
    _dates_to_text(data)
    return data


def _not_toml(message: str, text: str) -> Malformed:
    why, _, where = message.rpartition(" (at ")
    at = _AT_LINE.match(where)
    line = int(at[1]) if at else text.rstrip().count("\n") + 1
    return Malformed(line, f"not TOML: {one_line(why, 200)}")


def _dates_to_text(data: dict[str, object]) -> None:
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


PARSER = Parser(
    read=lambda text, faults: read(text), find=None, lines=lambda text: lambda line: line
)
