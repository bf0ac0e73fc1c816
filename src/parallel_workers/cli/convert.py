"""`convert`: write the graph of a file in another format."""

import contextlib
import os
import stat
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
    if output is not None:
        _check_suffix(output, to)
    graph = load_graph(path, format_name, strict)
    text = formats.dump(graph, to)
    for loss in at_most(formats.losses(graph, to), "warning"):
        tell(f"warning: {loss}")
    if output is None or output == "-":
        show(text)
    else:
        _write(output, text)


def _check_suffix(path: str, to: str) -> None:
    """Refuse a name by which nobody could read what is written."""
    if path.lower().endswith(".toml"):
        raise UsageError(f"{to} is written as JSON; give {path} a name that ends in .json")


def _write(path: str, text: str) -> None:
    """Write a file; where it can be replaced, as a whole: if that fails, the old one is there."""
    path = os.path.realpath(path)
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            _write_in_place(path, text)
        else:
            _replace(path, text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def _write_in_place(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _replace(path: str, text: str) -> None:
    beside = f"{path}.{os.getpid()}.tmp"
    try:
        with open(beside, "x", encoding="utf-8") as file:
            if os.path.exists(path):
                os.chmod(beside, stat.S_IMODE(os.stat(path).st_mode))
            file.write(text)
        os.replace(beside, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
