"""The journal as it is read: which run is meant, and what is known of it."""

import os
import re
import sqlite3
import time
from pathlib import Path

import pytest

from parallel_workers import WorkGraph
from parallel_workers.errors import UsageError
from parallel_workers.events import Outcome, TaskRetried
from parallel_workers.history import MEASURED, History
from parallel_workers.journal import Journal
from parallel_workers.state import new_run
from parallel_workers.upkeep import Upkeep
from tests.support import program
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


def named(state: Path, run: str, file: str = "work.yaml") -> None:
    """Record a run of a chosen id, in which the task `a` succeeded."""
    (state / "runs" / run).mkdir(parents=True)
    journal = Journal.open(str(state))
    journal.begin(facts(run, file=file), declared("ab"))
    journal([*starts("a"), *ends("a")])
    journal.close("failed")
    journal.release()


def test_a_run_is_found_by_the_beginning_of_its_id(state: Path) -> None:
    for run in ("5abc0001", "5abc0002", "5bcd0001"):
        named(state, run)
    history = History.open(str(state))
    for given in ("5b", "5B", "5bcd0001", "last"):
        assert history.find_run(given).id == "5bcd0001"
    with pytest.raises(UsageError, match=r"5a is the beginning of 2 runs.*: 5abc0001, 5abc0002$"):
        history.find_run("5a")
    for missing in ("7", "", "5abc00010", "%", "_", "'"):
        with pytest.raises(UsageError, match=r"there is no run .*`parallel-workers runs` lists"):
            history.find_run(missing)


def test_the_last_run_is_the_one_that_was_last_gone_on_with(state: Path) -> None:
    for run in ("5abc0001", "5abc0002", "5abc0003"):
        named(state, run)
    journal = Journal.open(str(state))
    journal.begin(facts("5abc0001"), declared("ab"))
    journal.close("succeeded")
    history = History.open(str(state))
    assert history.find_run("last").id == "5abc0001"
    assert [run.id for run in history.runs()] == ["5abc0002", "5abc0003", "5abc0001"]
    assert [run.id for run in history.runs(limit=2)] == ["5abc0003", "5abc0001"]
    assert history.count() == 3


def test_the_last_run_of_a_file_is_found(state: Path) -> None:
    named(state, "5abc0001")
    named(state, "5abc0002")
    named(state, "5abc0003", file="other.yaml")
    history = History.open(str(state))
    found = history.last_of("work.yaml")
    assert found == history.find_run("5abc0002")
    assert history.last_of("none.yaml") is None


