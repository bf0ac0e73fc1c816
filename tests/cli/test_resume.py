"""Going on with a run, by the real program: what is done again, what is recorded, what is said."""

import json
import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import Ended, run, started, write_work

CHAIN: dict[str, Any] = {
    "a": "echo a >> told",
    "b": {"command": "echo b >> told; test -e go", "after": ["a"]},
    "c": {"command": "echo c >> told", "after": ["b"]},
}


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """A directory in which `b` has failed, and would succeed now."""
    write_work(tmp_path, CHAIN)
    assert run(tmp_path, "run").status == 1
    (tmp_path / "go").touch()
    return tmp_path


def told(directory: Path) -> list[str]:
    """What ran since this was last asked."""
    path = directory / "told"
    words = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return words


def shown(directory: Path, which: str = "last") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(directory, "show", which, "--json").output)
    return found


def test_what_has_succeeded_is_not_done_again(chain: Path) -> None:
    assert told(chain) == ["a", "b"]
    ended = run(chain, "run", "--resume")
    assert (ended.status, told(chain)) == (0, ["b", "c"])
    assert ended.output.splitlines()[-1].startswith("2 succeeded, 1 cached in ")
    assert run(chain, "run", "--resume").output.startswith("0 succeeded, 3 cached in ")
    assert told(chain) == []


def test_the_run_keeps_its_id_and_its_attempts_are_counted_on(chain: Path) -> None:
    before = shown(chain)
    run(chain, "run", "--resume")
    after = shown(chain)
    assert after["run"] == before["run"]
    attempts = {task["name"]: [each["number"] for each in task["attempts"]]
                for task in after["tasks"]}  # fmt: skip
    assert attempts == {"a": [1], "b": [1, 2], "c": [1]}
    assert len(run(chain, "runs").output.splitlines()) == 2


def test_a_task_that_does_something_else_now_is_done_again_with_all_behind_it(chain: Path) -> None:
    run(chain, "run", "--resume")
    told(chain)
    write_work(chain, {**CHAIN, "b": {"command": "echo new >> told", "after": ["a"]}})
    ended = run(chain, "run", "--resume", "--explain")
    assert told(chain) == ["new", "c"]
    assert ended.output.splitlines()[:3] == [
        "a: cached",
        "b: runs: what it does has changed",
        "c: runs: b before it runs again",
    ]


def test_how_tasks_are_run_changes_nothing(chain: Path) -> None:
    run(chain, "run", "--resume")
    told(chain)
    tasks = {name: fields if isinstance(fields, dict) else {"command": fields}
             for name, fields in CHAIN.items()}  # fmt: skip
    how = {"retries": 3, "timeout": 9, "pool": "p", "duration": 5, "description": "x"}
    write_work(chain, {name: {**fields, **how} for name, fields in tasks.items()}, pools={"p": 1})
    run(chain, "run", "--resume", "-j", "7")
    assert told(chain) == []


def test_what_is_asked_for_is_done_again_with_all_behind_it(chain: Path) -> None:
    run(chain, "run", "--resume")
    told(chain)
    assert run(chain, "run", "--resume", "--again", "b").status == 0
    assert told(chain) == ["b", "c"]
    run(chain, "run", "--again", "c", "a")
    assert told(chain) == ["a", "b", "c"]


def test_names_behind_again_are_to_be_done_again_and_those_before_it_alone_run(
    chain: Path,
) -> None:
    run(chain, "run", "--resume")
    told(chain)
    assert run(chain, "run", "work.json", "b", "--again", "a", "b", "-j", "1").status == 0
    assert told(chain) == ["a", "b"]
    assert run(chain, "run", "--again", "c", "-k", "work.json", "c").status == 0
    assert told(chain) == ["c"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--again", "x"],
        ["--again", "a", "other.json"],
        ["-n", "--again", "x"],
        ["b", "--again", "c"],
        ["other.json", "--again", "x"],
    ],
)
def test_what_cannot_be_done_again_is_an_error(chain: Path, arguments: list[str]) -> None:
    """Also where nothing has been done yet, and where a task is there that is not to be run."""
    (chain / "other.json").write_text((chain / "work.json").read_text())
    told(chain)
    ended = run(chain, "run", *arguments)
    assert (ended.status, ended.output, told(chain)) == (2, "", [])
    name = arguments[-1]
    assert ended.errors.startswith(f"error: --again {name}: there is no such task in what is run;")
    assert ended.errors.count("\n") == 1


