"""What of a run need not be done again: decided once, before anything starts.

A task is left as it is if it has succeeded, does the same as it did then (its digest), and nothing
before it runs again, or has done so since: in a run of a part, or in one that was broken off before
it came to this task. What a person has marked as succeeded stays so whatever runs before it.

A service is different: it is needed by what runs behind it, and is no reason for that to run again
unless something before it is.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from parallel_workers.plan import Plan
from parallel_workers.wording import shorten


class Kept(NamedTuple):
    """What is known of a task that has succeeded in an earlier run.

    Attributes:
        digest: Its digest then.
        marked: Whether a person has said that it succeeded.
        said: The number of the session that was the last to say so.
        ran: That of the last in which it ran; 0 where none is known.
        lost: Whether what it gave to others is gone.
    """

    digest: bytes
    marked: bool = False
    said: int = 0
    ran: int = 0
    lost: bool = False


class Resumption(NamedTuple):
    """What a run that goes on begins with.

    Attributes:
        done: The tasks that are not done again.
        reasons: By each other task, why it runs, to a person.
    """

    done: set[int]
    reasons: dict[int, str]


def resumption(
    plan: Plan,
    digests: Sequence[bytes],
    kept: Mapping[str, Kept],
    again: Collection[int] = (),
) -> Resumption:
    """Return what is not done again, and why the rest is.

    Args:
        plan: What is to be run.
        digests: By task, its digest; empty where it cannot be told.
        kept: What has succeeded, by name.
        again: Tasks that are done again in any case, and all behind them.

    >>> from parallel_workers.graph import WorkGraph
    >>> graph = WorkGraph.from_predecessors({"a": [], "b": ["a"]})
    >>> kept = {"a": Kept(b"1"), "b": Kept(b"old")}
    >>> resumption(Plan(graph), [b"1", b"new"], kept)
    Resumption(done={0}, reasons={1: 'what it does has changed'})
    """
    # By number, the task before it that runs again, for all that one does.
    because: dict[int, int] = {}
    # Likewise, the one before it that is left as it is and ran last, and in which session.
    newest: dict[int, tuple[int, int]] = {}
    done: set[int] = set()
    reasons: dict[int, str] = {}
    for node in _in_order(plan):
        before = _Before(because.get(node), *newest.get(node, (0, node)))
        runs: int | None = None
        last = newest.get(node)
        if node >= plan.tasks or node in plan.services:
            runs = node if node in again else before.runs
        elif (reason := _reason(plan, node, digests[node], kept, again, before)) is not None:
            reasons[node] = reason
            runs, last = node, None
        else:
            done.add(node)
            last = (kept[plan.names[node]].ran, node)
        for successor in plan.successors[node]:
            if runs is not None:
                because.setdefault(successor, runs)
            if last is not None:
                newest[successor] = max(last, newest.get(successor, last))
    done |= plan.not_needed(done)
    for service in plan.services - done:
        user = next(user for user in plan.users(service) if user not in done)
        reasons[service] = f"{shorten(plan.names[user])} needs it"
    return Resumption(done, reasons)


class _Before(NamedTuple):
    """What is before a task.

    Attributes:
        runs: A task that runs again; None if none does.
        ran: The number of the session in which the rest of it ran last.
        last: What ran then.
    """

    runs: int | None
    ran: int
    last: int


def _reason(
    plan: Plan,
    task: int,
    digest: bytes,
    kept: Mapping[str, Kept],
    again: Collection[int],
    before: _Before,
) -> str | None:
    """Return why a task runs again; None if it does not."""
    earlier = kept.get(plan.names[task])
    if task in again:
        return "asked for"
    if earlier is None:
        return "has not succeeded yet"
    if not digest:
        return "what it is called with cannot be compared"
    if before.runs is not None and not earlier.marked:
        return f"{shorten(plan.names[before.runs])} before it runs again"
    if earlier.digest != digest:
        return "what it does has changed"
    if before.ran > earlier.said and not earlier.marked:
        return f"{shorten(plan.names[before.last])} before it has run since"
    return "what it passed on is gone" if earlier.lost else None


def _in_order(plan: Plan) -> list[int]:
    """Return tasks and gates so that each comes behind all that it waits for."""
    waiting = list(plan.waits)
    order = [node for node, count in enumerate(waiting) if not count]
    for node in order:  # grows while it is walked
        for successor in plan.successors[node]:
            waiting[successor] -= 1
            if not waiting[successor]:
                order.append(successor)
    return order
