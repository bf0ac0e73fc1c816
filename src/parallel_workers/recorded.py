"""A run from Python that has a journal: opened, told, closed."""

import warnings

from parallel_workers.events import Outcome
from parallel_workers.journal import Journal
from parallel_workers.plan import Plan
from parallel_workers.recording import Restored, Values, begin, digests_of, restore
from parallel_workers.resume import Resumption
from parallel_workers.run import Beginning
from parallel_workers.wording import at_most, plural, shorten


def record(plan: Plan, state: str, jobs: int, *, resume: bool) -> Beginning:
    """Write down that a run begins, or goes on with the last one that a program made.

    Args:
        plan: What is run.
        state: The state directory.
        jobs: How many tasks may run at once.
        resume: Whether to go on.

    Raises:
        UsageError: Nothing can be recorded there, or somebody else is at that run.
    """
    journal = Journal.open(state)
    found = digests_of(plan)
    before = journal.last_of("") if resume else None
    restored = Restored(Resumption(set(), {}), {})
    if before is not None:
        # What another process did until now is known only once it is not at it any more.
        journal.lock(before.id)
        restored = restore(journal, before, plan, found)
    elif resume:
        warnings.warn(f"there is no earlier run in {state}; this is the first", stacklevel=5)
    written = begin(
        journal, state, plan, found, file="", jobs=jobs, before=before, decided=restored.decided
    )
    values = Values(journal, dict(zip(plan.names, found, strict=True)))
    values.unfit += [name for name, digest in zip(plan.names, found, strict=True) if not digest]

    def close(outcome: Outcome) -> None:
        journal.close(outcome)
        journal.release()
        told = [*journal.warnings]
        if journal.incomplete is not None:
            told.append(f"not all was recorded: {journal.incomplete}")
        if unfit := list(dict.fromkeys(values.unfit)):
            names = ", ".join(at_most([shorten(name) for name in unfit], "task"))
            told.append(
                f"{plural(len(unfit), 'task')} cannot be pickled, and will run again when "
                f"this run is resumed: {names}"
            )
        for warning in told:
            warnings.warn(warning, stacklevel=4)

    return Beginning(
        written.run,
        written.place,
        written.done,
        written.earlier,
        restored.values,
        [values, journal],
        close,
    )
