"""What one task does and how it is run: its fields, and what each may hold.

The same fields mean the same in every place where a task can be described: a work file, a record,
`WorkGraph.add`. So their checks stand here, once, and know nothing of files. Each comes with a JSON
Schema, for editors, which says as much of the same as such a schema can.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import NoneType
from typing import Any, NamedTuple, TypeAlias, TypedDict, TypeGuard

from parallel_workers.durations import LONGEST, PART, parse_duration
from parallel_workers.errors import FieldError
from parallel_workers.wording import shown

_CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
_NOT_IN_NAMES = rf"[{_CONTROLS}\ud800-\udfff]"
MOST_RETRIES = 1_000_000
LARGEST_LIMIT = 1_000_000_000
LARGEST_PORT = 65_535

SET_BY_RUNS = ("PW_TASK", "PW_ATTEMPT", "PW_POSITION", "PW_OUTPUTS", "PW_RUN", "PW_RUNNER")
"""The variables that a run sets for each of its commands; nobody else can."""

Schema: TypeAlias = dict[str, Any]
"""What a value must be, in the words of JSON Schema."""


class Retries(NamedTuple):
    """How a task is tried again when it fails.

    Attributes:
        times: How many times more.
        delay: Seconds before the second attempt.
        backoff: By what the delay is multiplied after each further failure.
        jitter: By what part of itself, from 0 to 1, a delay may be longer or shorter, at random; so
            that many that failed together do not come back together.
        on: The exit statuses of a command after which it is tried again; none for all.
    """

    times: int
    delay: float = 0.0
    backoff: float = 1.0
    jitter: float = 0.0
    on: tuple[int, ...] = ()

    def pause(self, failures: int, chance: float) -> float:
        """Return how many seconds to wait before the next attempt.

        Args:
            failures: How many attempts have failed, at least 1.
            chance: A random number from 0 to 1.

        >>> Retries(3, delay=2.0, backoff=3.0).pause(failures=2, chance=0.5)
        6.0
        """
        try:
            seconds = self.delay * self.backoff ** (failures - 1)
        except OverflowError:
            seconds = LONGEST
        return min(seconds * (1 + self.jitter * (2 * chance - 1)), LONGEST)


class Service(NamedTuple):
    """How it shows that a service is up; in one of these ways.

    Attributes:
        ready: A command that exits with 0 from then on.
        port: A port of this machine that somebody listens at from then on.
        log: Text that the service writes then.
    """

    ready: str | tuple[str, ...] | None = None
    port: int | None = None
    log: str | None = None


class Definition(NamedTuple):
    """What is known of a task beside its name and its neighbours; give its fields by keyword.

    Dictionaries in it may be shared between tasks; nobody writes to them. (No dataclass, since
    importing those takes longer than all that a small run does before its first command.)

    Attributes:
        command: Text for `/bin/sh -c`, or a list of words that is executed as it is.
        env: Variables set for the command, over those of the program's own environment.
        cwd: The directory that the command starts in, relative to the run's.
        duration: How long it is expected to take, in seconds; a file may say `5m` or `1h 30m`.
        pool: The pool of which it takes one unit while it runs, or by name how many units of which.
        retries: How many times more it is tried when it fails; with more than that, as `Retries`.
        timeout: After how many seconds an attempt is ended; a file may say `5m` or `1h 30m`.
        allow_failure: Whether its failure counts as a success for the run and for its successors.
        always: Whether it runs however what it waits for has ended.
        done_if: A command whose exit status 0 says that the task is done without being run.
        confirm: What a person is asked before it starts.
        console: Whether it has the terminal, for input too, and alone, while it runs.
        service: How it shows that it is up, where it runs in the background for as long as the
            tasks behind it need it.
        vars: Free data, for templates and for people.
        description: What it is for.
    """

    command: str | tuple[str, ...] | None = None
    env: dict[str, str] = {}  # noqa: RUF012 - never written
    cwd: str | None = None
    duration: float | None = None
    pool: str | dict[str, int] | None = None
    retries: int | Retries = 0
    timeout: float | None = None
    allow_failure: bool = False
    always: bool = False
    done_if: str | tuple[str, ...] | None = None
    confirm: str | None = None
    console: bool = False
    service: Service | None = None
    vars: dict[str, Any] = {}  # noqa: RUF012 - never written
    description: str | None = None

    @property
    def needs(self) -> Mapping[str, int]:
        """By pool, how many units of it the task needs."""
        if isinstance(self.pool, str):
            return {self.pool: 1}
        return self.pool or {}

    @property
    def retrying(self) -> Retries:
        """How it is tried again when it fails."""
        return self.retries if isinstance(self.retries, Retries) else Retries(self.retries)


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
    pool: str | Mapping[str, int]
    retries: int | Retries | Mapping[str, Any]
    timeout: float | str
    allow_failure: bool
    always: bool
    done_if: str | Sequence[str]
    confirm: str
    console: bool
    service: Service | Mapping[str, Any]
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
        FieldError: It is no mapping from names, other than those of `SET_BY_RUNS`, to text or whole
            numbers.

    >>> read_environment({"PORT": 8080})
    {'PORT': '8080'}
    """
    if not isinstance(value, Mapping):
        raise FieldError(
            f'{shown(value)} is not an environment; write names and values, {{"A": "b"}}'
        )
    found = {}
    for name, content in value.items():
        try:
            check_variable(name)
            if isinstance(content, int) and not isinstance(content, bool):
                content = _digits(content)
            found[_text(name, "the name of a variable")] = _text(content, "the value of a variable")
        except FieldError as error:
            raise FieldError(error.message, (name,)) from None
    return found


