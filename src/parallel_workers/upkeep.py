"""What people change in a journal: marks on tasks, and runs that are not to be kept any longer."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence

from parallel_workers.errors import UsageError
from parallel_workers.events import Outcome
from parallel_workers.history import History, RunRecord, readable
from parallel_workers.journal_schema import RUN_SHIFT, open_for_writing
from parallel_workers.state import lock_run, user_name


class Upkeep(History):
    """A journal in which people change something."""

    @classmethod
    def open(cls, state: str) -> "Upkeep":
        """Open the journal of a state directory to change it.

        Raises:
            UsageError: There is none, or it cannot be written.
        """
        # To ask for a change is no reason to make a journal, or to set one aside.
        History.open(state)
        connection, _ = open_for_writing(state)
        return cls(state, connection)

    def mark(self, run: RunRecord, names: Collection[str], outcome: Outcome) -> None:
        """Record what a person knows of tasks, as what it is: with the time, and who said it.

        Args:
            run: A run that nobody is at.
            names: The names of the tasks.
            outcome: How they ended.

        Raises:
            UsageError: The run is running, or has no such task; or nothing can be written.
        """
        now, user = time.time(), user_name()
        rows = [(self.task_id(run, name), run.session, outcome, now, user) for name in names]
        with self._at_rest(run), self._transaction():
            self._connection.executemany(
                "INSERT INTO mark (task, session, outcome, time, user) VALUES (?, ?, ?, ?, ?)", rows
            )

    def prune(self, runs: Sequence[RunRecord]) -> list[RunRecord]:
        """Forget runs, with all that was kept of them, but none that is running.

        Args:
            runs: The runs.

        Returns:
            Those that were forgotten.

        Raises:
            UsageError: Something cannot be deleted.
        """
        pruned = []
        for run in runs:
            if self.is_running(run.id):
                continue
            with self._at_rest(run):
                self._remove_directory(run)
                self._delete(run)
            pruned.append(run)
        if pruned:
            # The file gets smaller only if nobody else has it open; that may be so another time.
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("VACUUM")
        return pruned

    def _remove_directory(self, run: RunRecord) -> None:
        # First, so that what could not be removed is still listed.
        import shutil

        try:
            shutil.rmtree(self.directory(run.id))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise UsageError(
                f"{error.filename} cannot be removed: {error.strerror}; run {run.id} is kept"
            ) from None

    def _delete(self, run: RunRecord) -> None:
        first, last = run.number << RUN_SHIFT, (run.number + 1 << RUN_SHIFT) - 1
        with self._transaction():
            for table, key in (
                *(("task", "id"), ("start", "id"), ("finish", "id")),
                *(("mark", "task"), ("value", "task")),
            ):
                self._connection.execute(
                    f"DELETE FROM {table} WHERE {key} BETWEEN ? AND ?", (first, last)
                )
            self._connection.execute("DELETE FROM session WHERE run = ?", (run.number,))
            self._connection.execute("DELETE FROM run WHERE number = ?", (run.number,))

    @contextlib.contextmanager
    def _at_rest(self, run: RunRecord) -> Iterator[None]:
        """Let nobody be at a run meanwhile."""
        directory = self.directory(run.id)
        try:
            lock = lock_run(directory)
        except FileNotFoundError:
            # Its directory is gone: nobody can be at it.
            yield
            return
        except OSError as error:
            raise UsageError(f"run {run.id} cannot be locked: {error.strerror}") from None
        try:
            yield
        finally:
            os.close(lock)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with readable(self.state):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.rollback()
                raise
