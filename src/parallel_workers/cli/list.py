"""`list`: print the names of tasks."""

import sys
from collections.abc import Sequence

import click

from parallel_workers.cli.console import show
from parallel_workers.cli.inputs import (
    find_input,
    format_option,
    load_graph,
    strict_option,
    tasks_argument,
)
from parallel_workers.cli.records import state_option
from parallel_workers.cli.selection import Choice, select, selection_options
from parallel_workers.errors import UsageError


@click.command(short_help="Print the names of tasks.")
@tasks_argument
@selection_options
@click.option("-0", "null", is_flag=True, help="For xargs -0: a NUL behind each, and no line ends.")
@click.option("--json", "as_json", is_flag=True, help="For programs: a list, as JSON.")
@state_option
@format_option
@strict_option
def command(
    file_and_tasks: Sequence[str],
    choice: Choice,
    null: bool,
    as_json: bool,
    state: str,
    format_name: str | None,
    strict: bool,
) -> None:
    """Print the names of the tasks of FILE, a line each, in the order of FILE.

    With TASKs, of those and what they need: what `run` would run.
    """
    if null and as_json:
        raise UsageError("-0 and --json are two forms of the same; give one of them")
    path, names = find_input(file_and_tasks)
    graph = load_graph(path, format_name, strict)
    found = list(select(graph, names, choice, path, state).graph)
    if as_json:
        import json

        show(json.dumps(found, ensure_ascii=False))
    elif null:
        sys.stdout.write("".join(f"{name}\0" for name in found))
        sys.stdout.flush()
    elif found:
        show("\n".join(found))
