"""The one place where a run's threads meet: it steps the frontier, tells the time, keeps the facts.

Workers pull: each comes back with what it did and waits here until there is something to do. What
happened goes to the listeners in batches and in order, by whichever thread finds nobody else at it;
the others go on with their work. So a slow listener holds up one worker and not all, or none where
a thread of its own delivers (`on_events`).

Facts are columns, a list each with an item for every task. A worker writes what it knows of its
own task without the lock, and nobody reads it before the worker has told of that end by a step.

A worker whose tasks are short takes several at once into its *hand*. What lies there has been
handed out but not begun, and can be had back: by an idle worker, one at a time, and by a stop, all
of it. What has ended lies in the hand, too, until its worker steps; before a worker goes idle it
tells of what has ended in the hands of others, so that nothing waits for what has long been done.
Taking from a hand is one operation of a deque, which no two threads can do at once.

Costs: one lock operation a handful. A sleeping worker is woken only when more is ready than the
worker that freed it can take.
"""

import contextlib
import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from parallel_workers.alarms import Alarms
from parallel_workers.errors import Cancelled, NotConfirmed, TimedOut
from parallel_workers.events import (
    GOOD,
    LET_GO,
    CommandResult,
    Event,
    Listener,
    Outcome,
    RunEnded,
    RunStarted,
    ServiceReady,
    TaskEnded,
    TaskRetried,
    TaskStarted,
)
from parallel_workers.frontier import FAILED, RUNNING, SERVING, SKIPPED, SUCCEEDED, Frontier
from parallel_workers.plan import Plan

clock = time.monotonic
"""What tells the time of all attempts."""


class Hand:
    """What a worker has in hand.

    Attributes:
        number: The number of the worker, from 1.
        waiting: Tasks that it was given and has not begun.
        ended: What has ended and not been told of: the task where it succeeded, else what
            `Driver.failed` returned for it.
    """

    __slots__ = ("ended", "number", "waiting")

    def __init__(self, number: int) -> None:
        self.number = number
        self.waiting: deque[int] = deque()
        self.ended: deque[int] = deque()


class Supervisor(Protocol):
    """What knows the processes of services. It is told with the lock held, and never waits."""

    def came_up(self, service: int) -> None:
        """Tell by `Driver.left` when this service is gone, from now on."""

    def end(self, service: int) -> None:
        """End a service that nobody needs any more; it may yet be coming up."""


