"""The state machine that decides which task runs next. All that decides it stands in this file
and in `pools.py`, its units; and neither knows of a thread, a process, a clock, a file or a name.

Tasks and gates are integers. Tasks come first, numbered by priority: of two ready tasks the one
with the smaller number starts first. Gates have the numbers behind. The world outside says which
attempts ended and how many more could run, and is told which to start; that is `step`, the only
verb of a run's normal course. What is not decided here (which process, which worker, for how
long) is not known here.

States
    WAITING     some predecessor has not ended. `waiting[task]` counts those.
    READY       nothing is waited for but room and, perhaps, units of pools. The task is among the
                ready ones, or waits in the pools: in exactly one of them.
    DELAYED     an attempt has failed, and there will be another after some time. How long is for
                the world outside to know: it says when that is over, by `wake`.
    RUNNING     the task is handed out: an attempt is under way, or about to be. The task holds
                the units that it needs, until it ends or has no more need of them.
    SERVING     a service is up. For what waits for it, it has ended well; it holds nothing that
                others could need, and ends when nobody needs it any more.
    SUCCEEDED   the last attempt ended well; for a gate, all its predecessors did.
    FAILED      the last attempt did not end well, and there will be no other.
    SKIPPED     there was no attempt and there will be none: some predecessor did not succeed, the
                task is parked, or the frontier was stopped. `cause[task]` is the task that is the
                reason: one that failed, or one that is parked.

One rule for edges
    Every end, however it came, counts down the successors, and marks them (by a cause) if it was
    not well. At zero a task is ready, or skipped if it is marked; a gate ends at once, well or
    not, and passes on a mark when it gets it. A skip is an end like any other, and travels on by
    the same rule. A task that is *forgiven* its failures ends well even so, for all but itself; a
    task that runs *always* is never marked by that. A task that is *parked* is marked from the
    beginning, by itself: it and what is behind it are skipped when it would be ready, and that is
    no failure.

Services
    The *users* of a service are the tasks that wait for it, directly or by gates alone. When the
    last of them has ended, the service is told to end (`unneeded`), and has succeeded when it has,
    be it before it was up (`dismiss`).
    One that ends without having been told has failed: its users are marked, and those that were
    ready or to be tried again end with it. What runs may end in its own time.

    A service of which no user will run, since each that has not ended is marked, or is a service of
    which that is true, does not start. It is *needless*, and skipped; its users end as they would
    without it.

Stop
    An interrupt stops the frontier from outside. Then nothing starts any more: what has not ended
    and is not RUNNING is skipped at once (what had an attempt already, and was to have another,
    has failed), and what is RUNNING may end in its own time.

    A failure, the first or as many as are allowed, does the same, but for tasks that run always:
    the frontier is *closing*. Those still start, once all that they wait for has ended.

Ready tasks
    Those that come in the order of their numbers stand in a queue, which costs next to nothing;
    the others in a heap. The best one is at the head of one of them.

Two ways through a step
    Where all went well so far and there are no pools, a step is one loop over edges that counts
    down: `step` itself. Everything else (a failure, a mark, a pool, a gate) goes through
    `_end_with_rules`, which would do for the simple case as well; tests drive both.

What is always true after a step (tests check it against a slow and obvious model)
    - a task starts only when all its predecessors have ended well, or have ended at all if it runs
      always; and each attempt of it starts once: RUNNING is entered from READY only;
    - ended states are never left;
    - no READY task is better than one that this step started, unless it lacks units of pools;
    - if room was left over, no task is READY but those that lack units of pools;
    - `unfinished` counts the tasks and gates in no ended state; when none is RUNNING or SERVING and
      nothing was READY or DELAYED, it is 0 (a graph has no cycle).

Costs: O(1) a task that becomes ready in the order of numbers, O(log ready) for any other, O(1) an
edge, O(tasks) once for a stop.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush

from parallel_workers.graph import users_of
from parallel_workers.plan import Plan
from parallel_workers.pools import Needs, Pools

WAITING, READY, DELAYED, RUNNING, SERVING, SUCCEEDED, FAILED, SKIPPED = range(8)

STATES = ("waiting", "ready", "delayed", "running", "serving", "succeeded", "failed", "skipped")

TRANSITIONS: Mapping[int, frozenset[int]] = {
    WAITING: frozenset({READY, SKIPPED}),
    # SUCCEEDED at once is for gates; FAILED is for a task that was ready for another attempt when
    # the frontier was stopped.
    READY: frozenset({RUNNING, SKIPPED, FAILED, SUCCEEDED}),
    DELAYED: frozenset({READY, FAILED}),
    # READY again for another attempt, or where it was handed out and never begun.
    RUNNING: frozenset({READY, DELAYED, SERVING, SUCCEEDED, FAILED}),
    SERVING: frozenset({SUCCEEDED, FAILED}),
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
        delayed: Tasks that wait for a while before another attempt.
        needs: By task, how many units of which pools it needs; tasks that need none are not in it.
        limits: By pool, its limit.
        forgiven: Tasks whose failure counts as a success for everybody else.
        always: Tasks that run however what they wait for has ended.
        services: Tasks that, once they are up, stay so until their users have ended. They need no
            units, and do not run always.
        parked: Tasks that do not start in this run, though nothing is wrong with them.
        most_failures: How many failures close the frontier; None for none.
        done: Tasks that have succeeded already; whatever becomes of their predecessors.

    Attributes:
        waiting: By number, how many predecessors have not ended.
        cause: For each task marked as not to run, the task that is the reason.
        skipped: Tasks skipped since somebody last cleared this list, in order.
        given_up: Tasks that had failed and lost their next attempt to a stop, likewise.
        to_wake: Tasks that became DELAYED, likewise.
        unneeded: Services that are to end, likewise.
        ready: How many tasks the last step left READY; those that lack units not counted.
        running: How many tasks are RUNNING.
        unfinished: How many tasks and gates have not ended.
        stopped: Whether nothing starts any more.
        closing: Whether nothing starts any more but tasks that run always, or not even those.

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
        delayed: Collection[int] = (),
        needs: Mapping[int, Needs] | None = None,
        limits: Sequence[int] = (),
        forgiven: Collection[int] = (),
        always: Collection[int] = (),
        services: Collection[int] = (),
        parked: Collection[int] = (),
        most_failures: int | None = 1,
        done: Collection[int] = (),
    ) -> None:
        self._successors = successors
        self._tasks = tasks
        self._retries_left = dict(retries or {})
        self._retried: set[int] = set()
        self._to_be_delayed = frozenset(delayed)
        self._pools = Pools(needs, limits) if needs else None
        self._forgiven = frozenset(forgiven)
        self._always = frozenset(always)
        self._failures_left = most_failures
        self._in_order: deque[int] = deque()
        self._out_of_order: list[int] = []
        # WAITING stands for READY, too: `state_of` tells them apart.
        self._states = bytearray(len(waits))
        self._simple = self._pools is None and not parked and not services
        self.waiting = list(waits)
        self.cause = {task: task for task in parked}
        self.skipped: list[int] = []
        self.given_up: list[int] = []
        self.to_wake: list[int] = []
        self.unneeded: list[int] = []
        self.running = 0
        self.unfinished = len(waits)
        self.stopped = False
        self.closing = False
        self._stopped_by: int | None = None
        self._users = {each: users_of(each, successors, tasks.__gt__) for each in services}
        self._used: dict[int, list[int]] = {}
        for service, users in self._users.items():
            for user in users:
                self._used.setdefault(user, []).append(service)
        self._users_left = {service: len(users) for service, users in self._users.items()}
        # Services that have become ready, or of which a user was marked, since somebody last looked
        # whether they are still needed.
        self._doubtful: list[int] = []
        # By service of which no user will run, the task that is why.
        self._unused: dict[int, int] = {}
        # Those that did not start for that.
        self._needless: set[int] = set()
        self._dismissed: set[int] = set()
        self._begin_with(done)

    @classmethod
    def of(
        cls,
        plan: Plan,
        *,
        parked: Collection[int] = (),
        most_failures: int | None = 1,
        done: Collection[int] = (),
    ) -> "Frontier":
        """Return a frontier at the beginning of a run of `plan`.

        Args:
            plan: What is to be run.
            parked: Tasks that do not start in this run.
            most_failures: How many failures close it; None for none.
            done: Tasks that have succeeded already.
        """
        return cls(
            plan.successors,
            plan.waits,
            tasks=plan.tasks,
            retries=plan.retries,
            delayed=plan.delays,
            needs=plan.needs,
            limits=[limit for _, limit in plan.pools],
            forgiven=plan.forgiven,
            always=plan.always,
            services=plan.services,
            parked=parked,
            most_failures=most_failures,
            done=done,
        )

    def _begin_with(self, done: Collection[int]) -> None:
        waiting, pools, parked = self.waiting, self._pools, self.cause
        for task in done:
            parked.pop(task, None)
        ready = [task for task in range(self._tasks) if not waiting[task] and task not in done]
        ends = [task for task in ready if task in parked]
        ready = [task for task in ready if task not in parked]
        if pools is not None:
            for task in ready:
                if task in pools:
                    pools.add(task)
            ready = [task for task in ready if task not in pools]
        self._in_order.extend(ready)
        # Users may be parked.
        self._doubtful += self._users
        for task in done:
            self._end(task, SUCCEEDED)
            # Its predecessors may yet run and count it down, but never to zero.
            waiting[task] = -1
        for task in ends:
            self._skip(task)
        self._propagate([*done, *ends])
        self.ready = self._count_ready()

    def state_of(self, number: int) -> int:
        """Return the state of a task or gate."""
        state = self._states[number]
        return READY if state == WAITING and not self.waiting[number] else state

    def is_parked(self, task: int) -> bool:
        """Return whether a task is skipped for nothing but that it was parked."""
        return self.cause.get(task) == task

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
            if self._pools is not None:
                return self._start_with_units(room, share, self._pools)
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

        Where nothing starts any more they are skipped, else they are ready again.

        Args:
            tasks: Tasks that are RUNNING.
        """
        ends: list[int] = []
        for task in tasks:
            self._give_units(task)
            self.running -= 1
            self._states[task] = WAITING
            if self._may_start(task):
                self._make_ready(task)
            else:
                self._end_unstarted(task)
                ends.append(task)
        self._propagate(ends)
        self.ready = self._count_ready()

    def forgo(self, task: int) -> None:
        """Let a task that is RUNNING have no other attempt, however this one ends."""
        self._retries_left.pop(task, None)

    def release(self, task: int, pool: int) -> None:
        """Let a task that is RUNNING need no units of a pool any more, nor for another attempt."""
        assert self._pools is not None
        self._pools.release(task, pool)
        self.ready = self._count_ready()

    def dismiss(self, service: int) -> None:
        """Let a service that is RUNNING never be up: if its attempt ends well, it has succeeded."""
        self._dismissed.add(service)

    def wake(self, task: int) -> None:
        """Let a task that is DELAYED be ready for its next attempt; any other is left alone."""
        if self._states[task] == DELAYED:
            self._states[task] = WAITING
            self._make_ready(task)
            self.ready = self._count_ready()

    def leave(self, service: int) -> None:
        """End a service that is SERVING: well if it was told to end, else not."""
        if not self._users_left[service]:
            self._end(service, SUCCEEDED)
            return
        self._fail(service)
        if service not in self._forgiven:
            self._end_users(service)
        self.ready = self._count_ready()

    def _end_users(self, service: int) -> None:
        """Mark the users of a service that has died; end those that were ready, or to be so."""
        ends: list[int] = []
        for user in self._users[service]:
            if self._states[user] >= SUCCEEDED or user in self._always:
                continue
            self._mark(user, service)
            if self.state_of(user) in (READY, DELAYED):
                ends.append(user)
        self._take_out(ends)
        for user in ends:
            self._end_unstarted(user)
        self._propagate(ends)

    def _take_out(self, tasks: Collection[int]) -> None:
        """Let tasks be no longer among those that are ready."""
        gone = frozenset(tasks)
        self._in_order = deque(task for task in self._in_order if task not in gone)
        self._out_of_order = [task for task in self._out_of_order if task not in gone]
        heapify(self._out_of_order)
        if self._pools is not None:
            self._pools.remove(gone)

    def stop(self) -> None:
        """Let nothing start any more."""
        if not self.stopped:
            self.stopped = True
            self._close()

    def _close(self, cause: int | None = None) -> None:
        """Let nothing start any more but what still may.

        Args:
            cause: The task whose failure is the reason, if one is.
        """
        self.closing = True
        self._simple = False
        if self._stopped_by is None:
            self._stopped_by = cause
        self._in_order.clear()
        self._out_of_order.clear()
        if self._pools is not None:
            self._pools.clear()
        states = self._states
        ends: list[int] = []
        for task in range(self._tasks):
            if states[task] not in (WAITING, DELAYED):
                continue
            if not self._may_start(task):
                self._end_unstarted(task)
                ends.append(task)
            elif states[task] == WAITING and not self.waiting[task]:
                self._make_ready(task)
        self._propagate(ends)
        self.ready = self._count_ready()

    def _may_start(self, task: int) -> bool:
        return (
            not self.stopped
            and task not in self.cause
            and (not self.closing or task in self._always)
        )

    def _end_unstarted(self, task: int) -> None:
        """End a task that lost its next attempt to a stop."""
        if task in self._retried:
            self._end(task, FAILED)
            self.given_up.append(task)
            return
        if self._stopped_by is not None:
            self._mark(task, self._stopped_by)
        elif self.is_parked(task):
            del self.cause[task]
        self._skip(task)

    def _end_with_rules(self, ended: Iterable[int]) -> None:
        """End attempts, with all rules, and ready what that frees."""
        ends: list[int] = []
        for code in ended:
            task = code if code >= 0 else ~code
            self._give_units(task)
            self.running -= 1
            if code >= 0 and task in self._users and task not in self._dismissed:
                self._serve(task)
            elif code >= 0:
                self._end(task, SUCCEEDED)
            elif self._retries_left.get(task) and self._may_start(task):
                self._try_again(task)
                continue
            else:
                self._fail(task)
            ends.append(task)
        self._propagate(ends)

    def _serve(self, service: int) -> None:
        self._states[service] = SERVING
        if not self._users_left[service]:
            self.unneeded.append(service)

    def _try_again(self, task: int) -> None:
        self._retries_left[task] -= 1
        self._retried.add(task)
        if task in self._to_be_delayed:
            self._states[task] = DELAYED
            self.to_wake.append(task)
            if task in self._users:
                self._doubtful.append(task)
        else:
            self._states[task] = WAITING
            self._make_ready(task)

    def _fail(self, task: int) -> None:
        self._simple = False
        self._end(task, FAILED)
        if task in self._forgiven or self._failures_left is None:
            return
        self._failures_left -= 1
        if self._failures_left <= 0 and not self.closing:
            self._close(task)

    def _propagate(self, ends: list[int]) -> None:
        """Do all that follows from what has ended."""
        self._count_down(ends)
        while self._doubtful:
            self._count_down(self._drop_needless())

    def _count_down(self, ends: list[int]) -> None:
        """Count down the successors of what has ended, and of what ends thereby."""
        states, waiting, cause = self._states, self.waiting, self.cause
        for number in ends:  # grows while it is walked
            if number >= self._tasks and states[number] == WAITING:
                # Nobody waits for what leads to nowhere any more, so its mark does not matter.
                self._end(number, SUCCEEDED)
            reason = None if self._ended_well(number) else self._reason(number)
            for successor in self._successors[number]:
                if reason is not None and successor not in self._always:
                    self._mark(successor, reason)
                left = waiting[successor] - 1
                waiting[successor] = left
                if left or states[successor] != WAITING:
                    continue
                if successor >= self._tasks:
                    if successor in cause:
                        self._skip(successor)
                    ends.append(successor)
                elif successor in cause:
                    self._skip(successor)
                    ends.append(successor)
                else:
                    self._make_ready(successor)

    def _drop_needless(self) -> list[int]:
        """End the services that are yet to start, and that nobody will use; return them."""
        doubtful, self._doubtful = self._doubtful, []
        ends: dict[int, None] = {}
        for service in doubtful:  # grows while it is walked
            reason = self._why_unused(service)
            if reason is None:
                continue
            if service not in self._unused:
                self._unused[service] = reason
                doubtful += self._used.get(service, ())
            if self.state_of(service) in (READY, DELAYED) and not self.is_parked(service):
                self._mark(service, reason)
                ends[service] = None
        self._needless.update(ends)
        self._take_out(ends)
        for service in ends:
            self._end_unstarted(service)
        return list(ends)

    def _why_unused(self, service: int) -> int | None:
        """Return the task that is why no user of a service will run; None if one may."""
        left = [user for user in self._users[service] if self._states[user] < SUCCEEDED]
        reasons = [self.cause.get(user, self._unused.get(user)) for user in left]
        return reasons[0] if reasons and None not in reasons else None

    def _mark(self, number: int, reason: int) -> None:
        marked = [number]
        for number in marked:  # grows while it is walked
            # What would not have been reached is not skipped for being parked.
            if number in self.cause and not self.is_parked(number):
                continue
            self.cause[number] = reason
            self._doubtful += self._used.get(number, ())
            if number >= self._tasks:
                marked += [each for each in self._successors[number] if each not in self._always]

    def _reason(self, number: int) -> int | None:
        """Return the task that is why `number` did not end well; None for a stop."""
        return number if self._states[number] == FAILED else self.cause.get(number)

    def _ended_well(self, number: int) -> bool:
        state = self._states[number]
        return (
            state in (SERVING, SUCCEEDED)
            or (state == FAILED and number in self._forgiven)
            or number in self._needless
        )

    def _make_ready(self, task: int) -> None:
        if task in self._users:
            self._doubtful.append(task)
        if self._pools is not None and task in self._pools:
            self._pools.add(task)
        else:
            heappush(self._out_of_order, task)

    def _count_ready(self) -> int:
        ready = len(self._in_order) + len(self._out_of_order)
        return ready if self._pools is None else ready + self._pools.ready()

    def _start(self, room: int, share: int) -> list[int]:
        """Hand out up to `room` of the ready tasks, the best first, where there are no pools."""
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

    def _start_with_units(self, room: int, share: int, pools: Pools) -> list[int]:
        """Hand out up to `room` of the ready tasks, the best first, as pools allow."""
        room = min(room, 1 + (self._count_ready() - 1) // share)
        started = self._choose_with_units(room, pools)
        for task in started:
            self._states[task] = RUNNING
        self.running += len(started)
        self.ready = self._count_ready()
        return started

    def _choose(self, room: int) -> list[int]:
        """Take out up to `room` of the ready tasks that need no units, the best first."""
        in_order, out_of_order = self._in_order, self._out_of_order
        chosen: list[int] = []
        while len(chosen) < room and (in_order or out_of_order):
            if not out_of_order or (in_order and in_order[0] < out_of_order[0]):
                chosen.append(in_order.popleft())
            else:
                chosen.append(heappop(out_of_order))
        return chosen

    def _choose_with_units(self, room: int, pools: Pools) -> list[int]:
        """Take out up to `room` of the ready tasks, the best first, as pools allow."""
        chosen: list[int] = []
        while len(chosen) < room:
            heads = [queue[0] for queue in (self._in_order, self._out_of_order) if queue]
            best = pools.best()
            if best is not None and all(best < head for head in heads):
                pools.take(best)
                chosen.append(best)
            elif heads:
                chosen += self._choose(1)
            else:
                break
        return chosen

    def _give_units(self, task: int) -> None:
        if self._pools is not None:
            self._pools.give(task)

    def _skip(self, number: int) -> None:
        self._end(number, SKIPPED)
        if number < self._tasks:
            self.skipped.append(number)

    def _end(self, number: int, state: int) -> None:
        self._states[number] = state
        self.unfinished -= 1
        for service in self._used.get(number, ()):
            self._users_left[service] -= 1
            if not self._users_left[service] and self._states[service] in (RUNNING, SERVING):
                self.unneeded.append(service)
