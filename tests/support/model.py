"""The reference model: what a frontier should do, said as slowly and obviously as possible."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from parallel_workers import pools


@dataclass
class Model:
    """Tasks with sets of predecessors (gates already multiplied out), and rules on those sets.

    A smaller number is a better task. `needs` has by task how many units of which pools it needs.
    """

    predecessors: dict[int, set[int]]
    retries: dict[int, int] = field(default_factory=dict)
    delayed: set[int] = field(default_factory=set)
    needs: dict[int, dict[int, int]] = field(default_factory=dict)
    limits: list[int] = field(default_factory=list)
    forgiven: set[int] = field(default_factory=set)
    always: set[int] = field(default_factory=set)
    most_failures: int | None = 1
    outcome: dict[int, str] = field(default_factory=dict)
    running: set[int] = field(default_factory=set)
    asleep: set[int] = field(default_factory=set)
    attempts: dict[int, int] = field(default_factory=dict)
    failures: int = 0
    stopped: bool = False
    closing: bool = False
    passed_over: dict[tuple[tuple[int, int], ...], int] = field(default_factory=dict)
    kept_back: tuple[tuple[int, int], ...] = ()

    def ended_well(self, task: int) -> bool:
        outcome = self.outcome.get(task)
        return outcome == "succeeded" or (outcome == "failed" and task in self.forgiven)

    def may_start(self, task: int) -> bool:
        return not self.stopped and (not self.closing or task in self.always)

    def ready(self) -> set[int]:
        return {
            task
            for task, before in self.predecessors.items()
            if self.may_start(task)
            and task not in self.outcome
            and task not in self.running
            and task not in self.asleep
            and (
                all(other in self.outcome for other in before)
                if task in self.always
                else all(self.ended_well(other) for other in before)
            )
        }

    def has_units(self, task: int) -> bool:
        free = dict(enumerate(self.limits))
        for other in self.running:
            for pool, units in self.needs.get(other, {}).items():
                free[pool] -= units
        if self.kind(task) != self.kept_back:
            for pool, units in self.kept_back:
                free[pool] -= units
        return all(units <= free[pool] for pool, units in self.needs.get(task, {}).items())

    def kind(self, task: int) -> tuple[tuple[int, int], ...]:
        """What a task needs: those that need the same wait together."""
        return tuple(sorted(self.needs.get(task, {}).items()))

    def startable(self) -> set[int]:
        return {task for task in self.ready() if self.has_units(task)}

    def step(self, ended: Iterable[int], room: int) -> list[int]:
        for code in ended:
            self.end(code if code >= 0 else ~code, well=code >= 0)
        self.skip_what_cannot_run()
        started: list[int] = []
        while len(started) < room and self.startable():
            task = min(self.startable())
            self.start(task)
            started.append(task)
        return started

    def start(self, task: int) -> None:
        self.running.add(task)
        self.attempts[task] = self.attempts.get(task, 0) + 1
        taken = self.kind(task)
        self.passed_over.pop(taken, None)
        if taken == self.kept_back:
            self.kept_back = ()
        for kind in dict.fromkeys(map(self.kind, self.needs)):
            waiting = {other for other in self.ready() if self.kind(other) == kind}
            common = {pool for pool, _ in kind} & {pool for pool, _ in taken}
            if kind != taken and waiting and min(waiting) < task and common:
                self.passed_over[kind] = self.passed_over.get(kind, 0) + 1
                if self.passed_over[kind] >= pools.PATIENCE and not self.kept_back:
                    self.kept_back = kind

    def end(self, task: int, *, well: bool) -> None:
        self.running.remove(task)
        if well:
            self.outcome[task] = "succeeded"
        elif self.may_start(task) and self.attempts[task] <= self.retries.get(task, 0):
            if task in self.delayed:
                self.asleep.add(task)
        else:
            self.outcome[task] = "failed"
            self.failures += task not in self.forgiven
            if self.most_failures is not None and self.failures >= self.most_failures:
                self.close()

    def wake(self, task: int) -> None:
        self.asleep.remove(task)

    def take_back(self, task: int) -> None:
        self.running.remove(task)
        self.attempts[task] -= 1
        if not self.may_start(task):
            self.outcome[task] = "failed" if self.attempts[task] else "skipped"
        self.skip_what_cannot_run()

    def stop(self) -> None:
        if not self.stopped:
            self.stopped, self.closing = True, False
            self.close()

    def close(self) -> None:
        if self.closing:
            return
        self.closing = True
        self.passed_over, self.kept_back = {}, ()
        for task in self.predecessors:
            unstarted = task not in self.outcome and task not in self.running
            if unstarted and not self.may_start(task):
                self.asleep.discard(task)
                self.outcome[task] = "failed" if self.attempts.get(task) else "skipped"

    def skip_what_cannot_run(self) -> None:
        changed = True
        while changed:
            changed = False
            for task, before in self.predecessors.items():
                all_ended = all(other in self.outcome for other in before)
                all_well = all(self.ended_well(other) for other in before)
                known = task in self.outcome or task in self.always
                if not known and all_ended and not all_well:
                    self.outcome[task] = "skipped"
                    changed = True
