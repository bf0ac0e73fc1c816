"""Which tasks of a file are meant: by their names, by patterns, by what failed last time."""

from collections.abc import Callable, Collection, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from parallel_workers.cli.completion import complete_tasks
from parallel_workers.cli.patterns import find_tasks
from parallel_workers.errors import NoJournalError, UsageError
from parallel_workers.events import Outcome
from parallel_workers.graph import WorkGraph, reached

if TYPE_CHECKING:
    from parallel_workers.history import RunRecord


class Choice(NamedTuple):
    """What was said of the tasks to run, beside their names.

    Attributes:
        only: Whether what they need is left out.
        skip: Names of tasks that are left out, or patterns of these.
        begin: Likewise, of tasks to begin with; what is not behind them is left out.
        failed: Whether to begin with those that failed last time.
    """

    only: bool
    skip: Sequence[str]
    begin: Sequence[str]
    failed: bool

    @property
    def limits(self) -> bool:
        """Whether tasks may be left out that others need."""
        return bool(self.only or self.skip or self.begin or self.failed)

    def options(self) -> dict[str, bool | Sequence[str]]:
        """Return the options that select a task as these did, also after other runs."""
        only = self.only or self.failed
        return {"--only": only, "--skip": self.skip, "--from": self.begin}

    def options_of_one(self) -> dict[str, bool | Sequence[str]]:
        """Return the options that select a task and nothing else of what these did."""
        return {"--only": True, "--skip": self.skip}

    def check(self, names: Collection[str]) -> None:
        """Refuse what makes no sense together.

        Args:
            names: The TASKs.

        Raises:
            UsageError: It names the options.
        """
        if self.begin and self.failed:
            raise UsageError("--from and --failed both say where to begin; give one of them")
        if self.only and (self.begin or self.failed):
            other = "--from" if self.begin else "--failed"
            raise UsageError(
                f"--only runs just the TASKs, and {other} all that is behind; give one of them"
            )
        if self.only and not names:
            raise UsageError("--only needs the names of TASKs to run")


class Selection(NamedTuple):
    """The tasks that are meant.

    Attributes:
        graph: Just these.
        whole: These and all that they need, from which their digests follow.
        named: The names of those that the TASKs mean.
    """

    graph: WorkGraph
    whole: WorkGraph
    named: list[str]


