"""What has to be known of a terminal to keep one line of it alive, and how wide text is there."""

import os
from collections.abc import Mapping

CLEAR_LINE = b"\r\x1b[K"
"""Goes to the start of the line and empties it."""

WRAP_OFF, WRAP_ON = b"\x1b[?7l", b"\x1b[?7h"
"""Between these a line that is too long stays one line. Terminals differ in how wide they draw
emoji, and their size can change at any moment: counting alone cannot promise that."""

SANE = b"\x1b[0m\x1b[?25h" + WRAP_ON
"""Undoes what the output of a command may have left behind: colours, a hidden cursor, no wrap."""

_WIDTH_IF_UNKNOWN = 80


class Terminal:
    """A terminal that understands escape codes.

    Args:
        fd: A file descriptor of it.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def width(self) -> int:
        """Return how many columns it has at this moment."""
        try:
            return os.get_terminal_size(self._fd).columns or _WIDTH_IF_UNKNOWN
        except OSError:
            return _WIDTH_IF_UNKNOWN


def find_terminal(fd: int, environ: Mapping[str, str]) -> Terminal | None:
    """Return the terminal that `fd` is, if it is one on which a line can be redrawn.

    Args:
        fd: A file descriptor, open or not.
        environ: Where `TERM` says what the terminal can do.
    """
    if environ.get("TERM", "dumb") in ("", "dumb") or not os.isatty(fd):
        return None
    return Terminal(fd)


def cut(text: str, columns: int) -> str:
    """Return as much of the start of `text` as fits in `columns` columns.

    Args:
        text: Printable text.
        columns: How many columns there are.

    >>> cut("12 of 40 done", 8), cut("日本語", 5), cut("日本語", 6)
    ('12 of 40', '日本', '日本語')
    """
    if text.isascii():
        return text[: max(0, columns)]
    used = 0
    for index, char in enumerate(text):
        used += _width(char)
        if used > columns:
            return text[:index]
    return text


def _width(char: str) -> int:
    import unicodedata

    if unicodedata.east_asian_width(char) in "WF":
        return 2
    # The selector that turns a sign into an emoji makes it a column wider.
    return 0 if unicodedata.category(char) in ("Mn", "Me", "Cf") and char != "\ufe0f" else 1
