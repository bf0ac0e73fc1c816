"""What does running a task cost, next to graphlib, futures, asyncio and Dask?

    python benchmarks/overhead.py [--only NAME ...] [--tasks N ...] [--rounds 5]

All in one process, ours and the peers in turn, the best of several rounds, on two workers. Every
task calls a function that does nothing; a first run of each, which is not timed, counts the calls.
From a planned graph to a finished run, ours keeps when each task started and finished, and its
value; the peers keep neither times nor, but for Dask, values. What a peer needs before it can start
is made before the clock runs, save for graphlib's `prepare` and the tasks of asyncio.

The garbage collector is on, as in a user's program, and has collected just before the clock starts,
for ours as for the peers. What a runner starts (threads, processes, a loop) is in its time.
"""

import argparse
import gc
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from graphlib import TopologicalSorter
from multiprocessing import get_context
from queue import SimpleQueue
from typing import Any, TypeAlias

from shapes import SHAPES

from parallel_workers import Task, WorkGraph

Function: TypeAlias = Callable[..., object]
Predecessors: TypeAlias = Sequence[Sequence[int]]
Run: TypeAlias = Callable[[], object]
Prepare: TypeAlias = Callable[[Predecessors, Function], Run]
"""Makes all of a run that is not timed, and returns what is."""

Peers: TypeAlias = dict[str, tuple[Prepare, float]]
"""By peer, what it does, and the most that ours may take of its time."""

WORKERS = 2
PATIENCE = 10.0
"""Seconds after which a runner has had enough rounds of one graph."""

MOST_PROCESS_TASKS = 10_000
GROWTH = (10_000, 1_000_000)
MOST_GROWTH = 1.6
MOST_MEGABYTES = 1000.0
MOST_BUILDING = 2.0
MOST_SLEEPING = 1.03

SLEEPS = 1000
SLEEP = 0.001
SLEEPERS = 8
LONG = 0.2
BESIDE_LONG = 63
"""So many that a quick worker takes 15 of them behind the long one; see `Frontier.step`."""


def noop(*values: object) -> None:
    """Do nothing; Dask hands over the values of predecessors."""


def mark(path: str, *values: object) -> None:
    """Note a call in a file, which every thread and process can append to."""
    with open(path, "ab") as file:
        file.write(b".")


# What runs a graph: ours


def built(predecessors: Predecessors, names: Sequence[str], function: Function) -> WorkGraph:
    """Return a planned graph."""
    graph = WorkGraph()
    tasks: list[Task[Any]] = []
    for name, row in zip(names, predecessors, strict=True):
        tasks.append(graph.add(name, function, after=[tasks[number] for number in row]))
    graph.compiled()
    return graph


def ours_on(predecessors: Predecessors, function: Function, on: str = "threads") -> Run:
    graph = built(predecessors, names_of(predecessors), function)
    return partial(graph.run, jobs=WORKERS, on=on)


def names_of(predecessors: Predecessors) -> list[str]:
    return [f"task {number}" for number in range(len(predecessors))]


# Peers


def sorter_of(predecessors: Predecessors) -> TopologicalSorter[int]:
    sorter: TopologicalSorter[int] = TopologicalSorter()
    for number, row in enumerate(predecessors):
        sorter.add(number, *row)
    return sorter


def sort(predecessors: Predecessors, function: Function) -> Run:
    """graphlib in one thread."""
    sorter = sorter_of(predecessors)

    def run() -> None:
        sorter.prepare()
        while sorter.is_active():
            ready = sorter.get_ready()
            for _ in ready:
                function()
            sorter.done(*ready)

    return run


def submit(
    predecessors: Predecessors,
    function: Function,
    pool_of: Callable[[int], Executor] = ThreadPoolExecutor,
) -> Run:
    """graphlib, a pool, and a queue of what has ended, as graphlib's documentation has it."""
    sorter = sorter_of(predecessors)

    def run() -> None:
        ended: SimpleQueue[tuple[int, Future[object]]] = SimpleQueue()
        sorter.prepare()
        with pool_of(WORKERS) as pool:
            while sorter.is_active():
                for node in sorter.get_ready():
                    pool.submit(function).add_done_callback(partial(_put, ended, node))
                node, future = ended.get()
                future.result()
                sorter.done(node)

    return run


def _put(
    ended: "SimpleQueue[tuple[int, Future[object]]]", node: int, future: "Future[object]"
) -> None:
    ended.put((node, future))