def selection_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that a `Choice` is made of, which it gets as `choice`."""

    @click.option(
        "--only",
        is_flag=True,
        help="Just the TASKs; what they need counts as done, but for services.",
    )
    @click.option(
        "--skip",
        multiple=True,
        metavar="TASK",
        shell_complete=complete_tasks,
        help="Leave TASK out as if it were done, and what is needed for TASK alone; where no TASKs "
        "are named, all others are wanted for themselves.",
    )
    @click.option(
        "--from",
        "begin",
        multiple=True,
        metavar="TASK",
        shell_complete=complete_tasks,
        help="Begin with TASK, and go on with all behind it. What is before TASK counts as done; "
        "what else is needed runs, too, if it has not been done.",
    )
    @click.option(
        "--failed",
        is_flag=True,
        help="Likewise, with all tasks of FILE that failed when they last ran; what is before "
        "them runs, too, if it has not been done.",
    )
    @wraps(command)
    def collected(
        *, only: bool, skip: Sequence[str], begin: Sequence[str], failed: bool, **others: Any
    ) -> None:
        command(choice=Choice(only, skip, begin, failed), **others)

    return collected


def select(
    graph: WorkGraph, names: Sequence[str], choice: Choice, path: str, state: str
) -> Selection:
    """Return the tasks of a file that are meant.

    Args:
        graph: What is in the file.
        names: The TASKs: names, or patterns of these.
        choice: What was said beside them.
        path: The file.
        state: The state directory, in which its earlier runs are looked for.

    Raises:
        UsageError: No task is meant by a pattern, or none is left; the options make no sense
            together; there is no earlier run, or nothing failed in it.
        UnknownTaskError: There is no task of that name.
    """
    choice.check(names)
    named = find_tasks(graph, names)
    if not choice.limits:
        graph = graph.needed(named) if names else graph
        return Selection(graph, graph, named)
    begin = _failed(graph, path, state) if choice.failed else find_tasks(graph, choice.begin)
    tasks = _chosen(graph, named, choice, begin)
    if begin and tasks:
        tasks |= _undone_before(graph, tasks, choice, begin, path, state)
    if not tasks:
        raise UsageError("of what is asked for, nothing is left to run")
    chosen = [name for name, number in graph.numbers.items() if number in tasks]
    return Selection(graph.part(tasks), graph.needed(chosen), named)


def _chosen(
    graph: WorkGraph, named: Sequence[str], choice: Choice, begin: Sequence[str]
) -> set[int]:
    """Return the numbers of the tasks that are meant."""
    numbers = graph.numbers
    skipped = {numbers[name] for name in find_tasks(graph, choice.skip)}
    chosen = {numbers[name] for name in named or numbers} - skipped
    if named and not choice.only:
        chosen = reached(chosen, graph.predecessors(), skipped)
    if begin:
        chosen &= reached([numbers[name] for name in begin], graph.successors)
    chosen -= skipped
    # What a service gave is gone with it, so that it cannot count as done.
    chosen |= _services_for(graph, chosen, skipped)
    return chosen.intersection(numbers.values())


def _undone_before(
    graph: WorkGraph,
    tasks: Collection[int],
    choice: Choice,
    begin: Sequence[str],
    path: str,
    state: str,
) -> set[int]:
    """Return the numbers of the tasks to run beside those chosen, since these need them.

    Nobody has said that they are done, and no run has done them. What is behind them and is needed
    runs again with them. What was skipped counts as done by the word of the user, and so does what
    is before the tasks to begin with, where they were named.

    Args:
        graph: The graph.
        tasks: Numbers of the tasks that were chosen.
        choice: What was said of the tasks to run.
        begin: The names of the tasks to begin with.
        path: The file.
        state: The state directory.
    """
    predecessors, numbers = graph.predecessors(), graph.numbers
    left_out = {numbers[name] for name in find_tasks(graph, choice.skip)}
    if not choice.failed:
        named = {numbers[name] for name in begin}
        left_out |= reached(named, predecessors).difference(tasks)
    needed = reached(tasks, predecessors, left_out)
    others = needed.intersection(numbers.values()).difference(tasks, _services(graph))
    undone = others - _done(graph, others, path, state)
    undone = reached(undone, graph.successors) & others
    return undone | _services_for(graph, {*tasks, *undone}, left_out)


def _services_for(graph: WorkGraph, tasks: Collection[int], skipped: Collection[int]) -> set[int]:
    """Return the services that tasks need, directly or by gates and other services alone.

    Args:
        graph: The graph.
        tasks: Numbers of the tasks.
        skipped: Those of tasks that are left out in any case.
    """
    services = _services(graph)
    if not services:
        return set()
    others = {node for node, name in enumerate(graph.names) if name is not None}
    beyond = others.difference(services, tasks).union(skipped)
    return reached(tasks, graph.predecessors(), beyond) & services


def _services(graph: WorkGraph) -> set[int]:
    return {node for node, task in graph.definitions.items() if task.service is not None}


def _done(graph: WorkGraph, tasks: Collection[int], path: str, state: str) -> set[int]:
    """Return the numbers of those of some tasks that are done, by the latest word on each.

    Args:
        graph: The graph.
        tasks: Their numbers.
        path: The file.
        state: The state directory.
    """
    from parallel_workers.cli.keeping import file_key
    from parallel_workers.history import History
    from parallel_workers.latest import latest

    names = [graph.name(node) for node in tasks]
    try:
        words = latest(History.open(state), file_key(path), names) if names else {}
    except NoJournalError:
        # Where nothing is known, nothing has been done.
        return set()
    return {graph.numbers[name] for name, word in words.items() if word.is_done}


def _failed(graph: WorkGraph, path: str, state: str) -> list[str]:
    """Return the names of the tasks of a file that failed, by the latest word on each.

    Raises:
        UsageError: There is no run of it, or no such task.
    """
    from parallel_workers.cli.keeping import earlier_run, file_key
    from parallel_workers.history import History
    from parallel_workers.latest import latest

    history = History.open(state)
    words = latest(history, file_key(path), graph.numbers)
    failed = [name for name in graph if name in words and words[name].is_failure]
    if failed:
        return failed
    run = earlier_run(history, path)
    if run is None:
        raise UsageError(f"--failed: there is no earlier run of {path} in {state}")
    if history.failed_last(run):
        raise UsageError(f"--failed: {path} has none of the tasks any more that failed in {run.id}")
    raise UsageError(f"--failed: nothing failed in the last run of {path}, {_end_of(run)}")


def _end_of(run: "RunRecord") -> str:
    """Return the id of a run in which nothing failed, and what to do if it is not done."""
    if run.outcome in (Outcome.SUCCEEDED, "running"):
        return run.id if run.ended is not None else f"{run.id}, which is still running"
    how = "has left tasks undone" if run.outcome == Outcome.FAILED else f"was {run.outcome}"
    return f"{run.id}, but it {how}; --resume goes on with it"
