"""Reading the logs of attempts, of any size, with little memory."""

import os
import re
from collections.abc import Iterator

from parallel_workers.wording import printable, shorten

CHUNK = 1 << 16
"""How many bytes are read at once."""

_TAIL_STEPS = (1 << 13, CHUNK, 1 << 20)
"""How far back from its end a log is searched for its last lines, in bytes."""

_LONGEST_LINE = 200

# Compiled when it is first used: most runs need it never.
_ESCAPE = (
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, movements of the cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles, links
    r"|\x1b[ -/]*[0-Z^-~]"  # the rest: modes, character sets
)


def chunks(log: int, size: int) -> Iterator[bytes]:
    """Read a file from its start.

    Args:
        log: An open file descriptor.
        size: How many bytes to read at most: a process that a task left behind may still write.

    Raises:
        OSError: It cannot be read any further.
    """
    left = size
    while left and (chunk := os.read(log, min(CHUNK, left))):
        left -= len(chunk)
        yield chunk


def last_lines(path: str, count: int) -> list[str]:
    """Return the last lines of a log as they can be shown anywhere.

    What a line ends as is shown, where a command wrote over it; and no escape sequences. Empty
    lines at the end do not count. Of lines that fill more than a megabyte, only the last ones are
    returned.

    Args:
        path: The path of the log.
        count: How many lines to return at most.

    Raises:
        OSError: It cannot be read.
    """
    log = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(log).st_size
        for reach in _TAIL_STEPS:
            tail = os.pread(log, reach, max(0, size - reach)).rstrip()
            if reach >= size or tail.count(b"\n") >= count:
                break
    finally:
        os.close(log)
    return [_shown(line) for line in tail.split(b"\n")[-count:]] if tail else []


def _shown(line: bytes) -> str:
    text = line.decode(errors="backslashreplace").rstrip().rpartition("\r")[2]
    return shorten(printable(re.sub(_ESCAPE, "", text).expandtabs()), _LONGEST_LINE)
