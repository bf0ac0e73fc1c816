"""Ctrl-C while the program still imports its modules: nothing has begun, and it ends at once."""

import os
import signal
from types import FrameType

INTERRUPTED = 130
"""The exit status of a program that an interrupt has ended, as a shell says it."""


class EndingAtOnce:
    """Let an interrupt end this process while the context lasts, and say nothing of it.

    Not by an exception: an import calls back where none can be passed on, so that it would be
    printed there, and the interrupt be lost. What ignores interrupts goes on to do so.
    """

    def __enter__(self) -> None:
        self._heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._heard:
            signal.signal(signal.SIGINT, _end)

    def __exit__(self, *raised: object) -> None:
        if self._heard:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(signum: int, frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)
