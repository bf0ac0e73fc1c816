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
    load_input,
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
    help="The format to write. Default: that of the suffix of -o if it has one of its own; if not, "
    "records, but a work file stays one in a file.",
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
    graph, read_as = load_input(path, format_name, strict)
    to = to or _default_format(output, read_as)
    if output is not None:
        _check_suffix(output, to)
    graph.env_files = _seen_from(output, path, graph.env_files)
    text = formats.dump(graph, to)
    for loss in at_most(formats.losses(graph, to), "warning"):
        tell(f"warning: {loss}")
    if output is None or output == "-":
        show(text)
    else:
        _write(output, text)


def _seen_from(output: str | None, path: str, files: Sequence[str]) -> list[str]:
    """Return the paths of files as they have to stand in what is written.

    Args:
        output: The file that is written; None or "-" for what may come to lie here.
        path: The file that was read, beside which they lie.
        files: Their paths as they stand in that one.
    """
    old, new = (os.path.dirname(os.path.realpath(each or "-")) for each in (path, output))
    if old == new:
        return list(files)
    return [f if os.path.isabs(f) else os.path.relpath(os.path.join(old, f), new) for f in files]


def _default_format(output: str | None, read_as: str) -> str:
    """Return what to write where nobody says it: all of a work file that may be written over."""
    if output is None or output == "-":
        return "records"
    return _owner(suffix_of(output)) or ("workfile" if read_as == "workfile" else "records")


def _owner(suffix: str) -> str | None:
    """Return the format to whose own syntax the names of files with that suffix belong."""
    if suffix in SYNTAXES:
        return None
    names = formats.writable()
    return next((name for name in names if suffix in formats.writer_named(name).suffixes), None)


def _check_suffix(path: str, to: str) -> None:
    """Refuse a name that says of what is written that it is something else."""
    suffix = suffix_of(path)
    suffixes = formats.writer_named(to).suffixes
    if suffix not in suffixes and (formats.has_known_suffix(path) or _owner(suffix)):
        raise UsageError(
            f"by the name {path} nobody would take for {to} what is written; give it a name that "
            f"ends in {suffixes[0]}"
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
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
