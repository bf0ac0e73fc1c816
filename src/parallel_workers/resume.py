"""What of a run need not be done again: decided once, before anything starts.

A task is left as it is if it has succeeded, does the same as it did then (its digest), and nothing
before it runs again. What a person has marked as succeeded stays so whatever runs before it.

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
    """

    digest: bytes
    marked: bool = False


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
    done: set[int] = set()
    reasons: dict[int, str] = {}
    for node in _in_order(plan):
        if node >= plan.tasks or node in plan.services:
            runs = node if node in again else because.get(node)
        else:
            reason = _reason(plan, node, digests, kept, again, because.get(node))
            if reason is None:
                done.add(node)
                continue
            reasons[node] = reason
            runs = node
        if runs is not None:
            for successor in plan.successors[node]:
                because.setdefault(successor, runs)
    done |= plan.not_needed(done)
    for service in plan.services - done:
        user = next(user for user in plan.users(service) if user not in done)
        reasons[service] = f"{shorten(plan.names[user])} needs it"
    return Resumption(done, reasons)


def _reason(
    plan: Plan,
    task: int,
    digests: Sequence[bytes],
    kept: Mapping[str, Kept],
    again: Collection[int],
    before: int | None,
) -> str | None:
    """Return why a task runs again; None if it does not.

    Args:
        before: A task before it that runs again, if one does.
    """
    earlier = kept.get(plan.names[task])
    if task in again:
        return "asked for"
    if earlier is None:
        return "has not succeeded yet"
    if not digests[task]:
        return "what it is called with cannot be compared"
    if before is not None and not earlier.marked:
        return f"{shorten(plan.names[before])} before it runs again"
    if earlier.digest != digests[task]:
        return "what it does has changed"
    return None


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
