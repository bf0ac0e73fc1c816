"""The bytes of a file, its text and the plain data in it: what is known before any format is."""

import codecs
import os
import re
import stat
import sys
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import NamedTuple

from parallel_workers.documents.problems import Document, Place
from parallel_workers.documents.tree import Malformed, Parser
from parallel_workers.errors import InvalidInput
from parallel_workers.wording import printable

SYNTAXES = {
    ".json": "json_text",
    ".yaml": "yaml_text",
    ".yml": "yaml_text",
    ".toml": "toml_text",
}
"""By the suffix of a file, the module of this package whose `PARSER` reads its syntax."""

_BEGINS_AS_JSON = re.compile(rb"(?:\s++|#[^\n]*+)*+[\[{]")


class Source(NamedTuple):
    """What was read.

    Attributes:
        name: What messages call it.
        suffix: How its name ends: the last dot and what is behind it, in lower case; or nothing.
        raw: Its bytes, without a byte-order mark.
    """

    name: str
    suffix: str
    raw: bytes

    @property
    def syntax(self) -> str | None:
        """The one of `SYNTAXES` that it has by its suffix or first character; None: no telling."""
        begins_as_json = "json_text" if _BEGINS_AS_JSON.match(self.raw) else None
        return SYNTAXES.get(self.suffix, begins_as_json)

    def text(self) -> str:
        """Return it decoded.

        Raises:
            InvalidInput: It is not UTF-8.
        """
        try:
            return self.raw.decode()
        except UnicodeDecodeError as error:
            line = self.raw.count(b"\n", 0, error.start) + 1
            byte = error.start - self.raw.rfind(b"\n", 0, error.start)
            found = f"0x{self.raw[error.start]:02x} as byte {byte} of the line"
            message = f"is not UTF-8: found {found}; save the file as UTF-8"
            raise InvalidInput([f"{self.name}:{line}: {message}"]) from None


def read_source(path: str | os.PathLike[str]) -> Source:
    """Return the contents of the file `path`, or of the standard input for `-`.

    Raises:
        InvalidInput: It is not there, no file, or cannot be read.
    """
    text = os.fspath(path)
    name = "standard input" if text == "-" else printable(text)
    try:
        raw = _read_input() if text == "-" else _read_file(text)
    except FileNotFoundError:
        raise InvalidInput([f"{name}: there is no such file"]) from None
    except IsADirectoryError:
        raise InvalidInput([f"{name}: is a directory; give a file in it"]) from None
    except PermissionError:
        raise InvalidInput([f"{name}: cannot be read: permission denied"]) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InvalidInput([f"{name}: cannot be read: {why}"]) from None
    raw = raw.removeprefix(codecs.BOM_UTF8)
    return Source(name, suffix_of(text), raw)


def _read_input() -> bytes:
    if sys.stdin is None:
        raise ValueError("it is closed")
    return sys.stdin.buffer.read()


def _read_file(path: str) -> bytes:
    with open(path, "rb") as file:
        # Some devices never end; a terminal does.
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISBLK(mode) or (stat.S_ISCHR(mode) and not file.isatty()):
            raise ValueError("it is a device; give a file")
        return file.read()


def suffix_of(path: str) -> str:
    """Return the suffix of `path` in lower case.

    >>> suffix_of("work.YML"), suffix_of("build")
    ('.yml', '')
    """
    return os.path.splitext(path)[1].lower()


def parse(source: Source, parser: Parser | None = None) -> Document:
    """Return the plain data of `source`.

    Args:
        source: What was read.
        parser: What reads it; None for that of its syntax, which is YAML if nothing tells.

    Raises:
        InvalidInput: It is not UTF-8, empty or not of its syntax.
    """
    text = source.text()
    if parser is None:
        parser = import_module(f"{__package__}.{source.syntax or 'yaml_text'}").PARSER
    faults: list[Malformed] = []
    try:
        data = parser.read(text, faults)
    except Malformed as fault:
        told = _faults([*faults, fault], parser, text)
        raise Document(None, source.name, faults=told).refusal() from None
    find_lines = _line_finder(parser, text)
    return Document(data, source.name, find_lines, faults=_faults(faults, parser, text))


def _faults(faults: list[Malformed], parser: Parser, text: str) -> list[tuple[int, str]]:
    if not faults:
        return []
    line = parser.lines(text)
    return [(0 if fault.mark is None else line(fault.mark), fault.message) for fault in faults]


def _line_finder(
    parser: Parser, text: str
) -> Callable[[Collection[Place]], Mapping[Place, int]] | None:
    find = parser.find
    if find is None:
        return None

    def find_lines(places: Collection[Place]) -> Mapping[Place, int]:
        line = parser.lines(text)
        return {place: line(mark) for place, mark in find(text, places).items()}

    return find_lines
