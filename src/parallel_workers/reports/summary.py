"""What is told at the end of a run: what failed, once more and last; then everything in a line."""

import os
from collections.abc import Callable, Iterator, Sequence

from parallel_workers.durations import format_duration
from parallel_workers.events import (
    CommandResult,
    Event,
    Outcome,
    RunEnded,
    RunStarted,
    ServiceReady,
    TaskEnded,
    TaskRetried,
)
from parallel_workers.reports.log_files import last_lines
from parallel_workers.reports.phrases import command_of, ending, name_of
from parallel_workers.reports.style import Style
from parallel_workers.wording import one_line, plural, printable, shorten

SHOWN_FAILURES = 20
"""How many failures are told in full."""

SHOWN_NAMES = 20
"""How many names are listed of failures beyond those, and of cancelled and parked tasks."""

SHOWN_CAUSES = 10
"""How many causes of skipped tasks get a line of their own."""

SHOWN_LINES = 20
"""How many of the last lines of a log are shown."""

_WORDS = {
    Outcome.CACHED: "cached",
    Outcome.FAILED: "failed",
    Outcome.TIMED_OUT: "timed out",
    Outcome.CANCELLED: "cancelled",
    Outcome.SKIPPED: "skipped",
    Outcome.PARKED: "parked",
}


