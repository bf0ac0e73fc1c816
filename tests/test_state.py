"""The state directory: ids of runs, what is made, and whose files are left alone."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_workers.errors import UsageError
from parallel_workers.state import new_passing_run, new_run, remove_run, run_id

SECONDS = st.integers(1_600_000_000, 2_600_000_000)


@given(earlier=SECONDS, later=SECONDS, one=st.integers(0, 1023), other=st.integers(0, 1023))
def test_ids_sort_by_time(earlier: int, later: int, one: int, other: int) -> None:
    first, second = run_id(earlier, one), run_id(later, other)
    assert (first < second) == ((earlier, one) < (later, other))
    assert (first == second) == ((earlier, one) == (later, other))
    assert len(first) == 8
    assert first.isalnum()


def test_each_run_has_a_directory_of_its_own(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    made = [new_run(state) for _ in range(20)]
    assert len({run for run, _ in made}) == 20
    assert [path for run, path in made if path != f"{state}/runs/{run}"] == []
    assert sorted(os.listdir(f"{state}/runs")) == sorted(run for run, _ in made)


def test_nobody_else_can_look_into_a_run(tmp_path: Path) -> None:
    _, path = new_run(str(tmp_path / "state"))
    for directory in (path, f"{tmp_path}/state/runs"):
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700


def test_a_state_directory_that_we_make_is_hidden_from_git(tmp_path: Path) -> None:
    new_run(str(tmp_path / "deep" / "state"))
    assert (tmp_path / "deep" / "state" / ".gitignore").read_text() == "*\n"
    assert not (tmp_path / "deep" / ".gitignore").exists()


def test_a_directory_that_was_there_is_not_hidden_from_git(tmp_path: Path) -> None:
    (tmp_path / "source.c").touch()
    new_run(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["runs", "source.c"]


def test_what_cannot_be_made_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file/state cannot be used: Not a directory.*--state"):
        new_run(str(tmp_path / "file" / "state"))
    with pytest.raises(UsageError, match=r"file cannot be used: "):
        new_run(str(tmp_path / "file"))
    with pytest.raises(UsageError, match=r"empty"):
        new_run("")


def test_a_passing_run_lies_where_such_things_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    run, path = new_passing_run()
    assert path == f"{tmp_path}/parallel-workers-{run}"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    (Path(path) / "1.log").touch()
    remove_run(path)
    assert os.listdir(tmp_path) == []


def test_without_a_place_for_passing_runs_the_error_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="none: No such file or directory; name a directory in"):
        new_passing_run()
    remove_run(str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_another_run_may_make_the_state_directory_at_the_same_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = os.makedirs

    def make_after_another(path: str, *args: int, **options: int) -> None:
        make(path, exist_ok=True)
        make(path, *args, **options)

    monkeypatch.setattr(os, "makedirs", make_after_another)
    _, place = new_run(str(tmp_path / "state"))
    assert Path(place).is_dir()
