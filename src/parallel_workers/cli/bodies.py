"""What each task of a plan runs, settled before anything starts."""

import os
from collections.abc import Mapping, Sequence
from functools import partial

from parallel_workers.commands import Command, CommandRunner, words_of
from parallel_workers.definition import Definition
from parallel_workers.errors import InvalidInput
from parallel_workers.events import CommandResult, Outcome
from parallel_workers.executors.threads import Body
from parallel_workers.logs import log_name
from parallel_workers.plan import Plan
from parallel_workers.wording import at_most, plural, shorten

_WAYS = (
    "give each a command in the file, or say what to run for all of them with "
    "--command 'deploy {name}' or --programs DIR"
)

CommandText = str | tuple[str, ...]
"""A command as a work file has it: text for the shell, or words."""


def commands_of(plan: Plan, template: str | None, programs: str | None) -> list[CommandText]:
    """Return, by task, the command that it runs.

    Args:
        plan: The plan.
        template: The `--command` for tasks that have none of their own.
        programs: The directory of `--programs`, likewise.

    Raises:
        UsageError: The template is wrong.
        InvalidInput: Some tasks have nothing to run; all of them are listed.
    """
    own = [definition.command for definition in plan.definitions]
    lacking = [task for task, command in enumerate(own) if command is None]
    found: Mapping[int, CommandText] = {}
    if lacking and template is not None:
        found = _from_template(plan, lacking, template)
    elif lacking and programs is not None:
        found = _from_programs(plan, lacking, programs)
    elif lacking:
        names = at_most([f"  {shorten(plan.names[task])}" for task in lacking], "task")
        verb = "has" if len(lacking) == 1 else "have"
        raise InvalidInput(
            ["\n".join([f"{plural(len(lacking), 'task')} {verb} nothing to run: {_WAYS}", *names])]
        )
    return [found[task] if command is None else command for task, command in enumerate(own)]


def _from_template(plan: Plan, tasks: Sequence[int], text: str) -> dict[int, CommandText]:
    from parallel_workers.template import Template, fields_of

    template = Template(text)
    return {
        task: template.fill(
            fields_of(plan.names[task], plan.positions[task], plan.definitions[task])
        )
        for task in tasks
    }


def _from_programs(plan: Plan, tasks: Sequence[int], directory: str) -> dict[int, CommandText]:
    from pathlib import Path

    from parallel_workers.programs import find_programs

    found = find_programs(Path(directory), [plan.names[task] for task in tasks])
    return {task: (str(found[plan.names[task]]),) for task in tasks}


def make_bodies(plan: Plan, commands: Sequence[CommandText], runner: CommandRunner) -> list[Body]:
    """Return, by task, the body that runs its command.

    Args:
        plan: The plan.
        commands: By task, what `commands_of` returned.
        runner: What runs them.
    """

    def run(task: int, attempt: int) -> tuple[Outcome, CommandResult]:
        # Prepared by the worker, not for all tasks before the first one starts.
        return runner.run(_prepare(plan, task, commands[task]), attempt)

    return [partial(run, task) for task in range(plan.tasks)]


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
