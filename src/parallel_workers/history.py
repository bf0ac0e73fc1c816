"""What the journal knows of runs: read at any time, also while one is under way."""

import json
import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, NamedTuple, TypeAlias

from parallel_workers.errors import UsageError
from parallel_workers.events import Outcome
from parallel_workers.hashing import blake2b
from parallel_workers.journal_schema import (
    JOURNAL,
    MOST_ATTEMPTS,
    RUN_SHIFT,
    TASK_SHIFT,
    damage,
    faults_explained,
    is_locked,
    open_for_reading,
)
from parallel_workers.logs import log_name
from parallel_workers.wording import at_most, encodable, shorten

IN_TABLE, IN_FILE = b"t", b"f"
"""How the row of a value begins that holds it, and what the row of one in a file is."""

FORGIVEN = 2
"""What `final` is in the row of a failure that counts as a success."""

MEASURED = 3
"""How many of the last durations of a task are told."""

_DONE = (Outcome.SUCCEEDED, Outcome.CACHED)
_FAILED = (Outcome.FAILED, Outcome.TIMED_OUT)

_LEAST_LOOK_BACK = 1000
"""How many successes back durations are looked for in any case; for large graphs it is more."""

_Kinds: TypeAlias = Sequence[type | UnionType]
"""What each column of a row holds, as long as the journal is not damaged."""

_LARGEST_TIME = 1e11
"""More seconds than any time or duration has, in thousands of years."""

_ONE_RUN = "BETWEEN :first AND :last"
"""What is true of the ids of one run, with what `_span` returns."""

_TASK = f">> {TASK_SHIFT} << {TASK_SHIFT}"
_NUMBER = f"& {MOST_ATTEMPTS}"
"""What makes of the id of an attempt that of its task, and its number."""


class RunRecord(NamedTuple):
    """A run, as the journal has it; of one that was gone on with, as it was the last time.

    Attributes:
        id: Its id.
        number: Its number in the journal.
        session: The number of the last session that was at it.
        graph: The digest of its graph.
        file: The file of the graph, as it was named; "" if it was made by a program.
        arguments: The arguments of the program.
        user: Who ran it.
        host: Where.
        jobs: How many might run at once; 0 for no limit.
        tasks: How many tasks it has.
        started: When it first began, in seconds since the epoch.
        resumed: When it was last gone on with; None if never.
        ended: When it ended; None if it has not, or was interrupted.
        outcome: How it ended; `running` and `interrupted` for one that has not.
    """

    id: str
    number: int
    session: int
    graph: bytes
    file: str
    arguments: tuple[str, ...]
    user: str
    host: str
    jobs: int
    tasks: int
    started: float
    resumed: float | None
    ended: float | None
    outcome: str


class AttemptRecord(NamedTuple):
    """An attempt, as the journal has it.

    Attributes:
        number: From 1.
        started: When it began, in seconds since the epoch.
        seconds: How long it took; None if its end is not recorded.
        outcome: How it ended; None if that is not recorded.
        status: The exit status, or minus the number of the signal; None if it was no command.
        error: Why it did not succeed, where that is not in its status; else None.
        log: The path of its log; None if it had none.
        worker: The number of the worker that made it; None if that is not known.
        cpu: The seconds of processor time that it took, if they were measured.
        memory: The most memory that it had, in bytes, if that was measured.
    """

    number: int
    started: float
    seconds: float | None
    outcome: str | None
    status: int | None
    error: str | None
    log: str | None
    worker: int | None
    cpu: float | None
    memory: int | None


class Mark(NamedTuple):
    """What a person said of a task."""

    outcome: str
    time: float
    user: str


class TaskRecord(NamedTuple):
    """A task of a run, as the journal has it.

    Attributes:
        name: Its name.
        digest: What it did.
        position: Its place in the plan of the run, from 0.
        outcome: The latest word on how it ended, by the run or by a person; `running` while an
            attempt is under way, `interrupted` where one was; None if it was not reached.
        cause: For a skipped task, the one whose end is the reason, if one is.
        forgiven: Whether it failed, and that counts as a success for the run and its successors.
        mark: The mark by a person that the outcome rests on, if it does.
        attempts: All of them, in order.
    """

    name: str
    digest: bytes
    position: int
    outcome: str | None
    cause: str | None
    forgiven: bool
    mark: Mark | None
    attempts: tuple[AttemptRecord, ...]


