"""The journal: what happens in a run, kept so that it survives the end of this process.

It stands before all other listeners, and comes back to whoever told it of a batch of events when
the batch is written: what has been shown is kept. A batch is one transaction.

A run goes on when its journal cannot be written: events are kept here and tried again, with the
next batch and at the end. What is lost in spite of that is told, by `Journal.incomplete`.
"""

import contextlib
import fcntl
import json
import os
import sqlite3
import threading
import time
from collections.abc import Collection, Sequence
from itertools import count
from typing import Any, NamedTuple

from parallel_workers.errors import StateError
from parallel_workers.events import (
    CommandResult,
    Event,
    Outcome,
    TaskEnded,
    TaskRetried,
    TaskStarted,
)
from parallel_workers.history import (
    FORGIVEN,
    IN_FILE,
    IN_TABLE,
    History,
    RunRecord,
    value_path,
)
from parallel_workers.journal_schema import (
    FAULTS,
    MOST_ATTEMPTS,
    RUN_SHIFT,
    TASK_SHIFT,
    faults_explained,
    inode_of,
    is_damage,
    is_out_of_room,
    lock_path,
    lock_run,
    open_for_writing,
    open_undamaged,
    replace_damaged,
    sync_directories,
)
from parallel_workers.state import make_state, user_name
from parallel_workers.wording import encodable, one_line, plural, shorten

LARGEST_VALUE = 1 << 16
"""The most bytes of a value that the journal itself holds; a larger one gets a file."""

_PATIENCE = 2000
"""For how many milliseconds others may hold up a batch before the run goes on without it."""

_RETRY_AFTER = 1.0
"""Seconds between attempts to write while it cannot be written."""

_CHECKPOINT_PAGES = 4000
_TIDY_SIZE = 1 << 20
"""A checkpoint waits for the disk. So there are few during a run, and at its end only if the next
one would have to read more than so many bytes of what has been written since the last."""

_LONGEST_ERROR = 500

_NEXT_TASK = 1 << TASK_SHIFT
"""How far the id of a task is from that of the next one."""

