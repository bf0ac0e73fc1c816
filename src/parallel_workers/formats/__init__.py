"""Reading and writing of work graphs.

Two things tell how a file is read. Its *syntax*, by its suffix, gives plain data: lists, mappings,
text, numbers (`source.SYNTAXES`). The *shape* of that data gives the format (`READERS`). A new
syntax is a line in the one table, a new format a line in the other and a module beside these.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple

from parallel_workers.errors import UsageError
from parallel_workers.formats.problems import Document, Findings, Problem
from parallel_workers.formats.source import Source, parse, read_source, suffix_syntax
from parallel_workers.graph import WorkGraph
from parallel_workers.wording import SHOWN_ITEMS, shown, suggestion

WORK_FILES = ("work.yaml", "work.yml", "work.toml", "work.json")
"""The names of a work file that need not be said, the first one first."""

BULK = 64_000
"""From how many bytes on the fast reader of records is tried first."""

_BEGINS_AS_RECORDS = re.compile(rb"\s*+\[\s*+\{")

_WHAT_THERE_IS = (
    'give records, [{"name": "a", "successors": ["b"]}, …], threads of groups of names, '
    '[[["a", "b"], ["c"]], …], or a work file, {"tasks": {"a": "command", …}}'
)


class Reader(NamedTuple):
    """A format that can be read.

    Attributes:
        module: The module of this package whose `read(data, findings)` returns the graph.
        fits: Tells whether plain data has its shape, so that nobody need name the format.
    """

    module: str
    fits: Callable[[object], bool]


def _is_records(data: object) -> bool:
    return isinstance(data, list) and (not data or isinstance(data[0], dict))


def _is_groups(data: object) -> bool:
    return isinstance(data, list) and bool(data) and isinstance(data[0], list)


def _is_workfile(data: object) -> bool:
    return isinstance(data, dict) and ("tasks" in data or "threads" in data)


READERS = {
    "records": Reader("records", _is_records),
    "groups": Reader("groups", _is_groups),
    "workfile": Reader("workfile", _is_workfile),
}
"""The formats that can be read, by name; the first whose shape fits is taken."""

WRITERS = {"records": "records", "groups": "groups", "workfile": "workfile"}
"""By the name of a format that can be written, the module whose `write` and `losses` do it."""


def load(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the word of the command line
    strict: bool = False,
) -> WorkGraph:
    """Read a work graph from a file.

    Args:
        path: The file; `-` is the standard input.
        format: One of `READERS`; found by looking where it is None.
        strict: Whether what is strange makes the file invalid, rather than `graph.warnings`.

    Raises:
        InvalidInput: The file cannot be read as a work graph; all problems, each with its place.
        UsageError: There is no such format.
    """
    if format is not None:
        _known(format, READERS)
    source = read_source(path)
    with _no_garbage_collection():
        graph = _read_bulk(source, format)
        return _read(parse(source), format, strict) if graph is None else graph


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Leave out what costs a third of the time of a large file, and finds nothing in plain data."""
    import gc

    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _read_bulk(source: Source, name: str | None) -> WorkGraph | None:
    """Return the graph of a large file of records in which all is plain and right, else None."""
    if (
        name in (None, "records")
        and len(source.raw) >= BULK
        and source.syntax == "json_text"
        and _BEGINS_AS_RECORDS.match(source.raw)
    ):
        from parallel_workers.formats.bulk import read_bulk

        return read_bulk(source.raw)
    return None


def from_data(data: object, format: str) -> WorkGraph:  # noqa: A002
    """Read a work graph from lists and dictionaries such as a file would hold.

    Args:
        data: What a file of that format would hold; tuples may stand for lists.
        format: One of `READERS`.

    Raises:
        InvalidInput: It is no work graph; all problems, each with its place (`records[3].name`).

    >>> from_data([{"name": "a", "successors": ["b"]}, {"name": "b"}], "records")
    <WorkGraph of 2 tasks>
    """
    return _read(Document(data, root=format), format, strict=False)


def _read(document: Document, name: str | None, strict: bool) -> WorkGraph:
    reader = READERS[name or _find_format(document)]
    findings = Findings()
    graph: WorkGraph = _module(reader.module).read(document.data, findings)
    wrong = findings.problems + (findings.warnings if strict else [])
    if wrong or document.faults:
        raise document.refusal(wrong)
    graph.warnings += document.tell(findings.warnings)
    return graph


def _find_format(document: Document) -> str:
    data = document.data
    for name, reader in READERS.items():
        if reader.fits(data):
            return name
    raise document.refusal([Problem(_no_shape(data))])


def _no_shape(data: object) -> str:
    """Return what to say of data that is no work graph of any format."""
    found = shown(data)
    if isinstance(data, list):
        found = f"a list that begins with {shown(data[0])}"
    elif isinstance(data, dict):
        found = "a mapping without tasks or threads"
        for key in list(data)[:SHOWN_ITEMS]:
            if hint := suggestion(str(key), ("tasks", "threads")):
                return f"found {found}{hint}"
    return f"found {found}; {_WHAT_THERE_IS}"


def dump(graph: WorkGraph, format: str) -> str:  # noqa: A002
    """Return `graph` as text in the format of that name, one of `WRITERS`.

    Raises:
        UsageError: There is no such format, or it cannot reasonably hold this graph.
        CycleError: Tasks of the graph wait for each other.
    """
    # Makes sure that all names of `after` are edges, too.
    graph.topology()
    text: str = _module(WRITERS[_known(format, WRITERS)]).write(graph)
    return text


def losses(graph: WorkGraph, format: str) -> list[str]:  # noqa: A002
    """Return a line for each thing of `graph` that is not the same after `dump` in that format.

    Raises:
        UsageError: There is no such format.
    """
    graph.topology()
    lines: list[str] = _module(WRITERS[_known(format, WRITERS)]).losses(graph)
    return lines


def _known(name: str, table: Mapping[str, Any]) -> str:
    if name not in table:
        hint = suggestion(name, table) or f"; there are {', '.join(table)}"
        raise UsageError(f"there is no format {shown(name)}{hint}")
    return name


def _module(name: str) -> Any:
    return import_module(f"{__name__}.{name}")


def find_work_file(directory: str | os.PathLike[str] = "") -> str | None:
    """Return the path of the work file in `directory`, the current one if empty, if it has one."""
    for name in WORK_FILES:
        path = os.path.join(directory, name)
        if os.path.isfile(path):
            return path
    return None


def has_known_suffix(text: str) -> bool:
    """Tell whether `text` ends as the names of files do that can be read.

    >>> has_known_suffix("work.yaml"), has_known_suffix("build")
    (True, False)
    """
    return suffix_syntax(text) is not None
