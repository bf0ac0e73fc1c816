"""The file of the journal: its versions, and names for what is set aside."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from parallel_workers import journal_schema
from parallel_workers.errors import DamageError, NoJournalError
from parallel_workers.journal_schema import (
    MIGRATIONS,
    migrate,
    open_for_changes,
    open_for_reading,
    open_for_writing,
    open_undamaged,
    set_aside,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    connection, _ = open_for_writing(str(tmp_path))
    connection.execute("INSERT INTO run (id) VALUES ('5abc0001')")
    connection.close()
    return tmp_path / "journal.db"


def version_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_a_new_journal_has_the_newest_version(path: Path) -> None:
    assert version_of(open_for_reading(str(path.parent))) == len(MIGRATIONS)


def test_a_journal_is_brought_to_a_newer_version_with_what_is_in_it(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    newer = (*MIGRATIONS, "CREATE TABLE other (x); INSERT INTO other SELECT id FROM run;")
    for _ in range(2):
        migrate(connection, newer)
        assert version_of(connection) == len(MIGRATIONS) + 1
        assert connection.execute("SELECT x FROM other").fetchall() == [("5abc0001",)]


def test_an_older_journal_is_brought_up_to_date_when_it_is_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = (*MIGRATIONS, "ALTER TABLE run ADD COLUMN label TEXT DEFAULT 'none'")
    monkeypatch.setattr(journal_schema, "MIGRATIONS", newer)
    connection, aside = open_for_writing(str(path.parent))
    assert aside is None
    assert version_of(connection) == len(newer)
    assert connection.execute("SELECT id, label FROM run").fetchall() == [("5abc0001", "none")]
    # What was recorded before is not to be lost with the power.
    assert connection.execute("PRAGMA synchronous").fetchone() == (1,)


def test_killed_during_a_migration_the_journal_is_as_it_was(path: Path) -> None:
    program = """
        import os, signal, sqlite3, sys
        from parallel_workers.journal_schema import MIGRATIONS, migrate
        connection = sqlite3.connect(sys.argv[1], isolation_level=None)
        connection.create_function("die", 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
        migrate(connection, (*MIGRATIONS, "CREATE TABLE other (x); DROP TABLE run; SELECT die()"))
    """
    words = [sys.executable, "-c", textwrap.dedent(program), str(path)]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    connection = open_for_reading(str(path.parent))
    assert version_of(connection) == len(MIGRATIONS)
    assert connection.execute("SELECT id FROM run").fetchall() == [("5abc0001",)]


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, (*MIGRATIONS, "CREATE TABLE other (x); SELECT nonsense"))
    assert version_of(connection) == len(MIGRATIONS)
    assert (
        connection.execute("SELECT name FROM sqlite_master WHERE name = 'other'").fetchall() == []
    )


def test_what_is_set_aside_takes_all_its_files_along_and_no_name_twice(path: Path) -> None:
    asides = set()
    for number in range(3):
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").write_text(f"{number}{suffix}")
        aside = set_aside(str(path))
        asides.add(aside)
        for suffix in ("", "-wal", "-shm"):
            assert Path(aside + suffix).read_text() == f"{number}{suffix}"
            assert not Path(f"{path}{suffix}").exists()
    assert len(asides) == 3


def read_names(path: str) -> list[str]:
    connection = sqlite3.connect(path)
    return [run for (run,) in connection.execute("SELECT id FROM run")]


@pytest.fixture(params=["emptied", "deleted"])
def cut(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, bytes]:
    """A journal whose file is lost, and what it held: all of that lies in its log yet."""
    path, log = tmp_path / "journal.db", tmp_path / "journal.db-wal"
    connection, _ = open_for_writing(str(tmp_path))
    connection.execute("INSERT INTO run (id) VALUES ('5abc0001')")
    whole, left = path.read_bytes(), log.read_bytes()
    # What closing it would move from there to the file was not moved when its process was killed.
    connection.close()
    log.write_bytes(left)
    if request.param == "emptied":
        path.write_bytes(b"")
    else:
        path.unlink()
    return path, whole


def test_a_journal_that_was_cut_to_nothing_is_kept_with_its_log(cut: tuple[Path, bytes]) -> None:
    path, whole = cut
    connection, aside = open_for_writing(str(path.parent))
    assert connection.execute("SELECT id FROM run").fetchall() == []
    assert aside is not None
    Path(aside).write_bytes(whole)
    assert read_names(aside) == ["5abc0001"]


@pytest.mark.parametrize("opened", [open_for_reading, open_for_changes, open_undamaged])
def test_who_needs_what_a_journal_held_leaves_it_as_it_is(
    cut: tuple[Path, bytes], opened: Callable[[str], sqlite3.Connection]
) -> None:
    path, whole = cut
    with pytest.raises(DamageError, match=r"is damaged: nothing is left of it but .*-wal; a run"):
        opened(str(path.parent))
    path.write_bytes(whole)
    assert read_names(str(path)) == ["5abc0001"]


@pytest.mark.parametrize("content", [None, b""])
def test_no_journal_is_made_for_who_reads_or_changes_one(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "journal.db").write_bytes(content)
    before = os.listdir(tmp_path)
    for opened in (open_for_reading, open_for_changes):
        with pytest.raises(NoJournalError, match="no run has been recorded there"):
            opened(str(tmp_path))
    assert os.listdir(tmp_path) == before


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%41", "a b", "é", "a&mode=memory"])
def test_a_state_directory_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    open_for_writing(str(tmp_path / name))[0].close()
    assert (tmp_path / name / "journal.db").stat().st_size > 0
    open_for_reading(str(tmp_path / name)).close()