def await_each_other(predecessors: Predecessors, function: Function) -> Run:
    """A task of asyncio for each, which awaits those of its predecessors."""
    import asyncio

    async def attempt(before: list["asyncio.Task[None]"]) -> None:
        for task in before:
            await task
        function()

    async def run_all() -> None:
        tasks: list[asyncio.Task[None]] = []
        for row in predecessors:
            tasks.append(asyncio.create_task(attempt([tasks[number] for number in row])))
        for task in tasks:
            await task

    return lambda: asyncio.run(run_all())


def dask(predecessors: Predecessors, function: Function) -> Run:
    """Dask's scheduler for threads."""
    try:
        from dask.threaded import get
    except ImportError:
        sys.exit("dask is not installed: make bench installs it, or leave it out by --only")

    graph = {number: (function, *row) for number, row in enumerate(predecessors)}
    read = {number for row in predecessors for number in row}
    ends = [number for number in graph if number not in read]
    return lambda: get(graph, ends, num_workers=WORKERS)


THREADS: Peers = {
    "graphlib": (sort, 1.0),
    "thread-pool": (submit, 1 / 8),
    "asyncio": (await_each_other, 1 / 4),
    "dask": (dask, 1 / 50),
}
PROCESSES: Peers = {"process-pool": (partial(submit, pool_of=ProcessPoolExecutor), 1 / 5)}


# Measuring


def timed(prepare: Callable[[], Run]) -> float:
    """Return the seconds that a call of what `prepare` returns takes."""
    run = prepare()
    gc.collect()
    begun = time.perf_counter()
    # Kept until the clock stands still: to let it go is not timed.
    result = run()
    seconds = time.perf_counter() - begun
    del result
    return seconds


def least(runners: dict[str, Callable[[], Run]], rounds: int) -> dict[str, float]:
    """Return the least seconds of each, timed in turn."""
    times: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, prepare in runners.items():
            if sum(times[name]) < PATIENCE:
                times[name].append(timed(prepare))
    return {name: min(taken) for name, taken in times.items()}


def check_calls(runner: str, prepare: Prepare, predecessors: Predecessors) -> None:
    """Run a graph once, and end the program unless the function of every task was called once."""
    with tempfile.NamedTemporaryFile() as file:
        prepare(predecessors, partial(mark, file.name))()
        calls = os.path.getsize(file.name)
    if calls != len(predecessors):
        sys.exit(f"{runner} made {calls:,} calls for {len(predecessors):,} tasks")


def show_head(unit: str) -> None:
    """Print the head of a table."""
    print(
        f"\n{unit:16}{'shape':8}{'tasks':>10}{'ours':>9}{'theirs':>9}{'ratio':>8}{'at most':>9}",
        flush=True,
    )


def show(what: str, shape: str, tasks: int, ours: float, theirs: float, most: float | None) -> None:
    """Print a line of a table; without `most` there is no target."""
    ratio = ours / theirs
    target = "" if most is None else f"{most:9.3f}  {'ok' if ratio <= most else 'missed'}"
    print(f"{what:16}{shape:8}{tasks:10,}{ours:9.2f}{theirs:9.2f}{ratio:8.3f}{target}", flush=True)


# The questions


def compare(own: Prepare, peers: Peers, sizes: Sequence[int], rounds: int) -> None:
    """Time ours and the peers on every shape."""
    runners = {"ours": own, **{name: prepare for name, (prepare, _) in peers.items()}}
    show_head("µs a task")
    for tasks in sizes:
        for shape, rows in SHAPES.items():
            predecessors = list(rows(tasks))
            for name, prepare in runners.items():
                check_calls(name, prepare, predecessors)
            times = least(
                {name: partial(prepare, predecessors, noop) for name, prepare in runners.items()},
                rounds,
            )
            costs = {name: seconds / tasks * 1e6 for name, seconds in times.items()}
            for name, (_, most) in peers.items():
                show(name, shape, tasks, costs["ours"], costs[name], most)


def compare_processes(sizes: Sequence[int], rounds: int) -> None:
    """Time processes; their pool is slow, so that no graph is larger than need be."""
    sizes = sorted({min(size, MOST_PROCESS_TASKS) for size in sizes})
    compare(partial(ours_on, on="processes"), PROCESSES, sizes, rounds)


