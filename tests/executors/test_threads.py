"""Threads as workers: how many there are, what they outlive, and what if no more can come."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from parallel_workers.bodies import Body
from parallel_workers.driver import Driver
from parallel_workers.errors import UsageError
from parallel_workers.events import Event, Outcome, RunEnded, TaskEnded, TaskStarted
from parallel_workers.executors.threads import ThreadsExecutor
from parallel_workers.frontier import Frontier
from parallel_workers.graph import WorkGraph
from parallel_workers.plan import Plan
from tests.support.threads import allow_threads


def workers() -> set[threading.Thread]:
    """Return the workers that there are; other tests may have left some to slow functions."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("worker")}


def chain(length: int) -> WorkGraph:
    graph = WorkGraph()
    for number in range(length):
        graph.add(f"t{number}", after=[f"t{number - 1}"] if number else [])
    return graph


def wide(width: int) -> WorkGraph:
    graph = WorkGraph()
    for number in range(width):
        graph.add(f"t{number}")
    return graph


def run(
    graph: WorkGraph, body: Callable[[str, int], Any], jobs: int, *, keep_going: bool = False
) -> list[TaskEnded]:
    """Run a graph to its end; `body` is given the task and the number of the attempt."""
    plan = Plan(graph)
    events: list[Event] = []
    driver = Driver(
        plan, Frontier.of(plan, most_failures=None if keep_going else 1), jobs, [events.extend]
    )

    def body_of(task: int) -> Body:
        return lambda: body(plan.names[task], driver.attempt(task))

    others = workers()
    driver.begin("r")
    ThreadsExecutor().start(driver, [body_of(task) for task in range(plan.tasks)]).join()
    assert isinstance(events[-1], RunEnded)
    assert workers() <= others
    return [event for event in events if isinstance(event, TaskEnded)]


def test_a_run_of_nothing_ends() -> None:
    assert run(WorkGraph(), lambda name, attempt: None, 4) == []


def test_what_a_body_gives_is_what_its_end_tells() -> None:
    ends = run(chain(3), lambda name, attempt: (name, attempt), 2)
    assert [(end.task, end.result) for end in ends] == [(f"t{n}", (f"t{n}", 1)) for n in range(3)]


def test_there_are_no_more_threads_than_work_for_them() -> None:
    used: set[str] = set()
    run(chain(50), lambda name, attempt: used.add(threading.current_thread().name), 8)
    assert used == {"worker 1"}


@pytest.mark.parametrize(("jobs", "threads"), [(1, 1), (3, 3), (0, 6), (99, 6)])
def test_as_many_threads_as_are_allowed_and_needed_work_at_once(jobs: int, threads: int) -> None:
    meeting = threading.Barrier(threads)
    used: set[str] = set()

    def body(name: str, attempt: int) -> None:
        used.add(threading.current_thread().name)
        meeting.wait(20)

    ends = run(wide(6), body, jobs)
    assert {end.outcome for end in ends} == {Outcome.SUCCEEDED}
    assert len(used) == threads


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_a_worker_outlives_whatever_a_body_raises(error: BaseException) -> None:
    def body(name: str, attempt: int) -> str:
        if name == "t1":
            raise error
        return name

    ends = {end.task: end for end in run(wide(4), body, 1, keep_going=True)}
    assert ends["t1"].outcome is Outcome.FAILED
    assert ends["t1"].result is error
    assert [ends[name].result for name in ("t0", "t2", "t3")] == ["t0", "t2", "t3"]


def test_where_no_more_threads_can_start_those_that_there_are_do_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    allow_threads(monkeypatch, 2)
    used: set[str] = set()
    ends = run(wide(30), lambda name, attempt: used.add(threading.current_thread().name), 8)
    assert len(ends) == 30
    assert used <= {"worker 1", "worker 2"}


def test_where_no_thread_can_start_an_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(wide(2))
    driver = Driver(plan, Frontier.of(plan), 2)
    allow_threads(monkeypatch, 0)
    with pytest.raises(UsageError, match=r"no thread .*ulimit -u"):
        ThreadsExecutor().start(driver, [lambda: None] * 2)


# Hands: several short tasks taken at once


def test_what_waits_in_a_hand_is_done_by_idle_workers() -> None:
    """A worker has taken many tasks that seem short; the first is long, the others are not its."""
    graph = WorkGraph()
    go = threading.Event()
    done: list[int] = []

    def short(number: int) -> None:
        done.append(number)
        if len(done) == 499:
            go.set()

    for number in range(400):
        graph.add(f"t{number}", short, number)
    graph.add("long", lambda: go.wait(20), duration=0.5)
    for number in range(400, 499):
        graph.add(f"t{number}", short, number, duration=0.25)
    assert graph.run(jobs=2)["long"] is True


