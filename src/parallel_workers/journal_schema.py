"""The journal as a file: its tables, its versions, opening it, and setting a damaged one aside.

Beside it lie the locks of runs, which tell that a process is at a run.

Tables of a run are clustered by ids that hold the run, the task's place in it and the number of the
attempt, from the highest bits down. All of a run lies together then, in the order in which it is
written, and no index has to be kept: half of what a row costs otherwise.
"""

import contextlib
import fcntl
import os
import sqlite3
import stat
import time
from collections.abc import Iterator, Sequence

from parallel_workers.errors import (
    DamageError,
    LockedError,
    NoJournalError,
    StateError,
    UsageError,
)
from parallel_workers.wording import one_line

JOURNAL = "journal.db"
"""The name of the journal in a state directory."""

_APPLICATION_ID = 0x70776A6C
"""What says in the header of an SQLite file that it is a journal of ours: "pwjl"."""

RUN_SHIFT = 40
TASK_SHIFT = 16
"""At which bit of an id the number of the run begins, and the place of the task in it: enough for
8 million runs of 16 million tasks."""

MOST_ATTEMPTS = (1 << TASK_SHIFT) - 1
"""The highest number of an attempt that an id can hold."""

_WAITING = 10.0
"""For how many seconds at most another process may be making a journal, or setting one aside."""

_LONGEST_ERROR = 200

_LOOKING = 0.5
"""For how many seconds at most somebody else who looks at the lock of a run may hold it."""

FAULTS = (sqlite3.Error, UnicodeDecodeError)
"""What a journal raises that cannot be used; the latter where the words for it are damaged, too."""

MIGRATIONS = (
    """
    -- A run, and each time that it was begun or gone on with. One that never was is forgotten, and
    -- is here as long as files may be left of it.
    CREATE TABLE run (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
    CREATE TABLE session (
        number INTEGER PRIMARY KEY, run INTEGER NOT NULL, graph BLOB NOT NULL, file TEXT NOT NULL,
        arguments TEXT NOT NULL, user TEXT NOT NULL, host TEXT NOT NULL, jobs INTEGER NOT NULL,
        tasks INTEGER NOT NULL, started REAL NOT NULL, ended REAL, outcome TEXT);
    CREATE INDEX session_of_run ON session (run);
    CREATE INDEX session_of_file ON session (file, run);

    -- A name with another digest is another task. One that the graph has no more has no position.
    CREATE TABLE task (
        id INTEGER PRIMARY KEY, position INTEGER, name TEXT NOT NULL, digest BLOB NOT NULL);

    -- The id of an attempt is that of its task plus its number, 0 for an end without an attempt.
    -- A start that is told together with its end has no row of its own. An end is final (1) unless
    -- another attempt follows (0), also where it is a failure that counts as a success (2).
    CREATE TABLE start (
        id INTEGER PRIMARY KEY, session INTEGER NOT NULL, time REAL NOT NULL, worker INTEGER);
    CREATE TABLE finish (
        id INTEGER PRIMARY KEY, session INTEGER NOT NULL, started REAL NOT NULL,
        seconds REAL NOT NULL, worker INTEGER, status INTEGER, log TEXT, cpu REAL, memory INTEGER,
        outcome TEXT NOT NULL DEFAULT 'succeeded', final INTEGER NOT NULL DEFAULT 1,
        error TEXT, cause TEXT);

    -- What a person knows of a task, and did not come about by an attempt.
    CREATE TABLE mark (
        number INTEGER PRIMARY KEY, task INTEGER NOT NULL, session INTEGER NOT NULL,
        outcome TEXT NOT NULL, time REAL NOT NULL, user TEXT NOT NULL);
    CREATE INDEX mark_of_task ON mark (task);

    CREATE TABLE value (task INTEGER PRIMARY KEY, pickled BLOB NOT NULL);
    """,
)
"""What makes each version of the schema from the one before it."""


def open_for_writing(state: str, *, durable: bool = False) -> tuple[sqlite3.Connection, str | None]:
    """Open the journal of a state directory, which is made if need be; set a damaged one aside.

    Args:
        state: The state directory; it exists.
        durable: Whether what is written is to survive a loss of power, too.

    Returns:
        A connection, and the new path of a journal that was damaged, if one was.

    Raises:
        StateError: It is not ours to write to, or cannot be written.
    """
    path = f"{state}/{JOURNAL}"
    with faults_explained(path), _alone_in(state):
        try:
            with faults_explained(path):
                return _open_or_make(path, durable), None
        except DamageError:
            aside = set_aside(path)
            return _open_or_make(path, durable), aside


def open_undamaged(state: str, *, durable: bool = False) -> sqlite3.Connection:
    """Open the journal of a state directory for who needs what is in it: it stays where it is.

    Args:
        state: The state directory; it exists.
        durable: Whether what is written is to survive a loss of power, too.

    Raises:
        StateError: It is damaged, not ours to write to, or cannot be written.
    """
    path = f"{state}/{JOURNAL}"
    with faults_explained(path), _alone_in(state):
        return _open_or_make(path, durable)


