"""The body of a command: find its program, start it, wait for it, say how it ended.

What all attempts of a run share, the environment and where programs are, is put together once. A
command that needs no shell is executed directly, which halves what it costs.
"""

import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from parallel_workers.children import PAUSE, Children, Ended
from parallel_workers.errors import AttemptError, Cancelled, CommandFailed, TimedOut
from parallel_workers.events import CommandResult
from parallel_workers.logs import Logs
from parallel_workers.shell import split_simple
from parallel_workers.spawning import LOG_FLAGS, LOG_MODE

if TYPE_CHECKING:
    from parallel_workers.console import Console

SHELL = "/bin/sh"

CommandText: TypeAlias = str | tuple[str, ...]
"""A command as a work file has it: text for the shell, or words."""

_SET_BY_ATTEMPTS = (b"PW_TASK", b"PW_ATTEMPT", b"PW_POSITION", b"PW_OUTPUTS")

PATIENCE = 2.0
"""Seconds within which an interrupt of this process is heeded, if it is at all."""

_NO_INTERPRETER = "the interpreter that its first line names does not exist"

_IN_DIRECTORY = 'cd "$1" && shift && exec "$@"'
"""How a child starts in another directory while no thread of ours leaves its own."""


class Command(NamedTuple):
    """A command, ready to be started any number of times.

    Attributes:
        text: What a person would type.
        words: The program and its arguments.
        cwd: The directory to start in; None for the run's own, which is that of this process.
        env: What the task sets in the environment, beside what every attempt gets.
        timeout: After how many seconds an attempt is ended; None for never.
        log: How its logs are called, without the number of the attempt.
        task: The number of its task.
        name: The name of its task.
        console: Whether it is to have the terminal, if there is one.
    """

    text: str
    words: tuple[str, ...]
    cwd: str | None
    env: Mapping[bytes, bytes]
    timeout: float | None
    log: str
    task: int
    name: str
    console: bool = False


def shown_command(command: CommandText) -> str:
    """Return a command as a person would type it.

    >>> shown_command(("echo", "a b"))
    "echo 'a b'"
    """
    if isinstance(command, str):
        return command
    import shlex

    return shlex.join(command)


def words_of(command: CommandText) -> tuple[str, ...]:
    """Return the words to execute for a command as a work file has it.

    Args:
        command: Text for the shell, or the words themselves.

    >>> words_of("cc -c main.c")
    ('cc', '-c', 'main.c')
    >>> words_of("cc -c *.c")
    ('/bin/sh', '-c', 'cc -c *.c')
    """
    if not isinstance(command, str):
        return command
    # A text that begins like an option must not be taken for one.
    text = f" {command}" if command[0] in "-+" else command
    return split_simple(command) or (SHELL, "-c", text)


class Started(NamedTuple):
    """An attempt of a command that has been started.

    Attributes:
        command: The command.
        attempt: The number of the attempt, from 1.
        pid: The id of the process.
        log: The path of the file that it writes to, until it has ended.
    """

    command: Command
    attempt: int
    pid: int
    log: str


