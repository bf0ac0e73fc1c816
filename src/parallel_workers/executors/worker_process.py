"""A worker process as the run sees it: what it was given, what has come of it, and its end."""

import contextlib
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
from io import FileIO
from typing import Any, NamedTuple

from parallel_workers.driver import clock
from parallel_workers.executors.wire import (
    BROKEN,
    CALL,
    DEFINITION,
    LARGE,
    RESULT,
    TOKEN,
    Buffer,
    Packed,
    unpack,
)

BOOT = """
import sys, pickle
life = open({life}, "rb")
try:
    sys.path[:] = pickle.load(life)
except EOFError:
    sys.exit(1)
from parallel_workers.executors.worker import main
main({channel}, {tokens}, life)
"""
"""What a worker runs; the program that started it may be gone already."""

NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
"""So that writing to a worker that is gone is no SIGPIPE, whatever this program does with those."""

PARTS = 512
"""How many parts are written by one call, of which systems allow 1024."""


class Result(NamedTuple):
    """What a worker says; see `wire.RESULT`."""

    task: int
    kind: int
    started: float
    finished: float
    body: Buffer
    buffers: int


class WorkerProcess:
    """Starts a worker process, which leads a session of its own.

    Raises:
        OSError: The system allows none.

    Attributes:
        process: The process.
        given: Tasks that it was given and that have not ended, in order.
        known: The numbers of functions that it was sent.
        ready: Whether it has said that it is.
        ending: What the task that it runs is to fail with, once somebody has killed it.
        deadline: When the task that it runs has to have ended, if it has a time limit.
        since: When the task that it runs began, or a little before.
        stuck: Whether there was no room for all that was to be sent to it.
        robbed: Whether tasks were taken back from it while it ran the one that it runs.
    """

    def __init__(self) -> None:
        self.given: dict[int, None] = {}
        self.known: set[int] = set()
        self.ready = False
        self.ending: BaseException | None = None
        self.deadline: float | None = None
        self.stuck = False
        self.robbed = False
        self.since = 0.0
        self._pending: list[memoryview] = []
        self._granted: list[int] = []
        self._got = b""
        self._large: tuple[Result, memoryview] | None = None
        self._files = contextlib.ExitStack()
        try:
            self._start()
        except BaseException:
            self._files.close()
            raise

    def _start(self) -> None:
        preparation = pickle.dumps(sys.path) + pickle.dumps(_preparation())
        with contextlib.ExitStack() as theirs:
            self._channel, channel = map(self._files.enter_context, socket.socketpair())
            theirs.enter_context(channel)
            self._tokens, self._tokens_to = self._pipe()
            life, self._life = self._pipe()
            theirs.enter_context(life)
            os.set_blocking(self._tokens.fileno(), False)
            self._channel.setblocking(False)
            self.process = _start(channel.fileno(), self._tokens.fileno(), life.fileno())
        self.handle = _handle_of(self.process.pid)
        with contextlib.suppress(BrokenPipeError):  # its end will be seen
            _write_all(self._life.fileno(), preparation)

    def _pipe(self) -> tuple[FileIO, FileIO]:
        reader, writer = os.pipe()
        files = self._files
        return files.enter_context(FileIO(reader)), files.enter_context(FileIO(writer, "w"))

    def fileno(self) -> int:
        """Return the file descriptor that can be read when there are results."""
        return self._channel.fileno()

    def define(self, number: int, function: bytes) -> None:
        """Send a function, of which calls that follow will tell the number."""
        self.known.add(number)
        head = CALL.pack(len(function), 0, DEFINITION, number)
        self._pending += [memoryview(head), memoryview(function)]

    def give(self, task: int, function: int, packed: Packed) -> None:
        """Give it a task; `flush` sends it."""
        head = CALL.pack(packed.size, packed.buffers, task, function)
        self._pending.append(memoryview(head))
        self._pending += [memoryview(chunk) for chunk in packed.chunks]
        if not self.given:
            self.since = clock()
        self.given[task] = None
        self._granted.append(task)

    def ended(self, task: int, when: float) -> None:
        """Note the end of a task that it was given."""
        del self.given[task]
        self.since = when
        self.deadline = None
        self.robbed = False

    def flush(self) -> bool:
        """Send as much as there is room for; return whether all was sent."""
        sent_all = self._send()
        if self._granted:
            # A worker may have the token before the call, for which it waits then.
            self._tokens_to.write(b"".join(map(TOKEN.pack, self._granted)))
            self._granted.clear()
        return sent_all

    def _send(self) -> bool:
        pending = self._pending
        if len(pending) > 1:
            pending = self._pending = _joined(pending)
        while pending:
            try:
                count = self._channel.sendmsg(pending[:PARTS], [], NO_SIGNAL)
            except BlockingIOError:
                return False
            except OSError:  # it is gone, which is seen elsewhere
                pending.clear()
                return True
            sent = 0
            while sent < len(pending) and count >= len(pending[sent]):
                count -= len(pending[sent])
                sent += 1
            del pending[:sent]
            if count:
                pending[0] = pending[0][count:]
        return True

    def take_back(self, most: int) -> list[int]:
        """Take back up to `most` tasks that it has not begun."""
        taken: list[int] = []
        while len(taken) < most and (token := self._tokens.read(TOKEN.size)):
            (task,) = TOKEN.unpack(token)
            del self.given[task]
            taken.append(task)
        self.robbed = self.robbed or bool(taken)
        return taken

    def results(self) -> list[Result]:
        """Return results that have come, without waiting; there may be more.

        Raises:
            EOFError: There will be no more.
        """
        try:
            if self._large is not None:
                return self._read_large(*self._large)
            more = self._channel.recv(LARGE)
        except BlockingIOError:
            return []
        except ConnectionError:
            raise EOFError from None
        if not more:
            raise EOFError
        return self._read_small(self._got + more if self._got else more)

    def _read_small(self, got: bytes) -> list[Result]:
        found: list[Result] = []
        start, end = 0, len(got)
        while start + RESULT.size <= end and self._large is None:
            size, buffers, task, kind, started, finished = RESULT.unpack_from(got, start)
            begin = start + RESULT.size
            if size >= LARGE:
                large = bytearray(size)
                start = min(begin + size, end)
                large[: start - begin] = got[begin:start]
                result = Result(task, kind, started, finished, large, buffers)
                if start < begin + size:
                    self._large = result, memoryview(large)[start - begin :]
                else:
                    found.append(result)
                continue
            if begin + size > end:
                break
            start = begin + size
            found.append(Result(task, kind, started, finished, got[begin:start], buffers))
        self._got = got[start:]
        return found

    def _read_large(self, result: Result, rest: memoryview) -> list[Result]:
        count = self._channel.recv_into(rest)
        if not count:
            raise EOFError
        if count < len(rest):
            self._large = result, rest[count:]
            return []
        self._large = None
        return [result]

    def close_results(self) -> None:
        """Let the results that have come be all that there will be; the worker is gone."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RD)

    def wait_until_ready(self) -> str | None:
        """Wait until it says that it is ready; return None then, or else why it is not."""
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        try:
            while True:
                poll.poll()
                if results := self.results():
                    return self.says_ready(results[0])
        except EOFError:
            return f"it {ending_of(self.process.wait())}"

    def says_ready(self, result: Result) -> str | None:
        """Hear the first that it says; return None if it is ready, or else why it is not."""
        if result.kind == BROKEN:
            return str(unpack(result.body, result.buffers))
        self.ready = True
        return None

    def kill(self) -> None:
        """End it and what it has started in its session; it is seen to be gone then."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def dismiss(self) -> None:
        """Let it end by itself: there will be nothing more to do."""
        self._tokens_to.close()

    def end(self, patience: float = 0.0) -> str:
        """Wait for its end, which is hastened after `patience` seconds; return how it ended."""
        try:
            if self.handle is not None:
                poll = select.poll()
                poll.register(self.handle, select.POLLIN)
                poll.poll(patience * 1000)
                patience = 0.0
            status = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            status = self.process.wait()
        if self.handle is not None:
            os.close(self.handle)
        self._files.close()
        return ending_of(status)


