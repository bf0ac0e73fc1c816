"""Runs a work graph in parallel: every task as early as it can, on as many workers as you allow."""

from typing import TYPE_CHECKING, Any

from parallel_workers.errors import RunFailed
from parallel_workers.events import CommandResult, Outcome
from parallel_workers.graph import WorkGraph
from parallel_workers.loading import load
from parallel_workers.tasks import Task, TaskGroup

if TYPE_CHECKING:
    from parallel_workers.run import Run

__all__ = ["CommandResult", "Outcome", "Run", "RunFailed", "Task", "TaskGroup", "WorkGraph", "load"]


def __getattr__(name: str) -> Any:
    # What executes is imported when something is executed, or asked for.
    if name == "Run":
        from parallel_workers.run import Run

        return Run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
