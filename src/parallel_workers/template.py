r"""`--command 'deploy {name}'`: one shell text for every task, with fields of the task in braces.

The braces are taken out first, which leaves a shell text with a NUL where each field was; then
`quoting` says how values are quoted in each of these places; and then, for every task, its values
are put between the literal pieces.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from parallel_workers.definition import Definition
from parallel_workers.errors import UsageError
from parallel_workers.quoting import PlaceError, quotes_for
from parallel_workers.wording import SHOWN_ITEMS, printable, shorten, shown, suggestion


class Template:
    r"""A command with fields, such as `deploy {name} --to "{region}"`.

    `{{` and `}}` stand for braces. A value is one word, or part of one, exactly as it is; the shell
    that reads the command never expands, splits or executes it. What the program does with it is
    the program's own affair, and quoting cannot help there: a value such as `-rf` may be taken for
    an option (write `-- {name}`), a value that is the first word chooses the program, and a program
    that is itself a language (`ssh`, `awk`, `python -c`) reads its arguments once more.

    Args:
        text: The shell text.

    Raises:
        UsageError: A brace or a quote stands alone, or a field stands where no quoting makes it
            safe; with its place, and what to write instead.

    >>> template = Template('deploy {name} --to "{region}"')
    >>> template.fill({"name": "a/b", "region": "eu"})
    'deploy \'a/b\' --to "eu"'
    >>> print(template.fill({"name": "it's", "region": "$(reboot)"}))
    deploy 'it'\''s' --to ""'$(reboot)'""
    """

    def __init__(self, text: str) -> None:
        if not text.strip():
            raise UsageError("the command template is empty; give a command")
        outline = _take_braces_out(text)
        try:
            quotes = quotes_for(outline.shell)
        except PlaceError as error:
            raise _error_at(outline.origins[error.at], error.message) from None
        self._first, *literals = outline.shell.split("\0")
        self._fields = list(zip(outline.fields, quotes, literals, strict=True))

    def fill(self, fields: Mapping[str, object]) -> str:
        """Return the command of one task.

        Args:
            fields: The values by their names; `fields_of` makes them. "name" is the task's.

        Raises:
            UsageError: The task lacks a field, or its value cannot be a word of a command.
        """
        parts = [self._first]
        for name, quote, literal in self._fields:
            parts.append(quote(_text_of(name, fields)))
            parts.append(literal)
        return "".join(parts)


def fields_of(name: str, position: int, definition: Definition) -> dict[str, object]:
    """Return what a template can use of a task.

    Args:
        name: The task's name.
        position: Its position in the graph.
        definition: What else is known of it.

    Returns:
        `name`, `position`, `duration` in seconds if the task has one, and its `vars`, except those
        that are called like one of the three.

    >>> fields_of("a", 0, Definition(duration=300.0, vars={"name": "x", "region": "eu"}))
    {'name': 'a', 'position': 0, 'duration': 300, 'region': 'eu'}
    """
    own: dict[str, object] = {"name": name, "position": position}
    if (seconds := definition.duration) is not None:
        own["duration"] = int(seconds) if seconds == int(seconds) else seconds
    return own | {key: definition.vars[key] for key in definition.vars if key not in _OWN_FIELDS}


_OWN_FIELDS = ("name", "position", "duration")


class _Outline(NamedTuple):
    """A template without its braces.

    Attributes:
        shell: The shell text, with a NUL in place of each field.
        origins: For each character of `shell`, its index in the template.
        fields: The names of the fields, in order.
    """

    shell: str
    origins: list[int]
    fields: list[str]


_BRACE = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}\0]")


def _take_braces_out(text: str) -> _Outline:
    pieces: list[str] = []
    origins: list[int] = []
    fields: list[str] = []
    end = 0
    for brace in _BRACE.finditer(text):
        at = brace.start()
        # What stands for a brace is a single character, like the NUL for a field.
        origins += range(end, at + 1)
        pieces.append(text[end:at])
        end = brace.end()
        if brace[0] in ("{{", "}}"):
            pieces.append(brace[0][0])
        else:
            pieces.append("\0")
            fields.append(_field_name(brace[0], at))
    pieces.append(text[end:])
    origins += range(end, len(text))
    return _Outline("".join(pieces), origins, fields)


def _field_name(found: str, at: int) -> str:
    if found == "{}":
        raise _error_at(at, "{} names no field; braces of the shell's own are written {{}}")
    if found == "\0":
        raise _error_at(at, "no command can hold a NUL character")
    if len(found) == 1:
        raise _error_at(
            at, f"the {found} stands alone; a brace of the shell's own is written {found}{found}"
        )
    return found[1:-1]


def _error_at(at: int, message: str) -> UsageError:
    return UsageError(f"command template, character {at + 1}: {message}")


def _text_of(name: str, fields: Mapping[str, object]) -> str:
    """Return the value of a field as text; numbers and booleans as JSON writes them."""
    if name not in fields:
        raise UsageError(_unknown(name, fields))
    value = fields[name]
    if isinstance(value, str):
        if "\0" in value or not _can_be_encoded(value):
            raise _unfit(name, fields, "holds a NUL or half a surrogate pair; no command can")
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    raise _unfit(name, fields, f"is {shown(value)}; it has to be text, a number, true or false")


def _can_be_encoded(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)


def _unfit(name: str, fields: Mapping[str, object], why: str) -> UsageError:
    return UsageError(f"{_task(fields)}: the field {_braced(name)} of the command template {why}")


def _unknown(name: str, fields: Mapping[str, object]) -> str:
    known = [_braced(field) for field in fields]
    more = "" if len(known) <= SHOWN_ITEMS else f" and {len(known) - SHOWN_ITEMS} more"
    return (
        f"{_task(fields)} has no field {_braced(name)}{suggestion(name, fields)}; "
        f"it has {', '.join(known[:SHOWN_ITEMS])}{more}; "
        "braces of the shell's own are written {{ and }}"
    )


def _task(fields: Mapping[str, object]) -> str:
    return f"task {printable(shorten(str(fields.get('name', '?'))))}"


def _braced(name: str) -> str:
    return f"{{{printable(shorten(name))}}}"
