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
    services: set[int] = field(default_factory=set)
    parked: set[int] = field(default_factory=set)
    most_failures: int | None = 1
    outcome: dict[int, str] = field(default_factory=dict)
    running: set[int] = field(default_factory=set)
    asleep: set[int] = field(default_factory=set)
    serving: set[int] = field(default_factory=set)
    served: set[int] = field(default_factory=set)
    needless: set[int] = field(default_factory=set)
    dismissed: set[int] = field(default_factory=set)
    attempts: dict[int, int] = field(default_factory=dict)
    failures: int = 0
    stopped: bool = False
    closing: bool = False
    passed_over: dict[tuple[tuple[int, int], ...], int] = field(default_factory=dict)
    kept_back: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        self.kinds = dict.fromkeys(map(self.kind, self.needs))
        self.skip_what_cannot_run()

    def has_ended(self, task: int) -> bool:
        """Whether it has ended, for what waits for it."""
        return task in self.outcome or task in self.serving

    def users(self, service: int) -> set[int]:
        return {task for task, before in self.predecessors.items() if service in before}

    def unneeded(self) -> set[int]:
        return {service for service in self.serving if not self.is_needed(service)}

    def is_needed(self, service: int) -> bool:
        return any(user not in self.outcome for user in self.users(service))

    def is_needless(self, service: int) -> bool:
        """Whether it has users that have not ended, and none of them will run."""
        left = {user for user in self.users(service) if user not in self.outcome}
        return bool(left) and all(self.is_lost(user) for user in left)

    def is_lost(self, user: int) -> bool:
        """Whether a task that is yet to start never will, for what is before or behind it."""
        if user in self.running | self.serving:
            return False
        if user in self.parked or user in self.always:
            return user in self.parked
        return (
            self.is_doomed(user)
            or any(
                self.has_ended(other) and not self.ended_well(other)
                for other in self.predecessors[user]
            )
            or (user in self.services and self.is_needless(user))
        )

    def is_doomed(self, task: int) -> bool:
        """Whether a service that it needs was up, and has died."""
        return task not in self.always and any(
            service in self.served and not self.ended_well(service) and service in self.outcome
            for service in self.predecessors[task]
        )

    def ended_well(self, task: int) -> bool:
        outcome = self.outcome.get(task)
        return (
            task in self.serving | self.needless
            or outcome == "succeeded"
            or (outcome == "failed" and task in self.forgiven)
        )

    def may_start(self, task: int) -> bool:
        return (
            not self.stopped
            and task not in self.parked
            and not self.is_doomed(task)
            and (not self.closing or task in self.always)
        )

    def ready(self) -> set[int]:
        return {
            task
            for task, before in self.predecessors.items()
            if self.may_start(task)
            and task not in self.outcome
            and task not in self.running | self.asleep | self.serving
            and (
                all(self.has_ended(other) for other in before)
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
        for kind in self.kinds:
            waiting = {other for other in self.ready() if self.kind(other) == kind}
            common = {pool for pool, _ in kind} & {pool for pool, _ in taken}
            if kind != taken and waiting and min(waiting) < task and common:
                self.passed_over[kind] = self.passed_over.get(kind, 0) + 1
                if self.passed_over[kind] >= pools.PATIENCE and not self.kept_back:
                    self.kept_back = kind

    def end(self, task: int, *, well: bool) -> None:
        self.running.remove(task)
        if well and task in self.services - self.dismissed:
            self.serving.add(task)
            self.served.add(task)
        elif well:
            self.outcome[task] = "succeeded"
        elif self.may_start(task) and self.attempts[task] <= self.retries.get(task, 0):
            if task in self.delayed:
                self.asleep.add(task)
        else:
            self.fail(task)

    def fail(self, task: int) -> None:
        self.outcome[task] = "failed"
        self.failures += task not in self.forgiven
        if self.most_failures is not None and self.failures >= self.most_failures:
            self.close()

    def leave(self, service: int) -> None:
        told = service in self.unneeded()
        self.serving.remove(service)
        if told:
            self.outcome[service] = "succeeded"
            return
        self.fail(service)
        for task in self.users(service):
            begun = task in self.outcome or task in self.running | self.serving
            if self.is_doomed(task) and not begun:
                self.asleep.discard(task)
                if self.attempts.get(task):
                    self.outcome[task] = "failed"
        self.skip_what_cannot_run()
        if not {task for task in self.ready() if self.kind(task) == self.kept_back}:
            self.passed_over.pop(self.kept_back, None)
            self.kept_back = ()

    def wake(self, task: int) -> None:
        self.asleep.remove(task)

    def take_back(self, task: int) -> None:
        self.running.remove(task)
        self.attempts[task] -= 1
        if not self.may_start(task):
            self.outcome[task] = "failed" if self.attempts[task] else "skipped"
        self.skip_what_cannot_run()

    def dismiss(self, service: int) -> None:
        self.dismissed.add(service)

    def release(self, task: int, pool: int) -> None:
        left = {other: units for other, units in self.needs[task].items() if other != pool}
        self.needs = {**self.needs, task: left}
        self.kinds[self.kind(task)] = None

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
            unstarted = task not in self.outcome and task not in self.running | self.serving
            if unstarted and not self.may_start(task):
                self.asleep.discard(task)
                self.outcome[task] = "failed" if self.attempts.get(task) else "skipped"

    def skip_what_cannot_run(self) -> None:
        changed = True
        while changed:
            changed = False
            for task, before in self.predecessors.items():
                all_ended = all(self.has_ended(other) for other in before)
                all_well = all(self.ended_well(other) for other in before) or task in self.always
                begun = task in self.outcome or task in self.running or task in self.serving
                if begun or not all_ended:
                    continue
                if all_well and task in self.services - self.parked and self.is_needless(task):
                    self.needless.add(task)
                if all_well and task in self.parked:
                    self.outcome[task] = "parked"
                    changed = True
                    continue
                if not all_well or task in self.needless:
                    self.asleep.discard(task)
                    self.outcome[task] = "failed" if self.attempts.get(task) else "skipped"
                    changed = True
