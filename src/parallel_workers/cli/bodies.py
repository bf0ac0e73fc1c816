"""What each task of a plan runs, settled before anything starts."""

from collections.abc import Mapping, Sequence

from parallel_workers.commands import CommandText
from parallel_workers.definition import RECORDED_COMMAND, read_field
from parallel_workers.errors import FieldError, InvalidInput
from parallel_workers.plan import Plan
from parallel_workers.wording import at_most, plural, shorten

_WAYS = (
    "give each a command in the file, or say what to run for all of them with "
    "--command 'deploy {name}' or --programs DIR"
)


def commands_of(
    plan: Plan, template: str | None, programs: str | None, recorded: bool
) -> list[CommandText]:
    """Return, by task, the command that it runs.

    Args:
        plan: The plan.
        template: The `--command` for tasks that have none of their own.
        programs: The directory of `--programs`, likewise.
        recorded: Whether `--recorded-commands` was given, likewise.

    Raises:
        UsageError: The template is wrong.
        InvalidInput: Some tasks have nothing to run, or nothing that can be; all of them are
            listed.
    """
    own = [definition.command for definition in plan.definitions]
    lacking = [task for task, command in enumerate(own) if command is None]
    found: Mapping[int, CommandText] = {}
    if lacking and template is not None:
        found = _from_template(plan, lacking, template)
    elif lacking and programs is not None:
        found = _from_programs(plan, lacking, programs)
    elif lacking and recorded:
        found = _from_recorded(plan, lacking)
    if left := [task for task in lacking if task not in found]:
        raise _nothing_to_run(plan, left, recorded)
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


def _from_recorded(plan: Plan, tasks: Sequence[int]) -> dict[int, CommandText]:
    """Return the recorded commands of those of `tasks` that have one."""
    found: dict[int, CommandText] = {}
    problems = []
    for task, command in _recorded(plan, tasks).items():
        try:
            found[task] = read_field("command", command)
        except FieldError as error:
            name = shorten(plan.names[task])
            problems.append(f"task {name}: the recorded command in its vars: {error.message}")
    if problems:
        raise InvalidInput(problems)
    return found


def _recorded(plan: Plan, tasks: Sequence[int]) -> dict[int, object]:
    given = {task: plan.definitions[task].vars for task in tasks}
    return {
        task: data[RECORDED_COMMAND] for task, data in given.items() if RECORDED_COMMAND in data
    }


def _nothing_to_run(plan: Plan, tasks: Sequence[int], recorded: bool) -> InvalidInput:
    names = at_most([f"  {shorten(plan.names[task])}" for task in tasks], "task")
    verb = "has" if len(tasks) == 1 else "have"
    fault, ways = "nothing to run", _WAYS
    if recorded:
        fault = "nothing to run, and nothing recorded"
        ways = (
            "give each a command in the file, or --command or --programs for all of them in place "
            "of --recorded-commands"
        )
    elif _recorded(plan, tasks):
        ways = f"{_WAYS}, or run what was recorded with --recorded-commands"
    return InvalidInput(
        ["\n".join([f"{plural(len(tasks), 'task')} {verb} {fault}: {ways}", *names])]
    )