def ending_of(status: int) -> str:
    """Return how a process ended, as what it did.

    >>> ending_of(3), ending_of(-11)
    ('ended with exit status 3', 'was killed by SIGSEGV')
    """
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    why = ", as the system does when memory runs out" if status == -signal.SIGKILL else ""
    return f"was killed by {name}{why}"


def _start(channel: int, tokens: int, life: int) -> "subprocess.Popen[bytes]":
    from multiprocessing import util

    boot = BOOT.format(channel=channel, tokens=tokens, life=life)
    flags = util._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return subprocess.Popen(
        [sys.executable, *flags, "-c", boot],
        stdin=subprocess.DEVNULL,
        pass_fds=(channel, tokens, life),
        start_new_session=True,
    )


def _preparation() -> dict[str, Any]:
    """Return what `multiprocessing.spawn.prepare` makes a process like this one with.

    Its own `get_preparation_data` would fix how this program starts processes by multiprocessing.
    """
    from multiprocessing import process

    preparation: dict[str, Any] = {
        "authkey": bytes(process.current_process().authkey),
        "sys_path": sys.path,
        "sys_argv": sys.argv,
        "dir": os.getcwd(),
    }
    main = sys.modules["__main__"]
    if (spec := getattr(main, "__spec__", None)) is not None:
        preparation["init_main_from_name"] = spec.name
    elif main_is_importable():
        preparation["init_main_from_path"] = os.path.abspath(str(main.__file__))
    return preparation


def main_is_importable() -> bool:
    """Return whether another process can import the main module of this one: it is a file."""
    main = sys.modules["__main__"]
    if getattr(main, "__spec__", None) is not None:
        return True
    path = getattr(main, "__file__", None)
    return path is not None and os.path.isfile(path)


def _handle_of(pid: int) -> int | None:
    """Return a file descriptor that can be read when a process has ended, where that can be had."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return os.pidfd_open(pid)
    return None


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _joined(parts: list[memoryview]) -> list[memoryview]:
    """Return parts with small ones that follow each other joined."""
    joined: list[memoryview] = []
    small: list[memoryview] = []
    for part in parts:
        if len(part) < LARGE:
            small.append(part)
            continue
        if small:
            joined.append(memoryview(b"".join(small)))
            small = []
        joined.append(part)
    if small:
        joined.append(memoryview(b"".join(small)))
    return joined
