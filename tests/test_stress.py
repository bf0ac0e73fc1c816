"""Many tasks in more threads than cores, again and again: nothing is lost, nothing hangs.

That nothing hangs is seen by the limit that pytest has for a test.
"""

import random
import threading
import time
from typing import NamedTuple

import pytest

from parallel_workers.events import Event, Outcome, TaskEnded, TaskStarted
from parallel_workers.graph import WorkGraph

TASKS = 2000
THREADS = 16
RUNS = 10
"""How many runs a test makes; half as many where failures are what it is about."""

seeds = pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 20))]
)


class Attempt(NamedTuple):
    start: float
    finish: float


class Work:
    """A random graph, and what its tasks did.

    Half of the tasks take no time to speak of, so that workers take several at once, the others up
    to a millisecond.

    Args:
        chance: The source of all randomness.
        flawed: How many of the tasks fail at first, as a fraction.
        retries: How often each is tried again.
    """

    def __init__(self, chance: random.Random, flawed: float = 0.0, retries: int = 0) -> None:
        self.graph = WorkGraph()
        self.before: list[list[int]] = []
        self.failures: list[int] = []
        self.attempts: list[list[Attempt]] = [[] for _ in range(TASKS)]
        nearness = chance.choice([2, 20, 200])  # from nearly a chain to nearly no edges
        self.retries = retries
        for number in range(TASKS):
            near = range(max(0, number - nearness), number)
            self.before.append(chance.sample(near, min(len(near), chance.randrange(4))))
            self.failures.append(chance.randint(1, 3) if chance.random() < flawed else 0)
            seconds = max(0.0, chance.uniform(-0.001, 0.001))
            after = [f"t{other}" for other in self.before[number]]
            self.graph.add(
                f"t{number}", self._attempt, number, seconds, after=after, retries=retries
            )

    def _attempt(self, number: int, seconds: float) -> int:
        start = time.monotonic()
        if seconds:
            time.sleep(seconds)
        attempts = self.attempts[number]
        attempts.append(Attempt(start, time.monotonic()))
        if len(attempts) <= self.failures[number]:
            raise ValueError("as it should")
        return number

    def outcomes(self) -> list[Outcome]:
        """Return how each task should end if no failure stops the others."""
        ends: list[Outcome] = []
        for before, failures in zip(self.before, self.failures, strict=True):
            if any(ends[other] is not Outcome.SUCCEEDED for other in before):
                ends.append(Outcome.SKIPPED)
            else:
                ends.append(Outcome.FAILED if failures > self.retries else Outcome.SUCCEEDED)
        return ends

    def check_order(self) -> None:
        for attempts, before in zip(self.attempts, self.before, strict=True):
            for attempt in attempts:
                for other in before:
                    assert self.attempts[other][-1].finish <= attempt.start

    def check_width(self) -> None:
        """Check that no more were under way at once than there are threads."""
        all_attempts = [attempt for attempts in self.attempts for attempt in attempts]
        changes = sorted(
            [(a.finish, -1) for a in all_attempts] + [(a.start, 1) for a in all_attempts]
        )
        running = 0
        for _, change in changes:
            running += change
            assert running <= THREADS


@seeds
def test_every_task_runs_once_and_in_order(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(RUNS):
        work = Work(chance)
        run = work.graph.run(jobs=THREADS)
        assert [len(attempts) for attempts in work.attempts] == [1] * TASKS
        assert [run[f"t{number}"] for number in range(TASKS)] == list(range(TASKS))
        work.check_order()
        work.check_width()


@seeds
def test_failures_and_retries_lose_nothing_and_all_is_told_once(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(RUNS // 2):
        work = Work(chance, flawed=0.02, retries=2)
        events: list[Event] = []
        run = work.graph.run(jobs=THREADS, check=False, keep_going=True, listen=events.extend)
        ends = work.outcomes()
        assert [task.outcome for task in run.tasks.values()] == ends
        for end, failures, attempts in zip(ends, work.failures, work.attempts, strict=True):
            assert len(attempts) == (
                0 if end is Outcome.SKIPPED else min(failures, work.retries) + 1
            )
        ended = [event.task for event in events if isinstance(event, TaskEnded)]
        assert sorted(ended) == sorted(work.graph.numbers)
        started = sum(isinstance(event, TaskStarted) for event in events)
        assert started == sum(map(len, work.attempts))
        work.check_order()
        work.check_width()


@seeds
def test_a_failure_stops_all_threads_and_they_end(seed: int) -> None:
    chance = random.Random(seed)
    # Other tests may have left some to a function that takes too long.
    others = set(threading.enumerate())
    for _ in range(RUNS // 2):
        work = Work(chance)
        work.failures[chance.randrange(TASKS)] = 1
        run = work.graph.run(jobs=THREADS, check=False)
        assert run.outcomes[Outcome.FAILED] == 1
        for attempts, task in zip(work.attempts, run.tasks.values(), strict=True):
            assert len(attempts) == task.attempts == (task.outcome is not Outcome.SKIPPED)
        work.check_order()
        mine = set(threading.enumerate()) - others
        assert not [thread for thread in mine if thread.name.startswith("worker")]
