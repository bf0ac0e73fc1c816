"""What a module of this package says of the format that it reads or writes."""

from collections.abc import Callable
from typing import Any, NamedTuple

from parallel_workers.documents.problems import Findings
from parallel_workers.documents.tree import Parser
from parallel_workers.graph import WorkGraph


class Reader(NamedTuple):
    """How a format is told from others, and read.

    Attributes:
        read: Gives the graph in a document; adds all problems to the findings.
        fits: Tells whether a document has the shape of the format, so that nobody need name it:
            given plain data, or the text where the format has a syntax of its own.
        suffixes: How files are called that have the format's own syntax.
        parser: What reads that syntax; None for what is written in JSON, YAML or TOML.
    """

    read: Callable[[Any, Findings], WorkGraph]
    fits: Callable[[Any], bool]
    suffixes: tuple[str, ...] = ()
    parser: Parser | None = None


class Writer(NamedTuple):
    """How a format is written.

    Attributes:
        write: Gives the text of a graph; raises `UsageError` where it would make no sense.
        losses: Gives a line for each thing of a graph that is not the same when it is read again.
        suffixes: How files with such text must be called to be read by looking; empty for any.
    """

    write: Callable[[WorkGraph], str]
    losses: Callable[[WorkGraph], list[str]]
    suffixes: tuple[str, ...] = (".json", ".yaml", ".yml")
