"""How calls and results travel between a run and its worker processes: as frames on a stream.

A frame is a head of fixed size and a body. The body is a pickle (protocol 5), before which stand
the large buffers that belong to it. So a large array is copied when it is written to the stream
and when it is read from it, and not on its way into a pickle or out of it.
"""

import contextlib
import os
import pickle
import struct
from array import array
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple, TypeAlias, TypeVar

from parallel_workers.driver import clock
from parallel_workers.errors import AttemptError

T = TypeVar("T")

LARGE = 1 << 16
"""From how many bytes on a buffer stands beside the pickle, and a body is read by itself."""

CALL = struct.Struct("<QIIi")
"""Head of what a worker gets: size of the body, buffers in it, task, number of the function; or
`DEFINITION` for the task, and the body is that function; or `WITHIN` for the function, and the body
holds it before the arguments."""

DEFINITION = 0xFFFFFFFF
WITHIN = -1

RESULT = struct.Struct("<QIIBdd")
"""Head of what a worker sends: size of the body, buffers in it, task, kind, when the attempt began
and when it ended."""

NOTHING, VALUE, ERROR, OUTPUT, READY, BROKEN = range(6)
"""Kinds of results: None, another value, what was raised; before these, what was written; that the
worker is ready, or why not."""

TOKEN = struct.Struct("<I")
"""The right to attempt a task, which a worker takes before it does, or the run takes back."""

WAKEFUL = 50e-6
"""Seconds for which to look for what is expected before sleeping: to be woken takes as long."""

NAPS = 30
"""How often to sleep at once after looking was in vain."""

Buffer: TypeAlias = bytes | bytearray | memoryview


class Packed(NamedTuple):
    """A value as it travels.

    Attributes:
        chunks: The body, in parts.
        size: Its size in bytes.
        buffers: How many large buffers are in it.
    """

    chunks: list[Buffer]
    size: int
    buffers: int


class Wakefulness:
    """Looks for what is expected very soon, as long as that pays: not on a busy machine."""

    def __init__(self) -> None:
        self._naps = 0

    def look(self, look: Callable[[], T | None]) -> T | None:
        """Return what `look` finds within a moment, or None."""
        if self._naps:
            self._naps -= 1
            return None
        sleepy = clock() + WAKEFUL
        while clock() < sleepy:
            if (found := look()) is not None:
                return found
            os.sched_yield()
        self._naps = NAPS
        return None


class RemoteTraceback(Exception):  # noqa: N818 - it is no error, but tells of one
    """What a traceback in a worker process said; the cause of the exception raised there."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if value.__class__ is array:
            return _array_of, (value.typecode, pickle.PickleBuffer(value))
        return NotImplemented


def _array_of(typecode: str, buffer: Buffer) -> "array[Any]":
    made = array(typecode)
    made.frombytes(buffer)
    return made


class _Sink:
    """What a pickler writes to; it hands large bytes over as they are, without a copy."""

    __slots__ = ("write",)

    def __init__(self, write: Callable[[Buffer], object]) -> None:
        self.write = write


def pack(value: object, *, by_value: bool = False) -> Packed:
    """Return a value as it travels; functions and classes by their names where that can be.

    Args:
        value: The value.
        by_value: Whether functions and classes of `__main__` cannot be found by their names.

    Raises:
        Exception: It cannot be pickled, by whatever its classes raise then.
    """
    cloud = by_value_pickler() if by_value else None
    try:
        return _pack(value, cloud or _Pickler)
    except Exception:
        cloud = None if by_value else by_value_pickler()
        if cloud is None:
            raise
        return _pack(value, cloud)


def by_value_pickler() -> Callable[..., pickle.Pickler] | None:
    """Return what pickles functions that have no name elsewhere, if it is installed."""
    try:
        found: Callable[..., pickle.Pickler] = import_module("cloudpickle").Pickler
    except ImportError:
        return None
    return found


def _pack(value: object, pickler: Callable[..., pickle.Pickler]) -> Packed:
    pickled: list[Buffer] = []
    buffers: list[memoryview] = []

    def stays(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < LARGE:
            return True
        buffers.append(raw)
        return False

    pickler(_Sink(pickled.append), 5, buffer_callback=stays).dump(value)
    chunks = _with_padding(buffers) + pickled if buffers else pickled
    return Packed(chunks, sum(map(len, chunks)), len(buffers))


def _with_padding(buffers: list[memoryview]) -> list[Buffer]:
    """Return the sizes of buffers, then the buffers, each where numbers of any size may stand."""
    sizes = struct.pack(f"<{len(buffers)}Q", *map(len, buffers))
    parts: list[Buffer] = [sizes, *buffers]
    return [piece for part in parts for piece in (part, bytes(-len(part) % 16))]


def unpack(body: Buffer, buffers: int) -> Any:
    """Return the value of a body.

    Args:
        body: The body; where there are buffers, the value goes on using its memory.
        buffers: How many buffers are in it.

    Raises:
        Exception: It cannot be unpickled, by whatever its classes raise then.

    >>> packed = pack([1, array("b", bytes(LARGE))])
    >>> packed.buffers, unpack(bytearray().join(packed.chunks), 1)[1] == array("b", bytes(LARGE))
    (1, True)
    """
    if not buffers:
        return pickle.loads(body)
    view = memoryview(body)
    sizes = struct.unpack_from(f"<{buffers}Q", view)
    start = -(-8 * buffers // 16) * 16
    parts = []
    for size in sizes:
        parts.append(view[start : start + size])
        start += -(-size // 16) * 16
    return pickle.loads(view[start:], buffers=parts)


def pack_error(error: BaseException) -> Packed:
    """Return an exception as it travels, with its traceback; it can be unpickled in any case."""
    import traceback

    summary = "".join(traceback.format_exception_only(error)).strip()
    told = "".join(traceback.format_exception(error))
    try:
        pickled = b"".join(pack(error).chunks)
        pickle.loads(pickled)
    except Exception:
        pickled = b""
    return pack((pickled, summary, told))


def unpack_error(body: Buffer, buffers: int) -> BaseException:
    """Return the exception of a body; one that says what it was if it cannot be had here."""
    pickled, summary, told = unpack(body, buffers)
    error: BaseException = AttemptError(summary)
    with contextlib.suppress(Exception):
        error = pickle.loads(pickled)
    error.__cause__ = RemoteTraceback(told)
    return error
