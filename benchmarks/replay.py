"""How near do real runs of recorded workflows come to the best there can be?

    python benchmarks/replay.py [--on NAME ...] [--jobs N ...] [--seconds 3]

Every task of a workflow sleeps for the time that was recorded of it, scaled so that the planned
schedule takes some seconds. The makespan, from the first start to the last end, may be 1.02 times
the lower bound, or 1.01 times the planned schedule where that is more. Beside it stands what first
in, first out gives in threads: what is ready starts in the order of the file.

The workflows are those of `../shared/data/wfinstances`; without them, one of our own making.
"""

import argparse
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from shapes import layers

from parallel_workers import WorkGraph, load

RECORDED = Path(__file__).parents[2] / "shared" / "data" / "wfinstances"

MOST_OF_BOUND = 1.02
MOST_OF_PLAN = 1.01

Sleep: TypeAlias = Callable[[float], Any]


async def sleep_on_loop(seconds: float) -> None:
    # Worker processes import this module, and do without asyncio.
    import asyncio

    await asyncio.sleep(seconds)


SLEEPS: dict[str, Sleep] = {
    "threads": time.sleep,
    "asyncio": sleep_on_loop,
    "processes": time.sleep,
}
"""By executor, how a task sleeps there."""

MADE_TASKS = 300
SEED = 3


def workflows() -> Iterator[tuple[str, WorkGraph]]:
    """Yield the workflows, each with its name."""
    from parallel_workers.formats import from_data

    if not RECORDED.is_dir():
        print("../shared/data/wfinstances is left out: it is not there")
        yield "made", from_data(made(), "wfformat")
    for path in sorted(RECORDED.glob("*.json")):
        yield path.stem, load(path)


def made() -> dict[str, Any]:
    """Return a workflow in WfFormat: layers of tasks, a few of which take much longer."""
    chance = random.Random(SEED)
    specified, executed = [], []
    for number, row in enumerate(layers(MADE_TASKS)):
        parents = [f"task_{parent}" for parent in row]
        specified.append({"id": f"task_{number}", "name": "made", "parents": parents})
        runtime = chance.lognormvariate(0, 1)
        executed.append({"id": f"task_{number}", "runtimeInSeconds": runtime})
    return {
        "schemaVersion": "1.5",
        "workflow": {"specification": {"tasks": specified}, "execution": {"tasks": executed}},
    }


def asleep(workflow: WorkGraph, scale: float, sleep: Sleep, *, planned: bool = True) -> WorkGraph:
    """Return `workflow` with tasks that sleep.

    Args:
        workflow: What was recorded.
        scale: What a second becomes.
        sleep: How they sleep.
        planned: Whether durations are known beforehand. If not, all count as nothing, so that no
            path is longer than another, and what is ready starts in the order of the file.
    """
    graph = WorkGraph()
    predecessors = workflow.predecessors()
    for name, number in workflow.numbers.items():
        seconds = (workflow[name].definition.duration or 0.0) * scale
        after = [workflow.name(predecessor) for predecessor in predecessors[number]]
        graph.add(name, sleep, seconds, after=after, duration=seconds if planned else 0.0)
    return graph


def replay(name: str, workflow: WorkGraph, jobs: int, on: Sequence[str], seconds: float) -> None:
    """Run a workflow on every executor, and print a line."""
    forecast = workflow.plan(jobs)
    scale = seconds / forecast.makespan
    bound = forecast.lower_bound * scale
    planned = seconds / bound
    most = max(MOST_OF_BOUND, MOST_OF_PLAN * planned)
    ratios = [
        asleep(workflow, scale, SLEEPS[place]).run(jobs=jobs, on=place).seconds / bound
        for place in on
    ]
    unplanned = asleep(workflow, scale, time.sleep, planned=False).run(jobs=jobs).seconds / bound
    missed = [place for place, ratio in zip(on, ratios, strict=True) if ratio > most]
    verdict = f"missed: {', '.join(missed)}" if missed else "ok"
    cells = "".join(f"{ratio:11.3f}" for ratio in [planned, most, *ratios, unplanned])
    print(f"{name[:24]:24}{len(workflow):6}{jobs:6}{cells}  {verdict}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--on", nargs="+", choices=SLEEPS, default=list(SLEEPS))
    parser.add_argument("--jobs", type=int, nargs="+", default=[2, 4, 16])
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    print("makespans, as multiples of the lower bound")
    heads = "".join(f"{head:>11}" for head in ["planned", "at most", *options.on, "fifo"])
    print(f"{'workflow':24}{'tasks':>6}{'jobs':>6}{heads}")
    for name, workflow in workflows():
        for jobs in options.jobs:
            replay(name, workflow, jobs, options.on, options.seconds)


if __name__ == "__main__":
    main()
