"""How lines look: marks and colours, and what is left of them where they cannot be shown."""

from collections.abc import Mapping

from parallel_workers.events import Outcome
from parallel_workers.reports.terminal import Terminal, cut

_RED, _GREEN, _YELLOW, _FAINT = "31", "32", "33", "2"


class Style:
    """The marks before lines about tasks. Each reads well without its colour.

    Args:
        encoding: That of the output; where it is not UTF-8, plain words stand for the marks.
        colours: Whether to use colours.

    Attributes:
        succeeded: Before a task that succeeded.
        retried: Before an attempt that is followed by another.
        ready: Before a service that is up.

    >>> style = Style("ascii", colours=False)
    >>> style.succeeded, style.mark(Outcome.TIMED_OUT), style.encode("a…é")
    ('ok', 'FAILED', b'a...\\xe9')
    """

    def __init__(self, encoding: str, *, colours: bool) -> None:
        self._encoding = encoding
        self._plain = encoding.lower().replace("_", "-") not in ("utf-8", "utf8")
        self._colours = colours
        self.succeeded = self._paint(_GREEN, "ok" if self._plain else "✓")
        self.retried = self._paint(_YELLOW, "RETRY" if self._plain else "↻")
        self.ready = self._paint(_GREEN, "UP" if self._plain else "▲")
        self._failed = self._paint(_RED, "FAILED" if self._plain else "✗")
        self._cancelled = self._paint(_YELLOW, "CANCELLED" if self._plain else "■")

    def mark(self, outcome: Outcome) -> str:
        """Return what stands before a task with that outcome, which was attempted."""
        if outcome is Outcome.SUCCEEDED:
            return self.succeeded
        return self._cancelled if outcome is Outcome.CANCELLED else self._failed

    def faint(self, text: str) -> str:
        """Return `text` in a colour that steps back behind the rest."""
        return self._paint(_FAINT, text)

    def encode(self, text: str) -> bytes:
        """Return `text` as the output takes it; what its encoding lacks is escaped."""
        if self._plain:
            text = text.replace("…", "...")
        return text.encode(self._encoding, "backslashreplace")

    def fit(self, text: str, columns: int) -> bytes:
        """Return as much of `text` as fits in so many columns of a terminal, encoded."""
        return self.encode(cut(self.encode(text).decode(self._encoding), columns))

    def _paint(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours else text


def choose_style(
    encoding: str | None, terminal: Terminal | None, environ: Mapping[str, str]
) -> Style:
    """Return the style for an output.

    Args:
        encoding: What the output is encoded in; None if nobody knows.
        terminal: The terminal that the output is, if it is one.
        environ: Where `NO_COLOR`, if set to anything, asks for no colours.
    """
    colours = terminal is not None and not environ.get("NO_COLOR")
    return Style(encoding or "ascii", colours=colours)