def open_for_changes(state: str) -> sqlite3.Connection:
    """Open the journal of a state directory to change what is in it: none is made.

    Args:
        state: The state directory.

    Raises:
        StateError: There is none, or as `open_undamaged` does.
    """
    _refuse_none(state)
    return open_undamaged(state)


def replace_damaged(
    state: str, inode: int | None, *, durable: bool = False
) -> tuple[sqlite3.Connection, str | None]:
    """Set the journal aside, as it has turned out to be damaged, and open another.

    Args:
        state: The state directory.
        inode: That of the damaged file; another run may have set it aside already.
        durable: Whether what is written is to survive a loss of power, too.

    Returns:
        As `open_for_writing` does.

    Raises:
        StateError: There is no other.
    """
    path = f"{state}/{JOURNAL}"
    aside = None
    with faults_explained(path), _alone_in(state):
        if inode is not None and inode_of(path) == inode:
            aside = set_aside(path)
    connection, another = open_for_writing(state, durable=durable)
    return connection, aside or another


def open_for_reading(state: str) -> sqlite3.Connection:
    """Open the journal of a state directory without changing anything.

    Args:
        state: The state directory.

    Raises:
        StateError: There is none that can be read.
    """
    path = f"{state}/{JOURNAL}"
    _refuse_none(state)
    with faults_explained(path):
        try:
            connection = _connect(f"{_as_uri(path)}?mode=ro")
            version = _version(connection, path)
        except sqlite3.OperationalError:
            # Where nothing can be written, SQLite asks to be told that nobody else writes.
            if _size(f"{path}-wal"):
                raise
            connection = _connect(f"{_as_uri(path)}?immutable=1")
            version = _version(connection, path)
    if version == 0:
        raise _nothing_in(path)
    return connection