def compare_building(sizes: Sequence[int], rounds: int) -> None:
    """Time what comes before a run, with the same names for both."""
    show_head("µs a task")
    for tasks in sizes:
        for shape, rows in SHAPES.items():
            predecessors = list(rows(tasks))
            names = names_of(predecessors)
            # The outer partial gives the inner one, in which everything happens.
            times = least(
                {
                    "ours": partial(partial, built, predecessors, names, noop),
                    "theirs": partial(partial, prepared, predecessors, names),
                },
                rounds,
            )
            ours, theirs = (seconds / tasks * 1e6 for seconds in times.values())
            show("building", shape, tasks, ours, theirs, MOST_BUILDING)


def prepared(predecessors: Predecessors, names: Sequence[str]) -> TopologicalSorter[str]:
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name, row in zip(names, predecessors, strict=True):
        sorter.add(name, *[names[number] for number in row])
    sorter.prepare()
    return sorter


def measure_growth(sizes: Sequence[int], rounds: int) -> None:
    """Time the least and the most tasks, each graph in a process of its own; and its memory."""
    show_head("most and fewest")
    for shape in SHAPES:
        few, _ = in_new_process(shape, min(sizes), rounds)
        many, megabytes = in_new_process(shape, max(sizes), min(rounds, 3))
        show("growth, µs", shape, max(sizes), many, few, MOST_GROWTH)
        show("memory, MB", shape, max(sizes), megabytes, MOST_MEGABYTES, 1.0)


def in_new_process(shape: str, tasks: int, rounds: int) -> tuple[float, float]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(cost_and_memory, shape, tasks, rounds).result()


def cost_and_memory(shape: str, tasks: int, rounds: int) -> tuple[float, float]:
    """Return the microseconds that a task takes, and the megabytes that graph and run need."""
    graph = WorkGraph()
    added: list[Task[Any]] = []
    for number, row in enumerate(SHAPES[shape](tasks)):
        after = [added[predecessor] for predecessor in row]
        added.append(graph.add(f"task {number}", noop, after=after))
    graph.compiled()
    run = partial(graph.run, jobs=WORKERS)
    seconds = min(timed(lambda: run) for _ in range(rounds))
    # Kilobytes, but on macOS bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return seconds / tasks * 1e6, peak / (1e6 if sys.platform == "darwin" else 1e3)


def measure_sleeps(sizes: Sequence[int], rounds: int) -> None:
    """Time tasks that sleep, against what no run can end within."""
    show_head("ms, and bound")
    times = least({"ours": sleep_in_tasks, "theirs": lambda: sleep_in_threads}, rounds)
    ours, theirs = (seconds * 1e3 for seconds in times.values())
    show("sleeps", "wide", SLEEPS, ours, theirs, MOST_SLEEPING)
    ours = least({"ours": one_long}, rounds)["ours"] * 1e3
    show("one long", "wide", BESIDE_LONG, ours, LONG * 1e3, None)


def sleep_in_tasks() -> Run:
    graph = WorkGraph()
    for number in range(SLEEPS):
        graph.add(f"sleep {number}", time.sleep, SLEEP)
    graph.compiled()
    return partial(graph.run, jobs=SLEEPERS)


def sleep_in_threads() -> None:
    """Sleep as often in bare threads: a sleep takes somewhat longer than it should."""

    def sleep() -> None:
        for _ in range(SLEEPS // SLEEPERS):
            time.sleep(SLEEP)

    threads = [threading.Thread(target=sleep) for _ in range(SLEEPERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def one_long() -> Run:
    """A long task with short ones behind it, which a worker that has been quick takes together."""
    graph = WorkGraph()
    first = graph.add("first", noop)
    graph.add("long", time.sleep, LONG, after=[first])
    for number in range(BESIDE_LONG):
        graph.add(f"short {number}", time.sleep, SLEEP, after=[first])
    graph.compiled()
    return partial(graph.run, jobs=WORKERS)


QUESTIONS: dict[str, Callable[[Sequence[int], int], None]] = {
    # First, for what a small process starts: a peak of memory is passed on.
    "growth": lambda _, rounds: measure_growth(GROWTH, rounds),
    **{name: partial(compare, ours_on, {name: peer}) for name, peer in THREADS.items()},
    "process-pool": compare_processes,
    "building": compare_building,
    "sleeps": measure_sleeps,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=list(QUESTIONS))
    parser.add_argument("--tasks", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for name in options.only:
        QUESTIONS[name](options.tasks, options.rounds)


if __name__ == "__main__":
    main()
