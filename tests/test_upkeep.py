"""What people change in a journal: marks, and runs that are forgotten."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from parallel_workers.errors import UsageError
from parallel_workers.events import Outcome
from parallel_workers.history import History
from parallel_workers.journal import LARGEST_VALUE, Journal
from parallel_workers.journal_schema import is_locked, lock_path, lock_run, set_aside
from parallel_workers.state import run_id, user_name
from parallel_workers.upkeep import Upkeep
from tests.support.journals import (
    EPOCH,
    begun,
    declared,
    digest_of,
    done_in,
    ends,
    facts,
    marked_in,
    recorded,
    starts,
)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def mark(state: Path, names: str, outcome: Outcome) -> None:
    upkeep = Upkeep.open(str(state))
    upkeep.mark(upkeep.find_run("last"), names, outcome)
    upkeep.release()


def completed(state: Path) -> set[str]:
    history = History.open(str(state))
    return set(done_in(history, history.find_run("last")))


class TestMark:
    """What a person knows."""

    def test_a_mark_is_kept_as_what_it_is(self, state: Path) -> None:
        recorded(state, [*starts("a"), *ends("a", outcome=Outcome.FAILED)])
        before = time.time()
        mark(state, "a", Outcome.SUCCEEDED)
        history = History.open(str(state))
        task = history.tasks(history.find_run("last"))[0]
        assert task.mark is not None
        assert (task.outcome, task.mark.outcome) == ("succeeded", "succeeded")
        assert task.mark.user == user_name()
        assert before <= task.mark.time <= time.time()
        assert [attempt.outcome for attempt in task.attempts] == ["failed"]
        assert completed(state) == {"a"}

    def test_the_latest_mark_counts(self, state: Path) -> None:
        recorded(state, [*starts("a"), *ends("a")])
        mark(state, "ab", Outcome.FAILED)
        assert completed(state) == set()
        history = History.open(str(state))
        assert history.failed_last(history.find_run("last")) == ["a", "b"]
        mark(state, "b", Outcome.SUCCEEDED)
        assert completed(state) == {"b"}

    def test_what_happens_after_a_mark_counts_more(self, state: Path) -> None:
        run = recorded(state, [*starts("a"), *ends("a")])
        mark(state, "ab", Outcome.FAILED)
        mark(state, "c", Outcome.SUCCEEDED)
        journal = Journal.open(str(state))
        journal.begin(facts(run, started=2e9), declared("abc"))
        assert completed(state) == {"c"}
        journal([*starts("a", attempt=2), *ends("a", attempt=2), *starts("b")])
        journal.close("interrupted")
        assert completed(state) == {"a", "c"}

    def test_a_mark_is_still_told_of_when_the_run_has_gone_on(self, state: Path) -> None:
        run = recorded(state, [*starts("a"), *ends("a", outcome=Outcome.FAILED)])
        mark(state, "a", Outcome.SUCCEEDED)
        journal = Journal.open(str(state))
        journal.begin(facts(run, started=2e9), declared("abc"))
        journal(ends("a", outcome=Outcome.CACHED, attempt=0, seconds=0.0))
        journal.close("succeeded")
        history = History.open(str(state))
        task = history.tasks(history.find_run("last"))[0]
        assert (task.outcome, task.mark is not None) == ("cached", True)
        assert marked_in(history, history.find_run("last")) == {"a"}

    def test_a_mark_is_on_what_the_task_did_then(self, state: Path) -> None:
        run = recorded(state, [])
        mark(state, "a", Outcome.SUCCEEDED)
        journal = Journal.open(str(state))
        journal.begin(facts(run, started=2e9), declared("abc", version=2))
        journal.close("interrupted")
        history = History.open(str(state))
        assert done_in(history, history.find_run("last")) == {"a": digest_of("a")}

    def test_a_task_that_there_is_not_marks_none(self, state: Path) -> None:
        recorded(state, [], ["alpha", "beta"])
        upkeep = Upkeep.open(str(state))
        run = upkeep.find_run("last")
        with pytest.raises(UsageError, match=r'has no task alpa; did you mean "alpha"\?'):
            upkeep.mark(run, ["beta", "alpa"], Outcome.SUCCEEDED)
        assert completed(state) == set()

    def test_tasks_of_a_running_run_cannot_be_marked(self, state: Path) -> None:
        journal, run = begun(state, "a")
        with pytest.raises(UsageError, match=f"run {run} is running, in process {os.getpid()}"):
            mark(state, "a", Outcome.SUCCEEDED)
        journal.close("failed")
        mark(state, "a", Outcome.SUCCEEDED)


class TestPrune:
    """Runs that are forgotten."""

    def test_nothing_is_left_of_what_is_forgotten(self, state: Path) -> None:
        journal, old = begun(state, "ab")
        for name, size in (("a", 10), ("b", LARGEST_VALUE + 1)):
            journal.save_value(name, digest_of(name), b"x" * size)
        journal([*starts("a", "b"), *ends("a", "b")])
        journal.close("succeeded")
        journal.release()
        mark(state, "a", Outcome.FAILED)
        kept = recorded(state, [*starts("a"), *ends("a")])
        upkeep = Upkeep.open(str(state))
        assert [run.id for run in upkeep.prune([upkeep.find_run(old)])] == [old]
        assert os.listdir(state / "runs") == os.listdir(state / "locks") == [kept]
        assert [run.id for run in upkeep.runs()] == [kept]
        assert completed(state) == {"a"}
        for table, rows in (
            *(("run", 1), ("session", 1), ("task", 3), ("start", 0), ("finish", 1)),
            *(("mark", 0), ("value", 0)),
        ):
            count = upkeep._connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert (table, *count) == (table, rows)

    def test_a_run_that_is_running_is_never_forgotten(self, state: Path) -> None:
        journal, running = begun(state, "a")
        over = recorded(state, [])
        upkeep = Upkeep.open(str(state))
        assert [run.id for run in upkeep.prune(upkeep.runs())] == [over]
        journal(ends("a"))
        journal.close("succeeded")
        assert [run.id for run in upkeep.runs()] == [running]
        assert completed(state) == {"a"}

    def test_a_run_whose_directory_is_gone_can_be_forgotten(self, state: Path) -> None:
        run = recorded(state, [])
        os.rmdir(state / "runs" / run)
        upkeep = Upkeep.open(str(state))
        assert len(upkeep.prune(upkeep.runs())) == 1
        assert upkeep.count() == 0

    def test_what_cannot_be_forgotten_keeps_its_logs(self, state: Path) -> None:
        run = recorded(state, [*starts("a"), *ends("a")])
        (state / "runs" / run / "1-a.1.log").touch()
        other = sqlite3.connect(state / "journal.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        upkeep = Upkeep.open(str(state))
        upkeep._connection.execute("PRAGMA busy_timeout = 0")
        with pytest.raises(UsageError, match=r"cannot be used: database is locked$"):
            upkeep.prune(upkeep.runs())
        assert os.listdir(state / "runs" / run) == ["1-a.1.log"]
        assert completed(state) == {"a"}

    def test_killed_before_files_are_deleted_the_next_one_deletes_them(self, state: Path) -> None:
        runs = [recorded(state, [*starts("a"), *ends("a")]) for _ in range(3)]
        for run in runs:
            (state / "runs" / run / "1-a.1.log").touch()
        program = """
            import os, signal, sys
            from parallel_workers.upkeep import Upkeep
            def die(event, arguments):
                if event == "shutil.rmtree":
                    os.kill(os.getpid(), signal.SIGKILL)
            sys.addaudithook(die)
            upkeep = Upkeep.open(sys.argv[1])
            upkeep.prune(upkeep.runs()[:2])
        """
        words = [sys.executable, "-c", textwrap.dedent(program), str(state)]
        assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
        upkeep = Upkeep.open(str(state))
        assert ([run.id for run in upkeep.runs()], upkeep.count()) == ([runs[2]], 1)
        with pytest.raises(UsageError, match=f"there is no run {runs[0]}"):
            upkeep.find_run(runs[0])
        assert sorted(os.listdir(state / "runs")) == sorted(runs)
        assert upkeep.prune([]) == []
        assert os.listdir(state / "runs") == os.listdir(state / "locks") == [runs[2]]
        assert completed(state) == {"a"}

    def test_files_that_cannot_be_deleted_are_told_and_tried_again(self, state: Path) -> None:
        run = recorded(state, [])
        directory = state / "runs" / run
        directory.rename(state / "elsewhere")
        directory.symlink_to(state / "elsewhere")
        upkeep = Upkeep.open(str(state))
        with pytest.raises(UsageError, match=f"{run} cannot be removed: .*run {run} is forgotten"):
            upkeep.prune(upkeep.runs())
        assert upkeep.runs() == []
        directory.unlink()
        directory.mkdir()
        upkeep.prune([])
        assert os.listdir(state / "runs") == []

    def test_logs_of_a_journal_that_was_set_aside_are_kept(self, state: Path) -> None:
        old = recorded(state, [])
        set_aside(str(state / "journal.db"))
        recorded(state, [])
        upkeep = Upkeep.open(str(state))
        upkeep.prune(upkeep.runs())
        assert os.listdir(state / "runs") == [old]

    def test_nothing_is_deleted_that_may_be_a_run_or_is_none(self, state: Path) -> None:
        recorded(state, [])
        running, lost = run_id(EPOCH, 1), run_id(EPOCH, 2)
        beginning = run_id(time.time(), 3)
        for name in (running, lost, beginning, "examples", "5"):
            (state / "runs" / name).mkdir()
        lock = lock_run(str(state), running)
        upkeep = Upkeep.open(str(state))
        assert upkeep.unrecorded() == {running: EPOCH, lost: EPOCH}
        assert upkeep.delete_unrecorded([running, lost]) == [lost]
        os.close(lock)
        assert {running, beginning, "examples", "5"} < set(os.listdir(state / "runs"))
        assert lost not in os.listdir(state / "runs") + os.listdir(state / "locks")

    def test_what_is_recorded_meanwhile_keeps_its_logs(self, state: Path) -> None:
        recorded(state, [])
        upkeep = Upkeep.open(str(state))
        run = recorded(state, [])
        assert upkeep.delete_unrecorded([run]) == []
        assert run in os.listdir(state / "runs")

    def test_who_waited_for_the_lock_of_a_forgotten_run_gets_another(self, state: Path) -> None:
        run = recorded(state, [])
        taken = threading.Event()
        held = lock_run(str(state), run)

        def take() -> None:
            fd = lock_run(str(state), run)
            assert is_locked(str(state), run)
            os.close(fd)
            taken.set()

        waiting = threading.Thread(target=take)
        waiting.start()
        os.unlink(lock_path(str(state), run))
        os.close(held)
        waiting.join()
        assert taken.is_set()

    def test_a_new_run_has_nothing_of_one_that_was_forgotten(self, state: Path) -> None:
        recorded(state, [*starts("a"), *ends("a")])
        upkeep = Upkeep.open(str(state))
        upkeep.prune(upkeep.runs())
        upkeep.release()
        recorded(state, [])
        assert completed(state) == set()


def test_no_journal_is_made_to_change_something_in_it(state: Path) -> None:
    with pytest.raises(UsageError, match="there is no journal in"):
        Upkeep.open(str(state))
    assert not state.exists()
