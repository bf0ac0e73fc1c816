"""`convert`: write the graph of a file in another format."""

import os
from collections.abc import Sequence

import click

from parallel_workers import formats
from parallel_workers.cli.console import show, tell
from parallel_workers.cli.inputs import find_input, format_option, load_graph, strict_option
from parallel_workers.errors import UsageError
from parallel_workers.wording import at_most


@click.command(short_help="Write a file in another format.")
@click.argument("file", nargs=-1)
@format_option
@strict_option
@click.option(
    "--to",
    type=click.Choice(list(formats.WRITERS)),
    default="records",
    show_default=True,
    help="The format to write.",
)
@click.option("-o", "--output", metavar="FILE", help="Where to; standard output if not given.")
def command(
    file: Sequence[str], format_name: str | None, strict: bool, to: str, output: str | None
) -> None:
    """Read FILE, and write its graph in another format, with computed positions.

    Without FILE, the work file of the current directory.
    """
    path, others = find_input(file)
    if others:
        raise UsageError(f"convert takes one FILE; what is {others[0]}?")
    graph = load_graph(path, format_name, strict)
    text = formats.dump(graph, to)
    for loss in at_most(formats.losses(graph, to), "warning"):
        tell(f"warning: {loss}")
    if output is None or output == "-":
        show(text)
    else:
        _replace(output, text)


def _replace(path: str, text: str) -> None:
    """Write a file as a whole: when it fails, what was there before is still there."""
    beside = f"{path}.{os.getpid()}.tmp"
    try:
        with open(beside, "x", encoding="utf-8") as file:
            file.write(text)
        os.replace(beside, path)
    except OSError as error:
        if os.path.exists(beside):
            os.unlink(beside)
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
