"""`run … -- ARGS`: what is handed to the commands of the tasks that are named."""

import re
from collections.abc import Collection, Sequence

from parallel_workers.commands import SHELL, CommandText, shown_command
from parallel_workers.errors import UsageError
from parallel_workers.plan import Plan
from parallel_workers.wording import one_line, shorten

_USES_ARGUMENTS = re.compile(r"\$\{?#?[@*1-9]").search


def hand_on(
    plan: Plan, commands: Sequence[CommandText], named: Collection[str], arguments: Sequence[str]
) -> list[CommandText]:
    """Return, by task, its command, with arguments behind it where the task is named.

    Args:
        plan: What is run.
        commands: By task, its command.
        named: The names of the tasks that get the arguments.
        arguments: What is handed on: to a text as the shell's "$@", to a program as its arguments.

    Raises:
        UsageError: No task is named, or the command of one would not use them.
    """
    if not named:
        raise UsageError("what follows -- goes to the commands of TASKs; name them before it")
    handed = list(commands)
    for name in named:
        if name in plan.by_name:
            task = plan.by_name[name]
            handed[task] = _with_arguments(name, commands[task], arguments)
    return handed


def _with_arguments(name: str, command: CommandText, arguments: Sequence[str]) -> CommandText:
    if not isinstance(command, str):
        return (*command, *arguments)
    if _USES_ARGUMENTS(command) is None:
        raise UsageError(
            f"task {shorten(name)} makes no use of what follows --; write "
            f'"$@" where that belongs in its command: {one_line(shown_command(command))}'
        )
    # What begins like an option must not be taken for one.
    text = f" {command}" if command[0] in "-+" else command
    return (SHELL, "-c", text, "sh", *arguments)
