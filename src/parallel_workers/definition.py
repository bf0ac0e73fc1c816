"""What one task does and how it is run: its fields, and what each may hold.

The same fields mean the same in every place where a task can be described: a work file, a record,
`WorkGraph.add`. So their checks stand here, once, and know nothing of files. Each comes with a JSON
Schema, for editors, which says as much of the same as such a schema can.
"""

import math
import re
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, NamedTuple, TypeAlias, TypedDict

from parallel_workers.durations import LONGEST, PART, parse_duration
from parallel_workers.errors import FieldError
from parallel_workers.wording import shown

_CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
_NOT_IN_NAMES = rf"[{_CONTROLS}\ud800-\udfff]"
MOST_RETRIES = 1_000_000
LARGEST_LIMIT = 1_000_000_000

Schema: TypeAlias = dict[str, Any]
"""What a value must be, in the words of JSON Schema."""


class Definition(NamedTuple):
    """What is known of a task beside its name and its neighbours; give its fields by keyword.

    Dictionaries in it may be shared between tasks; nobody writes to them. (No dataclass, since
    importing those takes longer than all that a small run does before its first command.)

    Attributes:
        command: Text for `/bin/sh -c`, or a list of words that is executed as it is.
        env: Variables set for the command, over those of the program's own environment.
        cwd: The directory that the command starts in, relative to the run's.
        duration: How long it is expected to take, in seconds; a file may say `5m` or `1h 30m`.
        pool: The pool of which it takes one unit while it runs.
        retries: How many times more it is tried when it fails.
        timeout: After how many seconds an attempt is ended; a file may say `5m` or `1h 30m`.
        vars: Free data, for templates and for people.
        description: What it is for.
    """

    command: str | tuple[str, ...] | None = None
    env: dict[str, str] = {}  # noqa: RUF012 - never written
    cwd: str | None = None
    duration: float | None = None
    pool: str | None = None
    retries: int = 0
    timeout: float | None = None
    vars: dict[str, Any] = {}  # noqa: RUF012 - never written
    description: str | None = None


RECORDED_COMMAND = "recorded_command"
"""The key of `vars` that holds what a task ran as it was recorded, in the form of a `command`."""

PLAIN = Definition()
"""The definition of a task of which nothing but its name is known."""


class Fields(TypedDict, total=False):
    """The fields of a `Definition` as keywords, in every form that Python code may give them.

    Without `command`, which decides what a task is.
    """

    env: Mapping[str, str | int]
    cwd: str
    duration: float | str
    pool: str
    retries: int
    timeout: float | str
    vars: dict[str, Any]
    description: str


def check_name(value: object, what: str = "a name") -> str:
    """Return `value` if it can name a task or a pool.

    Args:
        value: What stands where a name should.
        what: What it is called in the error.

    Raises:
        FieldError: It is no text, empty, or holds characters that no terminal line can show.
    """
    if not isinstance(value, str):
        raise FieldError(f"{shown(value)} is not {what}; {what} is text, in quotes")
    if not value:
        raise FieldError(f"{what} cannot be empty")
    if not value.isprintable() and (found := re.search(_NOT_IN_NAMES, value)):
        raise FieldError(
            f"{shown(value)} cannot be {what}: it holds {_character(found[0])}; "
            "leave out line breaks and other control characters"
        )
    return value


def _character(char: str) -> str:
    names = {"\0": "a NUL", "\n": "a line break", "\r": "a carriage return", "\t": "a tab"}
    if "\ud800" <= char <= "\udfff":
        return f"half a surrogate pair (U+{ord(char):04X})"
    return names.get(char, f"the control character U+{ord(char):04X}")


# Not a pattern from `^` to `$`: what that means at a line break depends on the language.
NAME: Schema = {
    "type": "string",
    "minLength": 1,
    "not": {"type": "string", "pattern": f"[{_CONTROLS}]"},
}
"""What `check_name` takes."""


def read_field(name: str, value: object) -> Any:
    """Return what the field `name` of a task holds, checked and in the form `Definition` has.

    Args:
        name: One of `FIELDS`.
        value: What was found, as JSON, YAML, TOML or Python give it.

    Raises:
        FieldError: The value is of the wrong type or out of range.

    >>> read_field("duration", "5m"), read_field("command", ["echo", "hi"])
    (300.0, ('echo', 'hi'))
    """
    check, _ = FIELDS[name]
    return check(value)


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise FieldError(f"{shown(value)} is not {what}; write it as text, in quotes")
    if "\0" in value:
        raise FieldError(f"{what} cannot hold a NUL character")
    _no_halves(value, what)
    return value


def _command(value: object) -> str | tuple[str, ...]:
    if isinstance(value, str):
        if not value.strip():
            raise FieldError('a command cannot be empty; to do nothing, write "true"')
        return _text(value, "a command")
    if not isinstance(value, (list, tuple)):
        raise FieldError(
            f"{shown(value)} is not a command; give text for the shell, or a list of words"
        )
    if not value:
        raise FieldError("a command cannot be an empty list; its first word is the program")
    words = []
    for index, word in enumerate(value):
        try:
            words.append(_text(word, "a word of a command"))
        except FieldError as error:
            raise FieldError(error.message, (index,)) from None
    if not words[0]:
        raise FieldError("the first word of a command is the program; it cannot be empty", (0,))
    return tuple(words)


