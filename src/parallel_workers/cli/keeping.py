"""What the command line keeps of a run, and what of an earlier one it goes on with."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from parallel_workers.cli.console import tell
from parallel_workers.cli.waiting import said_if_long
from parallel_workers.commands import CommandText
from parallel_workers.errors import (
    DamageError,
    LockedError,
    NoJournalError,
    StateError,
    UsageError,
)
from parallel_workers.events import Outcome
from parallel_workers.graph import WorkGraph
from parallel_workers.logs import KeptLogs, Logs, PassingLogs
from parallel_workers.plan import Plan
from parallel_workers.state import new_passing_run

if TYPE_CHECKING:
    from parallel_workers.history import Durations, History, RunRecord, Word
    from parallel_workers.journal import Journal
    from parallel_workers.resume import Resumption


class Wishes(NamedTuple):
    """What was asked for.

    Attributes:
        state: The state directory.
        durable: Whether what is recorded is to survive a loss of power.
        resume: Whether to go on with an earlier run.
        run: The id of that run, or its beginning; None for the last one of the same file.
        again: Names of tasks that are done again in any case.
    """

    state: str
    durable: bool = False
    resume: bool = False
    run: str | None = None
    again: Collection[str] = ()


class Keeping(NamedTuple):
    """What is kept of a run, and what it goes on with.

    Attributes:
        run: Its id.
        place: The directory of its logs.
        logs: Where output goes.
        journal: Its journal; None where there is none.
        trouble: Why nothing is recorded, if that was asked for and cannot be.
        done: The tasks that an earlier run has done.
        earlier: By task, how many attempts of it earlier runs made.
        reasons: By each other task, why it runs, where the run goes on.
        given: By task that an earlier run has done, what it has passed on, if it has.
        marked: The tasks that are done by the word of a person only.
    """

    run: str
    place: str
    logs: Logs
    journal: "Journal | None" = None
    trouble: str | None = None
    done: Collection[int] = frozenset()
    earlier: Mapping[int, int] = {}
    reasons: Mapping[int, str] = {}
    given: Mapping[int, bytes] = {}
    marked: Collection[int] = frozenset()

    @property
    def missing(self) -> str | None:
        """What is not recorded, in a line, once it is closed; None if all is."""
        if self.journal is None:
            return self.trouble
        found = [what for what in (self.journal.incomplete, self.logs.trouble) if what is not None]
        return "; ".join(found) or None

    def delay(self) -> str | None:
        """Return why nothing can be recorded at present, in a line; None while it can be."""
        trouble = None if self.journal is None else self.journal.trouble
        if trouble is None:
            return None
        return f"the journal cannot be written: {trouble}; the run goes on, and it is tried again"

    def keep_outputs(self, prepared: "Prepared") -> Callable[[int, bytes], None]:
        """Return what keeps, if anything does, what a task has passed on, and gets that."""
        journal, plan, digests = self.journal, prepared.plan, prepared.digests
        if journal is None:
            return lambda task, text: None
        return lambda task, text: journal.save_value(plan.names[task], digests[task], text)

    def close(self, outcome: str) -> None:
        """Record how the run ended, if it is recorded."""
        if self.journal is not None:
            self.journal.close(outcome)


class Known(NamedTuple):
    """What is known of the earlier runs of a file.

    Attributes:
        durations: How long tasks took.
        failed: The names of those that failed in the last run.
    """

    durations: "Durations"
    failed: frozenset[str]


class Decided(NamedTuple):
    """What a run that goes on begins with.

    Attributes:
        resumption: What is done, and why the rest is not.
        given: By task that is done, what it has passed on, if it has.
        marked: The tasks that are done by the word of a person only.
    """

    resumption: "Resumption"
    given: Mapping[int, bytes]
    marked: Collection[int]


class Prepared(NamedTuple):
    """A plan, and by its tasks what they run and the digests of that."""

    plan: Plan
    commands: list[CommandText]
    digests: list[bytes]


def keep_nothing(trouble: str | None = None) -> Keeping:
    """Return a place for logs that goes when all has succeeded.

    Args:
        trouble: Why nothing is recorded, if that was asked for.

    Raises:
        UsageError: There is no such place.
    """
    run, place = new_passing_run()
    return Keeping(run, place, PassingLogs(place), trouble=trouble)


def keep(
    wishes: Wishes, graph: WorkGraph, prepared: Prepared, path: str, jobs: int
) -> tuple[Prepared, Keeping]:
    """Record that a run begins; where nothing can be recorded, keep nothing and say so at once.

    Args:
        wishes: What was asked for.
        graph: What is run.
        prepared: Its plan, made without knowing of earlier runs, and what belongs to it.
        path: The file of the graph.
        jobs: How many tasks may run at once.

    Returns:
        What is run, by what earlier runs have shown, and what is kept of it.

    Raises:
        UsageError: What was recorded is asked for, and is not there; somebody else is at that run;
            or there is no place for logs.
    """
    try:
        journal = _open(wishes)
        try:
            known = _known(journal, wishes, path, prepared.plan)
            better = improved(graph, prepared, known)
            again = numbers_of(wishes.again, better.plan, graph.matrices)
            return better, record(journal, wishes, better, path, jobs, again)
        except StateError:
            journal.close(Outcome.FAILED)
            raise
    except StateError as reason:
        return _unrecorded(reason, wishes, graph, prepared, path)


def _open(wishes: Wishes) -> "Journal":
    """Open the journal for a run; one that is damaged is in the way only of who needs it.

    Raises:
        StateError: Nothing can be recorded.
    """
    from parallel_workers.journal import Journal

    opened = Journal.open_undamaged if wishes.resume else Journal.open
    with said_if_long(wishes.state):
        return opened(wishes.state, durable=wishes.durable)


def _known(journal: "Journal", wishes: Wishes, path: str, plan: Plan) -> Known | None:
    """Return what is known of the earlier runs of a file; a damaged journal is set aside.

    Raises:
        StateError: It cannot be read, and is needed; or nothing can be recorded.
    """
    try:
        return learn(journal, path, plan)
    except StateError as error:
        if wishes.resume:
            raise
        # What was is of use, but what is asked for now can be done without it.
        tell(f"warning: nothing is known of earlier runs: {error}")
        if isinstance(error, DamageError):
            journal.set_aside()
    return None


def _unrecorded(
    reason: StateError, wishes: Wishes, graph: WorkGraph, prepared: Prepared, path: str
) -> tuple[Prepared, Keeping]:
    """Return what `keep` does, where nothing can be recorded, and say so.

    Args:
        reason: Why not.
        wishes: As for `keep`, like all that follow.

    Raises:
        UsageError: What was recorded is asked for, and cannot be read; somebody else is at that
            run; or there is no place for logs.
    """
    history, foreseen = _readable(reason, wishes), Keeping("", "", PassingLogs(""))
    if history is not None:
        prepared, foreseen = _foreseen(history, wishes, graph, prepared, path)
        if foreseen.run and history.is_running(foreseen.run):
            raise UsageError(f"run {foreseen.run} is running; wait for its end, or end it")
    kept = keep_nothing(str(reason))
    if wishes.resume and not foreseen.run:
        _tell_first(path)
    tell(f"warning: the run goes on, and nothing of it is recorded: {reason}")
    return prepared, kept._replace(
        done=foreseen.done,
        reasons=foreseen.reasons,
        given=foreseen.given,
        marked=foreseen.marked,
    )


def _readable(reason: StateError, wishes: Wishes) -> "History | None":
    """Return what is known of runs where nothing can be recorded; None where it cannot be read.

    Raises:
        StateError: The reason itself, where what is known is needed, and is not to be had or not
            to be relied on.
    """
    from parallel_workers.history import History

    # What is locked can be recorded soon, and whoever has locked it may be at that run.
    if wishes.resume and isinstance(reason, (DamageError, LockedError)):
        raise reason
    try:
        return History.open(wishes.state)
    except StateError:
        if wishes.resume:
            raise reason from None
        return None


def _tell_first(path: str) -> None:
    tell(f"there is no earlier run of {path}; this is the first")


def foresee(
    wishes: Wishes, graph: WorkGraph, prepared: Prepared, path: str
) -> tuple[Prepared, Keeping]:
    """Return what `keep` would, and record nothing; arguments as there.

    Raises:
        UsageError: What was recorded is asked for, and is not there.
    """
    from parallel_workers.history import History

    # What is wrong there is so without an earlier run, too.
    numbers_of(wishes.again, prepared.plan, graph.matrices)
    try:
        history = History.open(wishes.state)
    except StateError as error:
        if wishes.run is not None or (wishes.resume and not isinstance(error, NoJournalError)):
            raise
        return prepared, Keeping("", "", PassingLogs(""))
    return _foreseen(history, wishes, graph, prepared, path)


def _foreseen(
    history: "History", wishes: Wishes, graph: WorkGraph, prepared: Prepared, path: str
) -> tuple[Prepared, Keeping]:
    """Return what `foresee` does, with the id of the run to go on with if there is one.

    Args:
        history: What is known of earlier runs.
        wishes: As for `keep`, like all that follow.

    Raises:
        UsageError: What was recorded is asked for, and is not there.
    """
    keeping, known = Keeping("", "", PassingLogs("")), None
    try:
        known = learn(history, path, prepared.plan)
    except StateError:
        if wishes.resume:
            raise
    prepared = improved(graph, prepared, known)
    again = numbers_of(wishes.again, prepared.plan, graph.matrices)
    before = resumed(history, wishes, prepared.plan, path) if wishes.resume else None
    if before is None:
        return prepared, keeping
    words = words_of(history, wishes, before, prepared.plan, path)
    (done, reasons), given, marked = decide(history, words, prepared, again)
    return prepared, keeping._replace(
        run=before.id, done=done, reasons=reasons, given=given, marked=marked
    )


def learn(history: "History", path: str, plan: Plan) -> Known | None:
    """Return what is known of the earlier runs of a file; None if there were none.

    Args:
        history: What is known of all runs.
        path: The file.
        plan: What is run of it.

    Raises:
        StateError: The journal is damaged, or cannot be used.
    """
    last = earlier_run(history, path)
    if last is None:
        return None
    durations = history.durations(file_key(path), plan.tasks)
    return Known(durations, frozenset(history.failed_last(last)))


def improved(graph: WorkGraph, prepared: Prepared, known: Known | None) -> Prepared:
    """Return the plan by what tasks took and which failed in earlier runs of the same file.

    Args:
        graph: What is run.
        prepared: Its plan without that knowledge, and what belongs to it.
        known: What is known of those runs; None where there were none.
    """
    if known is None:
        return prepared
    plan, commands, found = prepared
    measured = _medians(plan, found, known.durations)
    better = Plan(graph, measured, known.failed, plan.seed)
    order = [plan.by_name[name] for name in better.names]
    return Prepared(better, [commands[task] for task in order], [found[task] for task in order])


def content_digests(plan: Plan, commands: Sequence[CommandText]) -> list[bytes]:
    """Return, by task, the digest of its command."""
    from parallel_workers.digest import command_content, digests

    contents = [
        command_content(command, definition)
        for command, definition in zip(commands, plan.definitions, strict=True)
    ]
    return digests(plan, contents)


def _medians(plan: Plan, found: Sequence[bytes], durations: "Durations") -> dict[str, float]:
    measured = {}
    for name, digest in zip(plan.names, found, strict=True):
        seconds = durations.by_digest.get(digest) or durations.by_name.get(name)
        if seconds:
            # The library's median takes longer to import than a small run to begin.
            measured[name] = sorted(seconds)[len(seconds) // 2]
    return measured


def file_key(path: str) -> str:
    """Return what the journal calls the file of a graph."""
    return path if path == "-" else os.path.abspath(path)


def earlier_run(history: "History", path: str) -> "RunRecord | None":
    """Return the last run of a file; None if there was none."""
    return history.last_of(file_key(path))


def resumed(history: "History", wishes: Wishes, plan: Plan, path: str) -> "RunRecord | None":
    """Return the run to go on with; None where there is none yet.

    Where none is named it is the last one of what is run now, so that who has run a part in
    between goes on with the whole.

    Args:
        history: What is known of earlier runs.
        wishes: What was asked for.
        plan: What is run.
        path: The file of the graph.

    Raises:
        UsageError: The run that was named is not there.
    """
    from parallel_workers.latest import last_with

    if wishes.run is not None:
        return history.find_run(wishes.run)
    return last_with(history, file_key(path), plan.names)


def words_of(
    history: "History", wishes: Wishes, before: "RunRecord", plan: Plan, path: str
) -> dict[str, "Word"]:
    """Return, by name, the latest word on each task of a run that goes on.

    Where that run was named, it alone has a say; else what other runs of the file have done since
    counts, too. Arguments are as above, and `before` is that run.
    """
    from parallel_workers.latest import latest

    if wishes.run is not None:
        return history.words(before, plan.names)
    return latest(history, file_key(path), plan.names)


def decide(
    history: "History", words: Mapping[str, "Word"], prepared: Prepared, again: Collection[int]
) -> Decided:
    """Return what a run that goes on begins with.

    Where what a task passed on is gone, and is needed, the task runs again.

    Args:
        history: What is known of earlier runs.
        words: By name, the latest word on each task.
        prepared: What is run.
        again: The tasks that are to be done again.
    """
    from parallel_workers import recording
    from parallel_workers.latest import outputs

    plan = prepared.plan
    texts = outputs(history, words)
    gone = {plan.by_name[name] for name, text in texts.items() if not text}
    lost: set[str] = set()
    while True:
        decided = recording.decide(words, plan, prepared.digests, again, lost)
        missed = {
            task for task in gone & decided.done if not decided.done.issuperset(plan.users(task))
        }
        if not missed:
            given = {plan.by_name[name]: text for name, text in texts.items()}
            given = {task: given[task] for task in given.keys() & decided.done}
            return Decided(decided, given, marked_of(words, plan, decided.done))
        lost.update(plan.names[task] for task in missed)


def marked_of(words: Mapping[str, "Word"], plan: Plan, done: Collection[int]) -> set[int]:
    """Return the tasks that are done by the word of a person only.

    Args:
        words: By name, the latest word on each task.
        plan: What is run.
        done: The tasks that are done; among them may be services that nobody has a word on.
    """
    return {
        task for name, word in words.items() if word.marked and (task := plan.by_name[name]) in done
    }


def numbers_of(
    again: Collection[str], plan: Plan, matrices: Mapping[str, Sequence[str]]
) -> set[int]:
    """Return the tasks that are to be done again.

    Args:
        again: Their names, or patterns of these.
        plan: What is run.
        matrices: By the name of a task with a matrix, the names of those in the plan.

    Raises:
        UsageError: There is no task of such a name.
    """
    from parallel_workers.cli.patterns import matches, typed

    found: set[int] = set()
    for pattern in again:
        meant = matches(pattern, plan.by_name, matrices)
        if not meant:
            raise UsageError(
                f"--again {typed(pattern)}: there is no such task in what is run; "
                "FILE, and TASKs that alone are to be run, stand before --again"
            )
        found.update(map(plan.by_name.__getitem__, meant))
    return found


def record(
    journal: "Journal",
    wishes: Wishes,
    prepared: Prepared,
    path: str,
    jobs: int,
    again: Collection[int],
) -> Keeping:
    """Record that a run begins or goes on, and return what is kept of it.

    Args:
        journal: The journal.
        wishes: What was asked for.
        prepared: What is run.
        path: The file of the graph.
        jobs: How many tasks may run at once.
        again: The tasks that are to be done again.

    Raises:
        UsageError: The run to go on with is not there, or somebody else is at it.
    """
    from parallel_workers import recording

    before = resumed(journal, wishes, prepared.plan, path) if wishes.resume else None
    decided = None
    if before is not None:
        # What another process did until now is known only once it is not at it any more.
        journal.lock(before.id)
        words = words_of(journal, wishes, before, prepared.plan, path)
        decided = decide(journal, words, prepared, again)
    elif wishes.resume:
        _tell_first(path)
    kept = recording.begin(
        journal,
        wishes.state,
        prepared.plan,
        prepared.digests,
        file=file_key(path),
        jobs=jobs,
        before=before,
        decided=decided and decided.resumption,
    )
    keeping = Keeping(
        kept.run,
        kept.place,
        KeptLogs(kept.place),
        journal,
        done=kept.done,
        earlier=kept.earlier,
        reasons=kept.reasons,
        given=decided.given if decided else {},
        marked=decided.marked if decided else (),
    )
    # Another run may have done it, which may be forgotten before this one is.
    keep_outputs = keeping.keep_outputs(prepared)
    for task, text in keeping.given.items():
        keep_outputs(task, text)
    return keeping
