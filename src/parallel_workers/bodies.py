"""The bodies of a plan's tasks: what an executor calls for each attempt.

A body takes nothing, returns the value of the task, and raises where the attempt failed.
"""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

from parallel_workers.commands import Command, CommandRunner, words_of
from parallel_workers.definition import Definition
from parallel_workers.events import CommandResult
from parallel_workers.logs import log_name
from parallel_workers.plan import Plan

Body: TypeAlias = Callable[[], Any]

CommandText: TypeAlias = str | tuple[str, ...]
"""A command as a work file has it: text for the shell, or words."""


def command_bodies(
    plan: Plan,
    commands: Mapping[int, CommandText],
    runner: CommandRunner,
    attempt: Callable[[int], int],
) -> dict[int, Body]:
    """Return the bodies of tasks that run commands.

    Args:
        plan: The plan.
        commands: By task, its command.
        runner: What runs them.
        attempt: Gives the number of the attempt of a task that is under way, from 1.
    """

    def run(task: int) -> CommandResult:
        # Prepared by the worker, not for all tasks before the first one starts.
        return runner.run(_prepare(plan, task, commands[task]), attempt(task))

    return {task: partial(run, task) for task in commands}


def _prepare(plan: Plan, task: int, command: CommandText) -> Command:
    definition, name = plan.definitions[task], plan.names[task]
    return Command(
        text=shown_command(command),
        words=words_of(command),
        cwd=None if definition.cwd is None else os.path.abspath(definition.cwd),
        env=_environment(definition, name, plan.positions[task]),
        timeout=definition.timeout,
        log=log_name(task + 1, name),
    )


def _environment(definition: Definition, name: str, position: int) -> dict[bytes, bytes]:
    """Return what is set for a command; what its task sets itself goes over what we set.

    In UTF-8, as the file had it, whatever the locale of this process.
    """
    own = {key.encode(): value.encode() for key, value in definition.env.items()}
    return {b"PW_TASK": name.encode(), b"PW_POSITION": b"%d" % position, **own}


def shown_command(command: CommandText) -> str:
    """Return a command as a person would type it.

    >>> shown_command(("echo", "a b"))
    "echo 'a b'"
    """
    if isinstance(command, str):
        return command
    import shlex

    return shlex.join(command)
