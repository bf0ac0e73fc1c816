"""A run from Python that has a journal: opened, told, closed."""

import os
import sys
import threading
import time
from collections.abc import Sequence

from parallel_workers.errors import UsageError
from parallel_workers.events import Event, Outcome, RunEnded
from parallel_workers.journal import Journal
from parallel_workers.plan import Plan
from parallel_workers.recording import Restored, Values, begin, digests_of, restore
from parallel_workers.resume import Resumption
from parallel_workers.run import Beginning
from parallel_workers.state import run_id
from parallel_workers.wording import at_most, plural, shorten

_INTERACTIVE = "<interactive>"


def program_name() -> str:
    """Return what the journal calls the graphs of this program: the path of its main script."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return os.path.abspath(path) if path else _INTERACTIVE


def record(plan: Plan, state: str, jobs: int, *, resume: bool) -> Beginning:
    """Write down that a run begins, or goes on with the last one of the same program.

    Where nothing can be recorded, the run begins all the same, and says so at its end.

    Args:
        plan: What is run.
        state: The state directory.
        jobs: How many tasks may run at once.
        resume: Whether to go on.

    Raises:
        UsageError: What was recorded is asked for and cannot be had, or somebody else is at that
            run.
    """
    try:
        journal = Journal.open_undamaged(state) if resume else Journal.open(state)
        try:
            return _begun(journal, plan, jobs, resume=resume)
        except BaseException:
            journal.close(Outcome.FAILED)
            journal.release()
            raise
    except UsageError as error:
        if resume:
            raise
        told = [f"nothing was recorded: {error}"]
        run = run_id(time.time(), int.from_bytes(os.urandom(2)))
        return Beginning(run, close=lambda outcome: told)


def _begun(journal: Journal, plan: Plan, jobs: int, *, resume: bool) -> Beginning:
    found, program = digests_of(plan), program_name()
    told: list[str] = []
    before = journal.last_of(program) if resume else None
    restored = Restored(Resumption(set(), {}), {})
    if before is not None:
        # What another process did until now is known only once it is not at it any more.
        journal.lock(before.id)
        restored = restore(journal, before, plan, found)
    elif resume:
        told.append(f"there was no earlier run of {program} in {journal.state}; this is the first")
    written = begin(
        journal,
        journal.state,
        plan,
        found,
        file=program,
        jobs=jobs,
        before=before,
        decided=restored.decided,
    )
    by_name = dict(zip(plan.names, found, strict=True))
    recording = Recording(journal, Values(journal, by_name), told)
    return Beginning(
        written.run,
        written.place,
        written.done,
        written.earlier,
        restored.values,
        [recording],
        recording.close,
    )


class Recording:
    """Keeps the record of one run, as a listener, and closes it when the run has ended.

    So the run is let go of even if nobody waits for its end.

    Args:
        journal: The journal, in which the run has begun.
        values: What keeps values beside it.
        told: What is to be told already.
    """

    def __init__(self, journal: Journal, values: Values, told: Sequence[str]) -> None:
        self._journal = journal
        self._values = values
        self._told = list(told)
        self._closing = threading.Lock()
        self._closed = False

    def __call__(self, events: Sequence[Event]) -> None:
        """Record a batch of events."""
        self._values(events)
        self._journal(events)
        if isinstance(events[-1], RunEnded):
            self.close(self._values.outcome)

    def close(self, outcome: Outcome) -> Sequence[str]:
        """Close the journal, if that has not been done; return what is to be told, each in a line.

        Args:
            outcome: How the run ended.
        """
        with self._closing:
            if not self._closed:
                self._closed = True
                self._close(outcome)
        return self._told

    def _close(self, outcome: Outcome) -> None:
        journal = self._journal
        journal.close(outcome)
        try:
            journal.release()
        except UsageError as error:
            self._told.append(str(error))
        self._told += journal.warnings
        if journal.incomplete is not None:
            self._told.append(f"not all was recorded: {journal.incomplete}")
        if unfit := self._values.unfit:
            names = ", ".join(at_most([shorten(name) for name in unfit], "task"))
            self._told.append(
                f"{plural(len(unfit), 'task')} cannot be pickled, and will run again when "
                f"this run is resumed: {names}"
            )