def check_variable(name: object) -> None:
    """Refuse what cannot name an environment variable of a command.

    Args:
        name: What stands where a name should.

    Raises:
        FieldError: It cannot, or is the name of one that the run sets itself.
    """
    if not isinstance(name, str) or not name or "=" in name or "\0" in name:
        raise FieldError(f"{shown(name)} cannot name an environment variable")
    if name in SET_BY_RUNS:
        raise FieldError(f"{name} is set by the run itself, for each command; choose another name")


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


def _retries(value: object) -> int | Retries:
    if isinstance(value, Retries):
        value = {name: part for name, part in value._asdict().items() if part != ()}
    if not isinstance(value, Mapping):
        return _times(value)
    _check_names(value, _RETRIES, "retries")
    if "times" not in value:
        raise FieldError("retries without a number; say how many times, as in {times: 3}")
    retries = Retries(
        **{name: _in(name, check, value[name]) for name, check in _RETRIES.items() if name in value}
    )
    return retries.times if retries == Retries(retries.times) else retries


def _times(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_RETRIES:
        raise FieldError(
            f"{shown(value)} is not a number of retries; give a whole number, 0 or more"
        )
    return value


def _backoff(value: object) -> float:
    if not _is_number(value) or not 1 <= value <= LARGEST_LIMIT:
        raise FieldError(
            f"{shown(value)} is not a backoff; give a number from 1, by which delays are multiplied"
        )
    return float(value)


def _jitter(value: object) -> float:
    if not _is_number(value) or not 0 <= value <= 1:
        raise FieldError(f"{shown(value)} is not a jitter; give a part of the delay, from 0 to 1")
    return float(value)


def _statuses(value: object) -> tuple[int, ...]:
    if not isinstance(value, (list, tuple)) or not value:
        raise FieldError(f"{shown(value)} is not a list of exit statuses; write them as [1, 75]")
    for index, status in enumerate(value):
        if isinstance(status, bool) or not isinstance(status, int) or not 1 <= status <= 255:
            raise FieldError(
                f"{shown(status)} is not an exit status of a failure; that is a whole number from "
                "1 to 255",
                (index,),
            )
    return tuple(value)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_names(given: Mapping[Any, Any], known: Collection[str], what: str) -> None:
    for name in given:
        if name not in known:
            raise FieldError(f"{what} have no {shown(name)}; they have {', '.join(known)}", (name,))


def _in(name: str | int, check: Callable[[object], Any], value: object) -> Any:
    """Return what stands under a name or an index inside a field, checked."""
    try:
        return check(value)
    except FieldError as error:
        raise FieldError(error.message, (name, *error.place)) from None


_RETRIES: dict[str, Callable[[object], Any]] = {
    "times": _times,
    "delay": _duration,
    "backoff": _backoff,
    "jitter": _jitter,
    "on": _statuses,
}


def _question(value: object) -> str:
    question = check_name(value, "a question")
    if not question.strip():
        raise FieldError("a question cannot be empty; leave it out to ask nothing")
    return question


def _service(value: object) -> Service:
    if isinstance(value, Service):
        value = {name: part for name, part in value._asdict().items() if part is not None}
    if not isinstance(value, Mapping):
        raise FieldError(
            f'{shown(value)} does not say how a service is known to be up; write {{"port": 5432}}, '
            '{"log": "listening"} or {"ready": "a command"}'
        )
    _check_names(value, _SERVICE, "services")
    if len(value) != 1:
        found = "several ways" if value else "nothing"
        raise FieldError(f"{found} by which it is known to be up; give one of {_ways()}")
    return Service(**{name: _in(name, _SERVICE[name], part) for name, part in value.items()})


def _ways() -> str:
    return ", ".join(_SERVICE)


def _port(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_PORT:
        raise FieldError(f"{shown(value)} is not a port; give a number from 1 to {LARGEST_PORT:,}")
    return value


def _written(value: object) -> str:
    if not _text(value, "text of a log"):
        raise FieldError("any log holds the empty text; give some of what the service writes")
    return str(value)


_SERVICE: dict[str, Callable[[object], Any]] = {"ready": _command, "port": _port, "log": _written}


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise FieldError(f"{shown(value)} is neither true nor false")
    return value


def read_paths(value: object) -> list[str]:
    """Return `value` as the paths of files: one as text, or a list.

    Raises:
        FieldError: It is neither.

    >>> read_paths(".env")
    ['.env']
    """
    if not isinstance(value, (list, tuple)):
        return [_path(value)]
    return [_in(index, _path, path) for index, path in enumerate(value)]


def _path(value: object) -> str:
    if not _text(value, "the path of a file"):
        raise FieldError("the path of a file cannot be empty")
    return str(value)


def with_variables(
    definitions: Iterable[Definition], beneath: Mapping[str, str], above: Mapping[str, str]
) -> Iterator[Definition]:
    """Yield definitions that set more variables; equal objects stay one.

    Args:
        definitions: Of tasks.
        beneath: Variables that each sets unless it sets them itself.
        above: Variables that each sets whatever it sets itself.

    >>> [found] = with_variables([Definition(env={"A": "own"})], {"A": "1", "B": "2"}, {})
    >>> found.env
    {'A': 'own', 'B': '2'}
    """
    # The old ones are kept, too, lest another is made at the same place.
    made: dict[int, tuple[Definition, Definition]] = {}
    for old in definitions:
        if id(old) not in made:
            made[id(old)] = old, old._replace(env={**beneath, **old.env, **above})
        yield made[id(old)][1]


def read_limit(value: object) -> int:
    """Return `value` as the limit of a pool.

    Raises:
        FieldError: It is no whole number from 1.

    >>> read_limit(4)
    4
    """
    return _units(value, "a limit of a pool")


def _pool(value: object) -> str | dict[str, int] | None:
    if not isinstance(value, Mapping):
        return check_name(value, "the name of a pool")
    needs = {}
    for name, units in value.items():
        needs[check_name(name, "the name of a pool")] = _in(name, _units, units)
    if len(needs) == 1 and (name := next(iter(needs))) and needs[name] == 1:
        return name
    return needs or None


def _units(value: object, what: str = "a number of units") -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_LIMIT:
        raise FieldError(f"{shown(value)} is not {what}; give a whole number, 1 or more")
    return value


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
ENVIRONMENT: Schema = {
    "type": "object",
    "propertyNames": {"pattern": r"^[^=\x00]+$", "not": {"enum": list(SET_BY_RUNS)}},
    "additionalProperties": {**_TEXT, "type": ["string", "integer"]},
}
"""What `read_environment` takes."""

_DURATION: Schema = {
    "type": ["number", "string"],
    "minimum": 0,
    "maximum": LONGEST,
    # A number without a unit stands alone.
    "pattern": rf"^\s*(?:{PART}|(?:{PART.removesuffix('?')} *)+)\s*$",
}
_TIMEOUT: Schema = {**_DURATION, "exclusiveMinimum": 0, "allOf": [{"pattern": "[1-9]"}]}

PATHS: Schema = {
    **_TEXT,
    "type": ["string", "array"],
    "minLength": 1,
    "items": {**_TEXT, "minLength": 1},
}
"""What `read_paths` takes."""

LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": LARGEST_LIMIT}
"""What `read_limit` takes."""

_POOL: Schema = {
    **NAME,
    "type": ["string", "object"],
    "propertyNames": NAME,
    "additionalProperties": LIMIT,
}
_TIMES: Schema = {"type": "integer", "minimum": 0, "maximum": MOST_RETRIES}
_RETRYING: Schema = {
    **_TIMES,
    "type": ["integer", "object"],
    "required": ["times"],
    "properties": {
        "times": _TIMES,
        "delay": _DURATION,
        "backoff": {"type": "number", "minimum": 1, "maximum": LARGEST_LIMIT},
        "jitter": {"type": "number", "minimum": 0, "maximum": 1},
        "on": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "integer", "minimum": 1, "maximum": 255},
        },
    },
    "additionalProperties": False,
}
_FLAG: Schema = {"type": "boolean"}

