"""Do two threads run pure Python twice as fast where there is no global lock?

    python benchmarks/free_threading.py [--tasks 20000] [--rounds 5]

Runs itself with a free-threaded Python: FREE_THREADED_PYTHON, or `python3.14t` or `python3.13t` on
the PATH. CONTRIBUTING.md says how to build one. Tasks take about 50 µs each; ours runs them on one
worker and on two, beside two bare threads that call the same function as often.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from parallel_workers import WorkGraph

SOURCE = Path(__file__).parents[1] / "src"
NAMES = ("python3.14t", "python3.13t")
TASK = 50e-6
LEAST = 1.8
"""How many times as fast two workers have to be."""


def free_threaded_python() -> str | None:
    """Return the path of a free-threaded Python, if this machine has one."""
    given = os.environ.get("FREE_THREADED_PYTHON")
    return shutil.which(given) if given else next(filter(None, map(shutil.which, NAMES)), None)


def spin(times: int) -> None:
    for _ in range(times):
        pass


def seconds_of(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def turns_of(seconds: float) -> int:
    """Return how often `spin` has to turn to take so long."""
    turns = 1000
    return round(turns * seconds / min(seconds_of(partial(spin, turns)) for _ in range(1000)))


def run_bare(turns: int, tasks: int, threads: int) -> None:
    """Call `spin` as often as there are tasks, in so many threads."""

    def work() -> None:
        for _ in range(tasks // threads):
            spin(turns)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def measure(tasks: int, rounds: int) -> None:
    turns = turns_of(TASK)
    graph = WorkGraph()
    for number in range(tasks):
        graph.add(f"task {number}", spin, turns)
    graph.compiled()
    calls: list[Callable[[], object]] = [
        partial(graph.run, jobs=1),
        partial(graph.run, jobs=2),
        partial(run_bare, turns, tasks, 1),
        partial(run_bare, turns, tasks, 2),
    ]
    times = [[seconds_of(call) for call in calls] for _ in range(rounds)]
    one, two, bare_one, bare_two = map(min, zip(*times, strict=True))
    print(f"{tasks:,} tasks of {TASK * 1e6:.0f} µs, the best of {rounds} rounds")
    print(f"one worker {one:.2f} s, two {two:.2f} s: {one / two:.2f} times as fast", end="")
    print(f" (at least {LEAST}: {'ok' if one / two >= LEAST else 'missed'})")
    print(f"bare threads, {bare_one:.2f} s and {bare_two:.2f} s: {bare_one / bare_two:.2f} times")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        measure(options.tasks, options.rounds)
    elif python := free_threaded_python():
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHON_GIL": "0"}
        command = [python, *sys.argv]
        sys.exit(subprocess.run(command, env=environment).returncode)
    else:
        print("left out: there is no free-threaded Python; see CONTRIBUTING.md")


if __name__ == "__main__":
    main()
