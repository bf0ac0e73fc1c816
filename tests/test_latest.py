"""The latest word on tasks, over runs of a whole file and of parts of it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from parallel_workers.events import Event, Outcome
from parallel_workers.history import History
from parallel_workers.journal import Journal
from parallel_workers.latest import last_done, last_with, latest, outputs
from parallel_workers.upkeep import Upkeep
from tests.support.journals import declared, digest_of, ends, facts, starts

FILE = "work.yaml"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def session(
    state: Path,
    run: str,
    names: Iterable[str],
    events: Sequence[Event],
    *,
    file: str = FILE,
    version: int = 1,
    given: str = "",
) -> None:
    """Record that a run begins or goes on, and comes to its end; each of `given` passes it on."""
    journal = Journal.open(str(state))
    (state / "runs" / run).mkdir(parents=True, exist_ok=True)
    journal.begin(facts(run, file=file), declared(names, version))
    for name in given:
        journal.save_value(name, digest_of(name, version), f"{name} of {run}".encode())
    journal(events)
    journal.close("succeeded")
    journal.release()


def failure(name: str) -> list[Event]:
    return ends(name, outcome=Outcome.FAILED)


def cached(*names: str) -> list[Event]:
    return ends(*names, outcome=Outcome.CACHED, attempt=0)


def outcomes(state: Path, names: str) -> dict[str, tuple[str, str | None]]:
    """By task, the run that has the latest word, and how the task ended."""
    words = latest(History.open(str(state)), FILE, names)
    return {name: (word.run.id, word.outcome) for name, word in words.items()}


def test_each_task_has_the_word_of_the_last_run_that_has_it(state: Path) -> None:
    session(state, "one", "abc", [*ends("a"), *failure("b")])
    session(state, "two", "b", ends("b"))
    session(state, "else", "a", failure("a"), file="other.yaml")
    assert outcomes(state, "abcx") == {
        "a": ("one", "succeeded"),
        "b": ("two", "succeeded"),
        "c": ("one", None),
    }


def test_what_a_run_did_not_come_to_is_not_done_whatever_was_before(state: Path) -> None:
    session(state, "one", "abc", ends("a", "b", "c"))
    session(state, "two", "abc", [*ends("a"), *starts("b")])
    assert outcomes(state, "abc") == {
        "a": ("two", "succeeded"),
        "b": ("two", None),
        "c": ("two", None),
    }


def test_a_run_that_went_on_with_a_part_keeps_its_word_on_the_rest(state: Path) -> None:
    session(state, "one", "ab", ends("a", "b"))
    session(state, "two", "a", failure("a"))
    session(state, "one", "b", failure("b"))
    assert outcomes(state, "ab") == {"a": ("two", "failed"), "b": ("one", "failed")}


def test_a_mark_is_a_word(state: Path) -> None:
    session(state, "one", "a", failure("a"))
    upkeep = Upkeep.open(str(state))
    upkeep.mark(upkeep.find_run("one"), "a", Outcome.SUCCEEDED)
    [word] = latest(upkeep, FILE, "a").values()
    assert (word.is_done, word.marked, word.ran) == (True, True, 0)


def test_what_is_left_as_it_was_ran_when_it_ran_in_whichever_run_that_was(state: Path) -> None:
    session(state, "one", "ab", ends("a"))
    session(state, "two", "b", ends("b"))
    session(state, "one", "ab", cached("a", "b"))
    words = latest(History.open(str(state)), FILE, "ab")
    assert {name: (word.run.id, word.session, word.ran) for name, word in words.items()} == {
        "a": ("one", 3, 1),
        "b": ("one", 3, 2),
    }


def test_the_last_success_can_be_older_than_the_latest_word(state: Path) -> None:
    session(state, "one", "ab", ends("a", "b"))
    session(state, "two", "ab", [*failure("a"), *ends("b")])
    words = last_done(History.open(str(state)), FILE, "ab")
    assert {name: word.run.id for name, word in words.items()} == {"a": "one", "b": "two"}


def test_the_last_run_with_all_tasks_is_found_behind_runs_of_parts(state: Path) -> None:
    session(state, "old", "abc", [])
    session(state, "all", "abc", [])
    session(state, "part", "ab", [])
    history = History.open(str(state))
    found = {names: last_with(history, FILE, names) for names in ("abc", "ab", "c", "abcnew", "x")}
    assert {names: run and run.id for names, run in found.items()} == {
        "abc": "all",
        "ab": "part",
        "c": "all",
        "abcnew": "all",
        "x": "part",
    }
    assert last_with(history, "none.yaml", "a") is None


def test_a_run_is_found_by_what_it_had_before_it_went_on_with_a_part(state: Path) -> None:
    session(state, "one", "abc", [])
    session(state, "two", "ab", [])
    session(state, "one", "a", [])
    found = last_with(History.open(str(state)), FILE, "abc")
    assert found is not None
    assert found.id == "one"


def test_outputs_are_those_of_the_run_that_has_the_word(state: Path) -> None:
    session(state, "one", "abc", ends("a", "b", "c"), given="abc")
    session(state, "two", "ab", [*ends("a"), *failure("b")], given="a")
    history = History.open(str(state))
    assert outputs(history, latest(history, FILE, "abc")) == {"a": b"a of two", "c": b"c of one"}
    assert outputs(history, last_done(history, FILE, "b")) == {"b": b"b of one"}
