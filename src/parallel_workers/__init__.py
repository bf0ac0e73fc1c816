"""Runs a work graph in parallel: every task as early as it can, on as many workers as you allow."""

from parallel_workers.events import CommandResult, Outcome
from parallel_workers.graph import WorkGraph
from parallel_workers.loading import load
from parallel_workers.tasks import Task, TaskGroup

__all__ = ["CommandResult", "Outcome", "Task", "TaskGroup", "WorkGraph", "load"]
