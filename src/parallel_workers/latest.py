"""The latest word on each task of a file: what the last run says that has it.

Somebody may run a file as a whole, go on with that, and run parts of it in between. What has been
done of it, what has failed, and which run is meant, is asked here, over all runs of the file.

A run that has a task, and did not come to it, has a word on it, too: that it is not done. For who
begins a file anew wants all of it anew.
"""

from collections.abc import Callable, Collection, Mapping

from parallel_workers.events import Outcome
from parallel_workers.history import History, RunRecord, Word


def latest(history: History, file: str, names: Collection[str]) -> dict[str, Word]:
    """Return, by name, the latest word on each of these tasks that some run of a file has.

    Args:
        history: What is known of runs.
        file: The file, as `RunFacts` named it.
        names: The names of the tasks.
    """
    return _latest(history, file, names, lambda word: True)


def last_done(history: History, file: str, names: Collection[str]) -> dict[str, Word]:
    """Return, by name, the latest word that one of these tasks is done; arguments as above."""
    return _latest(history, file, names, lambda word: word.is_done)


def last_with(history: History, file: str, names: Collection[str]) -> RunRecord | None:
    """Return the last run of a file that has these tasks, or as many of them as any run has.

    So a run of a part is passed over by who goes on with the whole.

    Returns:
        The run; None where the file has none.
    """
    wanted = set(names)
    found, most = None, -1
    for run in history.runs_of(file):
        if history.most_names_in(run) > most:
            shared = len(wanted & history.names_in(run))
            if shared > most:
                found, most = run, shared
            if shared == len(wanted):
                break
    return found


def outputs(history: History, words: Mapping[str, Word]) -> dict[str, bytes]:
    """Return, by name, what tasks that are done have passed on by what `words` say of them.

    What has been kept and is gone is empty; a task that has passed on nothing is left out.

    Args:
        history: What is known of runs.
        words: By name, a word on each task.
    """
    runs: dict[str, RunRecord] = {}
    digests: dict[str, dict[str, bytes]] = {}
    for name, word in words.items():
        if word.is_done:
            runs[word.run.id] = word.run
            digests.setdefault(word.run.id, {})[name] = word.digest
    found: dict[str, bytes] = {}
    for run, asked in digests.items():
        found |= history.saved(runs[run], asked)
    return found


def _latest(
    history: History, file: str, names: Collection[str], counts: Callable[[Word], bool]
) -> dict[str, Word]:
    found: dict[str, Word] = {}
    left = set(names)
    for run in history.runs_of(file):
        # All that this run and those before it say is as old as its last session, or older.
        left = {name for name in left if _may_change(found.get(name), run.session)}
        if not left:
            break
        for name, word in history.words(run, left).items():
            if counts(word):
                found[name] = _later(found.get(name, word), word)
    return found


def _may_change(word: Word | None, session: int) -> bool:
    """Return whether what was said up to a session can tell more than a word on a task."""
    if word is None or word.session < session:
        return True
    return word.outcome == Outcome.CACHED and not word.ran


def _later(word: Word, other: Word) -> Word:
    """Return the later of two words on the same task, with what either knows of when it ran."""
    later = word if word.session >= other.session else other
    return later._replace(ran=max(word.ran, other.ran))
