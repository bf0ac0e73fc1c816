"""Reading and writing of work graphs.

Every module of this package is a format, save those whose names begin with an underscore, which
are what formats share. It registers itself by what it calls `READER` and `WRITER`, and is imported
when it is asked for.

Two things tell how a file is read. Its *syntax*, by its suffix, gives plain data: lists, mappings,
text, numbers (`source.SYNTAXES`, or a format's own). The *shape* of that gives the format.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

from parallel_workers.documents.problems import Document, Findings, Problem, TooManyProblems
from parallel_workers.documents.source import SYNTAXES, Source, parse, read_source, suffix_of
from parallel_workers.errors import InvalidInput, UsageError
from parallel_workers.formats._format import Reader, Writer
from parallel_workers.graph import WorkGraph
from parallel_workers.wording import SHOWN_ITEMS, plural, printable, shown, suggestion

WORK_FILES = ("work.yaml", "work.yml", "work.toml", "work.json")
"""The names of a work file that need not be said, the first one first."""

BULK = 64_000
"""From how many bytes on the fast reader of records is tried first."""

_BEGINS_AS_RECORDS = re.compile(rb"\s*+\[\s*+\{")

_WHAT_THERE_IS = (
    'give records, [{"name": "a", "successors": ["b"]}, …], threads of groups of names, '
    '[[["a", "b"], ["c"]], …], or a work file, {"tasks": {"a": "command", …}}'
)


FIRST = ("records", "groups", "workfile")
"""The formats that are tried before the others, so that these need not be imported."""


@cache
def _names() -> list[str]:
    from pkgutil import iter_modules

    found = sorted(module.name for module in iter_modules(__path__) if module.name[0] != "_")
    return [*FIRST, *(name for name in found if name not in FIRST)]


def _readers() -> Iterator[tuple[str, Reader]]:
    for name in FIRST:
        yield name, _module(name).READER
    for name in _names()[len(FIRST) :]:
        if (reader := getattr(_module(name), "READER", None)) is not None:
            yield name, reader


def readable() -> list[str]:
    """Return the names of the formats that can be read."""
    return [name for name, _ in _readers()]


def writable() -> list[str]:
    """Return the names of the formats that can be written."""
    return [name for name in _names() if hasattr(_module(name), "WRITER")]


class Loaded(NamedTuple):
    """What was read from a file.

    Attributes:
        graph: The graph in it.
        format: The name of the format that it has.
    """

    graph: WorkGraph
    format: str


def load(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the word of the command line
    strict: bool = False,
) -> WorkGraph:
    """Read a work graph from a file.

    Args:
        path: The file; `-` is the standard input.
        format: One of `readable()`; found by looking where it is None.
        strict: Whether what is strange makes the file invalid, rather than `graph.warnings`.

    Raises:
        InvalidInput: The file cannot be read as a work graph; all problems, each with its place.
        UsageError: There is no such format.
    """
    return load_as(path, format, strict).graph


def load_as(path: str | os.PathLike[str], format: str | None, strict: bool) -> Loaded:  # noqa: A002
    """Read a work graph from a file as `load` does; tell in which format it was, too."""
    if format is not None:
        reader_named(format)
    source = read_source(path)
    with _no_garbage_collection():
        format = format or _own_syntax(source)  # noqa: A001
        if format in (None, "records"):
            graph = _read_bulk(source)
            if graph is not None:
                return Loaded(graph, "records")
        document = parse(source, None if format is None else reader_named(format).parser)
        format = format or _find_shape(document)  # noqa: A001
        directory = os.path.dirname(os.fspath(path))
        return Loaded(_read(document, reader_named(format), strict, directory), format)


def reader_named(name: str) -> Reader:
    """Return the reader of the format of that name.

    Raises:
        UsageError: There is no such format, or it can only be written.
    """
    reader: Reader = _find(name, "READER", readable)
    return reader


def writer_named(name: str) -> Writer:
    """Return the writer of the format of that name.

    Raises:
        UsageError: There is no such format, or it can only be read.
    """
    writer: Writer = _find(name, "WRITER", writable)
    return writer


def _find(name: str, what: str, known: Callable[[], list[str]]) -> Any:
    found = getattr(_module(name), what, None) if name in FIRST or name in _names() else None
    if found is None:
        hint = suggestion(name, known()) or f"; there are {', '.join(known())}"
        raise UsageError(f"there is no format {shown(name)}{hint}")
    return found


def _own_syntax(source: Source) -> str | None:
    """Return the format to whose own syntax a source belongs, if there is one."""
    begins_as_json = source.syntax is not None
    if source.suffix in SYNTAXES or (begins_as_json and not source.suffix):
        return None
    readers = {name: reader for name, reader in _readers() if reader.parser is not None}
    for name, reader in readers.items():
        if source.suffix in reader.suffixes:
            return name
    if begins_as_json:
        return None
    text = source.text()
    return next((name for name, reader in readers.items() if reader.fits(text)), None)


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


def _read_bulk(source: Source) -> WorkGraph | None:
    """Return the graph of a large file of records in which all is plain and right, else None."""
    if (
        len(source.raw) >= BULK
        and source.syntax == "json_text"
        and _BEGINS_AS_RECORDS.match(source.raw)
    ):
        from parallel_workers.formats._bulk import read_bulk

        return read_bulk(source.raw)
    return None


def from_data(data: object, format: str) -> WorkGraph:  # noqa: A002
    """Read a work graph from lists and dictionaries such as a file would hold.

    Args:
        data: What a file of that format would hold; tuples may stand for lists.
        format: One of `readable()` that is written in JSON, YAML or TOML.

    Raises:
        InvalidInput: It is no work graph; all problems, each with its place (`records[3].name`).
        UsageError: There is no such format, or it has a syntax of its own.

    >>> from_data([{"name": "a", "successors": ["b"]}, {"name": "b"}], "records")
    <WorkGraph of 2 tasks>
    """
    reader = reader_named(format)
    if reader.parser is not None:
        raise UsageError(f"{format} is read from text only; write that into a file, and load it")
    return _read(Document(data, root=format), reader, strict=False, directory="")


def _read(document: Document, reader: Reader, strict: bool, directory: str) -> WorkGraph:
    findings = Findings()
    graph = WorkGraph()
    with suppress(TooManyProblems):
        graph = reader.read(document.data, findings)
        if graph.env_files:
            _read_env_files(graph, directory, findings)
    wrong = findings.problems + (findings.warnings if strict else [])
    if wrong or document.faults:
        raise document.refusal(wrong)
    graph.warnings += document.tell(findings.warnings)
    return graph


def _read_env_files(graph: WorkGraph, directory: str, findings: Findings) -> None:
    from parallel_workers.env_files import read_env_files

    try:
        graph.env.update(read_env_files(graph.env_files, directory))
    except InvalidInput as error:
        for problem in error.problems:
            findings.about().problem(problem, "env-file")


def _find_shape(document: Document) -> str:
    data = document.data
    for name, reader in _readers():
        if reader.parser is None and reader.fits(data):
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
    """Return `graph` as text in the format of that name, one of `writable()`.

    Raises:
        UsageError: There is no such format, or it cannot reasonably hold this graph.
        CycleError: Tasks of the graph wait for each other.
    """
    writer = writer_named(format)
    # Makes sure that all names of `after` are edges, too.
    graph.topology()
    return writer.write(graph)


def losses(graph: WorkGraph, format: str) -> list[str]:  # noqa: A002
    """Return a line for each thing of `graph` that is not the same after `dump` in that format.

    Raises:
        UsageError: There is no such format, or it cannot reasonably hold this graph.
    """
    writer = writer_named(format)
    graph.topology()
    lost = _lost_functions(graph) + writer.losses(graph)
    if graph.env_files and format != "workfile":
        lost.append("variables of an env-file have a place in work files only: they are left out")
    return [printable(loss) for loss in lost]


def _lost_functions(graph: WorkGraph) -> list[str]:
    """Return a line if tasks of `graph` call functions, for which no format has a place."""
    if not graph.functions:
        return []
    count = plural(len(graph.functions), "task")
    return [f"no file holds functions: what {count} would call is left out"]


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
    suffix = suffix_of(text)
    return suffix in SYNTAXES or (
        suffix != "" and any(suffix in reader.suffixes for _, reader in _readers())
    )
