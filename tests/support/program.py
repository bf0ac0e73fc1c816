"""The real program, started in a directory of its own, and what it and its children leave behind.

Everything here waits for something that happens (a file that appears, a process that ends) and
never for time to pass; the limits only end a test that would hang.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

PATIENCE = 30.0
"""Seconds after which a test gives up waiting for what should have happened."""

WORDS = (sys.executable, "-m", "parallel_workers")
"""What starts the program."""

_MARK = "TEST_MARK"


class Ended(NamedTuple):
    """How the program ended."""

    status: int
    output: str
    errors: str


class Running:
    """The program while it runs.

    Attributes:
        pid: Its process id.
        directory: Where it was started.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", directory: Path, mark: str) -> None:
        self._process = process
        self._mark = mark
        self.pid = process.pid
        self.directory = directory

    def wait_for(self, *names: str) -> None:
        """Wait until there are files of these names in its directory."""
        until(lambda: all((self.directory / name).exists() for name in names))

    def send(self, signum: signal.Signals) -> None:
        self._process.send_signal(signum)

    def end(self) -> Ended:
        """Wait until it has ended by itself."""
        output, errors = self._process.communicate(timeout=PATIENCE)
        return Ended(self._process.returncode, (output or b"").decode(), (errors or b"").decode())

    def left_behind(self) -> list[int]:
        """Return the processes that it, or anything it started, has started and that are there."""
        return [pid for pid in _processes() if self._mark.encode() in _environment_of(pid)]

    def kill(self) -> None:
        """End it and all that it started, whatever state they are in."""
        for pid in self.left_behind():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        self._process.wait()


@contextlib.contextmanager
def started(
    directory: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
    words: Sequence[str] = WORDS,
    **options: Any,
) -> Iterator[Running]:
    """Start the program; afterwards nothing of it is left.

    Args:
        directory: Where it is started; it holds everything that the program writes, too.
        arguments: Those of the program.
        env: Variables over those of a plain environment, which has no terminal.
        before: A program that starts it, with the arguments that come before ours.
        words: What starts the program itself.
        options: Those of `subprocess.Popen`.
    """
    temporary = directory / "tmp"
    temporary.mkdir(exist_ok=True)
    mark = uuid.uuid4().hex
    streams = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    process = subprocess.Popen(
        [*before, *words, *arguments],
        cwd=directory,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "TMPDIR": str(temporary),
            _MARK: mark,
            # Where the code that is tested is not the one that is installed.
            **{name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
            **(env or {}),
        },
        **{**streams, **options},
    )
    running = Running(process, directory, mark)
    try:
        yield running
    finally:
        running.kill()


def run(directory: Path, *arguments: str, **options: Any) -> Ended:
    """Run the program to its end; the arguments are those of `started`."""
    with started(directory, *arguments, **options) as running:
        return running.end()


def write_work(directory: Path, tasks: Mapping[str, Any], **fields: Any) -> None:
    """Write a work file of the name that is looked for.

    Args:
        directory: Where to.
        tasks: By name, a command or the fields of the task.
        fields: Other fields of the file.
    """
    text = json.dumps({"tasks": tasks, **fields})
    (directory / "work.json").write_text(text, encoding="utf-8")


def until(happened: Callable[[], bool]) -> None:
    """Wait until something has happened."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.01)


def run_directory(directory: Path) -> Path:
    """Return the directory of the only run that was made in `directory`."""
    [found] = (directory / ".parallel-workers" / "runs").iterdir()
    return found


def _processes() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _environment_of(pid: int) -> bytes:
    """Return the environment that a process was started with; nothing for one that has ended."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
