"""A run under a virtual clock: the real frontier, and tasks that take just as long as they should.

So the predicted schedule is what the runner would do with these durations, and not what a second
scheduler thinks it would.
"""

from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from parallel_workers.frontier import Frontier
from parallel_workers.plan import Plan


class Slot(NamedTuple):
    """One attempt in a schedule.

    Attributes:
        task: The number of the task in the plan.
        worker: Which worker runs it, from 0.
        start: Seconds after the beginning of the run.
        finish: Likewise.
    """

    task: int
    worker: int
    start: float
    finish: float


def _always_well(task: int) -> bool:
    return True


def simulate(
    plan: Plan,
    jobs: int,
    *,
    frontier: Frontier | None = None,
    ends_well: Callable[[int], bool] = _always_well,
) -> list[Slot]:
    """Return the schedule that the runner follows if every task takes its expected duration.

    Args:
        plan: What to run.
        jobs: How many workers; 0 for no limit.
        frontier: The state machine to drive, for one that has begun or has other rules; a new
            one of the plan if None.
        ends_well: Told a task at the end of an attempt, returns whether that attempt ends well.

    Returns:
        A slot for each attempt, in order of start.

    >>> from parallel_workers.graph import WorkGraph
    >>> graph = WorkGraph()
    >>> a = graph.add("a", duration=2)
    >>> b = graph.add("b", duration=1)
    >>> c = graph.add("c", duration=1, after=[b])
    >>> simulate(Plan(graph), jobs=2)[-1]
    Slot(task=2, worker=1, start=1.0, finish=2.0)
    """
    frontier = frontier or Frontier.of(plan)
    idle: list[int] = []
    unused = count()
    room = jobs or plan.tasks
    running: list[tuple[float, int, int]] = []
    slots: list[Slot] = []
    now, ended = 0.0, list[int]()
    asleep: list[tuple[float, int]] = []
    failures: Counter[int] = Counter()
    while True:
        for task in frontier.step(ended, room - len(running)):
            worker = heappop(idle) if idle else next(unused)
            finish = now + plan.durations[task]
            slots.append(Slot(task, worker, now, finish))
            heappush(running, (finish, task, worker))
        for task in frontier.to_wake:
            heappush(asleep, (now + plan.delays[task].pause(failures[task], 0.5), task))
        frontier.to_wake.clear()
        for service in frontier.unneeded:
            frontier.leave(service)
        frontier.unneeded.clear()
        if not running and not asleep:
            return slots
        now, ended = min(queue[0][0] for queue in (running, asleep) if queue), []
        while asleep and asleep[0][0] == now:
            frontier.wake(heappop(asleep)[1])
        while running and running[0][0] == now:
            _, task, worker = heappop(running)
            heappush(idle, worker)
            well = ends_well(task)
            failures[task] += not well
            ended.append(task if well else ~task)
