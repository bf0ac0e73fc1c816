"""`check`: say whether a file is right, and nothing else."""

from collections.abc import Sequence

import click

from parallel_workers.cli.console import show
from parallel_workers.cli.inputs import find_input, format_option, load_graph, strict_option
from parallel_workers.errors import UsageError
from parallel_workers.wording import plural


@click.command(short_help="Say whether a file is right.")
@click.argument("file", nargs=-1)
@format_option
@strict_option
def command(file: Sequence[str], format_name: str | None, strict: bool) -> None:
    """Read FILE and say whether it is right; run nothing.

    Without FILE, the work file of the current directory. Exit status 2 if it is not right.
    """
    path, others = find_input(file)
    if others:
        raise UsageError(f"check takes one FILE; what is {others[0]}?")
    graph = load_graph(path, format_name, strict)
    counted = plural(len(graph), "task")
    warnings = f", {plural(len(graph.warnings), 'warning')}" if graph.warnings else ""
    show(f"{path}: {counted}, no errors{warnings}")