def read_environment(value: object) -> dict[str, str]:
    """Return `value` as environment variables.

    Raises:
        FieldError: It is no mapping from names to text or whole numbers.

    >>> read_environment({"PORT": 8080})
    {'PORT': '8080'}
    """
    if not isinstance(value, Mapping):
        raise FieldError(
            f'{shown(value)} is not an environment; write names and values, {{"A": "b"}}'
        )
    found = {}
    for name, content in value.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise FieldError(f"{shown(name)} cannot name an environment variable", (name,))
        try:
            if isinstance(content, int) and not isinstance(content, bool):
                content = _digits(content)
            found[_text(name, "the name of a variable")] = _text(content, "the value of a variable")
        except FieldError as error:
            raise FieldError(error.message, (name,)) from None
    return found


def _digits(number: int) -> str:
    try:
        return str(number)
    except ValueError:
        raise FieldError("a number of so many digits cannot be written out; give text") from None


def _directory(value: object) -> str:
    if not _text(value, "a directory"):
        raise FieldError('a directory cannot be empty; "." is the one that the run is in')
    return str(value)


def _duration(value: object) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise FieldError(f"{shown(value)} is not a duration; {error}") from None


def _timeout(value: object) -> float:
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise FieldError(f"{shown(value)} is not a timeout; {error}") from None
    if not seconds:
        raise FieldError("a timeout of 0 would let nothing run; leave it out for none")
    return seconds


def _retries(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_RETRIES:
        raise FieldError(
            f"{shown(value)} is not a number of retries; give a whole number, 0 or more"
        )
    return value


def read_limit(value: object) -> int:
    """Return `value` as the limit of a pool.

    Raises:
        FieldError: It is no whole number from 1.

    >>> read_limit(4)
    4
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_LIMIT:
        raise FieldError(f"{shown(value)} is not a limit of a pool; give a whole number, 1 or more")
    return value


def _pool(value: object) -> str:
    return check_name(value, "the name of a pool")


def _vars(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FieldError(
            f'{shown(value)} is not free data; write names and values, {{"key": "value"}}'
        )
    _check_plain(value)
    return value


def _check_plain(data: dict[str, Any]) -> None:
    """Check that free data is what JSON can hold, so that it can be written and fingerprinted."""
    waiting: list[object] = [data]
    seen: set[int] = set()
    for value in waiting:
        if isinstance(value, (dict, list, tuple)):
            # What Python code gives may hold itself.
            if id(value) not in seen:
                seen.add(id(value))
                waiting += value
                waiting += value.values() if isinstance(value, dict) else ()
            if isinstance(value, dict) and (odd := [key for key in value if type(key) is not str]):
                raise FieldError(f"{shown(odd[0])} cannot be a key of free data; a key is text")
        elif isinstance(value, str):
            _no_halves(value, "free data")
        elif isinstance(value, float) and not math.isfinite(value):
            raise FieldError(f"{value} is no number; leave it out, or write it as text")
        elif not isinstance(value, (int, float, NoneType)):
            raise FieldError(
                f"{shown(value)} cannot be free data; that is text, numbers, true, false, null, "
                "lists and mappings"
            )


def _no_halves(text: str, what: str) -> None:
    if not text.isascii() and re.search("[\ud800-\udfff]", text):
        raise FieldError(f"{what} cannot hold half a surrogate pair")


def _description(value: object) -> str:
    return _text(value, "a description")


# `type` may name several: whatever else a schema says is only about values of the type it fits.
_TEXT: Schema = {"type": "string", "pattern": r"^[^\x00]*$"}
_COMMAND: Schema = {
    "type": ["string", "array"],
    "pattern": r"^\s*[^\s\x00][^\x00]*$",
    "minItems": 1,
    "prefixItems": [{**_TEXT, "minLength": 1}],
    "items": _TEXT,
}
_ENVIRONMENT: Schema = {
    "type": "object",
    "propertyNames": {"pattern": r"^[^=\x00]+$"},
    "additionalProperties": {**_TEXT, "type": ["string", "integer"]},
}
_DURATION: Schema = {
    "type": ["number", "string"],
    "minimum": 0,
    "maximum": LONGEST,
    # A number without a unit stands alone.
    "pattern": rf"^\s*(?:{PART}|(?:{PART.removesuffix('?')} *)+)\s*$",
}
_TIMEOUT: Schema = {**_DURATION, "exclusiveMinimum": 0, "allOf": [{"pattern": "[1-9]"}]}

LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": LARGEST_LIMIT}
"""What `read_limit` takes."""

FIELDS: dict[str, tuple[Callable[[object], Any], Schema]] = {
    "command": (_command, _COMMAND),
    "env": (read_environment, _ENVIRONMENT),
    "cwd": (_directory, {**_TEXT, "minLength": 1}),
    "duration": (_duration, _DURATION),
    "pool": (_pool, NAME),
    "retries": (_retries, {"type": "integer", "minimum": 0, "maximum": MOST_RETRIES}),
    "timeout": (_timeout, _TIMEOUT),
    "vars": (_vars, {"type": "object"}),
    "description": (_description, _TEXT),
}
"""The fields of a task, each with the function that checks it, and the schema of what it takes."""
