"""How the end of an attempt is said; in the same words while a run goes on and after it."""

from typing import Any

from parallel_workers.durations import format_duration
from parallel_workers.events import CommandResult, Outcome
from parallel_workers.wording import one_line, shorten

_LONGEST = 200


def name_of(task: str) -> str:
    """Return the name of a task as a line shows it, cut where it is very long."""
    return shorten(task, _LONGEST)


def command_of(result: Any) -> str | None:
    """Return the command of an attempt in one line; None for an attempt of a function."""
    return one_line(result.command, _LONGEST) if isinstance(result, CommandResult) else None


def ending(outcome: Outcome, seconds: float, result: Any) -> str:
    """Say how an attempt ended that did not succeed.

    Args:
        outcome: How it ended, in one word.
        seconds: How long it took.
        result: A `CommandResult`, or the exception of a function.

    >>> ending(Outcome.FAILED, 1.25, CommandResult("make", 3, "make.log", 0))
    'exit status 3 after 1.2 s'
    >>> ending(Outcome.FAILED, 0.5, CommandResult("make", -11, "make.log", 0))
    'killed by SIGSEGV after 500 ms'
    >>> ending(Outcome.TIMED_OUT, 0.5, CommandResult("test -e done", -15, "", 0, "done-if"))
    'timed out after 500 ms; done-if'
    >>> ending(Outcome.FAILED, 0.5, ValueError("no rows"))
    'ValueError: no rows'
    """
    if isinstance(result, BaseException):
        return _exception(result)
    if outcome is Outcome.FAILED and isinstance(result, CommandResult):
        return _command_ending(result, seconds)
    how = f"{outcome.replace('_', ' ')} after {format_duration(seconds)}"
    return _with_error(how, result.error) if isinstance(result, CommandResult) else how


def _command_ending(result: CommandResult, seconds: float) -> str:
    if result.status is None:
        return one_line(result.ending, _LONGEST)
    how, _, error = result.ending.partition("; ")
    return _with_error(f"{how} after {format_duration(seconds)}", error)


def _with_error(how: str, error: str | None) -> str:
    return f"{how}; {one_line(error, _LONGEST)}" if error else how


def _exception(error: BaseException) -> str:
    # Unlike str(), this gets along with an exception that cannot say what it is.
    from traceback import format_exception_only

    return one_line(format_exception_only(error)[-1], _LONGEST)
