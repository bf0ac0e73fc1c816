"""`convert`: write the graph of a file in another format."""

import contextlib
import os
import stat
from collections.abc import Sequence

import click

from parallel_workers import formats
from parallel_workers.cli.console import show, tell
from parallel_workers.cli.inputs import (
    FormatName,
    find_input,
    format_option,
    load_graph,
    strict_option,
)
from parallel_workers.documents.source import SYNTAXES, suffix_of
from parallel_workers.errors import UsageError
from parallel_workers.wording import at_most


@click.command(short_help="Write a file in another format.")
@click.argument("file", nargs=-1)
@format_option
@strict_option
@click.option(
    "--to",
    type=FormatName(formats.writable),
    help="The format to write. Default: that of the suffix of -o if it has one of its own, records "
    "if not.",
)
@click.option("-o", "--output", metavar="FILE", help="Where to; standard output if not given.")
def command(
    file: Sequence[str], format_name: str | None, strict: bool, to: str | None, output: str | None
) -> None:
    """Read FILE, and write its graph in another format, with computed positions.

    Without FILE, the work file of the current directory.
    """
    path, others = find_input(file)
    if others:
        raise UsageError(f"convert takes one FILE; what is {others[0]}?")
    to = to or _format_of(output or "")
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


def _format_of(path: str) -> str:
    """Return the format that the suffix of `path` stands for, `records` if it stands for none."""
    suffix = suffix_of(path)
    if not suffix or suffix in SYNTAXES:
        return "records"
    others = (name for name in formats.writable() if suffix in formats.writer_named(name).suffixes)
    return next(others, "records")


def _check_suffix(path: str, to: str) -> None:
    """Refuse a name by which nobody could read what is written."""
    suffixes = formats.writer_named(to).suffixes
    if formats.has_known_suffix(path) and suffix_of(path) not in suffixes:
        raise UsageError(
            f"what is written as {to} cannot be read from {path}; give it a name that ends in "
            f"{suffixes[0]}"
        )


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