class CommandRunner:
    """Runs the commands of one run.

    Args:
        children: Where child processes come from.
        logs: Where their output goes.
        env: The environment of all commands.
        console: The terminal that they may have, if there is one, and on which people are asked.
    """

    def __init__(
        self,
        children: Children,
        logs: Logs,
        env: Mapping[bytes, bytes],
        console: "Console | None" = None,
    ) -> None:
        self._children = children
        self._console = console
        self._logs = logs
        # What every attempt sets anyway is left out of what all of them share.
        self._env = {name: value for name, value in env.items() if name not in _SET_BY_ATTEMPTS}
        self._programs: dict[tuple[str, str | None, bytes | None], str] = {}
        # Process ids, each with its task, since a number may soon be another's.
        self._running: set[tuple[int, int]] = set()
        self._cancelled: set[int] = set()

    def run(self, command: Command, attempt: int) -> CommandResult:
        """Attempt a command.

        Args:
            command: What to run.
            attempt: The number of the attempt, from 1.

        Returns:
            What is left of it, where its exit status was 0.

        Raises:
            CommandFailed: It could not be started, or its exit status was not 0.
            TimedOut: It took longer than it may.
            Cancelled: It did not succeed because it, or the whole run, was told to end.
        """
        if command.console and self._console is not None:
            return self._run_at(self._console, command, attempt)
        return self.finish(self.start(command, attempt), command.timeout)

    def _run_at(self, console: "Console", command: Command, attempt: int) -> CommandResult:
        """Attempt a command that has the terminal."""
        log = self._logs.open(command.log, attempt)
        with contextlib.ExitStack() as stack:
            try:
                copy = self._open_log(log)
                stack.callback(os.close, copy)
                terminal = stack.enter_context(console.lend(command.name, copy))
            except OSError as error:
                why = f"it cannot have the terminal: {error.strerror}"
                raise self._not_started(command, attempt, log, why) from None
            started = self._started(command, attempt, log, terminal)
            ended = self._wait(command.task, started.pid, command.timeout)
        # Who has interrupted the run itself is not to have done so twice, which kills at once.
        if ended.status == -signal.SIGINT and not self._children.ending:
            # Ctrl-C is meant for all, though this one alone has the terminal that it came from.
            self._interrupt()
            ended = ended._replace(cancelled=True)
        return self._outcome(started, ended)

    def _open_log(self, log: str) -> int:
        try:
            return os.open(log, LOG_FLAGS, LOG_MODE)
        except FileNotFoundError:
            if not self._logs.restore():
                raise
        return os.open(log, LOG_FLAGS, LOG_MODE)

    def _interrupt(self) -> None:
        """Interrupt this process, and wait until it heeds that, unless it does not."""
        deadline = time.monotonic() + PATIENCE
        os.kill(os.getpid(), signal.SIGINT)
        while not self._children.ending and time.monotonic() < deadline:
            time.sleep(PAUSE)

    def start(self, command: Command, attempt: int) -> Started:
        """Start a command; arguments as `run` has them.

        Returns:
            What `finish` has to be given.

        Raises:
            CommandFailed: It could not be started.
            Cancelled: Likewise, and the run was ending.
        """
        return self._started(command, attempt, self._logs.open(command.log, attempt))

    def _started(
        self, command: Command, attempt: int, log: str, terminal: str | None = None
    ) -> Started:
        try:
            pid = self._spawn(command, attempt, log, terminal)
        except _NotStartedError as error:
            raise self._not_started(command, attempt, log, str(error)) from None
        return Started(command, attempt, pid, log)

    def finish(self, started: Started, timeout: float | None = None) -> CommandResult:
        """Wait until a command has ended; returns and raises what `run` does.

        Args:
            started: What `start` returned.
            timeout: After how many seconds it is ended; None for never.
        """
        ended = self._wait(started.command.task, started.pid, timeout)
        return self._outcome(started, ended)

    def _outcome(self, started: Started, ended: Ended) -> CommandResult:
        command, attempt, _, log = started
        log, size = self._logs.close(log, command.log, attempt)
        result = CommandResult(
            command.text, ended.status, log, size, cpu=ended.cpu, memory=ended.memory
        )
        if ended.timed_out:
            raise TimedOut(f"{command.text}: timed out", result)
        if ended.status == 0:
            return result
        raise self._failure(result, cancelled=ended.cancelled)

    def confirm(
        self, command: Command, attempt: int, question: str, pointless: Callable[[], bool]
    ) -> None:
        """Ask whether to run a command.

        Args:
            command: What would be run.
            attempt: The number of the attempt, from 1.
            question: What is asked.
            pointless: Whether it would not be run any more, whatever the answer.

        Raises:
            CommandFailed: The answer was not yes.
            Cancelled: Nobody wanted to know any more.
        """
        assert self._console is not None
        yes = self._console.ask(
            f"{command.name}: {question}", lambda: self._children.ending or pointless()
        )
        if not yes:
            error = self.refusal(command, attempt, "not confirmed")
            raise error if yes is False else Cancelled(str(error), error.result)

    def holds(
        self,
        command: Command,
        attempt: int,
        what: str,
        pointless: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Return whether a condition holds: whether a command exits with 0, whatever it writes.

        Args:
            command: What to run.
            attempt: The number of the attempt that it is asked for, from 1.
            what: What asks for it, for errors.
            pointless: Whether nobody wants to know; who makes that so calls `end_all` then.

        Raises:
            CommandFailed: It could not be started.
            TimedOut: It took longer than it may.
            Cancelled: It had no time to tell, because the run was ending, or nobody wanted to know.
        """
        try:
            pid = self._spawn(command, attempt, os.devnull)
        except _NotStartedError as error:
            raise self.refusal(command, attempt, f"{what}: {error}") from None
        ended = self._wait(command.task, pid, command.timeout, pointless)
        if ended.timed_out:
            result = self._unheard(command, attempt, ended, what)
            raise TimedOut(f"{what}: {command.text}: timed out", result)
        if ended.status != 0 and (ended.cancelled or self._children.ending):
            raise self._failure(self._unheard(command, attempt, ended, what), cancelled=True)
        return ended.status == 0

    def _unheard(self, command: Command, attempt: int, ended: Ended, what: str) -> CommandResult:
        """Return what is left of a condition that did not come to tell."""
        log = self._logs.open(command.log, attempt)
        return CommandResult(command.text, ended.status, log, 0, what, ended.cpu)

    def refusal(self, command: Command, attempt: int, why: str) -> AttemptError:
        """Return the error of an attempt that does not start its command.

        Args:
            command: The command.
            attempt: The number of the attempt, from 1.
            why: The reason, to a person.
        """
        return self._not_started(command, attempt, self._logs.open(command.log, attempt), why)

    def end(self, started: Started) -> None:
        """End a command and all that it started, in its own time; whoever waits for it is told."""
        self._children.end(started.pid)

    def end_all(self, task: int) -> None:
        """End what is waited for of a task, conditions too, as `end` does."""
        self._children.end(*[pid for pid, each in self._running.copy() if each == task])

    def clock(self) -> float:
        """Return the seconds, from any start, in which commands could run."""
        return self._children.clock()

    def cancel(self, tasks: Collection[int]) -> None:
        """End the commands of tasks, also of those that are just being started; return at once.

        Args:
            tasks: The tasks; none of them will be attempted again.
        """
        self._cancelled.update(tasks)
        running = self._running.copy()
        self._children.end(*[pid for pid, task in running if task in self._cancelled])

    def _wait(
        self,
        task: int,
        pid: int,
        timeout: float | None,
        pointless: Callable[[], bool] = lambda: False,
    ) -> Ended:
        self._running.add((pid, task))
        if task in self._cancelled or pointless():
            self._children.end(pid)
        ended = self._children.wait(pid, timeout)
        self._running.remove((pid, task))
        return ended

    def _not_started(self, command: Command, attempt: int, log: str, why: str) -> AttemptError:
        log, size = self._logs.close(log, command.log, attempt)
        result = CommandResult(command.text, None, log, size, why)
        return self._failure(result, cancelled=command.task in self._cancelled)

    def _failure(self, result: CommandResult, *, cancelled: bool) -> AttemptError:
        kind = Cancelled if cancelled or self._children.ending else CommandFailed
        return kind(f"{result.command}: {result.ending}", result)

    def _spawn(self, command: Command, attempt: int, log: str, terminal: str | None = None) -> int:
        if command.task in self._cancelled:
            raise _NotStartedError("cancelled before it was started")
        own = {b"PW_ATTEMPT": b"%d" % attempt, **command.env}
        if command.cwd is not None and not os.path.isdir(command.cwd):
            raise _NotStartedError(_why_not_a_directory(command.cwd))
        path = own.get(b"PATH", self._env.get(b"PATH"))
        program = self._find(command.words[0], command.cwd, path)
        words = command.words
        if command.cwd is not None:
            # The shell in between would say it in its own way, and only in the log.
            if _lacks_interpreter(program):
                raise _NotStartedError(f"{_NO_INTERPRETER}: {program}")
            words = (SHELL, "-c", _IN_DIRECTORY, SHELL, command.cwd, program, *words[1:])
            program = SHELL
        try:
            return self._start(program, words, own, log, terminal)
        except OSError as error:
            if error.errno == errno.E2BIG:
                raise _NotStartedError(self._why_too_long(words, own)) from None
            if error.errno != errno.ENOEXEC:
                raise _NotStartedError(_why(error, program, log)) from None
        # A script that names no interpreter is the shell's, as it is when a shell starts it.
        script = (SHELL, program, *words[1:])
        try:
            return self._start(SHELL, script, own, log, terminal)
        except OSError as error:
            raise _NotStartedError(_why(error, program, log)) from None

    def _why_too_long(self, words: Sequence[str], own: Mapping[bytes, bytes]) -> str:
        from parallel_workers.exec_limits import why_too_long

        return why_too_long(words, {**self._env, **own})

    def _start(
        self,
        program: str,
        words: tuple[str, ...],
        own: dict[bytes, bytes],
        log: str,
        terminal: str | None,
    ) -> int:
        try:
            return self._children.spawn(program, words, self._env, own, log, terminal)
        except FileNotFoundError:
            if not self._logs.restore():
                raise
        return self._children.spawn(program, words, self._env, own, log, terminal)

    def _find(self, word: str, cwd: str | None, path: bytes | None) -> str:
        """Return the path of the program that a command's first word names."""
        key = (word, cwd, path)
        found = self._programs.get(key)
        if found is None:
            found = _find_program(word, cwd, path)
            if found is None:
                # Not kept: another task may make it, and then it is looked for again.
                raise _NotStartedError(_why_not_found(word, cwd))
            self._programs[key] = found
        return found


class _NotStartedError(Exception):
    """A command could not be started; the message says why, to a person."""


def _find_program(word: str, cwd: str | None, path: bytes | None) -> str | None:
    if "/" in word:
        directories = [""]
    else:
        directories = (os.defpath if path is None else os.fsdecode(path)).split(":")
    for directory in directories:
        program = os.path.join(cwd or "", directory, word)
        if os.path.isfile(program) and os.access(program, os.X_OK):
            return program
    return None


def _why_not_a_directory(cwd: str) -> str:
    how = "is not a directory" if os.path.exists(cwd) else "does not exist"
    return f"its directory {how}: {cwd}"


def _why_not_found(word: str, cwd: str | None) -> str:
    program = os.path.join(cwd or "", word)
    if "/" not in word or not os.path.exists(program):
        return f"command not found: {word}"
    return f"is a directory: {word}" if os.path.isdir(program) else f"not executable: {word}"


def _lacks_interpreter(program: str) -> bool:
    """Return whether a program is a script for an interpreter that does not exist."""
    try:
        with open(program, "rb") as file:
            line = file.readline(256)
    except OSError:
        return False
    if not line.startswith(b"#!"):
        return False
    interpreter = line[2:].split(maxsplit=1)[:1]
    return bool(interpreter) and not os.path.exists(interpreter[0])


def _why(error: OSError, program: str, log: str) -> str:
    """Return why a program that is there could not be started.

    The error number alone does not tell whether it was the program or the log.
    """
    try:
        os.close(os.open(log, LOG_FLAGS, LOG_MODE))
    except OSError as log_error:
        return f"its log cannot be written: {log_error.strerror}: {log}"
    if error.errno == errno.ENOENT and os.path.exists(program):
        return f"{_NO_INTERPRETER}: {program}"
    if error.errno == errno.EAGAIN:
        return "the system allows no more processes"
    return f"{error.strerror}: {program}"
