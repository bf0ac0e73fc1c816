"""Is a second run better than the first, because of what the first one measured?

Graphs of sleeps with uneven lengths, of which the files say nothing, run twice by us with our
journal and twice by ninja with its log, both with -j4 and the same commands. They make no files, so
that ninja has all to do again the second time. The second wall times are compared with each other,
and ours with the lower bound (or, of the Standard Task Graph set, the proven optimum); each round
begins with nothing known, and takes us and ninja in turn. Medians; the ratio to ninja is that of
the pairs.

    python benchmarks/history.py [--work 6.0] [--cases 3] [--rounds 3]
"""

import argparse
import json
import os
import random
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from timing import wall

from parallel_workers.graph import WorkGraph
from parallel_workers.plan import Plan

JOBS = 4
STG = Path(__file__).parents[2] / "shared" / "data" / "stg50.json"

MOST_NINJA, MOST_BOUND = 0.98, 1.05


class Case(NamedTuple):
    """A graph of sleeps.

    Attributes:
        name: What it is.
        seconds: By task, how long it sleeps.
        before: By task, what it waits for.
        bound: The seconds that no run on `JOBS` workers can end within.
    """

    name: str
    seconds: list[float]
    before: list[list[int]]
    bound: float


def scaled(name: str, lengths: list[float], before: list[list[int]], work: float) -> Case:
    """Return a case whose sleeps add up to so many seconds, in an order that tells nothing."""
    factor = work / sum(lengths)
    seconds = [length * factor for length in lengths]
    graph = WorkGraph()
    for task, each in enumerate(seconds):
        graph.add(f"t{task}", duration=each)
    for task, others in enumerate(before):
        for other in others:
            graph.connect(other, task)
    return Case(name, seconds, before, Plan(graph).lower_bound(JOBS))


def made(work: float) -> Iterator[Case]:
    """Yield graphs of our own making."""
    chance = random.Random(3)
    lengths = [chance.lognormvariate(0, 1) for _ in range(60)]
    yield scaled("log-normal", lengths, [[] for _ in lengths], work)
    lengths = [0.25] * 56 + [6.0] * 4
    chance.shuffle(lengths)
    yield scaled("few long, many short", lengths, [[] for _ in lengths], work)
    # Objects, two archives of them, and a link of everything, as a build has it.
    lengths = [chance.lognormvariate(0, 0.8) for _ in range(40)]
    before: list[list[int]] = [[] for _ in lengths]
    for first in (0, 20):
        lengths.append(2.0)
        before.append(list(range(first, first + 20)))
    lengths.append(3.0)
    before.append([40, 41])
    chains = [(4.0, []), (0.5, [43]), (3.0, [44])]
    for length, others in chains:
        lengths.append(length)
        before.append(others)
    yield scaled("objects, archives, link", lengths, before, work)


def standard(cases: int, work: float) -> Iterator[Case]:
    """Yield graphs of the Standard Task Graph set, with their proven optimum; none without it."""
    if not STG.exists():
        print(f"left out: {STG.name} is not there")
        return
    for entry in json.loads(STG.read_text())[:: max(1, 180 // cases)][:cases]:
        if str(JOBS) not in entry["optimum"]:
            continue
        before: list[list[int]] = [[] for _ in entry["durations"]]
        for begin, end in entry["edges"]:
            before[end].append(begin)
        factor = work / sum(entry["durations"])
        seconds = [length * factor for length in entry["durations"]]
        yield Case(entry["case"], seconds, before, entry["optimum"][str(JOBS)] * factor)


def write(directory: Path, case: Case) -> None:
    tasks = {
        f"t{task}": {
            "command": f"sleep {seconds:.4f}",
            "after": [f"t{n}" for n in case.before[task]],
        }
        for task, seconds in enumerate(case.seconds)
    }
    (directory / "work.json").write_text(json.dumps({"tasks": tasks}))
    lines = ["rule r", "  command = sleep $seconds", ""]
    for task, seconds in enumerate(case.seconds):
        needs = " ".join(f"t{other}" for other in case.before[task])
        lines += [f"build t{task}: r {needs}".rstrip(), f"  seconds = {seconds:.4f}"]
    (directory / "build.ninja").write_text("\n".join([*lines, ""]))


def second_times(case: Case, ours: list[str], theirs: list[str]) -> tuple[float, float]:
    """Return how long our second run of a case took, and ninja's."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write(directory, case)
        for _ in range(2):
            times = wall(ours, directory), wall(theirs, directory)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=float, default=6.0, help="seconds of sleep in each graph")
    parser.add_argument("--cases", type=int, default=3, help="how many of the standard set")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    scripts = sysconfig.get_path("scripts")
    ninja = os.path.join(scripts, "ninja")
    ours = [sys.executable, "-m", "parallel_workers", "run", f"-j{JOBS}"]
    theirs = [ninja if os.path.exists(ninja) else "ninja", f"-j{JOBS}"]
    print(
        f"second run of {options.work:g} s of sleeps, -j{JOBS}, in seconds, "
        f"median of {options.rounds} rounds"
    )
    print(f"{'graph':26}{'ours':>8}{'ninja':>8}{'bound':>8}   /ninja         /bound")
    for case in (*made(options.work), *standard(options.cases, options.work)):
        pairs = [second_times(case, ours, theirs) for _ in range(options.rounds)]
        mine, its = (median(times) for times in zip(*pairs, strict=True))
        ratio = median(one / other for one, other in pairs)
        print(
            f"{case.name:26}{mine:8.3f}{its:8.3f}{case.bound:8.3f}   "
            f"{ratio:.3f} ({MOST_NINJA})   {mine / case.bound:.3f} ({MOST_BOUND})",
            flush=True,
        )


if __name__ == "__main__":
    main()