def is_damage(error: Exception) -> bool:
    """Return whether one of `FAULTS` means that the file is no database any more."""
    if isinstance(error, UnicodeDecodeError):
        return True
    return _kind(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_out_of_room(error: Exception) -> bool:
    """Return whether one of `FAULTS` means that the disk, or a limit of this process, is reached.

    For the limit on the size of a file SQLite has no word of its own.
    """
    return _kind(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def _kind(error: Exception) -> int:
    # The low byte is the kind of an error, what is above it tells more.
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def set_aside(path: str) -> str:
    """Give a journal, with all that belongs to it, a name with the time; return that.

    Raises:
        OSError: It cannot be renamed.
    """
    base = f"{path}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"
    aside, count = base, 1
    while any(os.path.lexists(aside + suffix) for suffix in ("", "-wal")):
        count += 1
        aside = f"{base}-{count}"
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.rename(path + suffix, aside + suffix)
    return aside


def sync_directories(path: str) -> None:
    """See to it that a directory, and each one above it, is there after a loss of power."""
    path = os.path.abspath(path)
    while True:
        # What we may not open is not of our making.
        with contextlib.suppress(OSError):
            directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        if path == os.path.dirname(path):
            return
        path = os.path.dirname(path)


def lock_run(state: str, run: str) -> int:
    """Take the lock of a run, which tells that a process is at it.

    Args:
        state: The state directory.
        run: The id of the run.

    Returns:
        A file descriptor; the lock lasts until it is closed, at the latest until this process ends.

    Raises:
        UsageError: Another process has the lock.
        OSError: There can be no lock.
    """
    path = lock_path(state, run)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _lock(fd, _LOOKING):
                process = os.read(fd, 20).decode(errors="replace")
                raise UsageError(
                    f"run {run} is running, in process {process}; wait for its end, or end it"
                )
            # Else whoever forgot the run has deleted the file since we opened it.
            if os.fstat(fd).st_ino == inode_of(path):
                with contextlib.suppress(OSError):
                    os.truncate(fd, 0)
                    os.write(fd, b"%d" % os.getpid())
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def lock_path(state: str, run: str) -> str:
    """Return where the lock of a run lies: not in its directory, which people may delete."""
    return f"{state}/locks/{run}"


def is_locked(state: str, run: str) -> bool:
    """Return whether a process is at a run."""
    try:
        fd = os.open(lock_path(state, run), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def _lock(fd: int, seconds: float) -> bool:
    """Lock a file for ourselves; return whether that could be done within some seconds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        else:
            return True


def inode_of(path: str) -> int | None:
    """Return the number of the file that has this path; None if none has."""
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def migrate(connection: sqlite3.Connection, migrations: Sequence[str]) -> None:
    """Bring a journal to the newest version of the schema, in one transaction.

    Args:
        connection: A connection to it.
        migrations: What makes each version from the one before it, like `MIGRATIONS`.
    """
    connection.execute("BEGIN EXCLUSIVE")
    try:
        version = _pragma(connection, "user_version")
        for script in migrations[version:]:
            for statement in script.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


@contextlib.contextmanager
def faults_explained(path: str) -> Iterator[None]:
    """Say of what goes wrong inside, with the journal of that path, what it means for people.

    Raises:
        StateError: In its place.
    """
    try:
        yield
    except OSError as error:
        raise StateError(f"the journal {path} cannot be used: {error.strerror}") from None
    except FAULTS as error:
        raise _explained(path, error) from None


def _explained(path: str, error: Exception) -> StateError:
    """Return what one of `FAULTS` means for people."""
    what = one_line(str(error), _LONGEST_ERROR)
    if is_damage(error):
        return damage(path, what)
    told = f"the journal {path} cannot be used: {what}"
    if _kind(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LockedError(told)
    if _kind(error) in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StateError(f"{told}; make it and its directory writable for yourself")
    return StateError(told)


def damage(path: str, what: str) -> DamageError:
    """Return what is raised of a damaged journal.

    Args:
        path: Its path.
        what: What is wrong with it.
    """
    return DamageError(
        f"the journal {path} is damaged: {what}; a run that comes upon that sets it aside, "
        "unless it needs what is recorded there"
    )


@contextlib.contextmanager
def _alone_in(state: str) -> Iterator[None]:
    """Let no two processes make a journal, or set one aside, at the same time."""
    directory = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not _lock(directory, _WAITING):
            raise LockedError(f"the state directory {state} is locked by another process")
        yield
    finally:
        os.close(directory)


def _open_or_make(path: str, durable: bool) -> sqlite3.Connection:
    _check_kind(path)
    _refuse_emptied(path)
    # What SQLite makes beside it gets the same mode. A file that is there is left to SQLite: to
    # close any descriptor of it would drop the locks that another run of this process has on it.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = _connect(_as_uri(path))
    try:
        version = _version(connection, path)
        if version == 0 and not durable:
            # Should the power fail now, nothing is lost but an empty journal.
            connection.execute("PRAGMA synchronous = OFF")
        if version < len(MIGRATIONS):
            connection.execute("PRAGMA journal_mode = WAL")
            migrate(connection, MIGRATIONS)
        # With WAL, both survive our end; FULL waits for the disk at each commit.
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        if durable:
            # One who did not care may have made it a moment ago. Without its first page on the
            # disk, what is beside it counts for nothing after a loss of power.
            connection.execute("PRAGMA wal_checkpoint")
            sync_directories(os.path.dirname(path))
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_none(state: str) -> None:
    """Refuse a state directory in which there is no journal, without making one.

    Raises:
        StateError: There is none, or one of which nothing can be read.
    """
    path = f"{state}/{JOURNAL}"
    _check_kind(path)
    if _size(path):
        return
    _refuse_emptied(path)
    if os.path.exists(path):
        raise _nothing_in(path)
    raise NoJournalError(
        f"there is no journal in {state}: no run has been recorded there; "
        "name another directory with --state DIR"
    )


def _nothing_in(path: str) -> NoJournalError:
    return NoJournalError(f"the journal {path} is empty: no run has been recorded there")


def _refuse_emptied(path: str) -> None:
    """Refuse a journal of which only what was written last is left.

    SQLite would take it for a new one and delete that, which may be all that was ever recorded.

    Raises:
        DamageError: It is such a one.
    """
    if not _size(path) and _size(f"{path}-wal"):
        raise damage(path, f"nothing is left of it but {path}-wal")


def _check_kind(path: str) -> None:
    """Refuse what is no file, and would make SQLite wait for whoever is at its other end.

    Raises:
        StateError: The journal, or what belongs to it, is something else.
    """
    for each in (path, f"{path}-wal", f"{path}-shm"):
        try:
            mode = os.stat(each).st_mode
        except OSError:
            continue
        if not stat.S_ISREG(mode):
            raise StateError(
                f"the journal {path} cannot be used: {each} is no regular file; "
                "remove it, or name another directory with --state DIR"
            )


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def _as_uri(path: str) -> str:
    path = os.path.abspath(path)
    for char in "%?#":
        path = path.replace(char, f"%{ord(char):02x}")
    return f"file://{path}"


def _version(connection: sqlite3.Connection, path: str) -> int:
    """Return the version of a journal, 0 for a new one; refuse what we must not touch."""
    # Reads the whole schema, and so finds out whether it can be read.
    [(tables,)] = connection.execute("SELECT count(*) FROM sqlite_master")
    version = _pragma(connection, "user_version")
    if _pragma(connection, "application_id") != _APPLICATION_ID:
        if version or tables:
            raise StateError(
                f"{path} is a database of another program; name another directory with --state DIR"
            )
        return 0
    if version > len(MIGRATIONS):
        raise StateError(
            f"the journal {path} was written by a newer parallel-workers (schema {version}, this "
            f"one knows {len(MIGRATIONS)}); update this one, or name another with --state DIR"
        )
    return version


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
