"""The state machine that decides which task runs next. All that decides it stands in this file
and in `pools.py`, its units; and neither knows of a thread, a process, a clock, a file or a name.

Tasks and gates are integers. Tasks come first, numbered by priority: of two ready tasks the one
with the smaller number starts first. Gates have the numbers behind. The world outside says which
attempts ended and how many more could run, and is told which to start; that is `step`, the only
verb of a run's normal course. What is not decided here (which process, which worker, for how
long) is not known here.

States
    WAITING     some predecessor has not ended. `waiting[task]` counts those.
    READY       nothing is waited for but room and, perhaps, a unit of a pool. The task is in the
                ready heap, or parked in its pool: in exactly one of them.
    RUNNING     an attempt is under way. The task holds a unit of its pool, if it needs one.
    SUCCEEDED   the last attempt ended well; for a gate, all its predecessors did.
    FAILED      the last attempt did not end well, and there will be no other.
    SKIPPED     there was no attempt and there will be none: some predecessor did not succeed, or
                the frontier was stopped. `cause[task]` is the task whose failure is the reason.

One rule for edges
    Every end, however it came, counts down the successors, and marks them (by a cause) if it was
    not well. At zero a task is ready, or skipped if it is marked; a gate ends at once, well or
    not. A skip is an end like any other, so that it travels on by the same rule.

Stop
    The first failure stops the frontier, unless it keeps going; an interrupt stops it from
    outside. Then nothing starts any more: what is WAITING or READY is skipped at once (what had an
    attempt already, and was ready for another, has failed), and what is RUNNING may end in
    its own time.

What is always true after a step (tests check it against a slow and obvious model)
    - a task starts only when all its predecessors have succeeded, and each attempt of it starts
      once: RUNNING is entered from READY only;
    - ended states are never left;
    - no READY task is better than one that this step started, unless its pool is full;
    - if room was left over, no task is READY but those whose pools are full;
    - `unfinished` counts the tasks and gates in no ended state; when none is RUNNING and nothing
      was READY, it is 0 (a graph has no cycle).

Costs: O(log ready) a task, O(1) an edge, O(tasks) once for a stop.
"""

from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush

from parallel_workers.plan import Plan
from parallel_workers.pools import Pools

WAITING, READY, RUNNING, SUCCEEDED, FAILED, SKIPPED = range(6)

STATES = ("waiting", "ready", "running", "succeeded", "failed", "skipped")

TRANSITIONS: Mapping[int, frozenset[int]] = {
    # SUCCEEDED at once is for gates.
    WAITING: frozenset({READY, SKIPPED, SUCCEEDED}),
    # FAILED is for a task that was ready for another attempt when the frontier was stopped.
    READY: frozenset({RUNNING, SKIPPED, FAILED}),
    RUNNING: frozenset({READY, SUCCEEDED, FAILED}),
    SUCCEEDED: frozenset(),
    FAILED: frozenset(),
    SKIPPED: frozenset(),
}
"""By state, the states that may follow it. This is the whole table; nothing else happens."""


