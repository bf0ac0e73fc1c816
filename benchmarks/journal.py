"""What does it cost that every run is recorded?

Commands: 6,000 × `true` with the journal, next to ninja, which keeps its log, and to ourselves
without; whole process against whole process. Functions: 100,000 from Python that do nothing, with
and without the journal, in this process. All in turn; every run records into a place of its own.

    python benchmarks/journal.py [--commands 6000] [--functions 100000] [--jobs 2] [--rounds 5]
"""

import argparse
import os
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from statistics import median

from commands import write_ninja, write_ours
from timing import wall

from parallel_workers import WorkGraph

COMMAND = "true"

MOST_NINJA = 1.15
"""The most that our time for commands may be of ninja's."""

MOST_MICROSECONDS = 10.0
"""The most that a function may cost with the journal."""


def measure_commands(tasks: int, jobs: int) -> tuple[float, float, float]:
    """Return the seconds of a run with the journal, of one without, and of ninja."""
    ninja = os.path.join(sysconfig.get_path("scripts"), "ninja")
    ours = [sys.executable, "-m", "parallel_workers", "run", "work.json", f"-j{jobs}"]
    theirs = [ninja if os.path.exists(ninja) else "ninja", f"-j{jobs}"]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write_ours(directory, [[]] * tasks, COMMAND)
        write_ninja(directory, [[]] * tasks, COMMAND)
        return (
            wall(ours, directory),
            wall([*ours, "--no-journal"], directory),
            wall(theirs, directory),
        )


def nothing() -> None:
    """Do nothing."""


def measure_functions(graph: WorkGraph, jobs: int) -> tuple[float, float]:
    """Return the seconds of a run with a journal, and of one without."""
    with tempfile.TemporaryDirectory() as directory:
        return time_run(graph, jobs, directory), time_run(graph, jobs, None)


def time_run(graph: WorkGraph, jobs: int, journal: str | None) -> float:
    start = time.perf_counter()
    graph.run(jobs=jobs, journal=journal)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commands", type=int, default=6000)
    parser.add_argument("--functions", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    graph = WorkGraph()
    for task in range(options.functions):
        graph.add(f"t{task}", nothing)
    graph.plan(jobs=options.jobs)
    commands, functions = [], []
    # The first round warms up.
    for _ in range(options.rounds + 1):
        commands.append(measure_commands(options.commands, options.jobs))
        functions.append(measure_functions(graph, options.jobs))
    del commands[0], functions[0]
    print(f"µs a task, -j{options.jobs}, median of {options.rounds} rounds")
    kept, bare, ninja = (median(t) / options.commands * 1e6 for t in zip(*commands, strict=True))
    ratio = median(ours / theirs for ours, _, theirs in commands)
    print(
        f"{options.commands:,} × {COMMAND}: {kept:.0f} with the journal, {bare:.0f} without; "
        f"ninja {ninja:.0f}, of which the first is {ratio:.2f} ({MOST_NINJA})"
    )
    kept, bare = (median(t) / options.functions * 1e6 for t in zip(*functions, strict=True))
    print(
        f"{options.functions:,} functions: {kept:.1f} with the journal ({MOST_MICROSECONDS:g}), "
        f"{bare:.1f} without"
    )


if __name__ == "__main__":
    main()
