"""Functions for tasks that worker processes import by their names."""

import array
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

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


def meet(place: tuple[str, int, int]) -> int:
    """Come to a directory as one of several, and wait for the others."""
    directory, number, count = place
    Path(directory, str(number)).touch()
    while len(os.listdir(directory)) < count:
        time.sleep(0.002)
    return os.getpid()


def fail(message: str) -> NoReturn:
    raise ValueError(message)


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
