"""Functions for tasks that worker processes import by their names."""

import array
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from parallel_workers.graph import WorkGraph


def nothing() -> None:
    pass


def same(value: Any) -> Any:
    return value


def add(*numbers: int, more: int = 0) -> int:
    return sum(numbers) + more


def process() -> int:
    return os.getpid()


def nap(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def write_down(path: str, what: object) -> None:
    """Append a line to a file, at once and whole."""
    with open(path, "ab", buffering=0) as file:
        file.write(f"{what}\n".encode())


def note_and_nap(path: str, what: object, seconds: float) -> int:
    write_down(path, what)
    time.sleep(seconds)
    return os.getpid()


def wait_for(path: str) -> int:
    while not Path(path).exists():
        time.sleep(0.002)
    return os.getpid()


def note_and_wait(begun: str, path: str) -> None:
    Path(begun).touch()
    wait_for(path)


def meet(place: tuple[str, int, int]) -> int:
    """Come to a directory as one of several, and wait for the others."""
    directory, number, count = place
    Path(directory, str(number)).touch()
    while len(os.listdir(directory)) < count:
        time.sleep(0.002)
    return os.getpid()


def fail(message: str) -> NoReturn:
    raise ValueError(message)


def nap_and_fail(seconds: float) -> NoReturn:
    time.sleep(seconds)
    raise ValueError("after a nap")


def wait_and_fail(path: str) -> NoReturn:
    wait_for(path)
    raise ValueError("after a wait")


def print_and_call(text: str, function: Callable[..., Any], *args: Any) -> Any:
    print(text)
    return function(*args)


def leave(status: int) -> NoReturn:
    sys.exit(status)


def vanish(status: int) -> NoReturn:
    os._exit(status)


def crash() -> None:
    ctypes.string_at(0)


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def vanish_once(path: str) -> int:
    if not Path(path).exists():
        Path(path).touch()
        os._exit(1)
    return 7


def mark(path: str) -> None:
    write_down(path, "in")
    time.sleep(0.001)
    write_down(path, "out")


def close_everything() -> None:
    os.closerange(3, 100)


def lock() -> Any:
    return threading.Lock()


def total_of(numbers: "array.array[float]") -> float:
    return float(sum(numbers[::100_000]))


def zeros(count: int) -> "array.array[float]":
    return array.array("d", bytes(8 * count))


class OnlyThere(Exception):  # noqa: N818
    """An exception that can be pickled, and not be had back."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def fail_strangely() -> NoReturn:
    raise OnlyThere(1, 2)


class Unreadable:
    """A value that can be pickled, and not be had back."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return fail, ("no way back",)


def unreadable() -> Unreadable:
    return Unreadable()


def run_within(on: str) -> list[int]:
    graph = WorkGraph()
    group = graph.map("inner", add, [1, 2, 3])
    run = graph.run(on=on, jobs=2)
    return run[group]


def ignores_interrupts() -> bool:
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


async def coroutine() -> None:
    pass


NAP = 0.001
"""Seconds between two looks at whether something has happened."""

PATIENCE = 30.0
"""Seconds after which a task fails that waits for what should have happened."""


LIMIT = 0.02
"""Seconds after which an attempt that hangs is ended."""


class Script(NamedTuple):
    """What the attempts of a task do.

    Attributes:
        seconds: How long each takes.
        failures: How many of them fail, the first ones.
        until: Files that must be there before it ends, however long that takes: one named like a
            task is there when that has begun, `NAME.ended` when the run has told of its end.
        held: Whether it ends only when there is a file `NAME.go`, which it takes away.
        done_from: From which attempt on the task is found done; 0 for never. It is a command then.
        hangs: Whether none ends by itself: each takes longer than it may.
        dies_with: For a service, the file with which it ends once it is up; none if empty.
    """

    seconds: float = 0.0
    failures: int = 0
    until: tuple[str, ...] = ()
    held: bool = False
    done_from: int = 0
    hangs: bool = False
    dies_with: str = ""

    def finds_done(self, attempt: int) -> bool:
        return 0 < self.done_from <= attempt

    def ends_well(self, attempt: int) -> bool:
        return not self.hangs and (attempt > self.failures or self.finds_done(attempt))


def perform(place: str, name: str, script: Script) -> None:
    """Do what a script says; note in the file `name` of the directory `place` when."""
    for nap in _performance(place, name, script):
        time.sleep(nap)


def perform_late(place: str, name: str, script: Script) -> None:
    """Do the same where nobody can end it, so that what hangs has to come back, too late."""
    if script.hangs:
        time.sleep(1.1 * LIMIT)
    else:
        perform(place, name, script)


async def perform_on_loop(place: str, name: str, script: Script) -> None:
    """Do the same as `perform`."""
    import asyncio

    for nap in _performance(place, name, script):
        await asyncio.sleep(nap)


def _performance(place: str, name: str, script: Script) -> Iterator[float]:
    """Perform an attempt, as the naps that it takes on the way."""
    if script.hangs:
        # Noted is nothing: a thread may come to it only when it has been given up.
        yield PATIENCE
        return
    notes = Path(place, name)
    # By the clock that commands can ask, too.
    write_down(str(notes), time.time())
    attempt = 1 + len(notes.read_bytes().splitlines()) // 2
    if not script.until:
        yield script.seconds
    deadline = time.monotonic() + PATIENCE
    while not _may_end(place, name, script):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} has waited for too long")
        yield NAP
    write_down(str(notes), time.time())
    if attempt <= script.failures:
        raise ValueError("as its script says")


def _may_end(place: str, name: str, script: Script) -> bool:
    if not all(os.path.exists(os.path.join(place, other)) for other in script.until):
        return False
    return not script.held or _taken_away(os.path.join(place, f"{name}.go"))


def _taken_away(path: str) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True
