"""What the verbs have in common: which file is meant, and the graph that is in it."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from parallel_workers import formats
from parallel_workers.cli.completion import complete_tasks
from parallel_workers.cli.console import tell
from parallel_workers.errors import UsageError
from parallel_workers.graph import WorkGraph
from parallel_workers.wording import at_most, shorten, shown, suggestion

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class FormatName(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """The name of a format; which there are is looked up only when somebody asks.

    Args:
        known: Gives the names.
    """

    name = "format"

    def __init__(self, known: Callable[[], list[str]]) -> None:
        self._known = known

    def get_metavar(self, *args: Any, **others: Any) -> str:
        """Return what the help shows for it (of `param` alone, or also `ctx`, by click's age)."""
        return f"[{'|'.join(self._known())}]"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return `value` if it is the name of a format; else that is an error of usage."""
        known = self._known()
        if value not in known:
            hint = suggestion(value, known) or f"; there are {', '.join(known)}"
            self.fail(f"there is no format {shown(value)}{hint}", param, ctx)
        return value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list["CompletionItem"]:
        """Return the names that begin so."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(name) for name in self._known() if name.startswith(incomplete)]


tasks_argument = click.argument(
    "file_and_tasks", nargs=-1, metavar="[FILE] [TASK]...", shell_complete=complete_tasks
)
format_option = click.option(
    "--format",
    "format_name",
    type=FormatName(formats.readable),
    help="The format of FILE, where its suffix and shape do not tell.",
)
strict_option = click.option(
    "--strict", is_flag=True, help="What would be a warning about FILE is an error."
)
jobs_option = click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=0),
    metavar="N",
    help="How many tasks may run at once; 0 for no limit. Default: the cores this process may use.",
)


def find_input(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Tell the file from the names of tasks among the arguments of a verb.

    Args:
        arguments: `[FILE] [TASK…]` as they were typed.

    Returns:
        The path of the file, "-" for standard input, and the names.

    Raises:
        UsageError: No file was named, and there is no work file here.
    """
    if arguments and _is_file(arguments[0]):
        return arguments[0], list(arguments[1:])
    work_file = formats.find_work_file()
    if work_file is not None:
        return work_file, list(arguments)
    if arguments:
        raise UsageError(f"{shorten(arguments[0])} is no file, and there is no work file here")
    raise UsageError(
        "name a file: there is no work.yaml, work.yml, work.toml or work.json in this directory"
    )


def _is_file(argument: str) -> bool:
    return argument == "-" or formats.has_known_suffix(argument) or os.path.isfile(argument)


def load_graph(path: str, format_name: str | None, strict: bool) -> WorkGraph:
    """Return the graph in a file; for the rest see `load_input`."""
    return load_input(path, format_name, strict).graph


def load_input(path: str, format_name: str | None, strict: bool) -> formats.Loaded:
    """Return the graph in a file, and its format; print what its reader found strange.

    Args:
        path: The path of the file, "-" for standard input.
        format_name: The format, if it was named.
        strict: Whether warnings are errors.

    Raises:
        InvalidInput: The file cannot be read as a work graph.
    """
    loaded = formats.load_as(path, format_name, strict)
    for warning in at_most(loaded.graph.warnings, "warning"):
        tell(f"warning: {warning}")
    return loaded