class Driver:
    """Drives one run.

    Args:
        plan: What is run.
        frontier: Its state machine, at the beginning.
        jobs: How many attempts may run at once; 0 for no limit.
        listeners: Who is told; each gets every batch before the next one gets it.
        done: Tasks that the frontier began with as done.
        earlier: By task, how many attempts were made before this run went on; their numbers go on.

    Attributes:
        plan: What is run.
        jobs: How many attempts may run at once.
        context: What each attempt gets a copy of.
        started: By task, when its last attempt began, by `clock`; 0 before.
        finished: By task, when its last attempt ended, likewise.
        values: By task, what it gave when it succeeded; None before.
        errors: What the last attempt of a task raised that failed; others are not in it.
        failures: How many attempts of a task have failed; those with none are not in it.
        wants_worker: Whether, when somebody last looked, something was ready that no worker was
            coming for.
        recalls: How often what was handed out and not begun was called back: by a stop, when the
            run comes to be closing, and when a service has died.
        over: Set when every task has its outcome.
        supervisor: Who is told of services; None where there are none.
        parked: By task that the frontier began with as parked, why it is.
        on_failure: Called once, with the lock held, when a failure lets nothing new start: with
            the tasks under way that do not run always; None for nobody.
        on_events: Called when there is something to tell, by whoever would tell it otherwise; it
            sees to it that `deliver` is called soon. None for nobody.
        on_change: Called by whoever else than a worker changes what can start: by a stop, and when
            the delay of an attempt is over. An executor that waits elsewhere than in `step` is
            woken by it, to take back what has not begun, to take what has become ready, and to
            deliver by that what a stop has ended.
    """

    def __init__(
        self,
        plan: Plan,
        frontier: Frontier,
        jobs: int,
        listeners: Sequence[Listener] = (),
        done: Collection[int] = (),
        earlier: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        self.plan = plan
        self.jobs = jobs
        self.context = contextvars.copy_context()
        self.started = [0.0] * plan.tasks
        self.finished = [0.0] * plan.tasks
        self.values: list[Any] = [None] * plan.tasks
        self.errors: dict[int, BaseException] = {}
        self.failures: dict[int, int] = {}
        self.wants_worker = False
        self.recalls = 0
        self.over = threading.Event()
        self.on_change: Callable[[], object] = _nobody_waits
        self.supervisor: Supervisor | None = None
        self.parked: Mapping[int, NotConfirmed] = {}
        self.on_failure: Callable[[list[int]], object] | None = None
        self.on_events: Callable[[], object] | None = None
        self._frontier = frontier
        self._found_done: set[int] = set()
        self._up: set[int] = set()
        self._done = frozenset(done)
        self._earlier = earlier
        self._listeners = list(listeners)
        # Whether more follows from a step, for others, than that they may have something to do.
        self._attentive = bool(listeners or plan.delays or plan.always or plan.services)
        self._alarms = Alarms(self._wake, clock)
        # By task whose next attempt is delayed, for how many seconds; until that has been told.
        self._pauses: dict[int, float] = {}
        # Whether something was to be delayed, and is ready since it could not be.
        self._undelayed = False
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._idle = 0
        self._hands: list[Hand] = []
        # Nobody takes so much that others have less than twice that each.
        self._share = max(1, 2 * min(jobs or plan.tasks, plan.tasks))
        self._events: list[Event] = []
        # By task handed out whose start has not been told, who has it; only where somebody listens.
        self._untold: dict[int, int] = {}
        self._closed = False
        self._delivering = threading.Lock()
        self._epoch = time.time() - clock()

    def begin(self, run: str) -> None:
        """Tell that the run begins.

        Args:
            run: Its id.
        """
        plan = self.plan
        with self._lock:
            self._events.append(RunStarted(self._now(), run, plan.tasks, plan.work, self.jobs))
            self._events += [self._ended(task, Outcome.CACHED) for task in sorted(self._done)]
            # What is parked, and all behind it, may have ended already.
            self._tell_unstarted()
            if not self._frontier.unfinished:
                self._end()
        self._deliver()

    def listen(self, listener: Listener) -> list[int]:
        """Tell `listener`, too, from here on; it may be told again of what had just happened.

        Returns:
            The tasks that have ended already.
        """
        with self._lock:
            self._listeners.append(listener)
            self._attentive = True
            return [task for task in range(self.plan.tasks) if self.outcome(task) is not None]

    def running(self) -> list[int]:
        """Return the tasks of which an attempt is under way."""
        state_of = self._frontier.state_of
        return [task for task in range(self.plan.tasks) if state_of(task) == RUNNING]

    def new_hand(self) -> Hand:
        """Return the hand of a new worker."""
        with self._lock:
            hand = Hand(len(self._hands) + 1)
            self._hands.append(hand)
        return hand

    def failed(self, task: int, error: BaseException) -> int:
        """Note how the running attempt of `task` failed. Called by its worker, without the lock.

        Args:
            task: A task that `step` handed to this worker.
            error: What it raised.

        Returns:
            What `step` is to be given for it.
        """
        self.errors[task] = error
        self.failures[task] = self.failures.get(task, 0) + 1
        statuses = self.plan.retried_on.get(task)
        if statuses is not None and _status_of(error) not in statuses:
            self._frontier.forgo(task)
        return ~task

    def forgo(self, task: int) -> None:
        """Let there be no other attempt of `task`. Called by its worker, likewise."""
        self._frontier.forgo(task)

    def release(self, task: int, pool: int) -> None:
        """Let `task` need no units of a pool any more. Called by its worker, likewise.

        Args:
            task: A task that runs.
            pool: A pool of which it holds units.
        """
        with self._lock:
            self._frontier.release(task, pool)
            self.wants_worker = not self._idle
            self._changed.notify()
        self.on_change()

    def dismiss(self, service: int) -> None:
        """Let the running attempt of a service be all that there is of it. Called likewise."""
        self._frontier.dismiss(service)

    def found_done(self, task: int) -> None:
        """Note that the running attempt of `task` found it done. Called by its worker, likewise."""
        self._found_done.add(task)

    def left(self, service: int, error: BaseException) -> None:
        """End a service that has come up, and is gone.

        Args:
            service: The service, told to the supervisor when it came up.
            error: What is wrong with that, if it was still needed; and in it how it ended.
        """
        with self._lock:
            self.finished[service] = clock()
            self.values[service] = getattr(error, "result", None)
            self._frontier.leave(service)
            died = self._frontier.state_of(service) == FAILED
            if died:
                self.errors[service] = error
                self.failures[service] = self.failures.get(service, 0) + 1
            if self._listeners:
                self._tell_ended(service)
            self._tell_unstarted()
            if self._frontier.closing:
                self._heed_closing()
            elif died:
                # What needs it was handed out to run while it is up.
                self._recall()
            self._heed_services()
            if not self._frontier.unfinished:
                self._end()
            self.wants_worker = not self._idle
            self._changed.notify_all()
        self._deliver()
        self.on_change()

    def attempt(self, task: int) -> int:
        """Return the number of the attempt of `task` that runs or would be the next, from 1."""
        return self._earlier.get(task, 0) + self.failures.get(task, 0) + 1

    def step(self, hand: Hand, room: int) -> int | None:
        """Tell of what ended, and wait for what to run next.

        Args:
            hand: The caller's hand; gets what is to be attempted behind the first.
            room: How many attempts the caller would take.

        Returns:
            The task to attempt now; None when the run is over.
        """
        ended = hand.ended
        with self._lock:
            started = self._frontier.step(ended, room, self._share)
            if not started or self._frontier.ready or self._attentive:
                self._settle(ended, started, hand.number)
            ended.clear()
            if len(started) > 1:
                hand.waiting.extend(started[1:])
        if self._events:
            self._deliver()
        return started[0] if started else self._wait(hand.number)

    def _wait(self, worker: int) -> int | None:
        frontier = self._frontier
        started: list[int] = []
        with self._lock:
            while frontier.unfinished:
                started = self._take_from_others(worker)
                if not started:
                    started = self._advance(self._ended_unseen(), 1, worker)
                if started or not frontier.unfinished:
                    break
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
        if self._events:
            self._deliver()
        return started[0] if started else None

    def take_hand(self, hand: Hand) -> None:
        """Take over the hand of a worker that will not come again."""
        with self._lock:
            self._hands[hand.number - 1] = Hand(hand.number)
            self._advance(hand.ended, 0)
            if hand.waiting:
                self._frontier.take_back(hand.waiting)
                self._tell_unstarted()
                self._changed.notify()
        self._deliver()

    def take(self, ended: Collection[int], room: int, *, ahead: bool = False) -> list[int]:
        """Give back what ended, and take what may run next, without waiting.

        For executors with a loop of their own, which know when to ask: whenever an attempt ended.

        Args:
            ended: What has ended since the last call: the task where it succeeded, else what
                `failed` returned for it.
            room: How many attempts the caller can take.
            ahead: Whether they begin later; the caller says when by `tell_start`.

        Returns:
            Tasks to attempt now, RUNNING from here on.
        """
        with self._lock:
            started = self._advance(ended, room, None if ahead else 0)
        if self._events:
            self._deliver()
        return started

    def tell_start(self, task: int) -> None:
        """Tell that an attempt begins of a task that was taken ahead; once told, do nothing."""
        if task in self._untold:
            with self._lock:
                del self._untold[task]
                self._tell_started(task, self._now(), 0, self.attempt(task))
            self._deliver()

    def take_back(self, tasks: Sequence[int]) -> None:
        """Take back tasks of which no attempt has begun, and will not where they are."""
        with self._lock:
            for task in tasks:
                self._untold.pop(task, None)
            self._frontier.take_back(tasks)
            self._tell_unstarted()
            if not self._frontier.unfinished:
                self._end()
            else:
                self._changed.notify()

    @property
    def watched(self) -> bool:
        """Whether somebody is told of every start as it happens, so that none is to be early."""
        return bool(self._listeners)

    @property
    def ready(self) -> int:
        """How many tasks could run if there were room, the last time that somebody took some."""
        return self._frontier.ready

    @property
    def serving(self) -> bool:
        """Whether a service is up."""
        return any(self._frontier.state_of(task) == SERVING for task in self.plan.services)

    @property
    def stopped(self) -> bool:
        """Whether nothing starts any more."""
        return self._frontier.stopped

    @property
    def closing(self) -> bool:
        """Whether nothing starts any more but tasks that run always, or not even those."""
        return self._frontier.closing

    def stop(self) -> None:
        """Let nothing start any more; what runs may end in its own time.

        The events of this are delivered by the workers, so that the caller never waits for a
        listener: there is always a worker that has yet to step.
        """
        with self._lock:
            self._frontier.stop()
            self._recall()
            self._tell_unstarted()
            if not self._frontier.unfinished:
                self._end()
        self.on_change()

    def outcome(self, task: int) -> Outcome | None:
        """Return how `task` ended; None if it has not."""
        state = self._frontier.state_of(task)
        if state == SUCCEEDED:
            cached = task in self._done or task in self._found_done
            return Outcome.CACHED if cached else Outcome.SUCCEEDED
        if state == SKIPPED:
            return self._skipped_as(task)
        return _outcome_of(self.errors[task]) if state == FAILED else None

    def _skipped_as(self, task: int) -> Outcome:
        return Outcome.PARKED if self._frontier.is_parked(task) else Outcome.SKIPPED

    @property
    def spotless(self) -> bool:
        """Whether no attempt has failed, nothing is parked, and nothing was stopped."""
        return not self.errors and not self.parked and not self._frontier.closing

    def forgiven(self, task: int) -> bool:
        """Whether `task` has failed, and that counts as a success for the run."""
        return task in self.plan.forgiven and self._frontier.state_of(task) == FAILED

    def attempts(self, task: int) -> int:
        """Return how many attempts of `task` were begun."""
        begun = self._frontier.state_of(task) in (RUNNING, SERVING, SUCCEEDED)
        return self.failures.get(task, 0) + (begun and task not in self._done)

    def cause(self, task: int) -> int | None:
        """Return the task whose end is the reason that `task` was skipped, if one is."""
        return self._frontier.cause.get(task)

    def time_of(self, reading: float) -> float:
        """Return what a reading of `clock` is in seconds since the epoch."""
        return self._epoch + reading

    def _now(self) -> float:
        return self._epoch + clock()

    def _advance(self, ended: Collection[int], room: int, worker: int | None = 0) -> list[int]:
        started = self._frontier.step(ended, room)
        if not started or self._frontier.ready or self._attentive:
            self._settle(ended, started, worker)
        if self._undelayed:
            self._undelayed = False
            started += self._advance((), room - len(started), worker)
        return started

    def _settle(self, ended: Collection[int], started: Sequence[int], worker: int | None) -> None:
        """Do what follows from a step for all but the worker that made it."""
        frontier = self._frontier
        if frontier.to_wake:
            self._set_alarms()
        if self._listeners:
            self._tell(ended, started, worker)
        if self.plan.services:
            self._heed_services()
        if frontier.closing:
            self._heed_closing()
        if not started:
            if not frontier.unfinished:
                self._end()
        elif frontier.ready:
            self.wants_worker = not self._idle
            self._changed.notify()

    def _heed_services(self) -> None:
        """Tell of services that have come up since, and of those that nobody needs any more."""
        frontier, supervisor = self._frontier, self.supervisor
        assert supervisor is not None
        for service in self.plan.services - self._up:
            if frontier.state_of(service) == SERVING:
                self._up.add(service)
                supervisor.came_up(service)
        for service in frontier.unneeded:
            supervisor.end(service)
        frontier.unneeded.clear()

    def _heed_closing(self) -> None:
        """Call back what has not begun, and tell of what is under way if a failure closes the run.

        From then on nothing comes to be under way but what runs always.
        """
        if self._closed:
            return
        self._closed = True
        self._recall()
        if self.on_failure is not None and not self._frontier.stopped:
            self.on_failure([task for task in self.running() if task not in self.plan.always])

    def _set_alarms(self) -> None:
        """See to it that what was delayed is woken: at once, where nothing can wait for that."""
        from random import random

        to_wake = self._frontier.to_wake
        for task in to_wake:
            pause = self.plan.delays[task].pause(self.failures[task], random())
            if not self._alarms.set(pause, task):
                pause = 0.0
                self._undelayed = True
                self._frontier.wake(task)
                self._changed.notify()
            self._pauses[task] = pause
        to_wake.clear()

    def _wake(self, tasks: Sequence[int]) -> None:
        with self._lock:
            for task in tasks:
                self._frontier.wake(task)
            self.wants_worker = not self._idle
            self._changed.notify(len(tasks))
        self.on_change()

    def _take_from_others(self, worker: int) -> list[int]:
        """Return the next task of some worker that has begun another one; none: nothing."""
        for hand in self._hands:
            try:
                task = hand.waiting.popleft()
            except IndexError:
                continue
            if self._untold.pop(task, 0):
                self._tell_started(task, self._now(), worker, self.attempt(task))
            return [task]
        return []

    def _ended_unseen(self) -> list[int]:
        """Return what has ended and lies in hands."""
        unseen: list[int] = []
        for hand in self._hands:
            while hand.ended:
                # Only its worker adds to it, and who takes from it holds the lock.
                unseen.append(hand.ended.popleft())
        return unseen

    def _recall(self) -> None:
        """Take back what lies in hands; executors that took more than begins look at the number."""
        self.recalls += 1
        for hand in self._hands:
            with contextlib.suppress(IndexError):
                while True:
                    task = hand.waiting.popleft()
                    self._untold.pop(task, None)
                    self._frontier.take_back([task])
        self._tell_unstarted()
        if self._frontier.ready:
            self._changed.notify()
        if not self._frontier.unfinished:
            self._end()

    def _tell(self, ended: Collection[int], started: Sequence[int], worker: int | None) -> None:
        """Make events of a step; of what a worker takes at once, it begins the first one now."""
        for code in ended:
            task = code if code >= 0 else ~code
            if task in self._untold:
                time, number = self._epoch + self.started[task], self._untold.pop(task)
                self._tell_started(task, time, number, self.attempt(task) - (code < 0))
            self._tell_ended(task)
        self._tell_unstarted()
        now = self._now()
        if worker is None:
            self._untold.update(dict.fromkeys(started, 0))
        elif not worker:
            for task in started:
                self._tell_started(task, now, 0, self.attempt(task))
        elif started:
            self._tell_started(started[0], now, worker, self.attempt(started[0]))
            self._untold.update(dict.fromkeys(started[1:], worker))

    def _tell_started(self, task: int, time: float, worker: int, attempt: int) -> None:
        self._events.append(TaskStarted(time, self.plan.names[task], attempt, worker))

    def _tell_ended(self, task: int) -> None:
        if task in self._frontier.given_up:
            return
        outcome = self.outcome(task)
        if outcome is not None:
            self._events.append(self._ended(task, outcome))
            return
        if self._frontier.state_of(task) == SERVING:
            self._events.append(self._ready(task))
            return
        error = self.errors[task]
        self._events.append(
            TaskRetried(
                self._epoch + self.finished[task],
                self.plan.names[task],
                self.attempt(task) - 1,
                _outcome_of(error),
                self.finished[task] - self.started[task],
                _result_of(error),
                self._pauses.pop(task, 0.0),
            )
        )

    def _tell_unstarted(self) -> None:
        """Tell of the tasks that a stop or the failure of others has ended."""
        frontier = self._frontier
        if self._listeners:
            for task in frontier.given_up:
                self._events.append(self._ended(task, _outcome_of(self.errors[task])))
            for task in frontier.skipped:
                self._events.append(self._ended(task, self._skipped_as(task)))
        frontier.given_up.clear()
        frontier.skipped.clear()

    def _ready(self, service: int) -> ServiceReady:
        finished = self.finished[service]
        return ServiceReady(
            self._epoch + finished,
            self.plan.names[service],
            self.attempt(service),
            finished - self.started[service],
        )

    def _ended(self, task: int, outcome: Outcome) -> TaskEnded:
        plan, attempts = self.plan, self.attempts(task)
        cause = self.cause(task) if outcome is Outcome.SKIPPED else None
        error = None if outcome in GOOD else self.error(task, outcome)
        return TaskEnded(
            self._epoch + self.finished[task] if attempts else self._now(),
            plan.names[task],
            self._earlier.get(task, 0) + attempts if attempts else 0,
            outcome,
            self.finished[task] - self.started[task],
            plan.durations[task],
            self._value_of(task) if error is None else _result_of(error),
            None if cause is None else plan.names[cause],
            self.forgiven(task),
        )

    def error(self, task: int, outcome: Outcome | None) -> BaseException | None:
        """Return what is wrong with a task that has ended in this way; None if nothing is."""
        if outcome is Outcome.PARKED:
            return self.parked.get(task)
        return self.errors.get(task)

    def _value_of(self, task: int) -> Any:
        value = self.values[task]
        return None if value is LET_GO else value

    def wait_until_told(self) -> None:
        """Return when the listeners have been told of all that has happened until now.

        Whoever ends a run tells of it only afterwards, and need be no worker that one could wait
        for. Not for listeners, which would wait for themselves.
        """
        while self._events or self._delivering.locked():
            with self._delivering:
                self._deliver_batch()

    def abandon(self) -> None:
        """Let the run be over as it stands: nobody is left who would go on with it."""
        with contextlib.suppress(Exception):
            self.stop()
        self.over.set()

    def _end(self) -> None:
        if not self.over.is_set():
            self._events.append(RunEnded(self._now()))
            self._alarms.clear()
            self.over.set()
            self._changed.notify_all()

    def _deliver(self) -> None:
        if self.on_events is None:
            self.deliver()
        else:
            self.on_events()

    def deliver(self) -> None:
        """Tell the listeners what has happened, unless another thread is at it."""
        # Whoever comes while another delivers leaves its events to that one, which looks again
        # after it has let go: none is left behind, and none overtakes another.
        while self._events and self._delivering.acquire(blocking=False):
            try:
                self._deliver_batch()
            finally:
                self._delivering.release()

    def _deliver_batch(self) -> None:
        with self._lock:
            batch, self._events = self._events, []
        # Another may have delivered everything since we looked.
        for listener in self._listeners if batch else ():
            listener(batch)


def _nobody_waits() -> None:
    """Wake nobody: whoever has to know of a stop waits in the driver, or comes by itself."""


def _outcome_of(error: BaseException) -> Outcome:
    if isinstance(error, TimedOut):
        return Outcome.TIMED_OUT
    return Outcome.CANCELLED if isinstance(error, Cancelled) else Outcome.FAILED


def _status_of(error: BaseException) -> int | None:
    """Return the exit status that a shell would tell: 128 and its number where a signal ended it.

    So it does not matter whether there is a shell between us and a program.
    """
    result = getattr(error, "result", None)
    status = result.status if isinstance(result, CommandResult) else None
    return status if status is None or status >= 0 else 128 - status


def _result_of(error: BaseException) -> Any:
    """Return what events say of a failure: what is left of a command, or else the exception."""
    return getattr(error, "result", None) or error