def test_a_file_behind_again_is_none(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"tasks": {"a": "true"}}')
    ended = run(tmp_path, "run", "--again", "a", "other.json")
    assert ended.status == 2
    assert ended.errors.endswith("; what follows --again are names of tasks\n")


def test_a_name_that_looks_like_an_option_can_be_done_again(tmp_path: Path) -> None:
    write_work(tmp_path, {"-k": "echo k >> told", "--again": "echo again >> told"})
    run(tmp_path, "run", "-j", "1")
    told(tmp_path)
    assert run(tmp_path, "run", "--again", "-k").status == 0
    assert told(tmp_path) == ["k"]
    assert run(tmp_path, "run", "--again=--again").status == 0
    assert told(tmp_path) == ["again"]
    assert run(tmp_path, "run", "--resume", "[-]-again", "[-]k").output.startswith("0 succeeded")


def test_why_tasks_run_is_said_as_it_is(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "true"})
    for arguments, reason in (
        ("--resume", "this run is the first"),
        ("--resume", ""),
        ("-j1", "--resume was not given"),
        ("--no-journal", "--resume was not given"),
        ("-n", "--resume was not given"),
    ):
        line = run(tmp_path, "run", arguments, "--explain").output.splitlines()[0]
        assert line == (f"a: runs: {reason}" if reason else "a: cached")


def test_a_mark_is_honoured_and_kept_as_what_it_is(tmp_path: Path) -> None:
    write_work(tmp_path, CHAIN)
    run(tmp_path, "run")
    told(tmp_path)
    assert run(tmp_path, "mark", "last", "b", "--succeeded").status == 0
    assert run(tmp_path, "run", "--resume").status == 0
    assert told(tmp_path) == ["c"]
    assert run(tmp_path, "mark", "last", "a", "--failed").status == 0
    (tmp_path / "go").touch()
    run(tmp_path, "run", "--resume")
    assert told(tmp_path)[0] == "a"


def test_with_no_earlier_run_it_is_the_first_and_says_so(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "true"})
    ended = run(tmp_path, "run", "--resume")
    assert ended.status == 0
    assert ended.errors == "there is no earlier run of work.json; this is the first\n"


def test_a_run_of_another_file_is_not_gone_on_with(chain: Path) -> None:
    (chain / "other.json").write_text((chain / "work.json").read_text())
    told(chain)
    ended = run(chain, "run", "other.json", "--resume")
    assert "no earlier run of other.json" in ended.errors
    assert told(chain) == ["a", "b", "c"]


