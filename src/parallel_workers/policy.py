"""What holds for a run as a whole: the rules that the command line and Python share."""

from collections.abc import Collection

from parallel_workers.errors import NotConfirmed, UsageError
from parallel_workers.plan import Plan
from parallel_workers.wording import shown


def most_failures(
    *, keep_going: bool, max_failures: int | None, fail_fast: bool = False
) -> int | None:
    """Return how many failures there may be before nothing starts any more; None for any number.

    Args:
        keep_going: Whether failures stop nothing but what depends on them.
        max_failures: How many do, whatever the other says; None for none.
        fail_fast: Whether what runs is ended then.

    Raises:
        UsageError: The number is no whole number from 1, or what is asked for excludes each other.
    """
    if fail_fast and keep_going:
        raise UsageError(
            "fail-fast ends what runs when a task has failed, and keep-going lets it go on: give "
            "one of them"
        )
    if max_failures is None:
        return None if keep_going else 1
    if isinstance(max_failures, bool) or not isinstance(max_failures, int) or max_failures < 1:
        raise UsageError(f"max_failures={shown(max_failures)}: give a whole number, 1 or more")
    return max_failures


def unconfirmed(plan: Plan, done: Collection[int]) -> dict[int, NotConfirmed]:
    """Return, by task that is parked where nobody can be asked, why it is.

    Args:
        plan: What is to be run.
        done: Tasks that are done.
    """
    return {
        task: NotConfirmed(question)
        for task, question in plan.questions.items()
        if task not in done
    }
