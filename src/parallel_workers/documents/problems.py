"""What is wrong with a document or strange in it: collected by readers, told all together.

A reader works on plain data and says *where* by a place: the keys and indices that lead there.
Lines of the text are looked up only when there is something to tell.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from parallel_workers.errors import InvalidInput
from parallel_workers.wording import (
    SHOWN_ITEMS,
    SHOWN_NAME,
    plural,
    printable,
    shown,
    suggestion,
)

Place: TypeAlias = tuple[str | int, ...]
"""The way from the root of a document to a part of it: the keys and indices on it."""

MOST_PROBLEMS = 50_000
"""How many problems of one document are looked for: nobody reads them, and each takes time."""

MOST_COMPARED = 100_000
"""With how many known names those that are not known are compared, in one document."""

_PLAIN_KEY = re.compile(r"[\w@/-]+")


class Problem(NamedTuple):
    """One thing to tell about a document.

    Attributes:
        message: What was found and what to do.
        subject: Whom it is about, as people call it: `task build`; or nothing.
        place: Where the subject stands.
        field: The way on from there to what the message is about.
    """

    message: str
    subject: str = ""
    place: Place = ()
    field: Place = ()


class TooManyProblems(Exception):  # noqa: N818 - no error, but the end of reading
    """There is no use in reading on; the findings have the problems."""


class Findings:
    """What a reader has found so far.

    Attributes:
        problems: What makes the document unusable.
        warnings: What is strange, but can be read.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._compared = 0

    def about(self, subject: str = "", place: Place = ()) -> "About":
        """Return where to tell of `subject`, which stands at `place`."""
        return About(self, subject, place)

    def suggestion(self, word: str, known: Collection[str]) -> str:
        """Return `; did you mean "x"?` for the nearest of `known`, or nothing.

        Looking for it is slow, and nobody sees more than the first problems: later ones get none.
        """
        if len(self.problems) >= SHOWN_ITEMS or self._compared > MOST_COMPARED:
            return ""
        self._compared += len(known)
        return suggestion(word, known)


class About(NamedTuple):
    """One subject of a document, and where to tell what is found about it."""

    findings: Findings
    subject: str
    place: Place

    def problem(self, message: str, *field: str | int) -> None:
        """Add a problem, found at `field` of the subject.

        Raises:
            TooManyProblems: There are more than `MOST_PROBLEMS` now.
        """
        problems = self.findings.problems
        if len(problems) == MOST_PROBLEMS:
            problems.insert(
                0, Problem(f"more than {plural(MOST_PROBLEMS, 'problem')}; these are some")
            )
            raise TooManyProblems
        problems.append(Problem(message, self.subject, self.place, field))

    def warn(self, message: str, *field: str | int) -> None:
        """Add a warning, found at `field` of the subject."""
        self.findings.warnings.append(Problem(message, self.subject, self.place, field))


class Document(NamedTuple):
    """Plain data, and how to say where a part of it stands.

    Attributes:
        data: What the text says: dictionaries, lists, text, numbers, booleans, None.
        name: What messages call the file; nothing for data that came from Python.
        find_lines: Gives the lines of those places that have one; None where nothing has.
        root: What messages call the whole where a place tells more than a line.
        faults: What is wrong with the text itself: a line, 0 for none, and what to tell.
    """

    data: object
    name: str = ""
    find_lines: Callable[[Collection[Place]], Mapping[Place, int]] | None = None
    root: str = ""
    faults: Sequence[tuple[int, str]] = ()

    def refusal(self, problems: Collection[Problem] = ()) -> InvalidInput:
        """Return the error that tells of the faults of the text and of `problems`."""
        told = [(line, self._at_line(line, message)) for line, message in self.faults]
        return InvalidInput(_in_order(told + self._told(problems)))

    def tell(self, problems: Collection[Problem]) -> list[str]:
        """Return a line for each of `problems`, in the order of the document."""
        return _in_order(self._told(problems))

    def _told(self, problems: Collection[Problem]) -> list[tuple[int, str]]:
        if not problems:
            return []
        if self.find_lines is None:
            return [(0, self._by_place(problem)) for problem in problems]
        lines = self.find_lines({problem.place + problem.field for problem in problems})
        return [self._by_line(problem, lines) for problem in problems]

    def _by_line(self, problem: Problem, lines: Mapping[Place, int]) -> tuple[int, str]:
        place = problem.place + problem.field
        # What is not there, or came by a merge, has no line: the nearest thing around it has.
        while place and place not in lines:
            place = place[:-1]
        line = lines.get(place, 0)
        message = _join(problem.subject, show_place(problem.field), problem.message)
        return line, self._at_line(line, message)

    def _at_line(self, line: int, message: str) -> str:
        return printable(_join(f"{self.name}:{line}" if line else self.name, message))

    def _by_place(self, problem: Problem) -> str:
        place = show_place(problem.place + problem.field, self.root)
        named = problem.place and isinstance(problem.place[-1], str)
        subject = "" if named else problem.subject
        return printable(_join(self.name, place, subject, problem.message))


def _join(*parts: str) -> str:
    return ": ".join(part for part in parts if part)


def _in_order(told: list[tuple[int, str]]) -> list[str]:
    return [text for _, text in sorted(told, key=lambda pair: pair[0])]


def show_place(place: Place, root: str = "") -> str:
    """Return `place` as a person reads it.

    >>> show_place(("tasks", "build", "after", 0)), show_place((3, "a b"), "records")
    ('tasks.build.after[0]', 'records[3]."a b"')
    """
    text = root
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            short = isinstance(step, str) and len(step) <= SHOWN_NAME
            text += f".{step if short and _PLAIN_KEY.fullmatch(step) else shown(step)}"
    return text.removeprefix(".")
