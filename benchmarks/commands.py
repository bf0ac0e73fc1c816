"""How long do 6,000 short commands take, next to ninja and make?

Whole process against whole process, interleaved, the median of several. Two shapes: all tasks
independent, and layers of 50 in which each task waits for three random ones of the layer before.
Two commands: one that needs no shell and one that does. The floor is a loop in Python that starts
the same commands and waits for them, and does nothing else.

    python benchmarks/commands.py [--tasks 6000] [--jobs 2] [--rounds 5]
"""

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

from timing import wall

Edges = list[list[int]]

FLOOR = Path(__file__).with_name("floor.py")

LAYER = 50
PREDECESSORS = 3

TARGETS = {"/bin/true": (0.6, 1.0), "true && true": (1.0, 1.05)}
"""By command, the most that our time may be of ninja's and of make's."""


def wide(tasks: int) -> Edges:
    return [[] for _ in range(tasks)]


def layers(tasks: int) -> Edges:
    chance = random.Random(7)
    edges: Edges = []
    for task in range(tasks):
        first = task // LAYER * LAYER
        before = range(max(0, first - LAYER), first)
        edges.append(sorted(chance.sample(before, PREDECESSORS)) if before else [])
    return edges


SHAPES: dict[str, Callable[[int], Edges]] = {"wide": wide, "layers": layers}


def write_ninja(directory: Path, predecessors: Edges, command: str) -> None:
    lines = ["rule r", "  command = $cmd", ""]
    for task, before in enumerate(predecessors):
        needs = " ".join(f"t{other}" for other in before)
        lines += [f"build t{task}: r {needs}".rstrip(), f"  cmd = {command}"]
    (directory / "build.ninja").write_text("\n".join([*lines, ""]))


def write_make(directory: Path, predecessors: Edges, command: str) -> None:
    names = " ".join(f"t{task}" for task in range(len(predecessors)))
    lines = [f".PHONY: all {names}", f"all: {names}"]
    for task, before in enumerate(predecessors):
        needs = " ".join(f"t{other}" for other in before)
        lines += [f"t{task}: {needs}".rstrip(), f"\t@{command}"]
    (directory / "Makefile").write_text("\n".join([*lines, ""]))


def write_ours(directory: Path, predecessors: Edges, command: str) -> None:
    records = [
        {"name": f"t{task}", "ancestors": [f"t{other}" for other in before], "command": command}
        for task, before in enumerate(predecessors)
    ]
    (directory / "work.json").write_text(json.dumps(records))


def measure(shape: str, command: str, tasks: int, jobs: int, rounds: int) -> dict[str, float]:
    ninja = os.path.join(sysconfig.get_path("scripts"), "ninja")
    runners = {
        "ours": [sys.executable, "-m", "parallel_workers", "run", "work.json", "--no-journal"],
        "ninja": [ninja if os.path.exists(ninja) else "ninja"],
        "make": ["make"],
        "floor": [sys.executable, str(FLOOR), str(tasks), command],
    }
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        predecessors = SHAPES[shape](tasks)
        write_ours(directory, predecessors, command)
        write_ninja(directory, predecessors, command)
        write_make(directory, predecessors, command)
        times: dict[str, list[float]] = {runner: [] for runner in runners}
        for _ in range(rounds + 1):
            for runner, words in runners.items():
                times[runner].append(wall([*words, f"-j{jobs}"], directory))
                # What ninja remembers of the run must not shorten the next one.
                (directory / ".ninja_log").unlink(missing_ok=True)
    # The first round warms up.
    return {runner: statistics.median(values[1:]) for runner, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=6000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if shutil.which("make") is None:
        sys.exit("make is not installed")
    print(f"{options.tasks} commands, -j{options.jobs}, median of {options.rounds} rounds")
    print("µs a task; the ratios are ours to theirs, with the most they may be")
    names = "".join(f"{name:>7}" for name in ("ours", "ninja", "make", "floor"))
    print(f"{'command':14}{'shape':8}{names}   {'/ninja':14}{'/make':14}floor/make")
    for command, (most_ninja, most_make) in TARGETS.items():
        for shape in SHAPES:
            times = measure(shape, command, options.tasks, options.jobs, options.rounds)
            costs = "".join(f"{t / options.tasks * 1e6:7.0f}" for t in times.values())
            print(
                f"{command:14}{shape:8}{costs}   "
                f"{times['ours'] / times['ninja']:.2f} ({most_ninja:.2f})   "
                f"{times['ours'] / times['make']:.2f} ({most_make:.2f})   "
                f"{times['floor'] / times['make']:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
