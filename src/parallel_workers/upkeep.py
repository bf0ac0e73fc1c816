"""What people change in a journal: marks on tasks, and runs that are not to be kept any longer."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Sequence

from parallel_workers.errors import StateError, UsageError
from parallel_workers.events import Outcome
from parallel_workers.history import History, RunRecord
from parallel_workers.journal_schema import (
    RUN_SHIFT,
    faults_explained,
    lock_path,
    lock_run,
    open_for_changes,
)
from parallel_workers.state import began, user_name
from parallel_workers.wording import shorten, suggestion

_BEGINNING = 60.0
"""For how many seconds a run may have a directory before the journal knows of it."""


class Upkeep(History):
    """A journal in which people change something."""

    @classmethod
    def open(cls, state: str) -> "Upkeep":
        """Open the journal of a state directory to change it.

        Raises:
            StateError: There is none, or it cannot be written.
        """
        # To ask for a change is no reason to make a journal, or to set one aside.
        return cls(state, open_for_changes(state))

    def mark(self, run: RunRecord, names: Collection[str], outcome: Outcome) -> None:
        """Record what a person knows of tasks, as what it is: with the time, and who said it.

        Args:
            run: A run that nobody is at.
            names: The names of the tasks.
            outcome: How they ended.

        Raises:
            UsageError: The run is running, or has no such task; or nothing can be written.
        """
        now, user, ids = time.time(), user_name(), self.task_ids(run)
        for name in names:
            if name not in ids:
                raise UsageError(f"run {run.id} has no task {shorten(name)}{suggestion(name, ids)}")
        rows = [(ids[name], run.session, outcome, now, user) for name in names]
        with self._at_rest(run.id), self._transaction():
            self._connection.executemany(
                "INSERT INTO mark (task, session, outcome, time, user) VALUES (?, ?, ?, ?, ?)", rows
            )

    def prune(self, runs: Sequence[RunRecord]) -> list[RunRecord]:
        """Forget runs, with all that was kept of them, but none that is running.

        A run is forgotten before its files are deleted: what is told of has its logs. What an
        earlier call has left of those, since it was killed, is deleted, too.

        Args:
            runs: The runs.

        Returns:
            Those that were forgotten.

        Raises:
            UsageError: Something cannot be forgotten, or not deleted.
        """
        pruned = []
        for run in runs:
            if self.is_running(run.id):
                continue
            with self._at_rest(run.id):
                self._forget(run.number)
            pruned.append(run)
        self._delete_forgotten()
        if pruned:
            # The file gets smaller only if nobody else has it open; that may be so another time.
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("VACUUM")
        return pruned

    def unrecorded(self) -> dict[str, float]:
        """Return the runs that have files, and that the journal knows nothing of: it was another.

        Returns:
            By id, when each began, in seconds since the epoch. What has begun a moment ago may be
            about to be recorded, and is none of them.
        """
        known = {run for (run,) in self._read("SELECT id FROM run", (str,))}
        latest = time.time() - _BEGINNING
        found = {}
        for run in _listed(f"{self.state}/runs"):
            moment = began(run)
            if run not in known and moment is not None and moment < latest:
                found[run] = moment
        return found

    def delete_unrecorded(self, runs: Iterable[str]) -> list[str]:
        """Delete the files of runs that the journal knows nothing of, but of none that is running.

        Args:
            runs: Ids that `unrecorded` has told.

        Returns:
            Those whose files were deleted.

        Raises:
            UsageError: Something cannot be deleted.
        """
        deleted = []
        for run in runs:
            if self.is_running(run):
                continue
            with self._at_rest(run):
                # It may have been recorded in the meantime.
                if not self._read("SELECT id FROM run WHERE id = :run", (str,), run=run):
                    self._remove_directory(run)
                    self._remove_lock(run)
                    deleted.append(run)
        return deleted

    def _forget(self, run: int) -> None:
        """Delete all that is known of a run, but that there may be files of it."""
        first, last = run << RUN_SHIFT, (run + 1 << RUN_SHIFT) - 1
        with self._transaction():
            for table, key in (
                *(("task", "id"), ("start", "id"), ("finish", "id")),
                *(("mark", "task"), ("value", "task")),
            ):
                self._connection.execute(
                    f"DELETE FROM {table} WHERE {key} BETWEEN ? AND ?", (first, last)
                )
            self._connection.execute("DELETE FROM session WHERE run = ?", (run,))

    def _delete_forgotten(self) -> None:
        """Delete the files of the runs that have been forgotten."""
        for run in self._forgotten():
            if self.is_running(run):
                continue
            with self._at_rest(run):
                # Somebody may have gone on with it in the meantime.
                if run in self._forgotten():
                    self._remove_directory(run)
                    with self._transaction():
                        self._connection.execute("DELETE FROM run WHERE id = ?", (run,))
                    self._remove_lock(run)

    def _forgotten(self) -> list[str]:
        sql = "SELECT id FROM run WHERE number NOT IN (SELECT run FROM session)"
        return [run for (run,) in self._read(sql, (str,))]

    def _remove_lock(self, run: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(lock_path(self.state, run))

    def _remove_directory(self, run: str) -> None:
        import shutil

        try:
            shutil.rmtree(self.directory(run))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise UsageError(
                f"{error.filename or self.directory(run)} cannot be removed: "
                f"{error.strerror or error}; run {run} is forgotten, and the next `runs prune` "
                "tries again"
            ) from None

    @contextlib.contextmanager
    def _at_rest(self, run: str) -> Iterator[None]:
        """Let nobody be at a run meanwhile."""
        try:
            lock = lock_run(self.state, run)
        except OSError as error:
            raise StateError(
                f"run {run} cannot be locked: {lock_path(self.state, run)}: {error.strerror}; "
                f"make {self.state}, and what is in it, writable for yourself"
            ) from None
        try:
            yield
        finally:
            os.close(lock)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with faults_explained(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.rollback()
                raise


def _listed(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []
