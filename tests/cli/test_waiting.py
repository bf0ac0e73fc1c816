"""What another process holds locked: it is said, and the work is done all the same."""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.program import run, started, until, write_work

WAITING = "waiting for another process, which has locked .parallel-workers"
LOCKED = "the state directory .parallel-workers is locked by another process"
HELD_UP = (
    "warning: the journal cannot be written: database is locked; "
    "the run goes on, and it is tried again\n"
)
LACKS = "warning: not all was recorded: the journal .parallel-workers/journal.db lacks "


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory in which there has been a run; the task of the next one waits for `go`."""
    write_work(tmp_path, {"a": "true"})
    assert run(tmp_path, "run").status == 0
    write_work(tmp_path, {"a": "touch a.up; until [ -e go ]; do sleep 0.02; done"})
    return tmp_path


@contextlib.contextmanager
def locked_directory(directory: Path) -> Iterator[Callable[[], None]]:
    """Hold the lock of a state directory; gives what lets it go."""
    fd = os.open(directory / ".parallel-workers", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    yield lambda: fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


@contextlib.contextmanager
def locked_journal(directory: Path) -> Iterator[Callable[[], None]]:
    """Hold the lock of a journal; gives what lets it go."""
    path = directory / ".parallel-workers" / "journal.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection.rollback


def outcomes(directory: Path) -> list[str]:
    """The outcomes that the list of runs tells, the latest last."""
    return [line.split()[-3] for line in run(directory, "runs").output.splitlines()[1:]]


def test_a_locked_state_directory_is_said_and_the_run_goes_on_unrecorded(here: Path) -> None:
    (here / "go").touch()
    with locked_directory(here):
        ended = run(here, "run")
    assert (ended.status, (here / "a.up").exists()) == (3, True)
    [first, second, last] = ended.errors.splitlines()
    assert first == WAITING
    assert second.startswith(f"warning: the run goes on, and nothing of it is recorded: {LOCKED}")
    assert last.startswith(f"warning: not all was recorded: {LOCKED}")
    assert outcomes(here) == ["succeeded"]


@pytest.mark.slow
def test_what_needs_a_locked_state_directory_says_so_and_changes_nothing(here: Path) -> None:
    calls = (
        ("run", "--resume"),
        ("mark", "last", "a", "--failed"),
        ("runs", "prune", "--keep", "0"),
    )
    with locked_directory(here), contextlib.ExitStack() as stack:
        for program in [stack.enter_context(started(here, *words)) for words in calls]:
            ended = program.end()
            assert (ended.status, ended.output) == (2, "")
            assert ended.errors.startswith(f"{WAITING}\nerror: {LOCKED}")
    assert not (here / "a.up").exists()
    assert outcomes(here) == ["succeeded"]


def test_a_state_directory_that_is_let_go_in_time_is_used(here: Path) -> None:
    (here / "go").touch()
    errors = here / "errors"
    with (
        locked_directory(here) as let_go,
        errors.open("wb") as file,
        started(here, "run", stderr=file) as program,
    ):
        until(lambda: errors.read_text() != "")
        let_go()
        assert program.end().status == 0
    assert errors.read_text() == f"{WAITING}\n"
    assert outcomes(here) == ["succeeded", "succeeded"]


@pytest.mark.parametrize("early", [True, False], ids=["from the start", "during the run"])
@pytest.mark.parametrize("for_good", [True, False], ids=["for good", "for a while"])
def test_a_locked_journal_is_said_at_once_and_the_run_goes_on(
    here: Path, early: bool, for_good: bool
) -> None:
    tasks = {"b": "touch b.up", "c": {"command": "until [ -e go ]; do sleep 0.02; done"}}
    write_work(here, {"a": "touch a.up; until [ -e on ]; do sleep 0.02; done", **tasks})
    errors = here / "errors"
    with errors.open("wb") as file, contextlib.ExitStack() as stack:
        let_go = stack.enter_context(locked_journal(here)) if early else None
        program = stack.enter_context(started(here, "run", "-j", "3", stderr=file))
        program.wait_for("a.up", "b.up")
        let_go = let_go or stack.enter_context(locked_journal(here))
        (here / "on").touch()
        until(lambda: errors.read_text() == HELD_UP)
        if not for_good:
            let_go()
        (here / "go").touch()
        status = program.end().status
    told = errors.read_text().removeprefix(HELD_UP)
    if for_good:
        assert (status, told.startswith(LACKS), told.count("\n")) == (3, True, 1)
    else:
        assert (status, told) == (0, "")
        assert outcomes(here) == ["succeeded", "succeeded"]