def test_what_has_ended_is_told_while_its_worker_is_at_something_long() -> None:
    graph = WorkGraph()
    behind_all = threading.Event()
    shorts = [graph.add(f"t{number}", int) for number in range(300)]
    graph.add("long", lambda: behind_all.wait(20), duration=0)
    graph.add("behind", behind_all.set, after=shorts, duration=0)
    assert graph.run(jobs=2)["long"] is True


def test_a_failure_empties_all_hands() -> None:
    graph = WorkGraph()
    ran: list[int] = []

    def task(number: int) -> None:
        ran.append(number)
        if number == 200:
            raise ValueError

    for number in range(5000):
        graph.add(f"t{number}", task, number)
    run = graph.run(jobs=1, check=False)
    assert ran == list(range(201))
    assert run.outcomes == {"succeeded": 200, "failed": 1, "skipped": 4799}


@pytest.mark.parametrize("shape", ["wide", "chain"])
def test_workers_come_to_an_end_together(shape: str) -> None:
    """A worker that tells of what ended in another's hand may be the one that ends the run."""
    others = workers()
    for _ in range(100):
        graph = WorkGraph()
        for number in range(300):
            after = [f"t{number - 1}"] if shape == "chain" and number else []
            graph.add(f"t{number}", int, after=after)
        run = graph.start(jobs=3)
        assert run.wait(20)
    assert workers() <= others


def test_starts_of_a_handful_are_told_before_their_ends_and_when_they_were() -> None:
    told: list[Event] = []
    graph = WorkGraph()
    for number in range(1000):
        graph.add(f"t{number}", int, retries=1)
    graph.run(jobs=2, listen=told.extend)
    seen: dict[str, float] = {}
    for event in told:
        if isinstance(event, TaskStarted):
            assert event.task not in seen
            assert event.worker in (1, 2)
            seen[event.task] = event.time
        elif isinstance(event, TaskEnded):
            assert seen[event.task] <= event.time
    assert len(seen) == 1000


# Time limits


def test_a_function_that_takes_too_long_has_timed_out_and_holds_nobody_up() -> None:
    go = threading.Event()
    graph = WorkGraph()
    graph.add("stuck", lambda: go.wait(60), timeout=0.05)
    graph.add("next", int, duration=0)
    graph.add("behind", int, after=["stuck"])
    run = graph.run(jobs=1, check=False, keep_going=True)
    assert {name: str(task.outcome) for name, task in run.tasks.items()} == {
        "stuck": "timed_out",
        "next": "succeeded",
        "behind": "skipped",
    }
    assert str(run.tasks["stuck"].error) == "timed out after 50 ms"
    go.set()


def test_what_a_timed_out_attempt_returns_in_the_end_is_dropped() -> None:
    first, second = threading.Event(), threading.Event()
    tries: list[int] = []

    def slow_at_first() -> str:
        tries.append(1)
        if len(tries) == 1:
            first.wait(60)
            second.set()
            return "old"
        first.set()
        assert second.wait(20)
        return "new"

    graph = WorkGraph()
    graph.add("slow", slow_at_first, timeout=5, retries=1)
    graph.definitions[0] = graph.definitions[0]._replace(timeout=0.1)
    run = graph.run(jobs=1, check=False)
    assert run.tasks["slow"].attempts == 2
    if run.tasks["slow"].outcome == "succeeded":
        assert run["slow"] == "new"


def test_a_function_within_its_limit_is_not_bothered() -> None:
    graph = WorkGraph()
    for number in range(300):
        graph.add(f"t{number}", int, timeout=20)
    assert graph.run(jobs=2).succeeded


def test_a_limit_that_is_over_before_it_begins_ends_the_run_like_any_other() -> None:
    for _ in range(50):
        graph = WorkGraph()
        graph.add("slow", time.sleep, 0.002, timeout=1)
        graph.definitions[0] = graph.definitions[0]._replace(timeout=1e-9)
        run = graph.start(jobs=1)
        assert run.wait(20)
        # Whoever is first, the watching thread or the function: the run comes to its end.
        assert run.tasks["slow"].outcome in (Outcome.TIMED_OUT, Outcome.SUCCEEDED)


def test_an_attempt_that_was_given_up_lets_no_value_go() -> None:
    late, over = threading.Event(), threading.Event()
    tries: list[int] = []

    def slow_at_first(value: str) -> str:
        tries.append(1)
        if len(tries) == 1:
            late.wait(20)
            over.set()
        return value

    graph = WorkGraph()
    value = graph.add("value", str, "here")
    graph.add("slow", slow_at_first, value, timeout=0.05, retries=1)

    def reader(value: str) -> str:
        late.set()
        assert over.wait(20)
        time.sleep(0.05)
        return value

    reads = graph.add("reader", reader, value, after=["slow"])
    last = graph.add("last", str, value, after=[reads])
    run = graph.run(jobs=2, keep="leaves")
    assert run[last] == "here"
