"""The units of pools: who holds one, and who has to wait for one. Part of the frontier's state.

A pool is a named limit on how many tasks run at once. Here pools and tasks are integers.

What is always true:

- a pool never gives out more units than its limit;
- a task is parked in a pool only while that pool has no unit free, or while every free unit has
  already called a parked task back;
- of the tasks parked in a pool, the best (the smallest) is called back first.
"""

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush


class Pools:
    """Which units are free, and which tasks wait for one.

    Args:
        pool_of: The pool that a task needs one unit of; tasks that need none are not in it.
        limits: By pool, how many units there are; at least 1.

    >>> pools = Pools({0: 0, 1: 0}, limits=[1])
    >>> pools.take(0), pools.take(1)
    (True, False)
    >>> pools.give(0)
    1
    """

    def __init__(self, pool_of: Mapping[int, int], limits: Sequence[int]) -> None:
        self.pool_of = pool_of
        self.free = list(limits)
        self._parked: list[list[int]] = [[] for _ in limits]

    def take(self, task: int) -> bool:
        """Take the unit that `task` needs, or park the task.

        Returns:
            Whether the task may start now. A parked one comes back from a later `give`.
        """
        pool = self.pool_of.get(task)
        if pool is None:
            return True
        if self.free[pool]:
            self.free[pool] -= 1
            return True
        heappush(self._parked[pool], task)
        return False

    def give(self, task: int) -> int | None:
        """Give back the unit that `task` holds.

        Returns:
            The best task parked in the same pool, which is parked no more and should be tried
            again; None if there is none.
        """
        pool = self.pool_of.get(task)
        if pool is None:
            return None
        self.free[pool] += 1
        parked = self._parked[pool]
        return heappop(parked) if parked else None

    def clear(self) -> None:
        """Forget all that are parked."""
        for parked in self._parked:
            parked.clear()
