"""Journals made by hand: runs of tasks that never ran."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from parallel_workers.events import CommandResult, Event, Outcome, TaskEnded, TaskStarted
from parallel_workers.history import History, RunRecord
from parallel_workers.journal import Journal, RunFacts
from parallel_workers.state import new_run

EPOCH = 1_700_000_000.0


def digest_of(name: str, version: int = 1) -> bytes:
    return f"{name} {version}".encode()


def declared(names: Iterable[str], version: int = 1) -> list[tuple[str, bytes]]:
    """What a journal is told of tasks."""
    return [(name, digest_of(name, version)) for name in names]


def facts(run: str, *, file: str = "work.yaml", started: float = EPOCH, jobs: int = 2) -> RunFacts:
    return RunFacts(run, b"graph", file, ["run", file], jobs, started)


def begun(state: Path, names: Iterable[str], *, durable: bool = False) -> tuple[Journal, str]:
    """Return the journal of a run that has begun, and its id."""
    journal = Journal.open(str(state), durable=durable)
    run, _ = new_run(str(state))
    journal.begin(facts(run), declared(names))
    return journal, run


def recorded(state: Path, events: Sequence[Event], names: Iterable[str] = "abc") -> str:
    """Record a run that is over; return its id."""
    journal, run = begun(state, names)
    journal(events)
    journal.close("failed")
    journal.release()
    assert journal.incomplete is None
    return run


def starts(*names: str, attempt: int = 1, time: float = 0.0) -> list[Event]:
    return [TaskStarted(EPOCH + time, name, attempt) for name in names]


def ends(
    *names: str,
    outcome: Outcome = Outcome.SUCCEEDED,
    attempt: int = 1,
    seconds: float = 0.5,
    time: float = 1.0,
    result: object = None,
    cause: str | None = None,
    forgiven: bool = False,
) -> list[Event]:
    return [
        TaskEnded(EPOCH + time, name, attempt, outcome, seconds, 1.0, result, cause, forgiven)
        for name in names
    ]


def result(log: str, status: int | None = 0, error: str | None = None) -> CommandResult:
    return CommandResult("make", status, log, 100, error)


def done_in(history: History, run: RunRecord) -> dict[str, bytes]:
    """By name, the digests of the tasks of a run that need not be done again."""
    words = history.words(run, history.names_in(run))
    return {name: word.digest for name, word in words.items() if word.is_done}


def marked_in(history: History, run: RunRecord) -> set[str]:
    """The tasks of a run that are done by the word of a person only."""
    words = history.words(run, history.names_in(run))
    return {name for name, word in words.items() if word.marked and word.is_done}
