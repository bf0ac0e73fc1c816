"""The state machine that decides which task runs next. All that decides it stands in this file
and in `pools.py`, its units; and neither knows of a thread, a process, a clock, a file or a name.

Tasks and gates are integers. Tasks come first, numbered by priority: of two ready tasks the one
with the smaller number starts first. Gates have the numbers behind. The world outside says which
attempts ended and how many more could run, and is told which to start; that is `step`, the only
verb of a run's normal course. What is not decided here (which process, which worker, for how
long) is not known here.

States
    WAITING     some predecessor has not ended. `waiting[task]` counts those.
    READY       nothing is waited for but room and, perhaps, a unit of a pool. The task is among
                the ready ones, or parked in its pool: in exactly one of them.
    RUNNING     the task is handed out: an attempt is under way, or about to be. The task holds a
                unit of its pool, if it needs one.
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

Ready tasks
    Those that come in the order of their numbers stand in a queue, which costs next to nothing;
    the others in a heap. The best one is at the head of one of them.

Two ways through a step
    Where all went well so far and there are no pools, a step is one loop over edges that counts
    down: `step` itself. Everything else (a failure, a mark, a pool, a gate) goes through
    `_end_with_rules`, which would do for the simple case as well; tests drive both.

What is always true after a step (tests check it against a slow and obvious model)
    - a task starts only when all its predecessors have succeeded, and each attempt of it starts
      once: RUNNING is entered from READY only;
    - ended states are never left;
    - no READY task is better than one that this step started, unless its pool is full;
    - if room was left over, no task is READY but those whose pools are full;
    - `unfinished` counts the tasks and gates in no ended state; when none is RUNNING and nothing
      was READY, it is 0 (a graph has no cycle).

Costs: O(1) a task that becomes ready in the order of numbers, O(log ready) for any other, O(1) an
edge, O(tasks) once for a stop.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from heapq import heappop, heappush

from parallel_workers.plan import Plan
from parallel_workers.pools import Pools

WAITING, READY, RUNNING, SUCCEEDED, FAILED, SKIPPED = range(6)

STATES = ("waiting", "ready", "running", "succeeded", "failed", "skipped")

TRANSITIONS: Mapping[int, frozenset[int]] = {
    WAITING: frozenset({READY, SKIPPED}),
    # SUCCEEDED at once is for gates; FAILED is for a task that was ready for another attempt when
    # the frontier was stopped.
    READY: frozenset({RUNNING, SKIPPED, FAILED, SUCCEEDED}),
    # READY again for another attempt, or where it was handed out and never begun.
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
        done: Tasks that have succeeded already; whatever becomes of their predecessors.

    Attributes:
        waiting: By number, how many predecessors have not ended.
        cause: For each task marked as not to run, the task whose failure is the reason.
        skipped: Tasks skipped since somebody last cleared this list, in order.
        given_up: Tasks that had failed and lost their next attempt to a stop, likewise.
        ready: How many tasks the last step left READY; those parked in pools not counted.
        running: How many tasks are RUNNING.
        unfinished: How many tasks and gates have not ended.
        stopped: Whether nothing starts any more.

    >>> frontier = Frontier([[1, 2], [], []], waits=[0, 1, 1], tasks=3)
    >>> frontier.step([], room=8)
    [0]
    >>> frontier.step([0], room=1)
    [1]
    >>> frontier.step([1], room=1)
    [2]
    >>> frontier.step([~2], room=1), STATES[frontier.state_of(2)], frontier.unfinished
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
        done: Collection[int] = (),
    ) -> None:
        self._successors = successors
        self._tasks = tasks
        self._retries_left = dict(retries or {})
        self._retried: set[int] = set()
        self._pools = Pools(pool_of, limits) if pool_of else None
        self._keep_going = keep_going
        self._in_order = deque(
            [task for task in range(tasks) if not waits[task] and task not in done]
        )
        self._out_of_order: list[int] = []
        # WAITING stands for READY, too: `state_of` tells them apart.
        self._states = bytearray(len(waits))
        self._simple = self._pools is None
        self.waiting = list(waits)
        self.cause: dict[int, int] = {}
        self.skipped: list[int] = []
        self.given_up: list[int] = []
        self.ready = len(self._in_order)
        self.running = 0
        self.unfinished = len(waits)
        self.stopped = False
        self._stopped_by: int | None = None
        if done:
            self._begin_with(done)

    @classmethod
    def of(cls, plan: Plan, *, keep_going: bool = False, done: Collection[int] = ()) -> "Frontier":
        """Return a frontier at the beginning of a run of `plan`.

        Args:
            plan: What is to be run.
            keep_going: Whether a failure leaves what does not depend on it to go on.
            done: Tasks that have succeeded already.
        """
        return cls(
            plan.successors,
            plan.waits,
            tasks=plan.tasks,
            retries=plan.retries,
            pool_of=plan.pool_of,
            limits=[limit for _, limit in plan.pools],
            keep_going=keep_going,
            done=done,
        )

    def _begin_with(self, done: Collection[int]) -> None:
        for task in done:
            self._end(task, SUCCEEDED)
            # Its predecessors may yet run and count it down, but never to zero.
            self.waiting[task] = -1
        self._propagate(list(done))
        self.ready = len(self._in_order) + len(self._out_of_order)

    def state_of(self, number: int) -> int:
        """Return the state of a task or gate."""
        state = self._states[number]
        return READY if state == WAITING and not self.waiting[number] else state

    def step(self, ended: Iterable[int], room: int, share: int = 1) -> list[int]:
        """End attempts, ready what that frees, and hand out what may start.

        Args:
            ended: Tasks whose attempts ended: `task` itself for one that ended well, `~task` for
                one that did not. A task that did not end well and has retries left is ready again.
            room: How many attempts more could run now.
            share: Of so many ready tasks, only one beyond the first is handed out.

        Returns:
            Up to `room` tasks that are RUNNING from now on, the best first.
        """
        if not self._simple:
            self._end_with_rules(ended)
            return self._start(room, share)
        states, waiting, successors = self._states, self.waiting, self._successors
        in_order, tasks = self._in_order, self._tasks
        codes = iter(ended)
        count = 0
        for code in codes:
            if code < 0:
                self._end_with_rules([code, *codes])
                break
            count += 1
            states[code] = SUCCEEDED
            for successor in successors[code]:
                left = waiting[successor] - 1
                waiting[successor] = left
                if left:
                    continue
                if successor >= tasks:
                    self._propagate([successor])
                elif not in_order or successor > in_order[-1]:
                    in_order.append(successor)
                else:
                    heappush(self._out_of_order, successor)
        self.unfinished -= count
        if room and self._simple and len(in_order) == 1 and not self._out_of_order:
            # A chain is run through here.
            task = in_order.popleft()
            states[task] = RUNNING
            self.running += 1 - count
            self.ready = 0
            return [task]
        self.running -= count
        return self._start(room, share)

    def take_back(self, tasks: Iterable[int]) -> None:
        """Take back tasks that were handed out and of which no attempt has begun.

        Where the frontier is stopped they are skipped, else they are ready again.

        Args:
            tasks: Tasks that are RUNNING.
        """
        for task in tasks:
            self._give_unit(task)
            self.running -= 1
            self._states[task] = WAITING
            if self.stopped:
                self._end_unstarted(task)
            else:
                heappush(self._out_of_order, task)
        self.ready = len(self._in_order) + len(self._out_of_order)

    def stop(self, cause: int | None = None) -> None:
        """Let nothing start any more.

        Args:
            cause: The task whose failure is the reason, if one is.
        """
        if self.stopped:
            return
        self.stopped = True
        self._simple = False
        self._stopped_by = cause
        self._in_order.clear()
        self._out_of_order.clear()
        self.ready = 0
        if self._pools is not None:
            self._pools.clear()
        states = self._states
        for number in range(len(states)):
            if states[number] == WAITING:
                self._end_unstarted(number)

    def _end_unstarted(self, number: int) -> None:
        """End a task or gate that lost its next attempt to a stop."""
        if number in self._retried:
            self._end(number, FAILED)
            self.given_up.append(number)
            return
        if self._stopped_by is not None:
            self.cause.setdefault(number, self._stopped_by)
        self._skip(number)

    def _end_with_rules(self, ended: Iterable[int]) -> None:
        """End attempts, with all rules, and ready what that frees."""
        ends: list[int] = []
        for code in ended:
            task = code if code >= 0 else ~code
            self._give_unit(task)
            self.running -= 1
            if code >= 0:
                self._end(task, SUCCEEDED)
            elif not self.stopped and self._retries_left.get(task):
                self._retries_left[task] -= 1
                self._retried.add(task)
                self._states[task] = WAITING
                heappush(self._out_of_order, task)
                continue
            else:
                self._simple = False
                self._end(task, FAILED)
                if not self._keep_going:
                    self.stop(task)
            ends.append(task)
        self._propagate(ends)

    def _propagate(self, ends: list[int]) -> None:
        """Count down the successors of what has ended, and of what ends thereby."""
        if self.stopped:
            return
        states, waiting, cause = self._states, self.waiting, self.cause
        for number in ends:  # grows while it is walked
            if number >= self._tasks and states[number] == WAITING:
                self._end(number, SUCCEEDED)
            reason = None if states[number] == SUCCEEDED else cause.get(number, number)
            for successor in self._successors[number]:
                if reason is not None:
                    cause.setdefault(successor, reason)
                left = waiting[successor] - 1
                waiting[successor] = left
                if left:
                    continue
                if successor in cause:
                    self._skip(successor)
                    ends.append(successor)
                elif successor >= self._tasks:
                    ends.append(successor)
                else:
                    heappush(self._out_of_order, successor)

    def _start(self, room: int, share: int) -> list[int]:
        """Hand out up to `room` of the ready tasks, the best first."""
        in_order = self._in_order
        if room > 1:
            room = min(room, 1 + (len(in_order) + len(self._out_of_order) - 1) // share)
        if self._out_of_order or not self._simple:
            started = self._choose(room)
        elif room < len(in_order):
            started = [in_order.popleft() for _ in range(room)]
        else:
            started = list(in_order)
            in_order.clear()
        states = self._states
        for task in started:
            states[task] = RUNNING
        self.running += len(started)
        self.ready = len(in_order) + len(self._out_of_order)
        return started

    def _choose(self, room: int) -> list[int]:
        """Take out up to `room` of the ready tasks, the best first, as pools allow."""
        in_order, out_of_order, pools = self._in_order, self._out_of_order, self._pools
        chosen: list[int] = []
        while len(chosen) < room and (in_order or out_of_order):
            if not out_of_order or (in_order and in_order[0] < out_of_order[0]):
                task = in_order.popleft()
            else:
                task = heappop(out_of_order)
            if pools is None or pools.take(task):
                chosen.append(task)
        return chosen

    def _give_unit(self, task: int) -> None:
        if self._pools is not None:
            called = self._pools.give(task)
            if called is not None:
                heappush(self._out_of_order, called)

    def _skip(self, number: int) -> None:
        self._end(number, SKIPPED)
        if number < self._tasks:
            self.skipped.append(number)

    def _end(self, number: int, state: int) -> None:
        self._states[number] = state
        self.unfinished -= 1