PARTS: dict[str, Any] = {**CHAIN, "d": "echo d >> told"}


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A directory in which `b` has failed before `d` was begun, and would succeed now."""
    write_work(tmp_path, PARTS)
    assert run(tmp_path, "run", "-j1").status == 1
    assert told(tmp_path) == ["a", "b"]
    (tmp_path / "go").touch()
    return tmp_path


def test_the_whole_goes_on_behind_what_failed_and_was_run_by_itself(whole: Path) -> None:
    first = shown(whole)["run"]
    assert run(whole, "run", "--failed").status == 0
    assert told(whole) == ["b", "c"]
    ended = run(whole, "run", "--resume", "--explain")
    assert told(whole) == ["d"]
    assert "a: cached\nb: cached\nc: cached\n" in ended.output
    assert shown(whole)["run"] == first
    assert run(whole, "run", "--resume").output.startswith("0 succeeded, 4 cached in ")


def test_the_line_that_runs_a_task_again_does_not_do_again_what_was_done(whole: Path) -> None:
    (whole / "go").unlink()
    line = "again: parallel-workers run --only work.json b\n"
    assert line in run(whole, "run", "--resume", "-j1").output
    first = shown(whole)["run"]
    (whole / "go").touch()
    told(whole)
    assert run(whole, "run", "--only", "work.json", "b").status == 0
    assert told(whole) == ["b"]
    assert run(whole, "run", "--resume").status == 0
    assert "b" not in told(whole)
    assert shown(whole)["run"] == first


def test_where_nothing_is_recorded_it_does_it(whole: Path) -> None:
    (whole / "go").unlink()
    ended = run(whole, "run", "--no-journal")
    assert "again: parallel-workers run work.json b\n" in ended.output


def test_what_a_part_has_done_anew_is_a_reason_to_do_again_what_is_behind_it(whole: Path) -> None:
    run(whole, "run", "--resume")
    told(whole)
    assert run(whole, "run", "b").status == 0
    assert told(whole) == ["a", "b"]
    ended = run(whole, "run", "--resume", "--explain")
    assert told(whole) == ["c"]
    assert "c: runs: b before it has run since\n" in ended.output


@pytest.mark.parametrize("part", [("--from", "build"), ("--only", "build"), ("--skip", "gen")])
def test_a_part_that_goes_on_does_not_hide_what_ran_before_it(
    tmp_path: Path, part: tuple[str, str]
) -> None:
    tasks = {
        "gen": "true",
        "build": {"command": "echo x >> built", "after": ["gen"]},
        "deploy": {"command": "true", "after": ["build"]},
    }
    write_work(tmp_path, tasks)
    assert run(tmp_path, "run").status == 0
    assert run(tmp_path, "run", "--only", "gen").status == 0
    assert run(tmp_path, "run", "--resume", *part).status == 0
    assert run(tmp_path, "run", "--resume").status == 0
    assert (tmp_path / "built").read_text() == "x\nx\n"


def test_what_was_to_be_done_again_and_was_not_reached_is_done_again(whole: Path) -> None:
    run(whole, "run", "--resume")
    told(whole)
    (whole / "go").unlink()
    run(whole, "run", "--again", "b")
    (whole / "go").touch()
    told(whole)
    run(whole, "run", "--resume", "b")
    assert told(whole) == ["b"]
    run(whole, "run", "--resume")
    assert told(whole) == ["c"]


def test_a_part_that_was_killed_leaves_what_it_had_begun_to_the_whole(whole: Path) -> None:
    write_work(whole, {**PARTS, "b": {"command": "touch up; sleep 60", "after": ["a"]}})
    with started(whole, "run", "--resume", "b") as running:
        running.wait_for("up")
        os.kill(running.pid, signal.SIGKILL)
        running.end()
    write_work(whole, PARTS)
    assert run(whole, "run", "--resume", "-j1").status == 0
    assert told(whole)[0] == "b"


def test_a_new_run_of_the_whole_is_what_goes_on_then(whole: Path) -> None:
    assert run(whole, "run", "--resume").status == 0
    (whole / "go").unlink()
    assert run(whole, "run", "-j1").status == 1
    (whole / "go").touch()
    told(whole)
    assert run(whole, "run", "--resume").status == 0
    # What tasks took before decides whether `d` was begun before `b` failed.
    assert [name for name in told(whole) if name != "d"] == ["b", "c"]


def test_a_run_can_be_named_by_the_beginning_of_its_id(chain: Path) -> None:
    first = shown(chain)["run"]
    run(chain, "run")
    told(chain)
    assert run(chain, "run", "--resume-run", first).status == 0
    assert told(chain) == ["b", "c"]
    unknown = run(chain, "run", "--resume-run", "zzz")
    assert (unknown.status, "there is no run zzz" in unknown.errors) == (2, True)


def test_a_dry_run_shows_what_would_be_done_and_records_nothing(chain: Path) -> None:
    before = shown(chain)
    ended = run(chain, "run", "-n", "--resume")
    assert ended.output.splitlines() == [
        f"{name}: {CHAIN[name]['command']}" for name in ("b", "c")
    ]  # fmt: skip
    assert run(chain, "run", "-n", "--resume", "--explain").output.startswith("a: cached\nb: runs")
    assert shown(chain) == before


def test_the_same_run_is_gone_on_with_once_at_a_time(tmp_path: Path) -> None:
    write_work(tmp_path, {"wait": "touch up; until [ -e go ]; do sleep 0.02; done"})
    with started(tmp_path, "run") as first:
        first.wait_for("up")
        second = run(tmp_path, "run", "--resume")
        assert second.status == 2
        assert "Traceback" not in second.errors
        assert len(second.errors.splitlines()) == 1
        (tmp_path / "go").touch()
        assert first.end().status == 0


def test_a_run_that_was_killed_is_interrupted_and_goes_on(tmp_path: Path) -> None:
    write_work(
        tmp_path,
        {
            "done": "echo done >> told",
            "wait": {"command": "echo wait >> told; touch up; sleep 60", "after": ["done"]},
        },
    )
    with started(tmp_path, "run") as running:
        running.wait_for("up")
        assert "running" in run(tmp_path, "runs").output
        os.kill(running.pid, signal.SIGKILL)
        running.end()
    assert "interrupted" in run(tmp_path, "runs").output
    assert told(tmp_path) == ["done", "wait"]
    write_work(
        tmp_path,
        {
            "done": "echo done >> told",
            "wait": {"command": "echo again >> told", "after": ["done"]},
        },
    )
    assert run(tmp_path, "run", "--resume").status == 0
    assert told(tmp_path) == ["again"]


def test_nothing_can_be_gone_on_with_where_nothing_is_kept(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "true"})
    ended = run(tmp_path, "run", "--no-journal", "--resume")
    assert ended.status == 2
    assert "--no-journal keeps nothing to go on with" in ended.errors


# Events


def events_of(text: str) -> list[tuple[str, str | None]]:
    lines = [json.loads(line) for line in text.splitlines()]
    return [(line["event"], line.get("task")) for line in lines]


EVENTS = [
    ("run_started", None),
    ("task_started", "a"),
    ("task_ended", "a"),
    ("run_ended", None),
]


def test_events_are_lines_in_a_file_that_begins_anew(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "true"})
    for _ in range(2):
        assert run(tmp_path, "run", "--events", "events").status == 0
        assert events_of((tmp_path / "events").read_text()) == EVENTS


def test_events_on_the_output_leave_it_to_them(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "echo hello"})
    ended = run(tmp_path, "run", "--events", "-")
    assert events_of(ended.output) == EVENTS
    assert "hello\n" in ended.errors


def test_events_that_cannot_be_written_are_told_and_cost_no_task(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "touch ran"})
    wrong = run(tmp_path, "run", "--events", "no/such/place")
    assert (wrong.status, (tmp_path / "ran").exists()) == (2, False)
    assert "--events no/such/place: cannot be written: No such file" in wrong.errors
    full = run(tmp_path, "run", "--events", "/dev/full")
    assert (full.status, (tmp_path / "ran").exists()) == (0, True)
    assert "events could not be written to the end: No space left" in full.errors


# What cannot be recorded


def test_what_cannot_be_recorded_is_said_and_has_a_status_of_its_own(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "touch ran"})
    (tmp_path / "state").write_text("no directory")
    ended = run(tmp_path, "run", "--state", "state")
    assert (ended.status, (tmp_path / "ran").exists()) == (3, True)
    assert "not all was recorded" in ended.errors
    (tmp_path / "ran").unlink()
    assert run(tmp_path, "run", "--state", "state", "--resume").status == 2
    assert not (tmp_path / "ran").exists()


def test_a_failure_is_a_failure_whatever_could_be_recorded(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "false"})
    (tmp_path / "state").write_text("no directory")
    assert run(tmp_path, "run", "--state", "state").status == 1


def test_a_damaged_journal_is_set_aside_and_the_run_goes_on(chain: Path) -> None:
    journal = chain / ".parallel-workers" / "journal.db"
    for suffix in ("-wal", "-shm"):
        journal.with_name(journal.name + suffix).unlink(missing_ok=True)
    journal.write_bytes(b"garbage" * 5000)
    ended = run(chain, "run")
    assert ended.status == 0
    assert "the journal was damaged; it is kept as" in ended.errors
    kept = [path for path in journal.parent.iterdir() if "damaged" in path.name]
    assert b"garbage" in {path.read_bytes()[:7] for path in kept}


def damage_pages(journal: Path) -> None:
    """Write over all of a journal but its first page, which SQLite looks at when it opens it."""
    connection = sqlite3.connect(journal)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with journal.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff\x00garbage" * ((journal.stat().st_size - 4096) // 9))


def damage_header(journal: Path) -> None:
    damage_pages(journal)
    with journal.open("r+b") as file:
        file.write(b"garbage")


def test_a_journal_that_is_damaged_within_is_set_aside_and_the_run_goes_on(chain: Path) -> None:
    journal = chain / ".parallel-workers" / "journal.db"
    damage_pages(journal)
    told(chain)
    ended = run(chain, "run", "-j", "1")
    assert (ended.status, told(chain)) == (0, ["a", "b", "c"])
    [unknown, aside] = ended.errors.splitlines()
    assert unknown.startswith("warning: nothing is known of earlier runs: the journal .parallel-wo")
    kept = aside.removeprefix("warning: the journal was damaged; it is kept as ")
    assert b"garbage" in (chain / kept).read_bytes()
    again = run(chain, "run", "--resume")
    assert (again.status, again.errors, told(chain)) == (0, "", [])


@pytest.mark.parametrize("damage", [damage_pages, damage_header])
@pytest.mark.parametrize("dry", [[], ["-n"]])
def test_a_run_that_goes_on_leaves_a_damaged_journal_and_does_nothing(
    chain: Path, damage: Callable[[Path], None], dry: list[str]
) -> None:
    journal = chain / ".parallel-workers" / "journal.db"
    damage(journal)
    before = journal.read_bytes()
    told(chain)
    ended = run(chain, "run", "--resume", *dry)
    assert (ended.status, ended.output, told(chain)) == (2, "", [])
    [line] = ended.errors.splitlines()
    assert line.startswith(f"error: the journal {journal.relative_to(chain)} is damaged: ")
    assert line.endswith("sets it aside, unless it needs what is recorded there")
    assert journal.read_bytes() == before


def test_a_damaged_journal_changes_nothing_in_what_would_run(chain: Path) -> None:
    damage_pages(chain / ".parallel-workers" / "journal.db")
    ended = run(chain, "run", "-n")
    assert (ended.status, ended.errors, ended.output.count("\n")) == (0, "", 3)


def test_two_runs_at_once_are_fine(tmp_path: Path) -> None:
    write_work(tmp_path, {f"t{n}": "true" for n in range(40)})
    with started(tmp_path, "run") as one, started(tmp_path, "run") as other:
        ends: list[Ended] = [one.end(), other.end()]
    assert [end.status for end in ends] == [0, 0]
    connection = sqlite3.connect(tmp_path / ".parallel-workers" / "journal.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    assert run(tmp_path, "runs").output.count("succeeded") == 2


def test_durations_of_earlier_runs_decide_what_comes_first(tmp_path: Path) -> None:
    write_work(tmp_path, {"short": "true", "long": "sleep 0.2", "other": "true"})
    assert run(tmp_path, "run", "-n").output.startswith("short")
    run(tmp_path, "run")
    assert run(tmp_path, "run", "-n").output.startswith("long")


def test_what_failed_last_time_comes_first_among_equals(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "true", "b": "true", "c": "false"})
    run(tmp_path, "run", "-k")
    write_work(tmp_path, {"x": "true", "y": "true", "c": "true"})
    assert run(tmp_path, "run", "-n").output.startswith("c")


def test_what_is_durable_is_the_same_only_slower(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "true"})
    assert run(tmp_path, "run", "--durable").status == 0
    assert shown(tmp_path)["outcome"] == "succeeded"
