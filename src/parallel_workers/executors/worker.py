"""What runs in a worker process: it takes one call after the other, and sends what came of it.

Calls come on a stream. A token in a pipe is the right to attempt one of them: the worker takes the
next token, then reads on to that call. Calls whose tokens the run has taken back are passed over.
Each result is sent before the next token is taken, so that of a worker which is suddenly gone it
is known what it has done, what it was at, and what it had not begun.
"""

import contextlib
import fcntl
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextvars import copy_context
from io import BufferedReader, FileIO
from multiprocessing import process, spawn
from pickle import load, loads
from types import TracebackType
from typing import Any

from parallel_workers.capture import Captured
from parallel_workers.driver import clock
from parallel_workers.errors import AttemptError, UsageError
from parallel_workers.executors.wire import (
    BROKEN,
    CALL,
    DEFINITION,
    ERROR,
    LARGE,
    NOTHING,
    OUTPUT,
    READY,
    RESULT,
    TOKEN,
    VALUE,
    WITHIN,
    Buffer,
    Packed,
    Wakefulness,
    pack,
    pack_error,
    unpack,
)


def main(channel: int, tokens: int, life: BufferedReader) -> None:
    """Be a worker until the run has no more to do.

    Args:
        channel: The file descriptor of the stream.
        tokens: That of the pipe with the tokens; reading it does not wait.
        life: Where the preparation comes from; ends when the process of the run does.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whether to end is for the run to decide
    for descriptor in (channel, tokens, life.fileno()):
        os.set_inheritable(descriptor, False)
    preparation = load(life)
    _end_with(life.fileno())
    with contextlib.suppress(AttributeError):
        # Lines of several workers do not mix, and none is lost with its worker.
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    worker = _Worker(socket.socket(fileno=channel), tokens)
    with contextlib.suppress(ConnectionError, EOFError):  # the run is gone
        if worker.prepare(preparation):
            worker.serve()


def _end_with(life: int) -> None:
    """Have the system end this process when the other end of a pipe is closed.

    Elsewhere than on Linux a worker sees at its next call that there is none.
    """
    if sys.platform == "linux":
        fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)


class _Worker:
    def __init__(self, channel: socket.socket, tokens: int) -> None:
        self._channel = channel
        self._calls = open(channel.fileno(), "rb", closefd=False)  # noqa: SIM115 - to the end
        self._tokens = FileIO(tokens)
        self._wakefulness = Wakefulness()
        self._poll = select.poll()
        self._poll.register(tokens, select.POLLIN)
        self._functions: dict[int, Buffer | Callable[..., Any]] = {}

    def prepare(self, preparation: Mapping[str, Any]) -> bool:
        """Make this process like that of the run, its main module included; return if it is."""
        this: Any = process.current_process()
        this._inheriting = True  # what starts processes now is refused, here and by multiprocessing
        try:
            spawn.prepare(dict(preparation))
        except UsageError as error:
            self._send(0, BROKEN, pack(str(error)), 0.0, 0.0)
            return False
        except BaseException as error:  # whatever a main module does
            what = f"{type(error).__name__}: {error}".removesuffix(": ")
            self._send(0, BROKEN, pack(f"its main module cannot be imported: {what}"), 0.0, 0.0)
            return False
        finally:
            del this._inheriting
        self._send(0, READY, None, 0.0, 0.0)
        return True

    def serve(self) -> None:
        """Attempt tasks until there are no more."""
        while (task := self._claim()) is not None:
            self._attempt(task, *self._read_call(task))

    def _claim(self) -> int | None:
        """Wait for the next token; None when there will be none."""
        token = self._tokens.read(TOKEN.size)
        if token is None:
            token = self._wakefulness.look(lambda: self._tokens.read(TOKEN.size))
        while token is None:
            self._poll.poll()
            token = self._tokens.read(TOKEN.size)
        return int(TOKEN.unpack(token)[0]) if token else None

    def _read_call(self, wanted: int) -> tuple[int, Buffer, int]:
        """Read on to the call of a task; return the number of the function, the body, its buffers.

        Raises:
            EOFError: The stream ends before it.
        """
        while True:
            size, buffers, task, function = CALL.unpack(self._read(CALL.size))
            body = self._read(size)
            if task == wanted:
                return function, body, buffers
            if task == DEFINITION:
                self._functions[function] = body

    def _read(self, size: int) -> Buffer:
        if size < LARGE:
            data = self._calls.read(size)
            if len(data) < size:
                raise EOFError
            return data
        body = bytearray(size)
        view = memoryview(body)
        while view:
            count = self._calls.readinto(view)
            if not count:
                raise EOFError
            view = view[count:]
        return body

    def _attempt(self, task: int, number: int, body: Buffer, buffers: int) -> None:
        begun = clock()
        try:
            function, args, kwargs = self._call(number, body, buffers)
        except BaseException as error:
            unreadable = _unreadable("the call cannot be read in its process", error)
            self._fail(task, unreadable, begun, clock())
            return
        del body
        try:
            value = copy_context().run(function, *args, **kwargs)
        except BaseException as error:  # a worker outlives whatever a task does
            self._fail(task, error, begun, clock())
            return
        finished = clock()
        if isinstance(value, Captured):
            value, raised, text = value
            self._send(task, OUTPUT, pack(text), begun, finished)
            if raised is not None:
                self._fail(task, raised, begun, finished)
                return
        self._succeed(task, value, begun, finished)

    def _succeed(self, task: int, value: object, begun: float, finished: float) -> None:
        if value is None:
            self._send(task, NOTHING, None, begun, finished)
            return
        try:
            packed = pack(value)
        except BaseException as error:
            unreadable = _unreadable("its value cannot be sent back", error)
            self._fail(task, unreadable, begun, finished)
        else:
            self._send(task, VALUE, packed, begun, finished)

    def _call(
        self, number: int, body: Buffer, buffers: int
    ) -> tuple[Callable[..., Any], tuple[Any, ...], Mapping[str, Any]]:
        if number == WITHIN:
            function, args, kwargs = unpack(body, buffers)
            return function, args, kwargs
        known = self._functions[number]
        if not callable(known):
            known = self._functions[number] = loads(known)
        args, kwargs = unpack(body, buffers) if len(body) else ((), {})
        return known, args, kwargs

    def _fail(self, task: int, error: BaseException, begun: float, finished: float) -> None:
        packed = pack_error(error.with_traceback(_theirs(error.__traceback__)))
        self._send(task, ERROR, packed, begun, finished)

    def _send(
        self, task: int, kind: int, packed: Packed | None, begun: float, finished: float
    ) -> None:
        if packed is None:
            self._channel.sendall(RESULT.pack(0, 0, task, kind, begun, finished))
            return
        head = RESULT.pack(packed.size, packed.buffers, task, kind, begun, finished)
        if packed.size < LARGE:
            self._channel.sendall(b"".join([head, *packed.chunks]))
            return
        for chunk in (head, *packed.chunks):
            self._channel.sendall(chunk)


def _unreadable(what: str, error: BaseException) -> AttemptError:
    return AttemptError(f"{what}: {type(error).__name__}: {error}".removesuffix(": "))


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without our frames, which are the first."""
    while trace is not None and _is_ours(trace):
        trace = trace.tb_next
    return trace


def _is_ours(trace: TracebackType) -> bool:
    return str(trace.tb_frame.f_globals.get("__name__")).startswith("parallel_workers.")