class Durations(NamedTuple):
    """The seconds that the last successful attempts took, the latest first.

    Attributes:
        by_digest: For what did exactly the same.
        by_name: For what had the same name.
    """

    by_digest: dict[bytes, list[float]]
    by_name: dict[str, list[float]]


class Word(NamedTuple):
    """The latest word of a run on a task that it has.

    Attributes:
        run: The run.
        session: The number of the session in which it was said.
        digest: What the task did; empty where it was not done.
        outcome: How it ended; None where the run did not come to it, or to its end.
        marked: Whether that is the word of a person only.
        ran: The number of the last session in which it ran and succeeded; 0 where none is known.
    """

    run: RunRecord
    session: int
    digest: bytes = b""
    outcome: str | None = None
    marked: bool = False
    ran: int = 0

    @property
    def is_done(self) -> bool:
        """Whether it need not be done again, as far as this word goes."""
        return self.outcome in _DONE

    @property
    def is_failure(self) -> bool:
        """Whether it failed, or took too long."""
        return self.outcome in _FAILED


class _Word(NamedTuple):
    """The latest that was said of how a task ended."""

    session: int
    digest: bytes
    outcome: str
    cause: str | None = None
    forgiven: bool = False
    mark: Mark | None = None


def _public(run: RunRecord, word: _Word | None, ran: int) -> Word:
    """Return the word of a run on a task, which may have run in an earlier session."""
    if word is None:
        return Word(run, run.session)
    if word.outcome == Outcome.SUCCEEDED and word.mark is None:
        ran = word.session
    return Word(run, word.session, word.digest, word.outcome, word.mark is not None, ran)


