"""A work graph from a file, for Python programs: the file, and what tasks without a command do."""

import os
from collections.abc import Callable
from typing import Any

from parallel_workers.definition import PLAIN
from parallel_workers.graph import WorkGraph


def load(
    path: str | os.PathLike[str],
    *,
    command: str | None = None,
    call: Callable[[str], Any] | None = None,
    format: str | None = None,  # noqa: A002 - the word of the command line
    strict: bool = False,
) -> WorkGraph:
    """Read a work graph from a file of any format.

    Args:
        path: The file; `-` is the standard input.
        command: What each task without a command runs, with fields of the task in braces, each
            quoted for the place where it stands: `deploy {name}`.
        call: What each task without a command calls, with its name.
        format: The format; found by suffix and shape where it is None.
        strict: Whether what is strange makes the file invalid, rather than `graph.warnings`.

    Raises:
        InvalidInput: The file cannot be read as a work graph; all problems, each with its place.
        UsageError: There is no such format, or the template is wrong.

    >>> graph = load("examples/machines.json", command="echo {name}")
    >>> graph["@ansible/machines/run"].definition.command
    'echo @ansible/machines/run'
    """
    from parallel_workers import formats
    from parallel_workers.errors import UsageError

    if command is not None and call is not None:
        raise UsageError("command= and call= both say what tasks do; give one of them")
    graph = formats.load(path, format=format, strict=strict)
    if command is not None:
        _fill_template(graph, command)
    return graph.calling(call)


def _fill_template(graph: WorkGraph, text: str) -> None:
    from parallel_workers.template import Template, fields_of

    template, positions = Template(text), graph.topology().positions
    for name, number in graph.numbers.items():
        definition = graph.definitions.get(number, PLAIN)
        if definition.command is None:
            fields = fields_of(name, positions[number], definition)
            graph.definitions[number] = definition._replace(command=template.fill(fields))
