"""What the verbs say to people: results on standard output, all the rest on standard error."""

import os
import sys
from typing import TextIO

from parallel_workers.errors import UsageError


def show(text: str) -> None:
    """Write a result, and the end of its line, to standard output.

    Args:
        text: Any text; a line break at its end is not doubled.

    Raises:
        BrokenPipeError: Nobody reads any more.
        UsageError: It cannot be written.
    """
    try:
        print(text, end="" if text.endswith("\n") else "\n", flush=True)
    except OSError as error:
        _silence(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise
        raise UsageError(f"standard output cannot be written: {error.strerror}") from None


def tell(message: str) -> None:
    """Write a line to standard error, if that can be done; nothing depends on it.

    Args:
        message: A warning or an error, and what it begins with.
    """
    try:
        print(message, file=sys.stderr, flush=True)
    except OSError:
        _silence(sys.stderr)


def _silence(stream: TextIO) -> None:
    """Let what a stream holds back go nowhere: at our end it would fail once more, and be told."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
