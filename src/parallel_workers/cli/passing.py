"""What commands of earlier runs pass on to those of this one, by `$PW_OUTPUTS`."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from parallel_workers.cli.console import tell
from parallel_workers.cli.keeping import Keeping, Prepared, file_key
from parallel_workers.definition import PLAIN
from parallel_workers.errors import NoJournalError, StateError
from parallel_workers.graph import WorkGraph, reached
from parallel_workers.outputs import Outputs, OutputsError
from parallel_workers.wording import at_most, shorten

if TYPE_CHECKING:
    from parallel_workers.history import Word

_VARIABLE = "PW_OUTPUTS"


def passing_of(
    whole: WorkGraph, prepared: Prepared, keeping: Keeping, path: str, state: str
) -> Outputs:
    """Return what the commands of a run pass on, with what is to come from earlier runs.

    Each task that is left out passes on what it did in the last run in which it succeeded. Where
    that cannot be had, a warning says so: else what is behind it runs with empty variables, and
    nobody knows.

    Args:
        whole: What is run, and all that this needs.
        prepared: What is run.
        keeping: What is kept of the run.
        path: The file of the graph.
        state: The state directory.
    """
    plan = prepared.plan
    part_of = None if len(whole) == plan.tasks else whole
    keep = keeping.keep_outputs(prepared)
    passing = Outputs(plan, keeping.place, keeping.given, keep, part_of)
    if part_of is None and not keeping.marked:
        return passing
    runs = [name for name, task in plan.by_name.items() if task not in keeping.done]
    needed = _directly_before(whole, runs)
    left_out = [name for name in needed if name not in plan.by_name]
    words, texts = _known(left_out, path, state) if left_out else ({}, {})
    _lend(passing, whole, {name: texts[name] for name in left_out if name in texts})
    vouched = {plan.names[task] for task in keeping.marked if task not in keeping.given}
    vouched.update(name for name in left_out if name not in words or words[name].marked)
    told = {name for name in vouched if _says_so(whole, name)}
    _warn([name for name in needed if name in told or texts.get(name) == b""])
    return passing


def _directly_before(whole: WorkGraph, names: Iterable[str]) -> list[str]:
    """Return the tasks that some tasks wait for with no other between, in the order of the file."""
    predecessors, tasks = whole.predecessors(), {*whole.numbers.values()}
    behind = [whole.numbers[name] for name in names]
    before = {node for number in behind for node in predecessors[number]}
    gates = reached(before, predecessors, tasks)
    before.update(node for gate in gates for node in predecessors[gate])
    return [name for name, number in whole.numbers.items() if number in before]


def _lend(passing: Outputs, whole: WorkGraph, texts: Mapping[str, bytes]) -> None:
    for name, text in texts.items():
        try:
            passing.lend(text, whole.users(name))
        except OutputsError as error:
            tell(f"warning: what {shorten(name)} has written to ${_VARIABLE}: {error}")


def _warn(missing: Sequence[str]) -> None:
    if missing:
        names = ", ".join(at_most([shorten(name) for name in missing], "task"))
        tell(
            f"warning: nothing is kept from earlier runs of what {names} should pass on by "
            f"${_VARIABLE}; what is behind runs without"
        )


def _known(
    names: Collection[str], path: str, state: str
) -> "tuple[Mapping[str, Word], Mapping[str, bytes]]":
    """Return, by name, the last word that tasks were done, and what they passed on by that."""
    from parallel_workers.history import History
    from parallel_workers.latest import last_done, outputs

    try:
        history = History.open(state)
        words = last_done(history, file_key(path), names)
        return words, outputs(history, words)
    except NoJournalError:
        # That nothing is known is told of each task that it matters for.
        pass
    except StateError as error:
        tell(f"warning: what tasks passed on in earlier runs is not known: {error}")
    return {}, {}


def _says_so(whole: WorkGraph, name: str) -> bool:
    """Return whether what a task runs says that it passes something on.

    Where it has not been seen to succeed, nothing else can tell.
    """
    definition = whole.definitions.get(whole.numbers[name], PLAIN)
    return any(_VARIABLE in str(command) for command in (definition.command, definition.done_if))
