"""How the end of an attempt is said."""

import pytest

from parallel_workers.events import CommandResult, Outcome
from parallel_workers.reports.phrases import command_of, ending


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (3, None, "exit status 3 after 1.2 s"),
        (-11, None, "killed by SIGSEGV after 1.2 s"),
        (-9, "out of memory", "killed by SIGKILL after 1.2 s; out of memory"),
        (-42, None, "killed by signal 42 after 1.2 s"),
        (None, "command not found: mkae", "command not found: mkae"),
        (None, None, "not started"),
    ],
)
def test_a_command_that_failed(status: int | None, error: str | None, expected: str) -> None:
    assert ending(Outcome.FAILED, 1.23, CommandResult("make", status, "", 0, error)) == expected


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome.TIMED_OUT, "timed out after 2.0 s"),
        (Outcome.CANCELLED, "cancelled after 2.0 s"),
    ],
)
def test_a_command_that_was_ended(outcome: Outcome, expected: str) -> None:
    assert ending(outcome, 2.01, CommandResult("make", -15, "", 0)) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("no\nrows"), "ValueError: no rows"),
        (KeyError("x"), "KeyError: 'x'"),
        (AssertionError(), "AssertionError"),
        (ValueError("\x1b[31m"), r"ValueError: \x1b[31m"),
    ],
)
def test_a_function_that_raised(error: Exception, expected: str) -> None:
    assert ending(Outcome.FAILED, 1.0, error) == expected


def test_an_exception_that_cannot_say_what_it_is_still_has_a_name() -> None:
    assert "MuteError" in ending(Outcome.FAILED, 1.0, MuteError())


def test_a_command_is_shown_in_one_line_that_is_not_long() -> None:
    command = command_of(CommandResult("make \\\n  all\n" + "x" * 3000, 0, "", 0))
    assert command is not None
    assert command.startswith("make \\ all xxx")
    assert len(command) == 200
    assert command_of(ValueError()) is None
