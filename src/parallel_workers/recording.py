"""The record of a run as it begins: what it goes on with, what is written down, values kept.

Used by the command line and by runs from Python; both of them see the journal and the frontier,
and nobody else does.
"""

import sys
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from parallel_workers.digest import (
    arguments_content,
    command_content,
    digests,
    function_content,
    graph_digest,
)
from parallel_workers.events import GOOD, CommandResult, Event, Outcome, TaskEnded
from parallel_workers.history import History, RunRecord, Word
from parallel_workers.journal import Journal, RunFacts
from parallel_workers.plan import Plan
from parallel_workers.resume import Kept, Resumption, resumption
from parallel_workers.state import new_run, reopen_run


class Record(NamedTuple):
    """A run that has been written down as begun.

    Attributes:
        journal: Its journal, which is to be told of all events before anybody else.
        run: Its id.
        place: The directory of its logs.
        done: The tasks that an earlier run has done.
        earlier: By task, how many attempts earlier runs made.
        reasons: By each other task, why it runs, where the run goes on.
    """

    journal: Journal
    run: str
    place: str
    done: Collection[int]
    earlier: Mapping[int, int]
    reasons: Mapping[int, str]


def decide(
    words: Mapping[str, Word],
    plan: Plan,
    found: Sequence[bytes],
    again: Collection[int] = (),
    lost: Collection[str] = (),
) -> Resumption:
    """Return what is not done again, and why the rest is.

    Args:
        words: By name, the latest word on each task.
        plan: What is to be run now.
        found: By task, its digest.
        again: Tasks that are done again in any case.
        lost: Names of tasks of which nothing is left that others could use.
    """
    kept = {
        # Where it was left as it was, a part may have been all that was looked at.
        name: Kept(word.digest, word.marked, word.ran or word.session, word.ran, name in lost)
        for name, word in words.items()
        if word.is_done
    }
    return resumption(plan, found, kept, again)


def begin(
    journal: Journal,
    state: str,
    plan: Plan,
    found: Sequence[bytes],
    *,
    file: str,
    jobs: int,
    before: RunRecord | None = None,
    decided: Resumption | None = None,
) -> Record:
    """Write down that a run begins, or goes on.

    Args:
        journal: The journal.
        state: Its state directory.
        plan: What is run.
        found: By task, its digest.
        file: The file of the graph, or of the program that made it.
        jobs: How many tasks may run at once.
        before: The run that it goes on with; its lock is held by the journal already.
        decided: What of that is not done again.

    Raises:
        StateError: The run has no directory that can be written to, or what it goes on with cannot
            be changed.
    """
    earlier: dict[int, int] = {}
    if before is None:
        run, place = new_run(state)
    else:
        run, place = before.id, reopen_run(state, before.id)
        done = decided.done if decided is not None else ()
        journal.forget_values(
            before, [name for task, name in enumerate(plan.names) if task not in done]
        )
        attempts = journal.attempts(before)
        earlier = {task: attempts[name] for task, name in enumerate(plan.names) if name in attempts}
    by_name = dict(zip(plan.names, found, strict=True))
    facts = RunFacts(run, graph_digest(by_name), file, sys.argv[1:], jobs, time.time())
    journal.begin(facts, list(by_name.items()))
    done, reasons = decided or Resumption(set(), {})
    return Record(journal, run, place, done, earlier, reasons)


def contents_of(plan: Plan) -> list[bytes | None]:
    """Return, by task, what a digest holds of its function or of the command in its definition."""
    # By identity: a function need not be hashable, and thousands of tasks may call the same one.
    known: dict[int, bytes | None] = {}
    contents: list[bytes | None] = []
    for task, function in enumerate(plan.functions):
        if function is None:
            definition = plan.definitions[task]
            contents.append(command_content(definition.command or "", definition))
            continue
        if id(function) not in known:
            known[id(function)] = function_content(function)
        content = known[id(function)]
        if content is not None and task in plan.arguments:
            given = arguments_content(plan.arguments[task])
            content = None if given is None else content + given
        contents.append(content)
    return contents


class Values:
    """Keeps the values of functions beside the journal: a listener that is told before it.

    A value that cannot be pickled is kept as none, so that its task runs again.

    Args:
        journal: The journal.
        digests: By name, the digest of each task.

    Attributes:
        unfit: Names of tasks that will run again, as they or their values cannot be pickled.
        outcome: How the run ends, by what its tasks have come to so far.
    """

    def __init__(self, journal: Journal, digests: Mapping[str, bytes]) -> None:
        self._journal = journal
        self._digests = digests
        self.unfit = [name for name, digest in digests.items() if not digest]
        self.outcome = Outcome.SUCCEEDED

    def __call__(self, events: Sequence[Event]) -> None:
        """Keep the values that tasks have ended with."""
        for event in events:
            if event.__class__ is TaskEnded:
                if event.outcome not in GOOD:
                    self._note(event)
                elif event.outcome is Outcome.SUCCEEDED and event.result is not None:
                    self._keep(event.task, event.result)

    def _note(self, event: TaskEnded) -> None:
        """Take notice of a task that has not been done."""
        if event.outcome is Outcome.PARKED:
            if self.outcome is Outcome.SUCCEEDED:
                self.outcome = Outcome.PARKED
        # What is skipped is so because of something else, which counts by itself.
        elif event.cause is None and not event.forgiven:
            self.outcome = Outcome.FAILED

    def _keep(self, task: str, value: Any) -> None:
        if not self._digests[task]:
            # It will run again in any case.
            return
        if isinstance(value, CommandResult):
            # The path of its log, which is kept in the directory of the run, and no more.
            value = value._replace(log=str(value.log))
        import pickle

        try:
            pickled = pickle.dumps(value, protocol=5)
        except Exception:  # whatever an object's own __reduce__ raises
            self.unfit.append(task)
            pickled = b""
        self._journal.save_value(task, self._digests[task], pickled)


class Restored(NamedTuple):
    """What a run from Python takes over from an earlier one.

    Attributes:
        decided: What is not done again.
        values: By task that is not, its value.
    """

    decided: Resumption
    values: Mapping[int, Any]


def restore(history: History, run: RunRecord, plan: Plan, found: Sequence[bytes]) -> Restored:
    """Return what a run goes on with, values included: a task whose value is lost runs again.

    Args:
        history: What is known of the run.
        run: The run.
        plan: What is to be run now.
        found: By task, its digest.
    """
    import pickle

    words = history.words(run, plan.names)
    lost: set[str] = set()
    while True:
        decided = decide(words, plan, found, lost=lost)
        values: dict[int, Any] = {}
        # The value of a service is how it ended, which the next one does anew.
        for task in decided.done - plan.services:
            name = plan.names[task]
            pickled = history.load_value(run, name, found[task])
            if pickled is None:
                continue
            try:
                values[task] = pickle.loads(pickled)
            except Exception:  # a class that is gone, a file that is cut: whatever the reason
                lost.add(name)
        if not lost & {plan.names[task] for task in decided.done}:
            return Restored(decided, values)


def digests_of(plan: Plan) -> list[bytes]:
    """Return, by task, the digest of its function or of the command in its definition."""
    order = {
        task: [plan.numbers[number] for each in arguments.tasks for number in each.numbers]
        for task, arguments in plan.arguments.items()
        if arguments.tasks
    }
    return digests(plan, contents_of(plan), order)