class Summary:
    """Collects what is told at the end: a listener. A success costs two additions, and no memory.

    Args:
        rerun: Returns, for the name of a task, the line that runs it again.
    """

    def __init__(self, rerun: Callable[[str], str]) -> None:
        self._rerun = rerun
        self._succeeded = 0
        self._others = dict.fromkeys(_WORDS, 0)
        # Seconds in which a worker was at something; and the services that none is at any more.
        self._busy = 0.0
        self._serving: set[str] = set()
        self._started = 0.0
        self._ended = 0.0
        self._failures: list[TaskEnded] = []
        self._more_failures: list[str] = []
        self._cancelled: list[str] = []
        self._parked: list[str] = []
        self._causes: dict[str | None, int] = {}
        self._forgiven: list[str] = []
        self._forgiven_count = 0
        self._retried: dict[str, int] = {}

    @property
    def all_succeeded(self) -> bool:
        """Whether every task that has ended did so well, or may fail."""
        return not any(
            count for outcome, count in self._others.items() if outcome is not Outcome.CACHED
        )

    @property
    def only_parked(self) -> bool:
        """Whether nothing is wrong but that some tasks have to be confirmed."""
        fine = {Outcome.CACHED, Outcome.PARKED, Outcome.SKIPPED}
        wrong = any(count for outcome, count in self._others.items() if outcome not in fine)
        return not wrong and None not in self._causes and bool(self._others[Outcome.PARKED])

    def __call__(self, events: Sequence[Event]) -> None:
        """Take in what happened."""
        for event in events:
            if isinstance(event, TaskEnded):
                if event.outcome is Outcome.SUCCEEDED:
                    self._succeeded += 1
                    self._count(event)
                else:
                    self._note_no_success(event)
            elif isinstance(event, TaskRetried):
                self._retried[event.task] = event.attempt
                self._busy += event.seconds
            elif isinstance(event, ServiceReady):
                self._count(event)
                self._serving.add(event.task)
            elif isinstance(event, RunStarted):
                self._started = event.time
            elif isinstance(event, RunEnded):
                self._ended = event.time

    def _count(self, event: TaskEnded | ServiceReady) -> None:
        if event.task not in self._serving:
            self._busy += event.seconds

    def _note_no_success(self, event: TaskEnded) -> None:
        if event.outcome is Outcome.SKIPPED:
            self._others[event.outcome] += 1
            self._causes[event.cause] = self._causes.get(event.cause, 0) + 1
            return
        if event.outcome is Outcome.PARKED:
            self._others[event.outcome] += 1
            _append(self._parked, f"{name_of(event.task)}: {one_line(str(event.result), 200)}")
            return
        # An attempt that was to be followed by another, and was not, has been counted.
        if self._retried.get(event.task) != event.attempt:
            self._count(event)
        if event.forgiven:
            self._forgiven_count += 1
            _append(self._forgiven, event.task)
            return
        self._others[event.outcome] += 1
        if event.outcome is Outcome.CANCELLED:
            _append(self._cancelled, event.task)
        elif event.outcome is not Outcome.CACHED:
            if len(self._failures) < SHOWN_FAILURES:
                self._failures.append(event)
            else:
                _append(self._more_failures, event.task)

    def text(self, style: Style) -> str:
        """Return what is to be told, when the run has ended; the logs must still be there.

        Args:
            style: How lines look.
        """
        lines: list[str] = []
        for event in self._failures:
            lines += ["", *self._failure(event, style)]
        lines += self._groups()
        if lines:
            lines.append("")
        return "\n".join([*lines, self._totals(), ""])

    def _failure(self, event: TaskEnded, style: Style) -> Iterator[str]:
        how = ending(event.outcome, event.seconds, event.result)
        yield f"{style.mark(event.outcome)} {name_of(event.task)}  {how}"
        if isinstance(event.result, CommandResult):
            yield f"  $ {command_of(event.result)}"
            yield from _output(event.result, style)
        yield f"  run it again: {self._rerun(event.task)}"

    def _groups(self) -> Iterator[str]:
        """Return a line for each group of tasks that are not told of one by one."""
        failed = self._others[Outcome.FAILED] + self._others[Outcome.TIMED_OUT]
        groups = []
        if more := failed - len(self._failures):
            groups.append(f"{more:,} more failed: {_listed(self._more_failures, more)}")
        if cancelled := self._others[Outcome.CANCELLED]:
            groups.append(f"{cancelled:,} cancelled: {_listed(self._cancelled, cancelled)}")
        if count := self._forgiven_count:
            groups.append(f"{count:,} failed, as they may: {_listed(self._forgiven, count)}")
        if parked := self._others[Outcome.PARKED]:
            groups += self._parks(parked)
        groups += self._skips()
        if groups:
            yield ""
            yield from groups

    def _parks(self, count: int) -> Iterator[str]:
        yield f"{count:,} parked; --resume asks again in a terminal, --yes answers"
        yield from (f"  {line}" for line in self._parked)
        if more := count - len(self._parked):
            yield f"  … and {more:,} more"

    def _skips(self) -> Iterator[str]:
        causes = sorted(self._causes.items(), key=lambda item: -item[1])
        for cause, count in causes[:SHOWN_CAUSES]:
            if cause is None:
                yield f"{count:,} not started: interrupted"
            else:
                yield f"{count:,} skipped because of {name_of(cause)}"
        if rest := causes[SHOWN_CAUSES:]:
            count = sum(count for _, count in rest)
            yield f"{count:,} skipped because of {plural(len(rest), 'other task')}"

    def _totals(self) -> str:
        counts = [f"{self._succeeded:,} succeeded"]
        counts += [
            f"{count:,} {_WORDS[outcome]}" for outcome, count in self._others.items() if count
        ]
        if self._forgiven_count:
            counts.append(f"{self._forgiven_count:,} allowed to fail")
        wall = self._ended - self._started
        text = f"{', '.join(counts)} in {format_duration(wall)}"
        return f"{text}, speed-up {self._busy / wall:.1f}" if self._busy and wall > 0 else text


def _output(result: CommandResult, style: Style) -> Iterator[str]:
    """Return the last lines of a log, and where the log is."""
    if not result.size:
        yield "  no output"
        if os.path.exists(result.log):
            yield f"  its log: {printable(result.log)}"
        return
    try:
        lines = last_lines(result.log, SHOWN_LINES)
    except OSError as error:
        yield f"  its log cannot be read: {error.strerror}: {printable(result.log)}"
        return
    bar = style.faint("|")
    for line in lines:
        yield f"  {bar} {line}"
    yield f"  its log: {printable(result.log)}"


def _append(names: list[str], name: str) -> None:
    if len(names) < SHOWN_NAMES:
        names.append(name)


def _listed(names: Sequence[str], count: int) -> str:
    """Return some of `count` names, and how many there are beside them."""
    shown = [shorten(name, 60) for name in names]
    if more := count - len(names):
        shown.append(f"… and {more:,} more")
    return ", ".join(shown)
