"""The journal as it is written: what survives, and what happens where it cannot be written."""

import contextlib
import fcntl
import os
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from parallel_workers import journal_schema
from parallel_workers.errors import UsageError
from parallel_workers.events import Outcome, TaskRetried
from parallel_workers.history import History
from parallel_workers.journal import LARGEST_VALUE, Journal
from parallel_workers.upkeep import Upkeep
from tests.support.journals import (
    EPOCH,
    begun,
    declared,
    digest_of,
    done_in,
    ends,
    facts,
    recorded,
    result,
    starts,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do this")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def outcomes(state: Path, run: str = "last") -> dict[str, str | None]:
    """How each task of a run ended, as another process would read it."""
    history = History.open(str(state))
    return {task.name: task.outcome for task in history.tasks(history.find_run(run))}


def completed(state: Path) -> dict[str, bytes]:
    history = History.open(str(state))
    return done_in(history, history.find_run("last"))


def test_all_that_is_told_of_an_attempt_can_be_read(state: Path) -> None:
    journal, run = begun(state, "ab")
    log = f"{state}/runs/{run}/1-a.1.log"
    journal(starts("a"))
    journal(
        ends("a", outcome=Outcome.FAILED, seconds=0.25, time=2.0, result=result(log, 3, "no room"))
    )
    journal(ends("b", outcome=Outcome.SKIPPED, attempt=0, seconds=0.0, cause="a"))
    journal.close("failed")
    assert (journal.incomplete, journal.warnings) == (None, [])
    history = History.open(str(state))
    found = history.find_run(run)
    assert (found.outcome, found.file, found.graph) == ("failed", "work.yaml", b"graph")
    assert (found.arguments, found.jobs, found.tasks) == (("run", "work.yaml"), 2, 2)
    assert (found.started, found.resumed) == (EPOCH, None)
    a, b = history.tasks(found)
    [attempt] = a.attempts
    assert (a.outcome, a.digest, a.position) == ("failed", digest_of("a"), 0)
    assert (attempt.number, attempt.started, attempt.seconds) == (1, EPOCH + 1.75, 0.25)
    assert (attempt.status, attempt.error, attempt.log) == (3, "no room", log)
    assert (b.outcome, b.cause, b.attempts) == ("skipped", "a", ())


def test_attempts_that_are_tried_again_are_all_kept(state: Path) -> None:
    journal, _ = begun(state, "a")
    error = ValueError("first\nsecond")
    journal([*starts("a"), TaskRetried(EPOCH, "a", 1, Outcome.TIMED_OUT, 2.0, error)])
    assert outcomes(state) == {"a": None}
    journal([*starts("a", attempt=2), *ends("a", attempt=2)])
    history = History.open(str(state))
    [task] = history.tasks(history.find_run("last"))
    assert [(one.number, one.outcome) for one in task.attempts] == [
        (1, "timed_out"),
        (2, "succeeded"),
    ]
    assert task.attempts[0].error == "ValueError: first second"
    assert history.attempts(history.find_run("last")) == {"a": 2}


def test_a_batch_survives_the_end_of_the_process(state: Path) -> None:
    program = """
        import os, signal, sys
        from pathlib import Path
        from tests.support.journals import begun, ends, starts
        journal, run = begun(Path(sys.argv[1]), ["a", "b"], durable=sys.argv[2] == "durable")
        journal([*starts("a", "b"), *ends("a")])
        os.kill(os.getpid(), signal.SIGKILL)
    """
    for durable in ("durable", "not"):
        words = [sys.executable, "-c", textwrap.dedent(program), str(state), durable]
        ended = subprocess.run(words, check=False, cwd=Path(__file__).parents[1])
        assert ended.returncode == -signal.SIGKILL
        assert outcomes(state) == {"a": "succeeded", "b": "interrupted"}
        assert History.open(str(state)).find_run("last").outcome == "interrupted"
        assert completed(state) == {"a": digest_of("a")}


def test_nothing_that_was_told_is_lost_whenever_the_process_is_killed(state: Path) -> None:
    program = """
        import sys
        from pathlib import Path
        from tests.support.journals import begun, ends, starts
        names = [f"t{number}" for number in range(100_000)]
        journal, run = begun(Path(sys.argv[1]), names)
        for name in names:
            journal([*starts(name), *ends(name)])
            print(name, flush=True)
    """
    words = [sys.executable, "-c", textwrap.dedent(program), str(state)]
    for lines in (1, 7, 300, 2000):
        with subprocess.Popen(
            words, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            told = {process.stdout.readline().strip() for _ in range(lines)}
            process.kill()
            # The last line may be cut off.
            told.update(process.stdout.read().split("\n")[:-1])
        assert told <= completed(state).keys()


def test_durable_asks_the_disk_at_each_commit(state: Path) -> None:
    for durable, synchronous in ((True, 2), (False, 1)):
        journal = Journal.open(str(state), durable=durable)
        assert journal._connection.execute("PRAGMA synchronous").fetchone() == (synchronous,)
        assert journal._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("made", ["by itself", "by another that was not durable"])
@needs_root
@pytest.mark.program("mount")
@pytest.mark.program("mkfs.ext4")
def test_durable_survives_a_loss_of_power(disk: "Disk", made: str) -> None:
    state = disk.place / "deep" / "state"
    if made != "by itself":
        begun(state, "a")
    journal, run = begun(state, "ab", durable=True)
    journal([*starts("a"), *ends("a")])
    assert outcomes(disk.after_a_loss_of_power() / "deep" / "state", run) == {
        "a": "succeeded",
        "b": None,
    }


def test_nobody_else_can_read_what_is_made(state: Path) -> None:
    old = os.umask(0)
    try:
        journal, run = begun(state, "a")
        journal.save_value("a", digest_of("a"), b"x" * (LARGEST_VALUE + 1))
    finally:
        os.umask(old)
    for directory, _, files in os.walk(state):
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
        for file in files:
            assert stat.S_IMODE(os.stat(f"{directory}/{file}").st_mode) == 0o600
    assert run in os.listdir(state / "runs")


def test_a_run_is_running_as_long_as_its_journal_is_open(state: Path) -> None:
    journal, run = begun(state, "a")
    assert History.open(str(state)).find_run(run).outcome == "running"
    journal.close("succeeded")
    assert History.open(str(state)).find_run(run).outcome == "succeeded"


def test_a_run_that_is_running_cannot_be_gone_on_with(state: Path) -> None:
    journal, run = begun(state, "a")
    with pytest.raises(UsageError, match=f"run {run} is running, in process {os.getpid()}; wait"):
        Journal.open(str(state)).begin(facts(run), declared("a"))
    journal.close("succeeded")
    Journal.open(str(state)).begin(facts(run), declared("a"))


def test_two_runs_can_be_recorded_at_once(state: Path) -> None:
    one, first = begun(state, "a")
    other, second = begun(state, "a")
    for number in range(1, 50):
        one([*starts("a", attempt=number), *ends("a", attempt=number)])
        other([*starts("a", attempt=number), *ends("a", attempt=number, outcome=Outcome.FAILED)])
    one.close("succeeded")
    other.close("failed")
    assert (outcomes(state, first), outcomes(state, second)) == (
        {"a": "succeeded"},
        {"a": "failed"},
    )


class TestResume:
    """A run that goes on."""

    def go_on(self, state: Path, run: str, names: str, version: int = 1) -> Journal:
        journal = Journal.open(str(state))
        journal.begin(facts(run, started=EPOCH + 100), declared(names, version))
        return journal

    def test_earlier_attempts_are_kept_and_the_latest_word_counts(self, state: Path) -> None:
        failed = ends("b", outcome=Outcome.FAILED)
        run = recorded(state, [*starts("a", "b"), *ends("a"), *failed])
        journal = self.go_on(state, run, "abc")
        assert outcomes(state) == {"a": "succeeded", "b": None, "c": None}
        journal(ends("a", outcome=Outcome.CACHED, attempt=0, seconds=0.0))
        journal([*starts("b", attempt=2), *ends("b", attempt=2)])
        journal.close("succeeded")
        history = History.open(str(state))
        found = history.find_run(run)
        assert (found.started, found.resumed) == (EPOCH, EPOCH + 100)
        assert history.attempts(found) == {"a": 1, "b": 2}
        assert done_in(history, found) == dict(declared("ab"))
        assert outcomes(state) == {"a": "cached", "b": "succeeded", "c": None}

    def test_what_is_not_reached_again_keeps_its_word(self, state: Path) -> None:
        run = recorded(state, [*starts("a", "b"), *ends("a"), *ends("b", outcome=Outcome.FAILED)])
        self.go_on(state, run, "abc").close("interrupted")
        assert outcomes(state) == {"a": "succeeded", "b": "failed", "c": None}

    def test_a_task_that_does_something_else_is_another(self, state: Path) -> None:
        run = recorded(state, [*starts("a"), *ends("a")], "ab")
        journal = self.go_on(state, run, "ca", version=2)
        assert completed(state) == {"a": digest_of("a")}
        journal(starts("a", attempt=2))
        journal.close("interrupted")
        assert completed(state) == {}
        assert outcomes(state) == {"c": None, "a": "interrupted"}

    def test_tasks_that_are_gone_are_not_shown(self, state: Path) -> None:
        run = recorded(state, [*starts("a"), *ends("a")], "ab")
        self.go_on(state, run, "b").close("failed")
        assert outcomes(state) == {"b": None}
        assert completed(state) == {"a": digest_of("a")}
        self.go_on(state, run, "ba").close("failed")
        assert outcomes(state) == {"b": None, "a": "succeeded"}


class TestValues:
    """Values of functions."""

    @pytest.mark.parametrize("size", [0, 10, LARGEST_VALUE, LARGEST_VALUE + 1])
    def test_a_value_is_there_once_its_task_has_ended(self, state: Path, size: int) -> None:
        journal, _ = begun(state, "ab")
        journal.save_value("a", digest_of("a"), b"x" * size)
        journal(ends("a"))
        history = History.open(str(state))
        run = history.find_run("last")
        assert history.load_value(run, "a", digest_of("a")) == b"x" * size
        assert history.load_value(run, "b", digest_of("b")) is None
        assert history.load_value(run, "a", digest_of("a", 2)) is None

    def test_a_value_that_cannot_be_kept_is_told(self, state: Path) -> None:
        journal, run = begun(state, "a")
        (state / "runs" / run / "values").touch()
        journal.save_value("a", digest_of("a"), b"x" * (LARGEST_VALUE + 1))
        journal(ends("a"))
        journal.close("succeeded")
        assert journal.incomplete is not None
        assert journal.incomplete.endswith("lacks the value of a: File exists")
        assert outcomes(state) == {"a": "succeeded"}


class TestFaults:
    """What the machine, and others, can do to a journal."""

    def test_while_another_holds_it_events_are_kept(self, state: Path) -> None:
        journal, _ = begun(state, "abc")
        other = sqlite3.connect(state / "journal.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        journal([*starts("a"), *ends("a")])
        journal([*starts("b"), *ends("b")])
        other.execute("ROLLBACK")
        assert outcomes(state) == dict.fromkeys("abc")
        journal.close("succeeded")
        assert (journal.incomplete, journal.warnings) == (None, [])
        assert outcomes(state) == {"a": "succeeded", "b": "succeeded", "c": None}

    def test_what_another_kept_us_from_recording_is_told(self, state: Path) -> None:
        other = Journal.open(str(state))
        other._connection.execute("BEGIN IMMEDIATE")
        journal, _ = begun(state, "a")
        journal(starts("a"))
        journal.close("succeeded")
        assert journal.incomplete is not None
        assert journal.incomplete.endswith("lacks all of this run: database is locked")

    @pytest.mark.parametrize("where", [0, 20, 100, 4096, 8192])
    def test_a_damaged_journal_is_set_aside(self, state: Path, where: int) -> None:
        for _ in range(3):
            recorded(state, [*starts("a"), *ends("a")])
        damage(state, where)
        before = (state / "journal.db").read_bytes()
        journal, _ = begun(state, "ab")
        journal([*starts("a"), *ends("a")])
        journal.close("succeeded")
        assert journal.incomplete is None
        [warning] = journal.warnings
        [aside] = set_aside(state)
        assert warning == f"the journal was damaged; it is kept as {aside}"
        assert aside.read_bytes() == before
        assert outcomes(state) == {"a": "succeeded", "b": None}

    def test_damage_during_a_run_costs_what_was_recorded_before(self, state: Path) -> None:
        journal, _ = begun(state, [f"t{number}" for number in range(1000)])
        journal(ends("t1"))
        journal._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        journal._connection.execute("PRAGMA shrink_memory")
        for page in range(1, (state / "journal.db").stat().st_size // 4096):
            damage(state, page * 4096)
        # Another program has changed it, as far as SQLite can tell; so it is read again.
        journal._connection.execute("PRAGMA cache_size = 0")
        for number in range(2, 1000, 100):
            journal(ends(f"t{number}"))
        journal.close("succeeded")
        assert journal.incomplete is not None
        assert "lacks what was recorded before the journal was damaged" in journal.incomplete
        assert len(set_aside(state)) == 1
        assert outcomes(state)["t902"] == "succeeded"

    def test_an_empty_file_becomes_a_journal(self, state: Path) -> None:
        state.mkdir()
        (state / "journal.db").touch()
        recorded(state, [*starts("a"), *ends("a")])
        assert completed(state) == {"a": digest_of("a")}

    def test_the_database_of_another_program_is_left_alone(self, state: Path) -> None:
        state.mkdir()
        other = sqlite3.connect(state / "journal.db")
        other.execute("CREATE TABLE t (x)")
        other.close()
        before = (state / "journal.db").read_bytes()
        for open_journal in (Journal.open, History.open):
            with pytest.raises(UsageError, match=r"is a database of another program; name another"):
                open_journal(str(state))
        assert (state / "journal.db").read_bytes() == before

    def test_a_journal_of_a_newer_version_is_left_alone(self, state: Path) -> None:
        recorded(state, [])
        other = sqlite3.connect(state / "journal.db")
        other.execute("PRAGMA user_version = 99")
        other.close()
        before = (state / "journal.db").read_bytes()
        for open_journal in (Journal.open, History.open):
            with pytest.raises(UsageError, match=r"newer parallel-workers \(schema 99, this"):
                open_journal(str(state))
        assert (state / "journal.db").read_bytes() == before

    @pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
    @pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, link_to_a_device])
    def test_what_is_no_file_is_an_error(
        self, state: Path, suffix: str, make: Callable[[Path], None]
    ) -> None:
        if suffix:
            recorded(state, [])
        state.mkdir(exist_ok=True)
        make(state / f"journal.db{suffix}")
        for open_journal in (Journal.open, History.open, Upkeep.open):
            with pytest.raises(UsageError, match=rf"journal\.db{suffix} is no regular file; rem"):
                open_journal(str(state))

    def test_a_state_directory_that_another_has_locked_is_not_waited_for_for_ever(
        self, state: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        state.mkdir()
        directory = os.open(state, os.O_RDONLY)
        fcntl.flock(directory, fcntl.LOCK_EX)
        monkeypatch.setattr(journal_schema, "_WAITING", 0.1)
        with pytest.raises(UsageError, match="state is locked by another process"):
            Journal.open(str(state))
        os.close(directory)
        recorded(state, [])

    def test_a_state_directory_that_is_deleted_meanwhile_is_told_of(self, state: Path) -> None:
        journal, _ = begun(state, "a")
        subprocess.run(["rm", "-r", str(state)], check=True)
        journal([*starts("a"), *ends("a")])
        journal.close("succeeded")
        assert journal.incomplete is not None
        assert journal.incomplete.endswith("lacks all of this run: it was deleted meanwhile")

    def test_a_clock_that_is_set_back_changes_no_order(self, state: Path) -> None:
        first = recorded(state, [*starts("a"), *ends("a", time=1.0)])
        journal = Journal.open(str(state))
        journal.begin(facts(first, started=EPOCH - 5000), declared("abc"))
        journal([*starts("a", attempt=2, time=-5000.0)])
        journal(ends("a", attempt=2, time=-4000.0, outcome=Outcome.FAILED))
        journal.close("failed")
        assert outcomes(state)["a"] == "failed"
        assert [run.id for run in History.open(str(state)).runs()] == [first]

    def test_a_run_whose_directory_is_deleted_is_still_running(self, state: Path) -> None:
        journal, run = begun(state, "a")
        os.rmdir(state / "runs" / run)
        assert History.open(str(state)).find_run(run).outcome == "running"
        with pytest.raises(UsageError, match=f"run {run} is running"):
            Journal.open(str(state)).begin(facts(run), declared("a"))
        journal(ends("a"))
        journal.close("succeeded")
        assert (journal.warnings, journal.incomplete) == ([], None)
        assert outcomes(state) == {"a": "succeeded"}

    def test_a_run_that_cannot_be_locked_is_recorded(self, state: Path) -> None:
        state.mkdir()
        (state / "locks").touch()
        journal, _ = begun(state, "a")
        journal(ends("a"))
        [warning] = journal.warnings
        assert warning.startswith("the run cannot be locked, and will look interrupted")
        journal.close("succeeded")
        assert outcomes(state) == {"a": "succeeded"}

    @needs_root
    @pytest.mark.program("mount")
    def test_a_full_disk_is_waited_for_and_told_of(self, small: Path) -> None:
        state = small / "state"
        names = [f"t{number}" for number in range(100)]
        journal, _ = begun(state, names)
        filler = small / "filler"
        with filler.open("wb", buffering=0) as file:
            for size in (4096, 1):
                while True:
                    try:
                        file.write(b"x" * size)
                    except OSError:
                        break
        for name in names:
            journal([*starts(name), *ends(name)])
        full = outcomes(state)
        assert None in full.values()
        filler.unlink()
        journal.close("succeeded")
        assert journal.incomplete is None
        assert outcomes(state) == dict.fromkeys(names, "succeeded")

    @needs_root
    @pytest.mark.program("mount")
    def test_what_there_is_no_room_for_is_told(self, small: Path) -> None:
        names = [f"t{number}" for number in range(5000)]
        journal, _ = begun(small / "state", names)
        journal([*starts(*names), *ends(*names)])
        journal.close("succeeded")
        assert journal.incomplete is not None
        assert journal.incomplete.endswith(
            "lacks 10,000 events and the end of the run, which will look interrupted: "
            "database or disk is full"
        )

    @needs_root
    @pytest.mark.program("mount")
    def test_a_read_only_directory_can_be_read_but_not_recorded_in(self, small: Path) -> None:
        state = small / "state"
        recorded(state, [*starts("a"), *ends("a")])
        remount = ["mount", "-o", "remount,ro", str(small)]
        subprocess.run(remount, check=True)
        with pytest.raises(UsageError, match=r"cannot be used: "):
            Journal.open(str(state))
        assert outcomes(state)["a"] == "succeeded"

    def test_a_limit_on_files_does_not_end_the_run(self, state: Path) -> None:
        names = [f"t{number}" for number in range(3000)]
        journal, _ = begun(state, names)
        with no_file_longer_than(300_000):
            journal([*starts(*names), *ends(*names)])
        journal.close("succeeded")
        assert journal.incomplete is None
        assert completed(state).keys() == set(names)

    def test_a_limit_that_the_log_of_the_journal_reaches_costs_nothing(self, state: Path) -> None:
        journal, _ = begun(state, "a")
        with no_file_longer_than((state / "journal.db-wal").stat().st_size):
            journal([*starts("a"), *ends("a")])
            assert journal.trouble is None
            journal.close("succeeded")
        assert journal.incomplete is None
        assert History.open(str(state)).find_run("last").outcome == "succeeded"

    def test_an_end_that_cannot_be_recorded_is_told(self, state: Path) -> None:
        journal, _ = begun(state, "a")
        journal([*starts("a"), *ends("a")])
        with no_file_longer_than(1):
            journal.close("succeeded")
        assert journal.incomplete is not None
        assert journal.incomplete.endswith(
            "lacks the end of the run, which will look interrupted: disk I/O error"
        )
        assert outcomes(state) == {"a": "succeeded"}
        assert History.open(str(state)).find_run("last").outcome == "interrupted"


@contextlib.contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """Let this process write to no file beyond so many bytes."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, before)


def damage(state: Path, where: int) -> None:
    """Write over a part of the journal what no journal holds."""
    with (state / "journal.db").open("r+b") as file:
        file.seek(where)
        file.write(b"\xff\x00garbage" * 40)


def set_aside(state: Path) -> list[Path]:
    """The journals that were set aside, without what belongs to them."""
    return [
        path
        for path in state.glob("journal.db.damaged-*")
        if not path.name.endswith(("-wal", "-shm"))
    ]


class Disk:
    """A disk of which there is an image: what has not reached it is lost with the power.

    Attributes:
        place: Where it is mounted.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._image = directory / "image"
        with self._image.open("wb") as file:
            file.truncate(32 << 20)
        subprocess.run(["mkfs.ext4", "-q", str(self._image)], check=True)
        self.place = self._mount(self._image, "before")

    def after_a_loss_of_power(self) -> Path:
        """Return where there is what would be left on the disk, were the power lost now."""
        left = self._directory / "left"
        shutil.copyfile(self._image, left)
        return self._mount(left, "after")

    def _mount(self, image: Path, name: str) -> Path:
        place = self._directory / name
        place.mkdir()
        mount = ["mount", "-o", "loop", str(image), str(place)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("no image of a disk can be mounted here")
        return place

    def unmount(self) -> None:
        for name in ("before", "after"):
            umount = ["umount", "--lazy", str(self._directory / name)]
            subprocess.run(umount, capture_output=True, check=False)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path)
    yield disk
    disk.unmount()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A directory on a disk with room for little."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)
