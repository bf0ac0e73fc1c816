"""Where logs lie: their names, and the two kinds of places."""

import os
import signal
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_workers.logs import KeptLogs, Logs, PassingLogs, log_name
from tests.support.files import assert_closed_since, open_files

ODD_NAMES = [
    "a/b",
    "../..",
    "..",
    "/",
    "-rf",
    "a b",
    "é",
    "👩‍💻",
    "𠀀" * 3000,
    "x" * 3000,
    "%",
    "a\\b",
]


@given(name=st.text(min_size=1), number=st.integers(1, 10**9), attempt=st.integers(1, 10**6))
def test_every_name_gives_the_name_of_a_file(name: str, number: int, attempt: int) -> None:
    file = f"{log_name(number, name)}.{attempt}.log"
    assert "/" not in file
    assert "\0" not in file
    assert len(file.encode(errors="surrogatepass")) <= 255
    assert file.startswith(f"{number}-")


@pytest.mark.parametrize("name", ODD_NAMES, ids=lambda name: name[:10])
def test_a_file_of_the_name_can_be_made(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{log_name(1_000_000, name)}.1000001.log"
    path.touch()
    assert os.listdir(tmp_path) == [path.name]


def test_tasks_that_look_alike_have_logs_of_their_own() -> None:
    assert log_name(1, "a/b") != log_name(2, "a_b")


def test_a_name_reads_like_its_task() -> None:
    assert log_name(3, "@ansible/machines/run") == "3-@ansible_machines_run"
    assert log_name(4, "größe") == "4-größe"


def write(logs: Logs, name: str, text: str, attempt: int = 1) -> Path:
    """Make an attempt that writes `text`; return where it is kept."""
    path = logs.open(name, attempt)
    Path(path).write_text(text)
    kept, size = logs.close(path, name, attempt)
    assert size == len(text)
    return Path(kept)


def test_kept_logs_have_the_names_of_their_tasks_from_the_start(tmp_path: Path) -> None:
    logs = KeptLogs(str(tmp_path))
    assert logs.open("1-a", 2) == str(tmp_path / "1-a.2.log")
    assert write(logs, "1-a", "x", 2) == tmp_path / "1-a.2.log"
    assert write(logs, "2-b", "") == tmp_path / "2-b.1.log"


def test_a_passing_log_in_which_something_was_written_gets_its_name(tmp_path: Path) -> None:
    logs = PassingLogs(str(tmp_path))
    kept = write(logs, "1-a", "why")
    assert kept == tmp_path / "1-a.1.log"
    assert kept.read_text() == "why"


def test_a_passing_log_without_a_word_serves_the_next_attempt(tmp_path: Path) -> None:
    logs = PassingLogs(str(tmp_path))
    for number in range(5):
        write(logs, f"{number}-a", "")
    assert len(os.listdir(tmp_path)) == 1


def test_attempts_side_by_side_have_files_of_their_own(tmp_path: Path) -> None:
    logs = PassingLogs(str(tmp_path))
    assert len({logs.open("1-a", 1), logs.open("2-b", 1), logs.open("1-a", 2)}) == 3


def test_a_passing_log_that_somebody_has_open_serves_no_other(tmp_path: Path) -> None:
    logs = PassingLogs(str(tmp_path))
    path = logs.open("1-a", 1)
    with Path(path).open("w"):
        kept, _ = logs.close(path, "1-a", 1)
    assert kept.endswith("/1-a.1.log")
    assert logs.open("2-b", 1) != path


def test_a_passing_log_that_somebody_reads_can_serve_the_next(tmp_path: Path) -> None:
    logs = PassingLogs(str(tmp_path))
    path = logs.open("1-a", 1)
    Path(path).touch()
    with Path(path).open():
        logs.close(path, "1-a", 1)
    assert logs.open("2-b", 1) == path


@pytest.mark.parametrize("kind", [KeptLogs, PassingLogs])
def test_a_log_that_is_gone_counts_as_empty(
    tmp_path: Path, kind: type[KeptLogs] | type[PassingLogs]
) -> None:
    logs = kind(str(tmp_path / "none"))
    path = logs.open("1-a", 1)
    assert logs.close(path, "1-a", 1)[1] == 0


def test_no_file_is_left_open_by_looking_at_it(tmp_path: Path) -> None:
    logs = PassingLogs(str(tmp_path))
    before = open_files()
    write(logs, "1-a", "")
    assert_closed_since(before)
    assert stat.S_ISREG((tmp_path / "1.log").stat().st_mode)


def test_a_log_can_be_written_at_once_though_a_child_still_holds_the_look_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = PassingLogs(str(tmp_path))
    path = logs.open("1-a", 1)
    Path(path).touch()
    held = []
    monkeypatch.setattr(os, "close", held.append)
    logs.close(path, "1-a", 1)
    monkeypatch.undo()
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    finally:
        for fd in held:
            os.close(fd)
        signal.signal(signal.SIGIO, before)
    assert len(held) == 1
