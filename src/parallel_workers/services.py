"""Services: commands that stay up in the background while others need them.

The attempt of a service is over when it is up; from then on a thread of its own waits for its end,
and tells the driver of it. The driver says when nobody needs it any more, and then it is ended.

Three threads meet at a process. The worker that attempts it says when its attempt is over
(`settled`), and whether the service was up then (`came_up`). The thread that waits for it says when
it has ended (`gone`), and how (`error`); the worker may hear of that first, and fail. Whoever steps
the driver says when that knows of a service that is up (`noted`): not before is its end told there.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from math import inf

from parallel_workers.commands import Command, CommandRunner, Started, shown_command, words_of
from parallel_workers.definition import Service
from parallel_workers.durations import format_duration
from parallel_workers.errors import AttemptError, Cancelled, CommandFailed, TimedOut
from parallel_workers.events import CommandResult

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.25
"""Seconds between two looks whether a service is up: after the first one, and at most."""

LONGEST_CHECK = 30.0
"""Seconds after which a command that was to tell has not told, and is asked anew."""

_HERE = ("127.0.0.1", "::1")

_CHUNK = 1 << 20


class Services:
    """The services of one run: brings them up, waits for their ends, and ends them when told.

    Args:
        runner: What runs their commands.
        left: Told each service that has come up and is gone, and in an error how it ended.
    """

    def __init__(self, runner: CommandRunner, left: Callable[[int, AttemptError], object]) -> None:
        self._runner = runner
        self._left = left
        self._lock = threading.Lock()
        self._processes: dict[int, _Process] = {}
        self._unneeded: set[int] = set()

    @contextmanager
    def brought_up(
        self, task: int, command: Command, service: Service, attempt: int
    ) -> Iterator[CommandResult | None]:
        """Start a service and wait until it is up.

        It ends again if that is not to be, or the context is left by an exception.

        Args:
            task: Its task.
            command: What to run; its time limit is one for coming up.
            service: How it shows that it is up.
            attempt: The number of the attempt, from 1.

        Yields:
            What there is of it yet: its log. None where nobody needed it any more before it was up,
            and it has ended.

        Raises:
            CommandFailed: It could not be started, or ended before it was up.
            TimedOut: It took longer to come up than it may.
            Cancelled: The run was ending.
        """
        if service.port is not None and _somebody_listens(service.port):
            raise self._runner.refusal(
                command, attempt, f"somebody listens at port {service.port} already"
            )
        process = self._start(task, command, attempt)
        try:
            if not self._comes_up(task, process, service):
                self._runner.end(process.started)
                process.gone.wait()
                yield None
                return
            yield CommandResult(command.text, None, process.started.log, 0)
            process.came_up = True
        except BaseException as error:
            self._runner.end(process.started)
            process.gone.wait()
            if isinstance(error, Cancelled) and process.error is not None:
                # Of the service, and not of what asked whether it is up.
                raise Cancelled(str(process.error), process.error.result) from None
            raise
        finally:
            process.settled.set()

    def came_up(self, service: int) -> None:
        """Tell when this service is gone, from now on."""
        self._processes[service].noted.set()

    def end(self, service: int) -> None:
        """End a service that nobody needs any more; it may yet be coming up."""
        with self._lock:
            self._unneeded.add(service)
            process = self._processes.get(service)
        if process is not None:
            self._runner.end(process.started)
            # What is asking whether it is up may take long, and nobody wants to know any more.
            self._runner.end_all(service)

    def _start(self, task: int, command: Command, attempt: int) -> "_Process":
        started = self._runner.start(command, attempt)
        process = _Process(started)
        try:
            threading.Thread(target=self._watch, args=(task, process), daemon=True).start()
        except RuntimeError:
            self._runner.end(started)
            _ended(self._runner, started)
            why = "the system allows no thread that would wait for its end"
            raise self._runner.refusal(command, attempt, why) from None
        with self._lock:
            self._processes[task] = process
        return process

    def _comes_up(self, task: int, process: "_Process", service: Service) -> bool:
        """Wait until a service is up, or nobody needs it any more; return whether it is up."""
        runner, command = self._runner, process.started.command
        deadline = inf if command.timeout is None else runner.clock() + command.timeout
        is_up = self._check_of(task, process, service, deadline)
        pause = FIRST_PAUSE
        while task not in self._unneeded:
            if is_up():
                return True
            if process.gone.wait(pause) and task not in self._unneeded:
                assert process.error is not None
                raise _too_early(process.error, "before it was up")
            if runner.clock() > deadline:
                raise self._took_too_long(process)
            pause = min(1.5 * pause, LONGEST_PAUSE)
        return False

    def _took_too_long(self, process: "_Process") -> TimedOut:
        """End a service that did not come up in time, and return the error of that."""
        self._runner.end(process.started)
        process.gone.wait()
        assert process.error is not None
        command = process.started.command
        limit = format_duration(command.timeout or 0.0)
        return TimedOut(f"{command.text}: not up after {limit}", process.error.result)

    def _check_of(
        self, task: int, process: "_Process", service: Service, deadline: float
    ) -> Callable[[], bool]:
        """Return what tells whether a service is up, at a deadline at the latest."""
        runner, started = self._runner, process.started
        if service.port is not None:
            return partial(_somebody_listens, service.port)
        if service.log is not None:
            return _LogReader(started.log, service.log.encode()).finds
        assert service.ready is not None
        text, words = shown_command(service.ready), words_of(service.ready)
        check = started.command._replace(text=text, words=words)

        def pointless() -> bool:
            return task in self._unneeded or process.error is not None

        def is_ready() -> bool:
            left = min(LONGEST_CHECK, max(0.0, deadline - runner.clock()))
            try:
                return runner.holds(
                    check._replace(timeout=left), started.attempt, "ready", pointless
                )
            except TimedOut:
                return False
            except Cancelled:
                if pointless():
                    return False
                raise

        return is_ready

    def _watch(self, task: int, process: "_Process") -> None:
        """Wait for the end of a service, and tell of it if it has come up; a thread of its own."""
        process.error = error = _ended(self._runner, process.started)
        # Before this is known, for the next attempt is not to be ended as well.
        self._runner.end_all(task)
        process.gone.set()
        process.settled.wait()
        if process.came_up:
            process.noted.wait()
            needed = task not in self._unneeded
            self._left(task, _too_early(error, "while it was needed") if needed else error)


class _Process:
    """The process of a service.

    Args:
        started: Its attempt.

    Attributes:
        started: Its attempt.
        gone: Set when it has ended.
        error: How it ended, once it is gone.
        settled: Set when its attempt is over.
        came_up: Whether it was up then.
        noted: Set when the driver knows that it is up.
    """

    def __init__(self, started: Started) -> None:
        self.started = started
        self.gone = threading.Event()
        self.error: AttemptError | None = None
        self.settled = threading.Event()
        self.came_up = False
        self.noted = threading.Event()


class _LogReader:
    """Looks for a text in a log that grows, and reads nothing twice that need not be.

    Args:
        path: The path of the log.
        text: What is looked for.
    """

    def __init__(self, path: str, text: bytes) -> None:
        self._path = path
        self._text = text
        self._read = 0

    def finds(self) -> bool:
        """Return whether the text stands there."""
        keep = len(self._text) - 1
        try:
            with open(self._path, "rb") as log:
                log.seek(self._read)
                tail = b""
                while chunk := log.read(_CHUNK):
                    if self._text in (seen := tail + chunk):
                        return True
                    tail = seen[max(0, len(seen) - keep) :]
                self._read = log.tell() - len(tail)
        except OSError:  # nobody has written yet, or somebody has removed it
            pass
        return False


def _somebody_listens(port: int) -> bool:
    """Return whether somebody takes connections at a port of this machine."""
    for host in _HERE:
        try:
            with socket.create_connection((host, port), timeout=1.0) as connection:
                # The system may choose that very port for our own end, which is then connected
                # with itself; that happens where nobody listens, and only there.
                if connection.getsockname() != connection.getpeername():
                    return True
        except OSError:
            continue
    return False


def _ended(runner: CommandRunner, started: Started) -> AttemptError:
    """Wait until a service has ended; return how, as an error even if its exit status is 0."""
    try:
        result = runner.finish(started)
    except AttemptError as error:
        return error
    return CommandFailed(f"{result.command}: {result.ending}", result)


def _too_early(error: AttemptError, when: str) -> AttemptError:
    """Return the error of a service that ended by itself, which says when that was."""
    if not isinstance(error, CommandFailed):
        return error
    result = error.result._replace(error=when)
    return CommandFailed(f"{result.command}: {result.ending}", result)
