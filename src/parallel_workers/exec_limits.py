"""How much the system takes as arguments and environment of a program, and what to say of more."""

import os
import sys
from collections.abc import Mapping, Sequence

from parallel_workers.wording import printable, shorten

LONGEST = 32 * os.sysconf("SC_PAGE_SIZE") - 1 if sys.platform == "linux" else None
"""The most bytes of one argument, or of one variable with its name; None where only all of them
together are limited."""

_MOST = 6 << 20
"""The most bytes that Linux takes of all together, however large a stack may become."""

_BESIDE = 9
"""The bytes for which each argument and each variable counts beside its own."""

_SHOWN_NAME = 36
"""The most characters of a name that is shown; reports cut what is said of a failure."""

_FILE = "pass on the path of a file"


def longer_than_any(variable: bytes, value: bytes) -> int | None:
    """Return the bytes of a variable with its name, if no program can get it; else None."""
    size = _size_of(variable, value)
    return size if LONGEST is not None and size > LONGEST else None


def why_too_long(words: Sequence[str], env: Mapping[bytes, bytes]) -> str:
    """Return why the system does not take so much for one program.

    Args:
        words: The arguments of the program.
        env: Its environment.
    """
    arguments = [len(os.fsencode(word)) for word in words]
    variables = {name: _size_of(name, value) for name, value in env.items()}
    largest = max(variables, key=variables.__getitem__, default=b"")
    size, argument = variables.get(largest, 0), max(arguments)
    name = shorten(printable(os.fsdecode(largest)), _SHOWN_NAME)
    if LONGEST is not None and size > LONGEST:
        return f"{name} has {size:,} bytes with its name, of at most {LONGEST:,}; {_FILE}"
    if LONGEST is not None and argument > LONGEST:
        return f"an argument of it has {argument:,} bytes, of at most {LONGEST:,}; {_FILE}"
    sizes = [*arguments, *variables.values()]
    total = sum(sizes) + _BESIDE * len(sizes)
    what = f"its arguments and environment have {total:,} bytes, of at most {_most():,}"
    return f"{what}; {name} has {size:,}; {_FILE}" if size > argument else f"{what}; {_FILE}"


def _most() -> int:
    """Return the bytes that the system takes of all arguments and variables together."""
    most = os.sysconf("SC_ARG_MAX")
    return min(most, _MOST) if sys.platform == "linux" else most


def _size_of(variable: bytes, value: bytes) -> int:
    return len(variable) + 1 + len(value)
