"""The reference model: what a frontier should do, said as slowly and obviously as possible."""

from dataclasses import dataclass, field


@dataclass
class Model:
    """Tasks with sets of predecessors (gates already multiplied out), and rules on those sets.

    A smaller number is a better task. `pool_of` names the pool a task needs one unit of.
    """

    predecessors: dict[int, set[int]]
    retries: dict[int, int]
    pool_of: dict[int, int]
    limits: list[int]
    keep_going: bool
    outcome: dict[int, str] = field(default_factory=dict)
    running: set[int] = field(default_factory=set)
    attempts: dict[int, int] = field(default_factory=dict)
    stopped: bool = False

    def ready(self) -> set[int]:
        return {
            task
            for task, before in self.predecessors.items()
            if not self.stopped
            and task not in self.outcome
            and task not in self.running
            and all(self.outcome.get(other) == "succeeded" for other in before)
        }

    def pool_has_room(self, task: int) -> bool:
        pool = self.pool_of.get(task)
        if pool is None:
            return True
        return sum(self.pool_of.get(other) == pool for other in self.running) < self.limits[pool]

    def startable(self) -> set[int]:
        return {task for task in self.ready() if self.pool_has_room(task)}

    def step(self, ended: list[int], room: int) -> list[int]:
        for code in ended:
            self.end(code if code >= 0 else ~code, well=code >= 0)
        self.skip_what_cannot_run()
        started: list[int] = []
        while len(started) < room and self.startable():
            task = min(self.startable())
            self.running.add(task)
            self.attempts[task] = self.attempts.get(task, 0) + 1
            started.append(task)
        return started

    def end(self, task: int, *, well: bool) -> None:
        self.running.remove(task)
        if well:
            self.outcome[task] = "succeeded"
        elif self.stopped or self.attempts[task] > self.retries.get(task, 0):
            self.outcome[task] = "failed"
            if not self.keep_going:
                self.stop()

    def take_back(self, task: int) -> None:
        self.running.remove(task)
        self.attempts[task] -= 1
        if self.stopped:
            self.outcome[task] = "failed" if self.attempts[task] else "skipped"

    def stop(self) -> None:
        if self.stopped:
            return
        self.stopped = True
        for task in self.predecessors:
            if task not in self.outcome and task not in self.running:
                self.outcome[task] = "failed" if self.attempts.get(task) else "skipped"

    def skip_what_cannot_run(self) -> None:
        changed = True
        while changed:
            changed = False
            for task, before in self.predecessors.items():
                all_ended = all(other in self.outcome for other in before)
                all_well = all(self.outcome.get(other) == "succeeded" for other in before)
                if task not in self.outcome and all_ended and not all_well:
                    self.outcome[task] = "skipped"
                    changed = True