def test_where_nothing_ran_an_error_says_so(state: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no journal in .*state: no run has been rec"):
        History.open(str(state))
    assert not state.exists()
    state.mkdir()
    (state / "journal.db").touch()
    with pytest.raises(UsageError, match=r"journal\.db is empty"):
        History.open(str(state))
    assert os.listdir(state) == ["journal.db"]


def test_reading_changes_nothing(state: Path) -> None:
    run = recorded(state, [*starts("a", "b"), *ends("a")])
    before = {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}
    history = History.open(str(state))
    found = history.find_run(run)
    history.tasks(found), done_in(history, found), history.durations("work.yaml", 3)
    history.release()
    after = {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}
    assert {path: after[path] for path in before} == before


def test_what_is_under_way_is_told_from_what_was_broken_off(state: Path) -> None:
    journal, _ = begun(state, "abc")
    journal([*starts("a", "b"), *ends("a")])
    history = History.open(str(state))
    run = history.find_run("last")
    assert [task.outcome for task in history.tasks(run)] == ["succeeded", "running", None]
    journal.close("interrupted")
    run = history.find_run("last")
    assert [task.outcome for task in history.tasks(run)] == ["succeeded", "interrupted", None]


def test_one_task_can_be_asked_for(state: Path) -> None:
    run = recorded(state, [*starts("a", "b"), *ends("b")])
    history = History.open(str(state))
    found = history.find_run(run)
    assert history.tasks(found, "b") == [history.tasks(found)[1]]
    assert history.tasks(found, "none") == []


def test_what_failed_is_listed_in_the_order_of_the_plan(state: Path) -> None:
    events = [
        *ends("d", outcome=Outcome.TIMED_OUT),
        *ends("a", outcome=Outcome.FAILED),
        *ends("b", outcome=Outcome.CANCELLED),
        *ends("c"),
    ]
    run = recorded(state, events, "dcba")
    history = History.open(str(state))
    assert history.failed_last(history.find_run(run)) == ["d", "a"]


def test_a_failure_that_counts_as_a_success_is_told_as_one(state: Path) -> None:
    events = [
        TaskRetried(EPOCH, "a", 1, Outcome.FAILED, 1.0, None),
        *ends("a", attempt=2, outcome=Outcome.FAILED, forgiven=True),
        *ends("b", outcome=Outcome.TIMED_OUT, forgiven=True),
        *ends("c", outcome=Outcome.FAILED),
        *ends("d"),
    ]
    run = recorded(state, events, "abcd")
    history = History.open(str(state))
    found = history.tasks(history.find_run(run))
    assert [task.forgiven for task in found] == [True, True, False, False]
    assert [task.outcome for task in found] == ["failed", "timed_out", "failed", "succeeded"]
    assert history.failed_last(history.find_run(run)) == ["a", "b", "c"]
    upkeep = Upkeep.open(str(state))
    upkeep.mark(upkeep.find_run(run), "a", Outcome.FAILED)
    # By the word of a person it has failed, whatever the run made of that.
    assert [task.forgiven for task in history.tasks(history.find_run(run), "a")] == [False]


def test_durations_are_the_last_successful_ones_of_the_same_file(state: Path) -> None:
    for number in range(MEASURED + 3):
        journal = Journal.open(str(state))
        run = f"5abc000{number}"
        (state / "runs" / run).mkdir()
        journal.begin(facts(run), declared("ab", version=number % 2))
        journal(ends("a", seconds=float(number)))
        journal(ends("b", seconds=9.0, outcome=Outcome.FAILED))
        journal.close("failed")
    named(state, "6abc0001", file="other.yaml")
    by_digest, by_name = History.open(str(state)).durations("work.yaml", 2)
    assert by_name == {"a": [5.0, 4.0, 3.0]}
    assert by_digest == {digest_of("a", 1): [5.0, 3.0, 1.0], digest_of("a", 0): [4.0, 2.0, 0.0]}
    assert History.open(str(state)).durations("none.yaml", 2) == ({}, {})


def test_odd_names_are_kept_as_they_are(state: Path) -> None:
    names = ["a'b", "%", "é", "👩‍💻", "a\nb", "x" * 5000, "a\0b", "1", "NULL"]
    run = recorded(state, [*starts(*names), *ends(*names)], names)
    history = History.open(str(state))
    assert done_in(history, history.find_run(run)) == dict(declared(names))
    for name in names:
        assert [task.name for task in history.tasks(history.find_run(run), name)] == [name]


def test_a_graph_without_tasks_is_a_run_too(state: Path) -> None:
    run = recorded(state, [], [])
    history = History.open(str(state))
    assert history.tasks(history.find_run(run)) == []


def read_all(state: Path) -> None:
    """Ask for all that a journal knows."""
    history = History.open(str(state))
    for run in [*history.runs(), history.find_run("last"), history.last_of("work.yaml")]:
        assert run is not None
        history.tasks(run), history.task_ids(run), history.attempts(run)
        done_in(history, run), marked_in(history, run), history.failed_last(run)
        history.load_value(run, "a", digest_of("a"))
    history.count(), history.durations("work.yaml", 3)


@pytest.fixture
def several(state: Path) -> Path:
    """A state directory whose journal is one file of several pages, all of them used."""
    for version in range(3):
        journal, _ = begun(state, [f"{name} {version}" for name in range(50)] + ["a"])
        journal.save_value("a", digest_of("a"), b"x")
        journal([*starts("a"), *ends("a", outcome=Outcome.FAILED)])
        journal.close("failed")
    upkeep = Upkeep.open(str(state))
    upkeep.mark(upkeep.find_run("last"), ["a"], Outcome.SUCCEEDED)
    journal._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return state


def test_damage_to_any_page_is_an_error_of_one_line_at_most(several: Path) -> None:
    journal = several / "journal.db"
    whole = journal.read_bytes()
    told = []
    for page in range(0, len(whole), 4096):
        for garbage in (bytes(4096), b"\xff" * 4096, b"\x0d\xa4garbage" * 455 + b"\0"):
            journal.write_bytes(whole[:page] + garbage + whole[page + 4096 :])
            told += complaint(several)
    assert len(told) > len(whole) / 4096
    for line in told:
        assert re.match(r"the journal|.*journal.db is (empty|a database of another)", line)
        assert line.isprintable()


def complaint(state: Path) -> list[str]:
    """The error in reading a journal, if there is one."""
    try:
        read_all(state)
    except UsageError as error:
        return [str(error)]
    return []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE session SET arguments = 'no JSON'",
        "UPDATE session SET arguments = '7'",
        "UPDATE session SET started = 'soon'",
        "UPDATE session SET started = 9e999",
        "UPDATE session SET host = x'00'",
        "UPDATE task SET digest = 'text'",
        "UPDATE finish SET log = x'00'",
        "UPDATE finish SET outcome = CAST(x'ff' AS TEXT)",
        "UPDATE mark SET user = 5.0, time = 'x'",
        "UPDATE value SET pickled = 5",
    ],
)
def test_what_was_never_recorded_is_told_as_damage(several: Path, change: str) -> None:
    connection = sqlite3.connect(several / "journal.db")
    connection.execute(change)
    connection.commit()
    connection.close()
    with pytest.raises(
        UsageError, match=r"^the journal .*/journal\.db (is damaged|cannot be used): "
    ):
        read_all(several)


