"""What a user is told of a plan before anything runs, for so many workers."""

from functools import cached_property
from typing import NamedTuple

from parallel_workers.plan import Plan
from parallel_workers.simulate import simulate


class Planned(NamedTuple):
    """One task in a planned schedule.

    Attributes:
        task: Its name.
        worker: Which worker runs it, from 0.
        start: Seconds after the beginning of the run.
        finish: Likewise.
    """

    task: str
    worker: int
    start: float
    finish: float


class Forecast:
    """A plan as its user sees it.

    Args:
        plan: The plan.
        jobs: How many workers there are; 0 for no limit.

    >>> from parallel_workers.graph import WorkGraph
    >>> graph = WorkGraph()
    >>> build = graph.add("build", duration="2s")
    >>> test = graph.add("test", duration="3s", after=[build])
    >>> forecast = graph.plan(jobs=2)
    >>> forecast.positions, forecast.makespan
    ({'build': 0, 'test': 1}, 5.0)
    """

    def __init__(self, plan: Plan, jobs: int) -> None:
        self._plan = plan
        self.jobs = jobs

    @cached_property
    def positions(self) -> dict[str, int]:
        """By task, the longest path from a root, in edges."""
        return dict(zip(self._plan.names, self._plan.positions, strict=True))

    @property
    def critical_path(self) -> list[str]:
        """The tasks on a longest path by duration, in order."""
        return self._plan.critical_path

    @property
    def lower_bound(self) -> float:
        """Seconds that no run on so many workers can end within."""
        return self._plan.lower_bound(self.jobs)

    @cached_property
    def schedule(self) -> list[Planned]:
        """What the runner does if each task takes its duration (1 s where it has none)."""
        names = self._plan.names
        return [
            Planned(names[slot.task], slot.worker, slot.start, slot.finish)
            for slot in simulate(self._plan, self.jobs)
        ]

    @property
    def makespan(self) -> float:
        """Seconds from the beginning to the end of that schedule."""
        return max((slot.finish for slot in self.schedule), default=0.0)

    def __repr__(self) -> str:
        return f"<Forecast of {self._plan.tasks} tasks, {self.makespan:g} s>"
