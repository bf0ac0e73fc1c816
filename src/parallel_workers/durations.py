"""Lengths of time: as people write them, as the program keeps them (seconds), as people read."""

import math
import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
PART = r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*(ms|s|m|h|d|w)?"
LONGEST = 10 * 366 * 86400.0


def parse_duration(value: object) -> float:
    """Return the seconds that `value` stands for.

    Args:
        value: Seconds as a number, or text: `"90"`, `"1.5s"`, `"1h 30m"`, `"250ms"`, `"2d"`.

    Returns:
        Seconds, from 0 to ten years.

    Raises:
        ValueError: `value` is no length of time; the message says what one looks like.

    >>> parse_duration("1h 30m"), parse_duration(2), parse_duration("250ms")
    (5400.0, 2.0, 0.25)
    """
    seconds = math.nan
    if isinstance(value, str):
        seconds = _parse_text(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        # An integer of thousands of digits does not fit a float.
        seconds = float(value) if abs(value) < 1e300 else math.inf
    if not 0 <= seconds <= LONGEST:
        raise ValueError('give seconds (at most ten years), or text such as "90s", "5m", "1h 30m"')
    return seconds


def _parse_text(text: str) -> float:
    total, end = 0.0, 0
    part_at = re.compile(PART).match
    text = text.strip()
    if not text or len(text) > 100:
        return math.nan
    while end < len(text):
        part = part_at(text, end)
        if part is None or (part[2] is None and part[0] != text):
            return math.nan
        total += float(part[1]) * _UNITS[part[2] or "s"]
        end = part.end()
        while end < len(text) and text[end] == " ":
            end += 1
    return total


def format_duration(seconds: float) -> str:
    """Return `seconds` as a person says it, in at most two units.

    >>> [format_duration(s) for s in (0, 0.0042, 0.25, 12.34, 75, 4000, 200_000)]
    ['0 s', '4 ms', '250 ms', '12.3 s', '1 m 15 s', '1 h 6 m', '2 d 7 h']
    """
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.0005 else "0 s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, below, below_name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // below
            return (
                f"{whole // size} {name} {rest} {below_name}" if rest else f"{whole // size} {name}"
            )
    return f"{whole} s"
