"""Runs a work graph in parallel: every task as early as it can, on as many workers as you allow."""

# As type checkers know it; to import it from `typing` would take longer than all that stands here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from parallel_workers.errors import RunFailed
    from parallel_workers.events import CommandResult, Outcome
    from parallel_workers.graph import WorkGraph
    from parallel_workers.loading import load
    from parallel_workers.run import Run
    from parallel_workers.tasks import Task, TaskGroup

__all__ = ["CommandResult", "Outcome", "Run", "RunFailed", "Task", "TaskGroup", "WorkGraph", "load"]

_HOMES = {
    "CommandResult": "events",
    "Outcome": "events",
    "Run": "run",
    "RunFailed": "errors",
    "Task": "tasks",
    "TaskGroup": "tasks",
    "WorkGraph": "graph",
    "load": "loading",
}
"""By public name, the module that it is from."""


def __getattr__(name: str) -> "Any":
    # The program begins here, too, and hears no interrupt before this has been imported.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
