"""The driver: what it tells, in which order, and that nobody waits for somebody slow."""

import random
import threading
import time
from collections.abc import Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any

import pytest

from parallel_workers.driver import Driver, clock
from parallel_workers.errors import Cancelled, CommandFailed, TimedOut
from parallel_workers.events import (
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
from parallel_workers.executors.pulling import pull
from parallel_workers.frontier import Frontier
from parallel_workers.graph import WorkGraph
from parallel_workers.plan import Plan
from tests.support.program import until


def graph_of(**after: list[str]) -> WorkGraph:
    graph = WorkGraph()
    for name, others in after.items():
        graph.add(name, after=others)
    return graph


class Told:
    """A listener that keeps what it is told, each event as a few words."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.batches: list[list[Event]] = []

    def __call__(self, events: Sequence[Event]) -> None:
        self.batches.append(list(events))
        self.events += events

    @property
    def words(self) -> list[str]:
        return [_words(event) for event in self.events]


def _words(event: Event) -> str:
    if isinstance(event, RunStarted):
        return "run starts"
    if isinstance(event, RunEnded):
        return "run ends"
    if isinstance(event, TaskStarted):
        return f"{event.task} starts {event.attempt}"
    if isinstance(event, TaskRetried):
        return f"{event.task} retried {event.attempt} {event.outcome}"
    if isinstance(event, ServiceReady):
        return f"{event.task} is up {event.attempt}"
    cause = "" if event.cause is None else f" because of {event.cause}"
    return f"{event.task} {event.outcome}{cause}"


def driver_of(
    graph: WorkGraph, *listeners: Listener, keep_going: bool = False
) -> tuple[Driver, Plan]:
    plan = Plan(graph)
    return Driver(
        plan, Frontier.of(plan, most_failures=None if keep_going else 1), 2, listeners
    ), plan


ERRORS: dict[Outcome, Exception] = {
    Outcome.FAILED: ValueError("no"),
    Outcome.TIMED_OUT: TimedOut("late", "result"),
    Outcome.CANCELLED: Cancelled("ended"),
}


def ended(driver: Driver, task: int, outcome: Outcome = Outcome.SUCCEEDED) -> int:
    """Note that a task has been attempted."""
    driver.started[task] = clock()
    driver.finished[task] = clock()
    if outcome in ERRORS:
        return driver.failed(task, ERRORS[outcome])
    driver.values[task] = "result"
    return task


def next_of(driver: Driver, *ended: int) -> list[int]:
    """Step as a worker that takes one task."""
    hand = driver.new_hand()
    hand.ended.extend(ended)
    task = driver.step(hand, 1)
    return [] if task is None else [task]


def attempt(driver: Driver, tasks: list[int], outcome: Outcome = Outcome.SUCCEEDED) -> list[int]:
    """Do the tasks handed out, all with the same outcome, and fetch one more."""
    return next_of(driver, *[ended(driver, task, outcome) for task in tasks])


def test_a_run_of_nothing_begins_and_ends() -> None:
    told = Told()
    driver, _ = driver_of(WorkGraph(), told)
    driver.begin("r")
    assert told.words == ["run starts", "run ends"]
    assert next_of(driver) == []


def test_everything_is_told_in_the_order_in_which_it_happened() -> None:
    told = Told()
    driver, _ = driver_of(graph_of(a=[], b=["a"]), told)
    driver.begin("r")
    tasks = next_of(driver)
    while tasks:
        tasks = attempt(driver, tasks)
    steps = ["a starts 1", "a succeeded", "b starts 1", "b succeeded"]
    assert told.words == ["run starts", *steps, "run ends"]


def test_the_beginning_tells_of_the_whole_run() -> None:
    told = Told()
    graph = graph_of(a=[], b=["a"])
    graph.add("c", duration=40)
    driver, _ = driver_of(graph, told)
    driver.begin("r")
    [start] = told.events
    assert isinstance(start, RunStarted)
    assert (start.run, start.tasks, start.work, start.jobs) == ("r", 3, 42.0, 2)


def test_an_end_tells_attempt_result_and_times() -> None:
    told = Told()
    graph = WorkGraph()
    graph.add("a", retries=1, duration=7)
    driver, _ = driver_of(graph, told)
    driver.begin("r")
    tasks = attempt(driver, next_of(driver), Outcome.TIMED_OUT)
    attempt(driver, tasks)
    retried = next(event for event in told.events if isinstance(event, TaskRetried))
    assert (retried.attempt, retried.outcome, retried.result) == (1, Outcome.TIMED_OUT, "result")
    end = next(event for event in told.events if isinstance(event, TaskEnded))
    assert (end.attempt, end.work, end.result) == (2, 7.0, "result")
    assert 0 <= end.seconds < 60
    times = [event.time for event in told.events]
    assert times == sorted(times)


def test_a_failure_tells_what_is_skipped_because_of_it() -> None:
    told = Told()
    driver, _ = driver_of(graph_of(a=[], b=["a"], c=["b"]), told)
    driver.begin("r")
    assert attempt(driver, next_of(driver), Outcome.FAILED) == []
    ends = ["a failed", "b skipped because of a", "c skipped because of a"]
    assert told.words == ["run starts", "a starts 1", *ends, "run ends"]


def test_a_stop_from_outside_has_no_cause() -> None:
    told = Told()
    driver, _ = driver_of(graph_of(a=[], b=["a"]), told)
    driver.begin("r")
    tasks = next_of(driver)
    driver.stop()
    assert attempt(driver, tasks, Outcome.CANCELLED) == []
    words = ["run starts", "a starts 1", "b skipped", "a cancelled", "run ends"]
    assert told.words == words


def test_a_stop_is_told_by_the_workers_so_that_who_stops_never_waits() -> None:
    told = Told()
    driver, _ = driver_of(graph_of(a=[], b=["a"]), told)
    driver.begin("r")
    tasks = next_of(driver)
    before = told.words
    driver.stop()
    assert told.words == before
    attempt(driver, tasks)
    assert told.words[-1] == "run ends"


def test_a_stop_gives_up_what_was_to_be_tried_again() -> None:
    told = Told()
    graph = WorkGraph()
    graph.add("flaky", retries=5)
    graph.add("head")
    graph.add("long", after=["head"], duration=9)
    driver, plan = driver_of(graph, told)
    driver.begin("r")
    head, flaky = driver.take([], 2)
    assert (plan.names[head], plan.names[flaky]) == ("head", "flaky")
    failed = ended(driver, flaky, Outcome.FAILED)
    [long] = next_of(driver, ended(driver, head), failed)
    driver.stop()
    assert attempt(driver, [long]) == []
    assert "flaky retried 1 failed" in told.words
    assert told.words[-3:] == ["flaky failed", "long succeeded", "run ends"]


class Supervisor:
    """Notes what it is told of services; their ends are for the test to tell."""

    def __init__(self, plan: Plan) -> None:
        self._names = plan.names
        self.told: list[str] = []

    def came_up(self, service: int) -> None:
        self.told.append(f"{self._names[service]} came up")

    def end(self, service: int) -> None:
        self.told.append(f"end {self._names[service]}")


def add_service(graph: WorkGraph, name: str, **fields: Any) -> None:
    graph.add(name, command="serve", service={"log": "up"}, **fields)


def supervised(
    graph: WorkGraph, *listeners: Listener, keep_going: bool = False
) -> tuple[Driver, dict[str, int], Supervisor]:
    """Return a driver that has begun, the numbers of its tasks, and what supervises services."""
    driver, plan = driver_of(graph, *listeners, keep_going=keep_going)
    driver.supervisor = supervisor = Supervisor(plan)
    driver.begin("r")
    return driver, plan.by_name, supervisor


GONE = CommandFailed("serve: exit status 0", CommandResult("serve", 0, "log", 0))


def test_a_service_is_told_to_end_after_its_last_user_and_has_ended_when_it_is_gone() -> None:
    told, graph = Told(), WorkGraph()
    add_service(graph, "db")
    graph.add("a", after=["db"])
    graph.add("b", after=["db", "a"])
    driver, numbers, supervisor = supervised(graph, told)
    tasks = attempt(driver, next_of(driver))
    assert supervisor.told == ["db came up"]
    tasks = attempt(driver, tasks)
    assert supervisor.told == ["db came up"]
    assert driver.take([ended(driver, task) for task in tasks], 2) == []
    assert supervisor.told == ["db came up", "end db"]
    assert not driver.over.is_set()
    driver.left(numbers["db"], GONE)
    assert driver.over.is_set()
    assert told.words == [
        "run starts",
        *("db starts 1", "db is up 1"),
        *("a starts 1", "a succeeded", "b starts 1", "b succeeded"),
        *("db succeeded", "run ends"),
    ]


def test_services_that_need_each_other_end_one_after_the_other() -> None:
    told, graph = Told(), WorkGraph()
    add_service(graph, "db")
    add_service(graph, "web", after=["db"])
    graph.add("use", after=["web"])
    driver, numbers, supervisor = supervised(graph, told)
    use = attempt(driver, attempt(driver, next_of(driver)))
    driver.take([ended(driver, task) for task in use], 2)
    assert supervisor.told == ["db came up", "web came up", "end web"]
    driver.left(numbers["web"], GONE)
    assert supervisor.told[-1] == "end db"
    driver.left(numbers["db"], GONE)
    assert told.words[-3:] == ["web succeeded", "db succeeded", "run ends"]


def test_a_service_that_leaves_early_has_failed_and_tells_what_is_skipped_because_of_it() -> None:
    told, graph = Told(), WorkGraph()
    add_service(graph, "db")
    graph.add("a", after=["db"])
    graph.add("b", after=["db", "a"])
    driver, numbers, supervisor = supervised(graph, told, keep_going=True)
    tasks = attempt(driver, next_of(driver))
    driver.left(numbers["db"], GONE)
    assert told.words[-1] == "db failed"
    assert attempt(driver, tasks) == []
    assert told.words[-3:] == ["a succeeded", "b skipped because of db", "run ends"]
    assert supervisor.told == ["db came up"]
    assert driver.errors == {numbers["db"]: GONE}
    assert driver.attempts(numbers["db"]) == 1


def test_what_waits_in_a_hand_does_not_begin_when_a_service_that_it_needs_has_died() -> None:
    told, graph = Told(), WorkGraph()
    add_service(graph, "db")
    for number in range(9):
        graph.add(f"use {number}", after=["db"])
    driver, numbers, _ = supervised(graph, told, keep_going=True)
    hand = driver.new_hand()
    hand.ended.append(ended(driver, *next_of(driver)))
    assert driver.step(hand, 9) == numbers["use 0"]
    assert hand.waiting
    driver.left(numbers["db"], GONE)
    assert not hand.waiting
    assert attempt(driver, [numbers["use 0"]]) == []
    assert told.words.count("use 1 skipped because of db") == 1
    assert "use 1 starts 1" not in told.words


def test_a_service_is_told_to_end_while_it_comes_up_for_nobody_any_more() -> None:
    told, graph = Told(), WorkGraph()
    add_service(graph, "db")
    graph.add("bad")
    graph.add("use", after=["db", "bad"])
    driver, numbers, supervisor = supervised(graph, told)
    assert len(next_of(driver) + next_of(driver)) == 2
    driver.take([ended(driver, numbers["bad"], Outcome.FAILED)], 2)
    assert supervisor.told == ["end db"]
    driver.take([ended(driver, numbers["db"])], 2)
    assert supervisor.told == ["end db", "db came up", "end db"]
    driver.left(numbers["db"], GONE)
    words = ["bad failed", "use skipped because of bad", "db is up 1", "db succeeded", "run ends"]
    assert told.words[-5:] == words


def test_waiting_workers_are_let_go_when_the_last_service_is_gone() -> None:
    graph = WorkGraph()
    add_service(graph, "db")
    graph.add("use", after=["db"])
    driver, numbers, supervisor = supervised(graph)
    tasks = attempt(driver, next_of(driver))
    got: list[list[int]] = []
    waiters = [
        threading.Thread(target=lambda: got.append(next_of(driver))),
        threading.Thread(target=lambda: got.append(attempt(driver, tasks))),
    ]
    for waiter in waiters:
        waiter.start()
    until(lambda: "end db" in supervisor.told)
    driver.left(numbers["db"], GONE)
    for waiter in waiters:
        waiter.join(20)
    assert got == [[], []]


def test_a_waiting_worker_is_woken_for_what_a_service_that_dies_lets_start() -> None:
    """The user of the service is to be tried again in a year; without it, never."""
    told, graph = Told(), WorkGraph()
    add_service(graph, "db")
    graph.add("use", after=["db"], retries={"times": 1, "delay": "365d"})
    graph.add("clean", after=["use"], always=True)
    driver, numbers, _ = supervised(graph, told)
    use = attempt(driver, next_of(driver))
    got: list[list[int]] = []
    waiter = threading.Thread(target=lambda: got.append(attempt(driver, use, Outcome.FAILED)))
    waiter.start()
    until(lambda: "use retried 1 failed" in told.words)
    driver.left(numbers["db"], GONE)
    waiter.join(20)
    assert got == [[numbers["clean"]]]
    assert told.words[-3:] == ["db failed", "use failed", "clean starts 1"]


def test_a_task_that_was_found_done_is_told_as_cached_and_frees_what_is_behind_it() -> None:
    told = Told()
    driver, _ = driver_of(graph_of(a=[], b=["a"]), told)
    driver.begin("r")
    [a] = next_of(driver)
    driver.found_done(a)
    driver.started[a] = driver.finished[a] = clock()
    [b] = next_of(driver, a)
    assert attempt(driver, [b]) == []
    steps = ["a starts 1", "a cached", "b starts 1", "b succeeded"]
    assert told.words == ["run starts", *steps, "run ends"]
    end = next(event for event in told.events if isinstance(event, TaskEnded))
    assert (end.attempt, end.result) == (1, None)
    assert driver.spotless


def test_a_parked_task_is_told_so_and_what_is_behind_it_is_skipped_because_of_it() -> None:
    told = Told()
    plan = Plan(graph_of(a=[], asked=["a"], behind=["asked"]))
    frontier = Frontier.of(plan, parked=[plan.by_name["asked"]])
    driver = Driver(plan, frontier, 2, [told])
    driver.begin("r")
    assert attempt(driver, next_of(driver)) == []
    assert told.words[-4:] == [
        "a succeeded",
        "asked parked",
        "behind skipped because of asked",
        "run ends",
    ]


def test_listeners_are_told_one_after_the_other() -> None:
    order: list[str] = []
    driver, _ = driver_of(
        graph_of(a=[]), lambda events: order.append("first"), lambda events: order.append("second")
    )
    driver.begin("r")
    attempt(driver, next_of(driver))
    assert order == ["first", "second"] * (len(order) // 2)
    assert len(order) >= 4


def test_outcomes_and_results_are_kept_by_task() -> None:
    driver, plan = driver_of(graph_of(a=[], b=["a"], c=[]), keep_going=True)
    driver.begin("r")
    tasks = next_of(driver)
    while tasks:
        bad = plan.names[tasks[0]] == "a"
        tasks = attempt(driver, tasks, Outcome.FAILED if bad else Outcome.SUCCEEDED)
    facts = {
        name: (driver.outcome(task), driver.attempts(task), driver.values[task])
        for task, name in enumerate(plan.names)
    }
    assert facts == {
        "a": (Outcome.FAILED, 1, None),
        "b": (Outcome.SKIPPED, 0, None),
        "c": (Outcome.SUCCEEDED, 1, "result"),
    }


def test_a_waiting_worker_is_woken_when_there_is_work_for_it() -> None:
    driver, plan = driver_of(graph_of(a=[], b=["a"], c=["a"]))
    driver.begin("r")
    [first] = next_of(driver)
    got: list[list[int]] = []
    waiter = threading.Thread(target=lambda: got.append(next_of(driver)))
    waiter.start()
    [mine] = next_of(driver, ended(driver, first))
    waiter.join(20)
    [[theirs]] = got
    assert sorted(plan.names[task] for task in (mine, theirs)) == ["b", "c"]


def test_waiting_workers_are_let_go_at_the_end() -> None:
    driver, _ = driver_of(graph_of(a=[]))
    driver.begin("r")
    [task] = next_of(driver)
    got: list[list[int]] = []
    waiters = [threading.Thread(target=lambda: got.append(next_of(driver))) for _ in range(2)]
    for waiter in waiters:
        waiter.start()
    assert next_of(driver, ended(driver, task)) == []
    for waiter in waiters:
        waiter.join(20)
    assert got == [[], []]


def test_a_slow_listener_holds_up_who_tells_it_and_nobody_else() -> None:
    """What the others have to tell meanwhile comes in one batch, after the slow one's."""
    listening, go_on = threading.Event(), threading.Event()
    told = Told()

    def slow(events: Sequence[Event]) -> None:
        if any(isinstance(event, TaskEnded) and event.task == "a" for event in events):
            listening.set()
            assert go_on.wait(20)

    driver, plan = driver_of(graph_of(a=[], b=[], c=["b"], d=["c"]), slow, told)
    driver.begin("r")
    numbers = {plan.names[task]: task for task in range(plan.tasks)}
    assert len(next_of(driver) + next_of(driver)) == 2
    teller = threading.Thread(target=attempt, args=(driver, [numbers["a"]]))
    teller.start()
    assert listening.wait(20)
    tasks = [numbers["b"]]
    while tasks:
        tasks = attempt(driver, tasks)
    assert "d succeeded" not in told.words
    go_on.set()
    teller.join(20)
    assert told.words[-5:] == [
        "c starts 1",
        "c succeeded",
        "d starts 1",
        "d succeeded",
        "run ends",
    ]


def closed_with(driver: Driver, *ends: int) -> list[list[int]]:
    """Tell of ends, and return what is told of the failure that lets nothing new start."""
    told: list[list[int]] = []
    driver.on_failure = told.append
    driver.take(ends, 0)
    driver.take((), 3)
    return told


def cleaning() -> tuple[Driver, dict[str, int], list[int]]:
    """A run of which all but `later` is under way, and `clean` runs always."""
    graph = graph_of(bad=[], other=[])
    graph.add("clean", always=True)
    graph.add("later", after=["other"])
    driver, plan = driver_of(graph)
    driver.begin("r")
    return driver, plan.by_name, driver.take((), 3)


def test_a_failure_that_closes_the_run_tells_what_is_under_way_and_not_to_run_always() -> None:
    driver, tasks, started = cleaning()
    assert len(started) == 3
    bad = ended(driver, tasks["bad"], Outcome.FAILED)
    assert closed_with(driver, bad) == [[tasks["other"]]]


def test_a_failure_after_a_stop_tells_nothing() -> None:
    driver, tasks, _ = cleaning()
    driver.stop()
    assert closed_with(driver, ended(driver, tasks["bad"], Outcome.FAILED)) == []


@pytest.mark.parametrize("workers", [2, 5])
def test_many_workers_tell_everything_once_and_in_order(workers: int) -> None:
    told = Told()
    graph = graph_of(**{f"t{n}": [f"t{n - 7}"] if n >= 7 else [] for n in range(400)})
    driver, _ = driver_of(graph, told)
    driver.begin("r")

    def work() -> None:
        tasks = next_of(driver)
        while tasks:
            tasks = attempt(driver, tasks)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(told.words) == len(set(told.words)) == 2 + 2 * 400
    place = {words: index for index, words in enumerate(told.words)}
    assert (place["run starts"], place["run ends"]) == (0, 801)
    for number in range(400):
        assert place[f"t{number} starts 1"] < place[f"t{number} succeeded"]
        if number >= 7:
            assert place[f"t{number - 7} succeeded"] < place[f"t{number} starts 1"]


class Rush:
    """A random graph of services and users, whose services come, go and die at random.

    Their ends are told by threads of their own, as they come: after a while, at once when they are
    up, or just when the driver says that nobody needs them any more.

    Args:
        chance: The source of all randomness.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._graph = graph = WorkGraph()
        nearness = chance.choice([3, 12, 60])
        for number in range(60):
            near = range(max(0, number - nearness), number)
            after = [f"t{other}" for other in chance.sample(near, min(len(near), 3))]
            retries = {"times": chance.randrange(3), "delay": chance.choice([0, 0.004])}
            if chance.random() < 0.4:
                add_service(graph, f"t{number}", after=after, retries=retries)
            else:
                always = chance.random() < 0.2
                graph.add(f"t{number}", after=after, retries=retries, always=always)
        self._mortality = chance.choice([0.0, 0.05, 0.2])
        self._up: set[int] = set()
        self._gone: set[int] = set()
        self._to_end: set[int] = set()
        self._lock = threading.Lock()
        self._ends: SimpleQueue[tuple[int, float] | None] = SimpleQueue()
        self.told = Told()

    def run(self) -> None:
        """Run it with some workers; stop it, perhaps, somewhere."""
        chance, plan = self._chance, Plan(self._graph)
        frontier = Frontier.of(plan, most_failures=None, done=(done := plan.not_needed(())))
        self.driver = driver = Driver(plan, frontier, 3, [self.told], done)
        driver.supervisor = self
        driver.begin("r")
        # Few fail for good.
        failures = [
            chance.randint(0, plan.retries.get(task, 0)) + (chance.random() < 0.02)
            for task in range(plan.tasks)
        ]
        bodies = [partial(self._attempt, task, failures) for task in range(plan.tasks)]
        threads = [threading.Thread(target=pull, args=(driver, bodies)) for _ in range(3)]
        threads += [threading.Thread(target=self._tell_ends) for _ in range(2)]
        for thread in threads:
            thread.start()
        if chance.random() < 0.3 and not driver.over.wait(chance.uniform(0, 0.01)):
            driver.stop()
            self._end_all()
        assert driver.over.wait(20)
        driver.wait_until_told()
        for _ in range(2):
            self._ends.put(None)
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()

    def _attempt(self, task: int, failures: list[int]) -> None:
        time.sleep(self._chance.choice([0.0, 0.0, 0.0005]))
        failures[task] -= 1
        if failures[task] >= 0:
            raise ValueError("as it should")

    def came_up(self, service: int) -> None:
        with self._lock:
            self._up.add(service)
            dies = self._chance.random() < self._mortality
            if dies or self.driver.stopped or service in self._to_end:
                self._ends.put((service, self._chance.choice([0.0, 0.001])))

    def end(self, service: int) -> None:
        with self._lock:
            self._to_end.add(service)
            if service in self._up:
                self._ends.put((service, self._chance.choice([0.0, 0.001])))

    def _end_all(self) -> None:
        with self._lock:
            for service in self._up:
                self._ends.put((service, 0.0))

    def _tell_ends(self) -> None:
        while (end := self._ends.get()) is not None:
            service, after = end
            time.sleep(after)
            with self._lock:
                if service in self._gone:
                    continue
                self._gone.add(service)
            self.driver.left(service, GONE)

    def check(self) -> None:
        """Check that all was told once, and nothing began without what it needs."""
        driver, plan = self.driver, self.driver.plan
        ends = [event.task for event in self.told.events if isinstance(event, TaskEnded)]
        assert sorted(ends) == sorted(plan.names)
        assert self.told.words[-1] == "run ends"
        place = {words: index for index, words in enumerate(self.told.words)}
        for task, name in enumerate(plan.names):
            assert driver.outcome(task) is not None
            for user in [plan.names[user] for user in plan.users(task)]:
                if (began := place.get(f"{user} starts 1")) is None:
                    continue
                if task in plan.services and f"{name} succeeded" in place:
                    ended = max(place.get(f"{user} {how}", -1) for how in ("succeeded", "failed"))
                    assert min(place[w] for w in place if w.startswith(f"{name} is up")) < began
                    assert ended < place[f"{name} succeeded"]


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 40))]
)
def test_services_that_come_go_and_die_leave_nothing_waiting(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(20):
        rush = Rush(chance)
        rush.run()
        rush.check()
