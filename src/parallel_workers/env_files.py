"""Files of environment variables, such as `.env`.

    # a comment, which may also stand behind white space
    export HOST=example.org
    GREETING="two words"
    PATTERN='as $it is'

A line sets one variable; of several lines that set the same, the last one counts. White space
around keys and values is left out, and nothing is ever put in for `$NAME`. What stands in quotes
ends on its line; in double ones, \\n, \\r, \\t, \\", \\$, \\` and \\\\ stand for one character.
"""

import os
import re
from collections.abc import Iterable, Mapping

from parallel_workers.definition import PLAIN, read_environment, with_variables
from parallel_workers.errors import FieldError, InvalidInput, UsageError
from parallel_workers.graph import WorkGraph
from parallel_workers.wording import printable, shorten

LARGEST = 1 << 20
"""The most bytes of such a file; no system takes more as the environment of a command."""

_LINE = re.compile(r"(?:export\s+)?([^\s=#'\"]+)\s*=(.*)")
_QUOTED = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)')""")
_COMMENT = re.compile(r"\s#")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$", "`": "`"}


def read_env_files(paths: Iterable[str], directory: str) -> dict[str, str]:
    """Return the variables that files set; those of a later file go over those of an earlier one.

    Args:
        paths: Their paths.
        directory: What those are relative to.

    Raises:
        InvalidInput: Some cannot be read; all problems, each with its file and its line.
    """
    variables: dict[str, str] = {}
    problems: list[str] = []
    for path in paths:
        file = os.path.join(directory, path)
        try:
            variables.update(parse(_read(file), file))
        except InvalidInput as error:
            problems += error.problems
    if problems:
        raise InvalidInput(problems)
    return variables


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            raw = file.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise InvalidInput([f"{path}: larger than {LARGEST:,} bytes, which no command can get"])
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise InvalidInput([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InvalidInput([f"{path}:{line}: not UTF-8; save the file in that encoding"]) from None


def parse(text: str, name: str) -> dict[str, str]:
    """Return the variables that a text sets.

    Args:
        text: What such a file holds.
        name: What the file is called in errors.

    Raises:
        InvalidInput: All that is wrong, each with its line.

    >>> parse("export HOST=localhost  # for tests", ".env")
    {'HOST': 'localhost'}
    """
    variables: dict[str, str] = {}
    problems = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if line and line[0] != "#":
            try:
                variables.update(_variable(line))
            except FieldError as error:
                problems.append(f"{name}:{number}: {error.message}")
    if problems:
        raise InvalidInput(problems)
    return variables


def _variable(line: str) -> Mapping[str, str]:
    found = _LINE.fullmatch(line)
    # What stands there is not told: it may be, or have been meant as, a secret.
    if found is None:
        raise FieldError("this line sets no variable; write KEY=value")
    return read_environment({found[1]: _value(found[1], found[2])})


def _value(key: str, text: str) -> str:
    quoted = _QUOTED.match(text)
    if quoted is not None:
        behind = text[quoted.end() :]
        if behind and (not behind[0].isspace() or behind.lstrip()[0] != "#"):
            raise FieldError(
                f"the value of {shorten(key)} goes on behind its quotes; put all of it into quotes"
            )
        return quoted[2] if quoted[1] is None else _ESCAPE.sub(_unescaped, quoted[1])
    if text.lstrip()[:1] in ('"', "'"):
        raise FieldError(
            f"the quotes around the value of {shorten(key)} do not end; end them on the same line, "
            r"and write a line break as \n within double quotes"
        )
    comment = _COMMENT.search(text)
    return (text[: comment.start()] if comment else text).strip()


def _unescaped(escape: "re.Match[str]") -> str:
    return _ESCAPED.get(escape[1], escape[0])


def read_settings(settings: Iterable[str]) -> dict[str, str]:
    """Return the variables that `--set` sets.

    Args:
        settings: What was typed behind each.

    Raises:
        UsageError: One of them is no `KEY=VALUE`.

    >>> read_settings(["LEVEL=3", "NOTE=a=b"])
    {'LEVEL': '3', 'NOTE': 'a=b'}
    """
    variables: dict[str, str] = {}
    for setting in settings:
        option = f"--set {printable(shorten(setting))}"
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"{option}: write --set KEY=VALUE")
        try:
            setting.encode()
            variables.update(read_environment({key: value}))
        except UnicodeEncodeError:
            raise UsageError(f"{option}: not UTF-8; give it in that encoding") from None
        except FieldError as error:
            raise UsageError(f"{option}: {error.message}") from None
    return variables


def set_for_all(graph: WorkGraph, variables: Mapping[str, str]) -> None:
    """Let all tasks of a graph set variables, whatever they set themselves."""
    numbers = graph.numbers.values()
    old = (graph.definitions.get(number, PLAIN) for number in numbers)
    graph.definitions.update(zip(numbers, with_variables(old, {}, variables), strict=True))