class Frontier:
    """The states of all tasks of a run, and every rule that changes them.

    Args:
        successors: By number of a task or gate, the numbers of its direct successors, each once.
        waits: By number, how many direct predecessors there are.
        tasks: How many of the numbers are tasks; those from here on are gates.
        retries: How many attempts more a task has when one fails; tasks with none are not in it.
        pool_of: The pool that a task needs one unit of; tasks that need none are not in it.
        limits: By pool, its limit.
        keep_going: Whether a failure leaves what does not depend on it to go on.

    Attributes:
        state: By number, the state.
        waiting: By number, how many predecessors have not ended.
        cause: For each task marked as not to run, the task whose failure is the reason.
        skipped: Tasks skipped since somebody last cleared this list, in order.
        given_up: Tasks that had failed and lost their next attempt to a stop, likewise.
        running: How many tasks are RUNNING.
        unfinished: How many tasks and gates have not ended.

    >>> frontier = Frontier([[1, 2], [], []], waits=[0, 1, 1], tasks=3)
    >>> frontier.step([], room=8)
    [0]
    >>> frontier.step([0], room=1)
    [1]
    >>> frontier.step([1], room=1)
    [2]
    >>> frontier.step([~2], room=1), STATES[frontier.state[2]], frontier.unfinished
    ([], 'failed', 0)
    """

    def __init__(
        self,
        successors: Sequence[Sequence[int]],
        waits: Sequence[int],
        *,
        tasks: int,
        retries: Mapping[int, int] | None = None,
        pool_of: Mapping[int, int] | None = None,
        limits: Sequence[int] = (),
        keep_going: bool = False,
    ) -> None:
        self._successors = successors
        self._tasks = tasks
        self._retries_left = dict(retries or {})
        self._retried: set[int] = set()
        self._pools = Pools(pool_of, limits) if pool_of else None
        self._keep_going = keep_going
        self._ready = [task for task in range(tasks) if not waits[task]]
        heapify(self._ready)
        self.state = bytearray(len(waits))
        for task in self._ready:
            self.state[task] = READY
        self.waiting = list(waits)
        self.cause: dict[int, int] = {}
        self.skipped: list[int] = []
        self.given_up: list[int] = []
        self.running = 0
        self.unfinished = len(waits)
        self._stopped = False

    @classmethod
    def of(cls, plan: Plan, *, keep_going: bool = False) -> "Frontier":
        """Return a frontier at the beginning of a run of `plan`.

        Args:
            plan: What is to be run.
            keep_going: Whether a failure leaves what does not depend on it to go on.
        """
        return cls(
            plan.successors,
            plan.waits,
            tasks=plan.tasks,
            retries=plan.retries,
            pool_of=plan.pool_of,
            limits=[limit for _, limit in plan.pools],
            keep_going=keep_going,
        )

    @property
    def has_ready(self) -> bool:
        """Whether another step with room might start something."""
        return bool(self._ready)

    def step(self, ended: Iterable[int], room: int) -> list[int]:
        """End attempts, ready what that frees, and hand out what may start.

        Args:
            ended: Tasks whose attempts ended: `task` itself for one that ended well, `~task` for
                one that did not. A task that did not end well and has retries left is ready again.
            room: How many attempts more could run now.

        Returns:
            Up to `room` tasks that are RUNNING from now on, the best first.
        """
        ends = self._end_attempts(ended)
        if ends:
            self._propagate(ends)
        return self._start(room) if self._ready and room > 0 else []

    def stop(self, cause: int | None = None) -> None:
        """Let nothing start any more.

        Args:
            cause: The task whose failure is the reason, if one is.
        """
        if self._stopped:
            return
        self._stopped = True
        self._ready.clear()
        if self._pools is not None:
            self._pools.clear()
        state = self.state
        for number in range(len(state)):
            if state[number] == READY and number in self._retried:
                self._move(number, FAILED)
                self.given_up.append(number)
            elif state[number] == WAITING or state[number] == READY:
                if cause is not None:
                    self.cause.setdefault(number, cause)
                self._move(number, SKIPPED)

    def _end_attempts(self, ended: Iterable[int]) -> list[int]:
        """End attempts; return the tasks that these ends have ended for good."""
        ends: list[int] = []
        for code in ended:
            task = code if code >= 0 else ~code
            if self._pools is not None:
                called = self._pools.give(task)
                if called is not None:
                    heappush(self._ready, called)
            self.running -= 1
            if code >= 0:
                self._move(task, SUCCEEDED)
            elif not self._stopped and self._retries_left.get(task):
                self._retries_left[task] -= 1
                self._retried.add(task)
                self._move(task, READY)
                heappush(self._ready, task)
                continue
            else:
                self._move(task, FAILED)
                if not self._keep_going:
                    self.stop(task)
            ends.append(task)
        return ends

    def _propagate(self, ends: list[int]) -> None:
        """Count down the successors of what has ended, and of what ends thereby."""
        if self._stopped:
            return
        state, waiting, cause = self.state, self.waiting, self.cause
        for number in ends:  # grows while it is walked
            reason = None if state[number] == SUCCEEDED else cause.get(number, number)
            for successor in self._successors[number]:
                if reason is not None:
                    cause.setdefault(successor, reason)
                left = waiting[successor] - 1
                waiting[successor] = left
                if left:
                    continue
                if successor in cause:
                    self._move(successor, SKIPPED)
                    ends.append(successor)
                elif successor >= self._tasks:
                    self._move(successor, SUCCEEDED)
                    ends.append(successor)
                else:
                    self._move(successor, READY)
                    heappush(self._ready, successor)

    def _start(self, room: int) -> list[int]:
        """Hand out up to `room` of the ready tasks, the best first."""
        ready = self._ready
        started: list[int] = []
        while ready and len(started) < room:
            task = heappop(ready)
            if self._pools is None or self._pools.take(task):
                self._move(task, RUNNING)
                started.append(task)
        self.running += len(started)
        return started

    def _move(self, number: int, state: int) -> None:
        """Change the state of a task or gate. No other line of this class does."""
        assert state in TRANSITIONS[self.state[number]], (number, self.state[number], state)
        self.state[number] = state
        if state >= SUCCEEDED:
            self.unfinished -= 1
            if state == SKIPPED and number < self._tasks:
                self.skipped.append(number)