_SERVICES: Schema = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "properties": {
        "ready": _COMMAND,
        "port": {"type": "integer", "minimum": 1, "maximum": LARGEST_PORT},
        "log": {**_TEXT, "minLength": 1},
    },
    "additionalProperties": False,
}

FIELDS: dict[str, tuple[Callable[[object], Any], Schema]] = {
    "command": (_command, _COMMAND),
    "env": (read_environment, ENVIRONMENT),
    "cwd": (_directory, {**_TEXT, "minLength": 1}),
    "duration": (_duration, _DURATION),
    "pool": (_pool, _POOL),
    "retries": (_retries, _RETRYING),
    "timeout": (_timeout, _TIMEOUT),
    "allow-failure": (_flag, _FLAG),
    "always": (_flag, _FLAG),
    "done-if": (_command, _COMMAND),
    "confirm": (_question, {**NAME, "allOf": [{"pattern": r"\S"}]}),
    "console": (_flag, _FLAG),
    "service": (_service, _SERVICES),
    "vars": (_vars, {"type": "object"}),
    "description": (_description, _TEXT),
}
"""The fields of a task as files name them, each with the function that checks it, and the schema of
what it takes."""

ATTRIBUTES = {field: field.replace("-", "_") for field in FIELDS}
"""By field, what it is called in Python."""

FIELD_OF = {attribute: field for field, attribute in ATTRIBUTES.items()}
"""The other way round: by what it is called in Python, the field."""
