"""What comes from earlier runs to the commands of this one, by the real program."""

from pathlib import Path
from typing import Any

import pytest

from parallel_workers.outputs import LARGEST
from tests.support.program import run, run_directory, write_work

GIVING: dict[str, Any] = {
    "a": "echo K=val >> $PW_OUTPUTS",
    "b": {"command": "echo K=[$K] >> seen; test -e ok", "after": ["a"]},
}

WARNING = "warning: nothing is kept from earlier runs of what {} should pass on by $PW_OUTPUTS;"


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A directory in which `a` has passed on `K`, and `b` has failed."""
    write_work(tmp_path, GIVING)
    assert run(tmp_path, "run").status == 1
    (tmp_path / "seen").unlink()
    return tmp_path


def seen(directory: Path, *arguments: str) -> str:
    """What `b` gets in a run, of which nothing is to be warned."""
    assert run(directory, "run", *arguments).errors == ""
    return last_seen(directory)


def last_seen(directory: Path) -> str:
    path = directory / "seen"
    text = path.read_text()
    path.unlink()
    return text


def warning(directory: Path, *arguments: str) -> str:
    """The only line of warning of a run in which `b` gets nothing."""
    ended = run(directory, "run", *arguments)
    assert last_seen(directory) == "K=[]\n"
    assert ended.errors.count("\n") == 1
    return ended.errors


def test_a_run_of_which_nothing_is_kept_gets_it_too(given: Path) -> None:
    assert seen(given, "--only", "b", "--no-journal") == "K=[val]\n"


def test_runs_of_other_tasks_do_not_matter(given: Path) -> None:
    write_work(given, {**GIVING, "z": "true"})
    for _ in range(2):
        run(given, "run", "z")
    assert seen(given, "--only", "b") == "K=[val]\n"


def test_it_is_kept_apart_from_the_logs(given: Path) -> None:
    directory = run_directory(given)
    for file in directory.iterdir():
        file.unlink()
    directory.rmdir()
    assert seen(given, "--resume") == "K=[val]\n"
    assert seen(given, "--only", "b") == "K=[val]\n"


def test_what_is_not_known_any_more_is_warned_of(given: Path) -> None:
    run(given, "runs", "prune", "--keep", "0")
    assert warning(given, "--only", "b").startswith(WARNING.format("a"))


def test_what_went_on_elsewhere_is_kept_when_that_is_forgotten(given: Path) -> None:
    """`a` is done anew by itself, the whole takes that over, and the run of `a` is forgotten."""
    write_work(given, {**GIVING, "a": "echo K=new >> $PW_OUTPUTS"})
    run(given, "run", "a")
    assert seen(given, "--resume") == "K=[new]\n"
    run(given, "runs", "prune", "--keep", "1")
    assert seen(given, "--resume") == "K=[new]\n"


def test_what_a_failed_attempt_has_written_is_passed_on_to_nobody(tmp_path: Path) -> None:
    write_work(tmp_path, {**GIVING, "a": "echo K=bad >> $PW_OUTPUTS; test -e fine"})
    run(tmp_path, "run")
    for arguments in (["--only", "b"], ["--skip", "a"]):
        assert warning(tmp_path, *arguments).startswith(WARNING.format("a"))
    run(tmp_path, "mark", "last", "b", "--failed")
    (tmp_path / "fine").touch()
    run(tmp_path, "run", "a")
    (tmp_path / "fine").unlink()
    run(tmp_path, "run", "a")
    assert seen(tmp_path, "--only", "b") == "K=[bad]\n"


def test_a_task_that_was_only_said_to_be_done_passes_nothing_on_and_that_is_warned_of(
    tmp_path: Path,
) -> None:
    write_work(tmp_path, {**GIVING, "a": "echo K=bad >> $PW_OUTPUTS; false"})
    run(tmp_path, "run")
    run(tmp_path, "mark", "last", "a", "--succeeded")
    assert warning(tmp_path, "--resume").startswith(WARNING.format("a"))
    assert warning(tmp_path, "--only", "b").startswith(WARNING.format("a"))


def test_what_never_passed_anything_on_is_no_reason_for_a_warning(tmp_path: Path) -> None:
    write_work(tmp_path, {**GIVING, "a": "test -e x && echo K=val >> $PW_OUTPUTS; true"})
    run(tmp_path, "run")
    last_seen(tmp_path)
    assert seen(tmp_path, "--only", "b") == "K=[]\n"
    assert seen(tmp_path, "--resume") == "K=[]\n"
    write_work(tmp_path, {**GIVING, "a": "true"})
    run(tmp_path, "runs", "prune", "--keep", "0")
    assert seen(tmp_path, "--only", "b") == "K=[]\n"


@pytest.mark.parametrize("arguments", [[], ["a"]], ids=str)
def test_an_empty_file_passes_nothing_on_that_could_be_lost(
    tmp_path: Path, arguments: list[str]
) -> None:
    write_work(tmp_path, {**GIVING, "a": ": >> $PW_OUTPUTS"})
    run(tmp_path, "run", *arguments)
    assert seen(tmp_path, "--only", "b").endswith("K=[]\n")


def test_a_task_of_which_the_values_are_gone_runs_again(tmp_path: Path) -> None:
    large = "printf LARGE=; head -c 100000 /dev/zero | tr '\\0' x; printf '\\nK=val\\n'"
    write_work(tmp_path, {**GIVING, "a": f"echo ran >> ran; {{ {large}; }} >> $PW_OUTPUTS"})
    run(tmp_path, "run")
    last_seen(tmp_path)
    assert seen(tmp_path, "--resume") == "K=[val]\n"
    for file in (run_directory(tmp_path) / "values").iterdir():
        file.unlink()
    assert warning(tmp_path, "--only", "b").startswith(WARNING.format("a"))
    run(tmp_path, "runs", "prune", "--keep", "2")
    ended = run(tmp_path, "run", "--resume", "--explain")
    assert "a: runs: what it passed on is gone\nb: runs: has not succeeded yet\n" in ended.output
    assert last_seen(tmp_path) == "K=[val]\n"
    assert (tmp_path / "ran").read_text() == "ran\n" * 2


def test_what_cannot_be_read_is_warned_of_where_it_is_to_be_used(tmp_path: Path) -> None:
    write_work(tmp_path, {**GIVING, "a": "echo bad >> $PW_OUTPUTS"})
    assert run(tmp_path, "run", "a").status == 0
    said = 'warning: what a has written to $PW_OUTPUTS: line 1: "bad" sets no variable;'
    assert warning(tmp_path, "--only", "b").startswith(said)


def test_what_is_too_large_to_read_is_warned_of_where_it_is_to_be_used(tmp_path: Path) -> None:
    write_work(tmp_path, {**GIVING, "a": f"head -c {LARGEST + 1} /dev/zero >> $PW_OUTPUTS"})
    assert run(tmp_path, "run", "a").status == 0
    assert warning(tmp_path, "--only", "b").startswith(WARNING.format("a"))


def test_what_is_between_is_left_out_and_passes_nothing_through(tmp_path: Path) -> None:
    last = {"command": "echo K=[$K] >> seen", "after": ["b"]}
    write_work(tmp_path, {**GIVING, "last": last})
    assert seen(tmp_path, "--skip", "b") == "K=[]\n"


def test_where_the_journal_cannot_be_read_that_is_said(given: Path) -> None:
    journal = given / ".parallel-workers" / "journal.db"
    for name in ("journal.db-wal", "journal.db-shm"):
        (journal.parent / name).unlink(missing_ok=True)
    journal.write_bytes(b"no database" * 1000)
    ended = run(given, "run", "--only", "b", "--no-journal")
    assert last_seen(given) == "K=[]\n"
    said = "warning: what tasks passed on in earlier runs is not known: the journal "
    assert ended.errors.startswith(said)
