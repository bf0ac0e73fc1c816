"""The units of pools: who holds some, and who has to wait for some. Part of the frontier's state.

A pool is a named limit on the units of it that tasks hold at once; a task takes all that it needs,
of one pool or several, when it starts, and gives them back when it ends. So none waits for units
while it holds others, and there is no deadlock. Here pools and tasks are integers.

Ready tasks that need the same units of the same pools are interchangeable but for their priority.
They wait in one queue; there are as many queues as there are different needs, mostly a few.

Fairness: a task that needs much can be overtaken by worse ones that need less and find it sooner.
After `PATIENCE` of those, units are kept back for it: whoever else needs the same pools may take
only what it would leave over. There is at most one such task; it starts when enough of those that
run have ended.

What is always true:

- a pool never gives out more units than its limit;
- a ready task whose units are all free, and not kept back for another, is the head of its queue or
  behind one that is better, so that `best` finds it or that one.

Costs: O(different needs) to find the best, O(log ready) to add or take one.
"""

from collections.abc import Collection, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import TypeAlias

Needs: TypeAlias = Mapping[int, int]
"""By pool, how many units of it a task needs; at least 1, and no more than there are."""

PATIENCE = 100
"""How many worse tasks may take units before a task that waits for them has some kept back."""


class _Queue:
    """The ready tasks of the same needs.

    Attributes:
        needs: What each of them needs.
        tasks: A heap of them.
        passed_over: How many worse tasks have started while the best of these waited.
    """

    __slots__ = ("needs", "passed_over", "tasks")

    def __init__(self, needs: Needs) -> None:
        self.needs = needs
        self.tasks: list[int] = []
        self.passed_over = 0


class Pools:
    """Which units are free, and which ready tasks wait for some.

    Args:
        needs: By task, what it needs; tasks that need nothing are not in it.
        limits: By pool, how many units there are; at least 1.

    >>> pools = Pools({0: {0: 2}, 1: {0: 1, 1: 1}}, limits=[2, 1])
    >>> pools.add(0), pools.add(1), pools.best()
    (None, None, 0)
    >>> pools.take(0), pools.best()
    (None, None)
    >>> pools.give(0), pools.best()
    (None, 1)
    """

    def __init__(self, needs: Mapping[int, Needs], limits: Sequence[int]) -> None:
        self.free = list(limits)
        self._by_needs: dict[tuple[tuple[int, int], ...], _Queue] = {}
        self._queue_of = {task: self._queue_for(own) for task, own in needs.items()}
        self._kept_back: _Queue | None = None

    def _queue_for(self, needs: Needs) -> _Queue:
        return self._by_needs.setdefault(tuple(sorted(needs.items())), _Queue(needs))

    def __contains__(self, task: int) -> bool:
        """Whether `task` needs units at all."""
        return task in self._queue_of

    def add(self, task: int) -> None:
        """Let a task wait for the units that it needs; it is ready but for those."""
        heappush(self._queue_of[task].tasks, task)

    def best(self) -> int | None:
        """Return the best of those waiting that could start now; None if none could."""
        queues = self._by_needs.values()
        heads = [queue.tasks[0] for queue in queues if queue.tasks and self._fits(queue)]
        return min(heads, default=None)

    def ready(self) -> int:
        """Return how many of those waiting could start now if the others did not."""
        return sum(
            min(len(queue.tasks), *(self.free[pool] // n for pool, n in queue.needs.items()))
            for queue in self._by_needs.values()
            if queue.tasks and self._fits(queue)
        )

    def take(self, task: int) -> None:
        """Start the best task: it holds what it needs, and waits no more.

        Args:
            task: What `best` returned.
        """
        taken = self._queue_of[task]
        heappop(taken.tasks)
        for pool, units in taken.needs.items():
            self.free[pool] -= units
        taken.passed_over = 0
        if self._kept_back is taken:
            self._kept_back = None
        for queue in self._by_needs.values():
            # A better one waits still: it did not fit.
            if queue.tasks and queue.tasks[0] < task and _overlap(queue.needs, taken.needs):
                self._pass_over(queue)

    def give(self, task: int) -> None:
        """Take back the units that a task holds, if it needs any."""
        queue = self._queue_of.get(task)
        if queue is not None:
            for pool, units in queue.needs.items():
                self.free[pool] += units

    def release(self, task: int, pool: int) -> None:
        """Take back the units of a pool that a task holds, for it needs none of them any more.

        Args:
            task: A task that has been started; what else it needs it goes on to hold.
            pool: A pool that it needs.
        """
        needs = self._queue_of.pop(task).needs
        self.free[pool] += needs[pool]
        if left := {other: units for other, units in needs.items() if other != pool}:
            self._queue_of[task] = self._queue_for(left)

    def remove(self, tasks: Collection[int]) -> None:
        """Forget those of `tasks` that wait."""
        for queue in self._by_needs.values():
            left = [task for task in queue.tasks if task not in tasks]
            if len(left) < len(queue.tasks):
                queue.tasks = left
                heapify(left)
            if not left and self._kept_back is queue:
                self._kept_back = None
                queue.passed_over = 0

    def clear(self) -> None:
        """Forget all that wait."""
        for queue in self._by_needs.values():
            queue.tasks.clear()
            queue.passed_over = 0
        self._kept_back = None

    def _pass_over(self, queue: _Queue) -> None:
        queue.passed_over += 1
        if queue.passed_over >= PATIENCE and self._kept_back is None:
            self._kept_back = queue

    def _fits(self, queue: _Queue) -> bool:
        kept = self._kept_back
        kept_back = kept.needs if kept is not None and kept is not queue else {}
        return all(
            units + kept_back.get(pool, 0) <= self.free[pool] for pool, units in queue.needs.items()
        )


def _overlap(needs: Needs, others: Needs) -> bool:
    return any(pool in others for pool in needs)