_START = "INSERT OR REPLACE INTO start VALUES (?, ?, ?, ?)"
_END = "INSERT OR REPLACE INTO finish (id, session, started, seconds, worker"
_SUCCESS = f"{_END}) VALUES (?, ?, ?, ?, ?)"
_OTHER_END = f"""{_END}, status, log, cpu, memory, outcome, final, error, cause)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
"""Each column costs, and None costs more than any number: what is true of a function that has
succeeded is the default."""


class RunFacts(NamedTuple):
    """What is to be known of a run that begins, or goes on.

    Attributes:
        run: Its id.
        graph: The digest of its graph.
        file: The file of the graph, as it was named; "" if a program made it.
        arguments: The arguments of the program.
        jobs: How many may run at once; 0 for no limit.
        started: When it begins, in seconds since the epoch.
    """

    run: str
    graph: bytes
    file: str
    arguments: Sequence[str]
    jobs: int
    started: float


class Journal(History):
    """The journal of a state directory, to record one run in and to read. It is a listener.

    Args:
        state: The state directory.
        connection: A connection to its journal.
        durable: Whether what is written is to survive a loss of power, too.

    Attributes:
        warnings: What is to be told of the journal, each in a line.
        incomplete: After `close`, what could not be recorded, in a line; None if all was.
        trouble: Why what has happened cannot be written now; None while it can.
    """

    def __init__(self, state: str, connection: sqlite3.Connection, *, durable: bool) -> None:
        super().__init__(state, connection)
        self.warnings: list[str] = []
        self.incomplete: str | None = None
        self.trouble: str | None = None
        self._durable = durable
        self._mutex = threading.Lock()
        self._run_lock: int | None = None
        self._facts: RunFacts | None = None
        self._tasks: Sequence[tuple[str, bytes]] = ()
        self._logs = ""
        # What is to be written yet.
        self._declared = False
        self._events: list[Event] = []
        self._values: list[tuple[str, bytes]] = []
        self._end: tuple[float, str] | None = None
        # Known once the run is declared: its session, and by name the ids of its tasks.
        self._session = 0
        self._ids: dict[str, int] = {}
        self._retry_at = 0.0
        self._damaged = False
        self._lost: list[str] = []
        self._prepare()

    @classmethod
    def open(cls, state: str, *, durable: bool = False) -> "Journal":
        """Open the journal of a state directory; make what of that there is not.

        Args:
            state: The state directory.
            durable: Whether what is written is to survive a loss of power, too.

        Raises:
            StateError: Nothing can be recorded there.
        """
        make_state(state)
        connection, aside = open_for_writing(state, durable=durable)
        journal = cls(state, connection, durable=durable)
        journal._tell_aside(aside)
        return journal

    @classmethod
    def open_undamaged(cls, state: str, *, durable: bool = False) -> "Journal":
        """Open the journal for a run that needs what earlier ones recorded; arguments as `open`.

        Raises:
            StateError: Nothing can be recorded there, or the journal is damaged; it stays then.
        """
        make_state(state)
        return cls(state, open_undamaged(state, durable=durable), durable=durable)

    def begin(self, facts: RunFacts, tasks: Sequence[tuple[str, bytes]]) -> None:
        """Record that a run begins, or goes on: then its tasks are those of now.

        Args:
            facts: What is to be known of it. Where there is a run of that id, it goes on; what is
                known of it is kept.
            tasks: By task, its name and its digest, in the order of the plan.

        Raises:
            UsageError: Another process is at that run.
        """
        self.lock(facts.run)
        with self._mutex:
            self._facts, self._tasks = facts, tasks
            self._logs = f"{self.directory(facts.run)}/"
            self._write()

    def __call__(self, events: Sequence[Event]) -> None:
        """Write a batch of events; what cannot be written is kept, and tried again."""
        with self._mutex:
            self._events += events
            self._write()

    def save_value(self, name: str, digest: bytes, pickled: bytes) -> None:
        """Keep the value of a task, with or before the event that it has succeeded.

        Args:
            name: The name of the task.
            digest: What it does.
            pickled: The value, if it is not None; empty for one that cannot be kept.
        """
        kept = IN_TABLE + pickled
        if len(pickled) > LARGEST_VALUE and self._facts is not None:
            kept = IN_FILE
            path = value_path(self.directory(self._facts.run), name, digest)
            try:
                _write_file(path, pickled, durable=self._durable)
            except OSError as error:
                self._lost.append(f"the value of {shorten(name)}: {error.strerror}")
                kept = IN_TABLE
        with self._mutex:
            self._values.append((name, kept))

    def set_aside(self) -> None:
        """Go on with another journal, before a run begins: this one has turned out to be damaged.

        Raises:
            StateError: There is no other.
        """
        with self._mutex:
            self._replace()

    def forget_values(self, run: RunRecord, names: Collection[str]) -> None:
        """Forget the values of tasks that are done again; one that gives None then keeps none."""
        with faults_explained(self.path):
            self._connection.executemany(
                "DELETE FROM value WHERE task IN (SELECT id FROM task WHERE id BETWEEN ? AND ? "
                "AND name = ?)",
                [
                    (run.number << RUN_SHIFT, (run.number + 1 << RUN_SHIFT) - 1, name)
                    for name in names
                ],
            )

    def close(self, outcome: str) -> None:
        """Record how the run ended; what could not be written before is tried for the last time.

        The file stays open until `release`, for which SQLite waits for the disk: that would be a
        good part of what a short run takes.

        Args:
            outcome: How it ended, in a word.
        """
        with self._mutex:
            self._end = (time.time(), outcome)
            self._retry_at = 0.0
            self._be_patient(_PATIENCE)
            self._write()
            self.incomplete = self._missing()
            self._tidy()
        if self._run_lock is not None:
            # A child that a function has forked may hold it, too.
            with contextlib.suppress(OSError):
                fcntl.flock(self._run_lock, fcntl.LOCK_UN)
            os.close(self._run_lock)
            self._run_lock = None

    def lock(self, run: str) -> None:
        """Take the lock that tells others that a run is running, as long as this process lives.

        Args:
            run: The id of the run; nothing happens where this journal has its lock.

        Raises:
            UsageError: Another process is at that run.
        """
        if self._run_lock is not None:
            return
        try:
            self._run_lock = lock_run(self.state, run)
        except OSError as error:
            warning = (
                f"the run cannot be locked, and will look interrupted to others: "
                f"{lock_path(self.state, run)}: {error.strerror}"
            )
            # Who goes on with a run tries it before that begins, too.
            if warning not in self.warnings:
                self.warnings.append(warning)

    def _prepare(self) -> None:
        """Set up the connection."""
        self._inode = inode_of(self.path)
        self._be_patient(_PATIENCE)
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")

    def _be_patient(self, milliseconds: int) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute(f"PRAGMA busy_timeout = {milliseconds}")

    def _write(self) -> None:
        """Write all that is to be written, if that can be done now."""
        if self._facts is None or (self.trouble and time.monotonic() < self._retry_at):
            return
        try:
            if self._damaged:
                self._replace()
            try:
                self._write_at_once()
            except FAULTS as error:
                self._mend(error)
                self._write_at_once()
        except (*FAULTS, StateError) as error:
            if self.trouble is None:
                # Whoever holds it up is not waited for with every batch.
                self._be_patient(0)
            self.trouble = one_line(str(error), _LONGEST_ERROR)
            self._retry_at = time.monotonic() + _RETRY_AFTER
            return
        if self.trouble is not None:
            self._be_patient(_PATIENCE)
            self.trouble = None

    def _mend(self, error: Exception) -> None:
        """Do what makes it worth while to write once more.

        Raises:
            Exception: The error itself, if there is no such thing.
            StateError: The journal is damaged, and there is no other.
        """
        if is_damage(error):
            self._damaged = True
            self._replace()
        elif is_out_of_room(error):
            # What lies beside the file may be what has reached a limit, or fills the disk.
            self._empty_log()
        else:
            raise error

    def _write_at_once(self) -> None:
        """Write all that is to be written, in one transaction."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            if not self._declared:
                self._declare()
            if self._values:
                rows = [(self._ids[name], pickled) for name, pickled in self._values]
                connection.executemany("INSERT OR REPLACE INTO value VALUES (?, ?)", rows)
            self._insert_events()
            if self._end is not None:
                connection.execute(
                    "UPDATE session SET ended = ?, outcome = ? WHERE number = ?",
                    (*self._end, self._session),
                )
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.rollback()
            raise
        self._declared = True
        self._events.clear()
        self._values.clear()

    def _declare(self) -> None:
        """Record the run, this session of it, and its tasks."""
        assert self._facts is not None
        facts, execute = self._facts, self._connection.execute
        execute("INSERT OR IGNORE INTO run (id) VALUES (?)", (facts.run,))
        [(run,)] = execute("SELECT number FROM run WHERE id = ?", (facts.run,))
        session = (
            *(run, facts.graph, encodable(facts.file), json.dumps(list(facts.arguments))),
            *(user_name(), os.uname().nodename, min(facts.jobs, 1 << 62), len(self._tasks)),
            facts.started,
        )
        self._session = (
            execute(
                "INSERT INTO session (run, graph, file, arguments, user, host, jobs, tasks, "
                "started) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                session,
            ).lastrowid
            or 0
        )
        self._declare_tasks(run << RUN_SHIFT)

    def _declare_tasks(self, first: int) -> None:
        """Record the tasks of a run, whose ids begin with `first`; those it had keep theirs."""
        last = first + (1 << RUN_SHIFT) - 1
        known = {
            (name, digest): task
            for task, name, digest in self._connection.execute(
                "SELECT id, name, digest FROM task WHERE id BETWEEN ? AND ?", (first, last)
            )
        }
        if known:
            self._connection.execute(
                "UPDATE task SET position = NULL WHERE id BETWEEN ? AND ?", (first, last)
            )
        unused = count(max(known.values()) + _NEXT_TASK if known else first, _NEXT_TASK)
        ids = [known.get(task) or next(unused) for task in self._tasks]
        names = [name for name, _ in self._tasks]
        self._ids = dict(zip(names, ids, strict=True))
        # The module would look bytes up among its adapters, but not an array of them.
        digests = [bytearray(digest) for _, digest in self._tasks]
        rows = zip(ids, range(len(ids)), names, digests, strict=True)
        self._connection.executemany("INSERT OR REPLACE INTO task VALUES (?, ?, ?, ?)", rows)

    def _insert_events(self) -> None:
        starts: dict[int, tuple[Any, ...]] = {}
        successes: list[tuple[Any, ...]] = []
        others: list[tuple[Any, ...]] = []
        ids, session = self._ids, self._session
        for event in self._events:
            if event.__class__ is TaskStarted:
                started, task, number, worker = event
                attempt = ids[task] + (number if number < MOST_ATTEMPTS else MOST_ATTEMPTS)
                starts[attempt] = attempt, session, started, worker
            elif isinstance(event, (TaskEnded, TaskRetried)):
                ended, task, number, outcome, seconds = event[:5]
                attempt = ids[task] + (number if number < MOST_ATTEMPTS else MOST_ATTEMPTS)
                start = starts.pop(attempt, None)
                row = attempt, session, ended - seconds, seconds, start and start[3]
                if outcome is Outcome.SUCCEEDED and event.result.__class__ is not CommandResult:
                    successes.append(row)
                else:
                    others.append((*row, *self._more_columns(event)))
        for sql, rows in (
            (_START, list(starts.values())),
            (_SUCCESS, successes),
            (_OTHER_END, others),
        ):
            if rows:
                self._connection.executemany(sql, rows)

    def _more_columns(self, event: TaskEnded | TaskRetried) -> tuple[Any, ...]:
        """Return the columns that an end has in addition if it is no success of a function."""
        result, prefix = event.result, self._logs
        status = log = cpu = memory = error = None
        if isinstance(result, CommandResult):
            _, status, log, _, error, cpu, memory = result
            log = log[len(prefix) :] if log.startswith(prefix) else encodable(log)
        elif isinstance(result, BaseException):
            error = _line_of(result)
        final, cause = 0, None
        if isinstance(event, TaskEnded):
            final, cause = FORGIVEN if event.forgiven else 1, event.cause
        error = error and encodable(error)
        return status, log, cpu, memory, str(event.outcome), final, error, cause

    def _replace(self) -> None:
        """Go on with another journal, as this one is damaged.

        Raises:
            StateError: There is no other.
        """
        self._connection.close()
        self._connection, aside = replace_damaged(self.state, self._inode, durable=self._durable)
        self._damaged = False
        self._prepare()
        self._tell_aside(aside)
        if self._declared:
            self._lost.append("what was recorded before the journal was damaged")
        self._declared = False

    def _tell_aside(self, aside: str | None) -> None:
        """Let it be told where a damaged journal is kept, if there was one."""
        if aside is not None:
            self.warnings.append(f"the journal was damaged; it is kept as {aside}")

    def _missing(self) -> str | None:
        """Return what has not been recorded, in a line; None if all has."""
        missing = list(self._lost)
        if self.trouble is not None:
            missing.append(f"{self._unwritten()}: {self.trouble}")
        elif self._inode != inode_of(self.path):
            missing.append("all of this run: it was deleted meanwhile")
        if not missing:
            return None
        return f"the journal {self.path} lacks {'; '.join(missing)}"

    def _unwritten(self) -> str:
        """Return what has not been written of a run that has ended."""
        if not self._declared:
            return "all of this run"
        events = f"{plural(len(self._events), 'event')} and " if self._events else ""
        return f"{events}the end of the run, which will look interrupted"

    def _tidy(self) -> None:
        with contextlib.suppress(OSError):
            if os.stat(f"{self.path}-wal").st_size > _TIDY_SIZE:
                self._empty_log()

    def _empty_log(self) -> None:
        """Move what SQLite has written beside the file into it, if that can be done."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _line_of(error: BaseException) -> str:
    # Unlike str(), this gets along with an exception that cannot say what it is.
    from traceback import format_exception_only

    return one_line(format_exception_only(error)[-1], _LONGEST_ERROR)


def _write_file(path: str, data: bytes, *, durable: bool) -> None:
    """Write a file whole or not at all."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    beside = f"{path}.part"
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        if durable:
            file.flush()
            os.fsync(fd)
    os.rename(beside, path)
    if durable:
        sync_directories(os.path.dirname(path))