@pytest.mark.parametrize("verb", [["runs"], ["show", "last"], ["logs", "last", "a"]])
def test_each_verb_that_reads_tells_of_damage_in_a_line(several: Path, verb: list[str]) -> None:
    connection = sqlite3.connect(several / "journal.db")
    [(page,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'session'")
    connection.close()
    with (several / "journal.db").open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    ended = program.run(several.parent, *verb, "--state", str(several))
    assert (ended.status, ended.output) == (2, "")
    assert re.fullmatch(
        r"error: the journal .* is damaged: .*; a run .* sets it aside, .*\n", ended.errors
    )


class TestClock:
    """What a clock that is set back cannot confuse."""

    def test_ids_are_unique_and_the_order_is_that_of_the_runs(self, state: Path) -> None:
        ids = []
        for started in (EPOCH, EPOCH - 5000, EPOCH - 5000, EPOCH + 5):
            journal = Journal.open(str(state))
            ids.append(new_run(str(state))[0])
            journal.begin(facts(ids[-1], started=started), declared("a"))
            journal.close("succeeded")
        history = History.open(str(state))
        assert [run.id for run in history.runs()] == ids
        assert len(set(ids)) == 4
        assert history.find_run("last").started == EPOCH + 5
        found = history.last_of("work.yaml")
        assert found is not None
        assert found.id == ids[-1]

    def test_the_same_second_again_gives_other_ids(
        self, state: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(time, "time", lambda: EPOCH)
        assert len({new_run(str(state))[0] for _ in range(200)}) == 200

    def test_no_duration_is_negative(self, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        graph = WorkGraph()
        for name in "abc":
            graph.add(name, set_clock_back, monkeypatch)
        graph.run(journal=state, jobs=1)
        monkeypatch.undo()
        history = History.open(str(state))
        [run] = history.runs()
        assert run.ended is not None
        assert run.ended < run.started
        seconds = [attempt.seconds for task in history.tasks(run) for attempt in task.attempts]
        assert len(seconds) == 3
        assert all(each is not None and each >= 0 for each in seconds)


def set_clock_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 5000)
