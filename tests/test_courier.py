"""Telling in a thread of its own: nobody waits for who is told, and all is told in the end."""

import threading
from collections.abc import Sequence

import pytest

from parallel_workers.bodies import function_bodies
from parallel_workers.courier import Courier
from parallel_workers.driver import Driver
from parallel_workers.events import Event, RunEnded, RunStarted, TaskEnded, TaskStarted
from parallel_workers.executors.threads import ThreadsExecutor
from parallel_workers.frontier import Frontier
from parallel_workers.graph import WorkGraph
from parallel_workers.plan import Plan
from tests.support.program import until
from tests.support.threads import allow_threads


class Listener:
    """Notes what it is told, by whom, and takes its time where it is to.

    Attributes:
        batches: What it was told.
        tellers: The threads that told it.
    """

    def __init__(self) -> None:
        self.batches: list[Sequence[Event]] = []
        self.tellers: set[threading.Thread] = set()
        self.goes_on = threading.Event()
        self.goes_on.set()

    def __call__(self, events: Sequence[Event]) -> None:
        self.tellers.add(threading.current_thread())
        self.goes_on.wait(60)
        self.batches.append(list(events))

    @property
    def events(self) -> list[Event]:
        return [event for batch in self.batches for event in batch]


def begun(tasks: int, listener: Listener) -> tuple[Driver, list[int]]:
    """Begin a run of so many tasks; return its driver, and a list that gets what has run."""
    graph, ran = WorkGraph(), list[int]()
    for number in range(tasks):
        graph.add(f"t{number}", ran.append, number)
    plan = Plan(graph)
    driver = Driver(plan, Frontier.of(plan), jobs=2, listeners=[listener])
    driver.begin("run")
    return driver, ran


def execute(driver: Driver) -> None:
    ThreadsExecutor().start(driver, function_bodies(driver.plan, driver.values)).join()


def told_whole(listener: Listener) -> bool:
    return any(isinstance(event, RunEnded) for event in listener.events)


def test_workers_do_not_wait_for_who_is_told() -> None:
    listener = Listener()
    driver, ran = begun(200, listener)
    listener.goes_on.clear()
    Courier(driver).start()
    execute(driver)
    assert sorted(ran) == list(range(200))
    assert not told_whole(listener)
    listener.goes_on.set()
    until(lambda: told_whole(listener))


def test_all_is_told_in_order_by_one_thread_and_it_ends() -> None:
    listener = Listener()
    driver, _ = begun(50, listener)
    listener.tellers.clear()
    Courier(driver).start()
    execute(driver)
    until(lambda: told_whole(listener))
    first, *events, last = listener.events
    assert (type(first), type(last)) == (RunStarted, RunEnded)
    for number in range(50):
        mine = [type(event) for event in events if event.task == f"t{number}"]
        assert mine == [TaskStarted, TaskEnded]
    [teller] = listener.tellers
    teller.join(20)
    assert not teller.is_alive()


def test_what_happens_while_somebody_is_told_is_told_at_once() -> None:
    listener = Listener()
    driver, _ = begun(100, listener)
    listener.goes_on.clear()
    Courier(driver).start()
    execute(driver)
    listener.goes_on.set()
    until(lambda: told_whole(listener))
    assert len(listener.batches) <= 3


def test_a_run_that_was_over_before_is_no_reason_to_wait() -> None:
    listener = Listener()
    driver, _ = begun(0, listener)
    assert told_whole(listener)
    Courier(driver).start()
    until(lambda: not any(thread.name == "courier" for thread in threading.enumerate()))


def test_where_the_system_allows_no_thread_workers_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = Listener()
    driver, ran = begun(5, listener)
    listener.tellers.clear()
    with monkeypatch.context() as patch:
        allow_threads(patch, 0)
        Courier(driver).start()
    execute(driver)
    assert len(ran) == 5
    assert told_whole(listener)
    assert all(teller.name.startswith("worker") for teller in listener.tellers)
