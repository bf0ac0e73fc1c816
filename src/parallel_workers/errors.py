"""Every error that a user can meet."""

from collections.abc import Sequence
from typing import Any

from parallel_workers.wording import at_most, shorten


class ParallelWorkersError(Exception):
    """The base of all errors that this package raises on purpose."""


class UsageError(ParallelWorkersError):
    """What was asked for cannot be done; the message says what to do instead."""


class StateError(UsageError):
    """What is kept of runs cannot be used; the message says which file, and what to do."""


class NoJournalError(StateError):
    """No run has been recorded in a state directory."""


class LockedError(StateError):
    """Another process keeps what is kept of runs from being used, for as long as it takes."""


class DamageError(StateError):
    """The journal is no database any more, or holds what was never recorded."""


class FieldError(ParallelWorkersError):
    """A field holds what it cannot hold.

    Attributes:
        message: What was found and what to do.
        place: Where in the field it was found, keys and indices from the outside in; () for the
            field itself.
    """

    def __init__(self, message: str, place: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.place = place


class GraphError(ParallelWorkersError):
    """The work graph cannot be what it was asked to be."""


class UnknownTaskError(GraphError, KeyError):
    """A name that no task of the graph has."""

    def __str__(self) -> str:
        # That of KeyError shows its message in quotes.
        return str(self.args[0])


class CycleError(GraphError):
    """Tasks that wait for each other in a circle.

    Attributes:
        names: The tasks of the shortest circle found, each waiting for the one before it; the
            first is not repeated at the end.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        super().__init__(
            f"the task {shorten(names[0])} waits for itself"
            if len(names) == 1
            else f"these tasks wait for each other: {self.circle}"
        )

    @property
    def circle(self) -> str:
        """The circle as a person reads it, `a → b → a`; its middle left out where it is long."""
        names = [shorten(name) for name in self.names]
        if len(names) > 12:
            names[6:-5] = [f"… {len(names) - 11} more …"]
        return " → ".join([*names, names[0]])


class InvalidInput(ParallelWorkersError):  # noqa: N818 - the word that people read
    """A file that cannot be read as a work graph.

    Attributes:
        problems: A line for each thing that is wrong, with where it is and what to do; all that
            were found, though the message shows twenty at most.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(at_most(self.problems, "problem")))


class AttemptError(ParallelWorkersError):
    """An attempt did not succeed, by the word of what runs it and not of a user's function.

    Attributes:
        result: The `CommandResult`, where the attempt was a command; else None.
    """

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.result)


class CommandFailed(AttemptError):  # noqa: N818 - the words of the outcomes
    """A command could not be started, or ended with a status other than 0."""


class TimedOut(AttemptError):  # noqa: N818
    """An attempt took longer than its task's timeout."""


class Cancelled(AttemptError):  # noqa: N818
    """An attempt was ended because the run was."""


class NotConfirmed(ParallelWorkersError):  # noqa: N818
    """A task is parked: somebody has to confirm it first, and nobody could be asked.

    Args:
        question: What is asked.
    """

    def __init__(self, question: str) -> None:
        super().__init__(f"to be confirmed: {question}")
        self.question = question

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.question,)


class NoValueError(ParallelWorkersError, LookupError):
    """A task has no value: it has not ended, did not succeed, or its value was let go."""


class TaskRaised(ParallelWorkersError):  # noqa: N818
    """A task's function raised what is no `Exception`, such as `SystemExit`; see `__cause__`."""


class RunFailed(ExceptionGroup[Exception]):
    """Some tasks of a run did not succeed; holds what each of them raised.

    Attributes:
        run: The `Run`.
    """

    run: Any = None

    def derive(self, excs: Sequence[Exception]) -> "RunFailed":  # type: ignore[override]
        """Return a group of some of these errors, of the same run."""
        derived = RunFailed(self.message, excs)
        derived.run = self.run
        return derived