class History:
    """Reads a journal.

    Args:
        state: The state directory.
        connection: A connection to its journal.

    Attributes:
        state: The state directory.
        path: That of the journal.
    """

    def __init__(self, state: str, connection: sqlite3.Connection) -> None:
        self.state = state
        self.path = f"{state}/{JOURNAL}"
        self._connection = connection

    @classmethod
    def open(cls, state: str) -> "History":
        """Open the journal of a state directory to read it.

        Raises:
            StateError: There is none that can be read.
        """
        return cls(state, open_for_reading(state))

    def runs(self, limit: int = -1) -> list[RunRecord]:
        """Return the runs, the latest last: what was gone on with counts from then.

        Args:
            limit: How many of the latest to return; -1 for all.
        """
        latest = f"{_RUNS} ORDER BY session.number DESC LIMIT :limit"
        rows = self._read(latest, _RUN_KINDS, limit=limit)
        return [self._run(row) for row in reversed(rows)]

    def count(self) -> int:
        """Return how many runs there are."""
        return int(self._read("SELECT count(DISTINCT run) FROM session", (int,))[0][0])

    def last_of(self, file: str) -> RunRecord | None:
        """Return the last run of a file; None if there was none.

        Args:
            file: The file, as `RunFacts` named it.
        """
        last = "SELECT max(number) FROM session WHERE file = :file"
        rows = self._read(f"{_RUNS} AND session.number = ({last})", _RUN_KINDS, file=file)
        return self._run(rows[0]) if rows else None

    def runs_of(self, file: str) -> Iterator[RunRecord]:
        """Yield the runs of a file, the one that was begun or gone on with last first.

        Args:
            file: The file, as `RunFacts` named it.
        """
        latest = f"{_RUNS} AND session.file = :file ORDER BY session.number DESC"
        yield from map(self._run, self._read(latest, _RUN_KINDS, file=file))

    def find_run(self, prefix: str) -> RunRecord:
        """Return the run that is meant.

        Args:
            prefix: Its id or the beginning of it, or `last` for the latest.

        Raises:
            UsageError: No run is meant by that, or several.
        """
        if prefix == "last":
            found = self.runs(limit=1)
        else:
            meant = "SELECT number FROM run WHERE id >= :prefix AND id < :prefix || '~'"
            sql = f"{_RUNS} AND session.run IN ({meant}) ORDER BY run.id"
            rows = self._read(sql, _RUN_KINDS, prefix=prefix.lower()) if prefix else []
            found = [self._run(row) for row in rows]
        if not found:
            raise UsageError(
                f"there is no run {shorten(prefix)} in {self.state}; `parallel-workers runs` "
                "lists them"
            )
        if len(found) > 1:
            candidates = ", ".join(at_most([run.id for run in found], "run"))
            raise UsageError(
                f"{prefix} is the beginning of {len(found)} runs; give more of it: {candidates}"
            )
        return found[0]

    def tasks(self, run: RunRecord, name: str | None = None) -> list[TaskRecord]:
        """Return the tasks that the graph of a run has, in the order of its plan.

        Args:
            run: The run.
            name: That of the only one to return, if there is one of that name; None for all.
        """
        attempts: dict[str, list[tuple[int, AttemptRecord]]] = {}
        for task, session, attempt in self._attempts(run, name):
            attempts.setdefault(task, []).append((session, attempt))
        # After the attempts: what ends meanwhile has its word then, and does not look broken off.
        words = self._words(run, name)
        rows = self._read(
            f"SELECT name, digest, position FROM task WHERE id {_ONE_RUN} "
            "AND position NOT NULL AND (:name IS NULL OR name = :name) ORDER BY position",
            (str, bytes, int),
            name=name,
            **self._span(run, name),
        )
        return [
            _task(run, task, digest, position, words.get(task), attempts.get(task, []))
            for task, digest, position in rows
        ]

    def task_ids(self, run: RunRecord) -> dict[str, int]:
        """Return, by name, the ids that the journal has for the tasks that the graph of a run has.

        They are in the order of its plan.
        """
        rows = self._read(f"{_TASKS_NOW} ORDER BY position", (int, str), **self._span(run))
        return {name: number for number, name in rows}

    def failed_last(self, run: RunRecord) -> list[str]:
        """Return the names of what failed, in the order of the plan; the latest word counts."""
        words = self._words(run)
        return [
            name for name in self.task_ids(run) if name in words and words[name].outcome in _FAILED
        ]

    def names_in(self, run: RunRecord) -> set[str]:
        """Return the names of the tasks that a run has, or had before it was gone on with."""
        sql = f"SELECT name FROM task WHERE id {_ONE_RUN}"
        return {name for (name,) in self._read(sql, (str,), **self._span(run))}

    def most_names_in(self, run: RunRecord) -> int:
        """Return how many these can be at most, for far less than it takes to read them."""
        sql = f"SELECT count(*) FROM task WHERE id {_ONE_RUN}"
        return int(self._read(sql, (int,), **self._span(run))[0][0])

    def words(self, run: RunRecord, names: Collection[str]) -> dict[str, Word]:
        """Return, by name, the latest word of a run on those of these tasks that it has."""
        here = self.names_in(run).intersection(names)
        if not here:
            return {}
        words = self._words(run)
        cached = any(word.outcome == Outcome.CACHED for word in words.values())
        ran = dict(self._ran(run)) if cached else {}
        return {name: _public(run, words.get(name), ran.get(name, 0)) for name in here}

    def attempts(self, run: RunRecord) -> dict[str, int]:
        """Return, by name, the highest number of an attempt, for all that were attempted."""
        rows = self._read(
            f"""
            SELECT task.name, max(attempt.id {_NUMBER}) FROM (
                SELECT id FROM start WHERE id {_ONE_RUN}
                UNION ALL SELECT id FROM finish WHERE id {_ONE_RUN}) AS attempt
            CROSS JOIN task ON task.id = attempt.id {_TASK}
            WHERE attempt.id {_NUMBER} GROUP BY task.name
            """,
            (str, int),
            **self._span(run),
        )
        return dict(rows)

    def durations(self, file: str, tasks: int) -> Durations:
        """Return how long tasks took in the last runs of the same file.

        It looks back a number of attempts that depends on the size of the graph, and not on how
        much has been recorded.

        Args:
            file: The file, as `RunFacts` named it.
            tasks: About how many tasks are asked for.
        """
        rows = self._read(
            f"""
            SELECT task.name, task.digest, finish.seconds
            FROM session CROSS JOIN finish ON finish.id
                BETWEEN session.run << {RUN_SHIFT} AND (session.run + 1 << {RUN_SHIFT}) - 1
            CROSS JOIN task ON task.id = finish.id {_TASK}
            WHERE session.file = :file AND {_LAST_OF_RUN} AND finish.outcome = 'succeeded'
            ORDER BY session.run DESC LIMIT :most
            """,
            (str, bytes, float),
            file=file,
            most=max(_LEAST_LOOK_BACK, MEASURED * tasks),
        )
        by_digest: dict[bytes, list[float]] = {}
        by_name: dict[str, list[float]] = {}
        for name, digest, seconds in rows:
            for measured in (by_digest.setdefault(digest, []), by_name.setdefault(name, [])):
                if len(measured) < MEASURED:
                    measured.append(seconds)
        return Durations(by_digest, by_name)

    def load_value(self, run: RunRecord, name: str, digest: bytes) -> bytes | None:
        """Return the value that was saved of a task, pickled; None if it gave None.

        What cannot be had, since it could not be kept or its file is gone, is empty.

        Args:
            run: The run that saved it.
            name: The name of the task.
            digest: What the task did.
        """
        rows = self._read(
            f"SELECT pickled FROM task JOIN value ON value.task = task.id WHERE task.id {_ONE_RUN} "
            "AND name = :name AND digest = :digest",
            (bytes,),
            name=name,
            digest=digest,
            **self._span(run),
        )
        return self._value(run, name, digest, rows[0][0]) if rows else None

    def saved(self, run: RunRecord, digests: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return, by name, the values that a run has saved of tasks, as `load_value` returns each.

        Args:
            run: The run.
            digests: By the names of the tasks, what they did; those that gave None are left out.
        """
        rows = self._read(
            "SELECT name, digest, pickled FROM value CROSS JOIN task ON task.id = value.task "
            f"WHERE value.task {_ONE_RUN}",
            (str, bytes, bytes),
            **self._span(run),
        )
        return {
            name: self._value(run, name, digest, kept)
            for name, digest, kept in rows
            if digests.get(name) == digest
        }

    def directory(self, run: str) -> str:
        """Return the path of the directory of a run."""
        return f"{self.state}/runs/{run}"

    def is_running(self, run: str) -> bool:
        """Return whether a process is at a run, and alive."""
        return is_locked(self.state, run)

    def release(self) -> None:
        """Let go of the file of the journal; who ends with it anyway need not.

        Raises:
            StateError: What SQLite does when it closes a journal failed.
        """
        with faults_explained(self.path):
            self._connection.close()

    def _value(self, run: RunRecord, name: str, digest: bytes, kept: bytes) -> bytes:
        """Return a value of which the row is `kept`; arguments and result as of `load_value`."""
        if kept != IN_FILE:
            return kept[1:]
        try:
            with open(value_path(self.directory(run.id), name, digest), "rb") as file:
                return file.read()
        except OSError:
            return b""

    def _ran(self, run: RunRecord) -> list[tuple[str, int]]:
        """Return the tasks that were attempted well, each with the last session that did so."""
        return self._read(
            f"SELECT task.name, max(finish.session) FROM finish CROSS JOIN task "
            f"ON task.id = finish.id {_TASK} WHERE finish.id {_ONE_RUN} AND finish.id {_NUMBER} "
            f"AND outcome IN ('succeeded', 'cached') GROUP BY task.name",
            (str, int),
            **self._span(run),
        )

    def _read(self, sql: str, kinds: _Kinds, **values: Any) -> list[Any]:
        """Return rows of which each column holds what it should.

        Args:
            sql: The query.
            kinds: What each column should hold.
            values: Those in the query; text is written as the journal has it.

        Raises:
            StateError: The journal is damaged, or cannot be used.
        """
        for name, value in values.items():
            if isinstance(value, str):
                values[name] = encodable(value)
        with faults_explained(self.path):
            rows = self._connection.execute(sql, values).fetchall()
        # SQLite notices damage to its pages, but not to what stands in them.
        if not all(_fits(row, kinds) for row in rows):
            raise damage(self.path, "it holds what was never recorded")
        return rows

    def _run(self, row: tuple[Any, ...]) -> RunRecord:
        *facts, started, first, ended, outcome = row
        try:
            facts[5] = tuple(map(str, json.loads(facts[5])))
        except (TypeError, ValueError):
            raise damage(self.path, "it holds what was never recorded") from None
        if ended is None:
            outcome = "running" if self.is_running(facts[0]) else "interrupted"
        resumed = started if started != first else None
        return RunRecord._make([*facts, first, resumed, ended, outcome])

    def _span(self, run: RunRecord, name: str | None = None) -> dict[str, int]:
        """Return between which ids all lies that is known of a run, or of one task of it."""
        first = run.number << RUN_SHIFT
        span = {"first": first, "last": first + (1 << RUN_SHIFT) - 1}
        if name is None:
            return span
        # There may be several of that name, each with another digest.
        sql = f"SELECT min(id), max(id) FROM task WHERE id {_ONE_RUN} AND name = :name"
        [(first, last)] = self._read(sql, (int | None, int | None), name=name, **span)
        return span if first is None else {"first": first, "last": last + MOST_ATTEMPTS}

    def _words(self, run: RunRecord, name: str | None = None) -> dict[str, _Word]:
        """Return, by name, the latest that was said of each task that something was said of."""
        words: dict[str, _Word] = {}
        said = self._read(
            f"SELECT task.name, finish.session, task.digest, finish.outcome, finish.cause, "
            f"finish.final = {FORGIVEN} FROM finish CROSS JOIN task ON task.id = finish.id {_TASK} "
            f"WHERE finish.id {_ONE_RUN} AND final AND (:name IS NULL OR name = :name)",
            (str, int, bytes, str, str | None, int),
            name=name,
            **self._span(run, name),
        )
        marked = self._read(
            f"SELECT task.name, mark.session, task.digest, mark.outcome, mark.time, mark.user "
            f"FROM mark CROSS JOIN task ON task.id = mark.task WHERE mark.task {_ONE_RUN} "
            f"AND (:name IS NULL OR name = :name) ORDER BY mark.number",
            (str, int, bytes, str, float, str),
            name=name,
            **self._span(run, name),
        )
        for task, session, digest, outcome, cause, forgiven in said:
            if task not in words or words[task].session <= session:
                words[task] = _Word(session, digest, outcome, cause, bool(forgiven))
        begun = dict(self._begun(run, name)) if run.resumed is not None else {}
        for task, session, digest, outcome, time, user in marked:
            mark, word = Mark(outcome, time, user), words.get(task)
            if word is None or word.session <= session:
                words[task] = _Word(session, digest, outcome, mark=mark)
            elif word.outcome == Outcome.CACHED and begun.get(task, 0) <= session:
                # Nothing but the mark is the reason that it was not done again.
                words[task] = word._replace(mark=mark)
        for task, session in begun.items():
            # What was begun once more may be half done, whatever was said of it before.
            if task in words and words[task].session < session:
                del words[task]
        return words

    def _begun(self, run: RunRecord, name: str | None) -> list[tuple[str, int]]:
        """Return the tasks that were attempted, each with the last session that did so."""
        return self._read(
            f"SELECT task.name, max(start.session) FROM start CROSS JOIN task "
            f"ON task.id = start.id {_TASK} WHERE start.id {_ONE_RUN} GROUP BY task.name",
            (str, int),
            **self._span(run, name),
        )

    def _attempts(
        self, run: RunRecord, name: str | None
    ) -> Iterator[tuple[str, int, AttemptRecord]]:
        """Return the attempts of a run, each with its task and the session that made it."""
        rows = self._read(
            f"""
            SELECT task.name, task.position, attempt.id {_NUMBER} AS number,
                coalesce(finish.session, start.session), coalesce(finish.started, start.time),
                finish.seconds, finish.outcome, finish.status, finish.error, finish.log,
                coalesce(start.worker, finish.worker), finish.cpu, finish.memory, finish.id IS NULL
            FROM (SELECT id FROM start WHERE id {_ONE_RUN}
                UNION SELECT id FROM finish WHERE id {_ONE_RUN}) AS attempt
            CROSS JOIN task ON task.id = attempt.id {_TASK}
            LEFT JOIN start ON start.id = attempt.id LEFT JOIN finish ON finish.id = attempt.id
            WHERE attempt.id {_NUMBER} AND (:name IS NULL OR name = :name) ORDER BY number
            """,
            _ATTEMPT_KINDS,
            name=name,
            **self._span(run, name),
        )
        directory = self.directory(run.id)
        for task, position, number, session, *facts, unfinished in rows:
            log = facts[5]
            if unfinished and position is not None:
                log = f"{log_name(position + 1, task)}.{number}.log"
            facts[5] = None if log is None else os.path.join(directory, log)
            yield task, session, AttemptRecord(number, *facts)


_ATTEMPT_KINDS = (
    *(str, int | None, int, int, float, float | None, str | None, int | None),
    *(str | None, str | None, int | None, float | None, int | None, int),
)

_TASKS_NOW = f"SELECT id, name FROM task WHERE id {_ONE_RUN} AND position NOT NULL"

_LAST_OF_RUN = """session.number =
    (SELECT max(number) FROM session AS other WHERE other.run = session.run)"""
"""What is true of the last session of each run."""

_RUNS = f"""
    SELECT run.id, run.number, session.number, graph, file, arguments, user, host, jobs, tasks,
        started, (SELECT started FROM session AS first WHERE first.number =
            (SELECT min(number) FROM session AS other WHERE other.run = run.number)), ended, outcome
    FROM session CROSS JOIN run ON run.number = session.run
    WHERE {_LAST_OF_RUN}
"""
"""All runs, with the last session of each and when the first began."""

_RUN_KINDS = (
    *(str, int, int, bytes, str, str, str, str, int, int),
    *(float, float, float | None, str | None),
)


def value_path(directory: str, name: str, digest: bytes) -> str:
    """Return where the value of a task lies that is too large for the journal.

    Args:
        directory: That of the run.
        name: The name of the task.
        digest: What the task does.
    """
    key = blake2b(name.encode() + b"\0" + digest, digest_size=16).hexdigest()
    return f"{directory}/values/{key}"


def _fits(row: Sequence[Any], kinds: _Kinds) -> bool:
    """Return whether each column of a row holds what it should."""
    return all(map(isinstance, row, kinds)) and all(
        -_LARGEST_TIME < value < _LARGEST_TIME for value in row if value.__class__ is float
    )


def _task(
    run: RunRecord,
    name: str,
    digest: bytes,
    position: int,
    word: _Word | None,
    attempts: list[tuple[int, AttemptRecord]],
) -> TaskRecord:
    if run.outcome == "running" and word is not None and word.session < run.session:
        # The run goes on: what is not done will be tried again.
        word = word if word.outcome in _DONE else None
    latest = max((session for session, _ in attempts), default=0)
    outcome = word.outcome if word is not None else None
    if latest > (word.session if word is not None else 0):
        # It was begun after the last word on it, if there is one, and nobody has told its end.
        word, outcome = None, "interrupted"
        if run.outcome == "running":
            running = latest == run.session and attempts[-1][1].outcome is None
            outcome = "running" if running else None
    return TaskRecord(
        name,
        digest,
        position,
        outcome,
        word.cause if word is not None else None,
        word is not None and word.forgiven,
        word.mark if word is not None else None,
        tuple(attempt for _, attempt in attempts),
    )
