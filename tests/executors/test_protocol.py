"""Executors of others: one written by the protocol alone promises what ours do; also by itself."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from parallel_workers.bodies import Body, Wrapper
from parallel_workers.driver import Driver
from parallel_workers.errors import UsageError
from parallel_workers.events import Event, Outcome, RunEnded, TaskEnded, TaskRetried
from parallel_workers.executors import Executor, Workers
from parallel_workers.executors.asyncio import AsyncioExecutor
from parallel_workers.executors.inline import InlineExecutor
from parallel_workers.executors.processes import ProcessesExecutor
from parallel_workers.executors.threads import ThreadsExecutor
from parallel_workers.graph import WorkGraph
from tests.support import work
from tests.support.futures import FuturesExecutor

EXECUTORS: dict[str, Callable[[], Executor]] = {
    "threads": ThreadsExecutor,
    "inline": InlineExecutor,
    "processes": ProcessesExecutor,
    "asyncio": AsyncioExecutor,
    "futures": FuturesExecutor,
}

everywhere = pytest.mark.parametrize("executor", EXECUTORS.values(), ids=EXECUTORS)


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + work.PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(work.NAP)


# An executor object in place of a name


@everywhere
def test_an_executor_is_given_to_a_run_in_place_of_a_name(executor: Callable[[], Executor]) -> None:
    graph = WorkGraph()
    one = graph.add("one", work.add, 1)
    two = graph.add("two", work.add, one, 1)
    listing = graph.add("list", command="true", after=[two])
    run = graph.run(on=executor())
    assert (run[two], run[listing].status) == (2, 0)


@everywhere
def test_one_executor_serves_several_runs_at_once(executor: Callable[[], Executor]) -> None:
    shared = executor()
    graphs = [WorkGraph() for _ in range(3)]
    groups = [graph.map("t", work.same, [n] * 20) for n, graph in enumerate(graphs)]
    runs = [graph.start(on=shared, jobs=2) for graph in graphs]
    for number, (run, group) in enumerate(zip(runs, groups, strict=True)):
        assert run.wait(60)
        assert run[group] == [number] * 20


def test_what_awaits_nothing_refuses_coroutine_functions_before_anything_runs() -> None:
    graph = WorkGraph()
    ran: list[str] = []
    graph.add("first", ran.append, "first")
    graph.add("await me", work.coroutine)
    with pytest.raises(UsageError, match="task await me is a coroutine function"):
        graph.run(on=FuturesExecutor())
    assert ran == []


def test_no_limit_is_room_for_all() -> None:
    meeting = threading.Barrier(20)
    graph = WorkGraph()
    for number in range(20):
        graph.add(f"t{number}", meeting.wait, 20)
    assert graph.run(on=FuturesExecutor(), jobs=0).succeeded


def test_attempts_have_copies_of_the_context_of_the_caller() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="none")

    def change() -> str:
        before = variable.get()
        variable.set("changed")
        return before

    graph = WorkGraph()
    group = graph.map("t", lambda _: change(), range(3))
    variable.set("the caller's")
    assert graph.run(on=FuturesExecutor(), jobs=1)[group] == ["the caller's"] * 3


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_a_body_raises_is_the_failure_of_its_task(error: BaseException) -> None:
    def fail() -> None:
        raise error

    graph = WorkGraph()
    graph.add("bad", fail)
    graph.add("good", int)
    run = graph.run(on=FuturesExecutor(), jobs=1, check=False, keep_going=True)
    assert run.tasks["bad"].error is error
    assert run["good"] == 0


def test_what_tasks_print_is_kept() -> None:
    graph = WorkGraph()
    graph.map("t", print, range(5))
    run = graph.run(on=FuturesExecutor(), jobs=3, output="task")
    assert [run.tasks[f"t[{n}]"].output for n in range(5)] == [f"{n}\n" for n in range(5)]


# Delays


@everywhere
@pytest.mark.parametrize("jobs", [1, 4])
def test_where_no_thread_can_wait_for_a_delay_the_next_attempt_begins_at_once(
    monkeypatch: pytest.MonkeyPatch, executor: Callable[[], Executor], jobs: int
) -> None:
    start = threading.Thread.start

    def start_no_alarms(thread: threading.Thread) -> None:
        if thread.name == "alarms":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_no_alarms)
    told: list[Event] = []
    graph = WorkGraph()
    for name in "abc":
        graph.add(name, command="false", retries={"times": 2, "delay": "1h"}, allow_failure=True)
    graph.add("last", command="true", after=list("abc"))
    run = graph.run(on=executor(), jobs=jobs, listen=told.extend, check=False, keep_going=True)
    assert [run.tasks[name].attempts for name in graph] == [3, 3, 3, 1]
    assert {event.delay for event in told if isinstance(event, TaskRetried)} == {0}


# Time limits


@pytest.mark.parametrize("executor", [InlineExecutor, ThreadsExecutor, FuturesExecutor])
def test_an_attempt_that_comes_too_late_lets_nothing_go_that_the_next_one_reads(
    executor: Callable[[], Executor],
) -> None:
    tries: list[str] = []

    def slow_at_first(value: str) -> str:
        tries.append(value)
        if len(tries) == 1:
            time.sleep(0.6)
        return value

    graph = WorkGraph()
    value = graph.add("value", str, "here")
    slow = graph.add("slow", slow_at_first, value, timeout=0.5, retries=1)
    run = graph.run(on=executor(), keep="leaves")
    assert run[slow] == "here"
    assert tries == ["here", "here"]
    assert run.tasks["slow"].attempts == 2


def test_what_took_too_long_has_timed_out() -> None:
    graph = WorkGraph()
    graph.add("late", time.sleep, 0.05, timeout=0.01)
    graph.add("in time", int, timeout=60)
    run = graph.run(on=FuturesExecutor(), check=False, keep_going=True)
    assert run.tasks["late"].outcome is Outcome.TIMED_OUT
    assert run.tasks["in time"].outcome is Outcome.SUCCEEDED


# Stops


@pytest.mark.parametrize("executor", [AsyncioExecutor, FuturesExecutor])
def test_what_a_stop_ends_is_told_at_once(executor: Callable[[], Executor], tmp_path: Path) -> None:
    events: list[Event] = []
    graph = WorkGraph()
    go = tmp_path / "go"
    runs = graph.add("runs", work.note_and_wait, str(tmp_path / "begun"), str(go))
    graph.map("behind", work.same, range(3), after=[runs])
    run = graph.start(on=executor(), jobs=1, listen=events.extend)
    wait_until((tmp_path / "begun").exists)
    run.cancel()
    wait_until(lambda: [type(event) for event in events].count(TaskEnded) == 3)
    assert not run.over
    go.touch()
    assert run.wait(20)
    assert isinstance(events[-1], RunEnded)
    assert run.outcomes == {Outcome.SUCCEEDED: 1, Outcome.SKIPPED: 3}


@everywhere
@pytest.mark.parametrize("seconds", [0.0, 0.002, 0.01])
def test_a_run_that_fails_fast_leaves_nothing_that_can_be_ended(
    executor: Callable[[], Executor], seconds: float
) -> None:
    graph = WorkGraph()
    graph.add("bad", work.nap_and_fail, seconds, duration=3)
    for number in range(3):
        graph.add(f"command {number}", command="exec sleep 60", duration=2)
    graph.add("clean", command="true", always=True)
    graph.map("behind", work.same, range(20))
    run = graph.start(on=executor(), jobs=3, fail_fast=True)
    assert run.wait(20)
    assert run.outcomes.total() == len(graph)
    assert run.outcomes[Outcome.FAILED] == 1
    assert run.tasks["clean"].outcome is Outcome.SUCCEEDED


class Late:
    """Starts workers, and has them only after a failure has closed the run."""

    def start(self, driver: Driver, bodies: Sequence[Body]) -> Workers:
        workers = ProcessesExecutor().start(driver, bodies)
        wait_until(lambda: driver.closing)
        return workers


def test_what_runs_is_ended_though_its_executor_was_still_starting(tmp_path: Path) -> None:
    graph = WorkGraph()
    begun = tmp_path / "begun"
    graph.add("slow", work.note_and_wait, str(begun), str(tmp_path / "never"))
    graph.add("bad", work.wait_and_fail, str(begun))
    run = graph.run(on=Late(), jobs=2, fail_fast=True, check=False)
    assert run.outcomes == {Outcome.FAILED: 1, Outcome.CANCELLED: 1}


@everywhere
@pytest.mark.parametrize("moment", [0.0, 0.001, 0.005, 0.02])
def test_a_run_that_is_cancelled_at_any_moment_ends_and_tells_it(
    executor: Callable[[], Executor], moment: float
) -> None:
    events: list[Event] = []
    graph = WorkGraph()
    graph.map("t", work.nap, [0.001] * 30)
    run = graph.start(on=executor(), jobs=2, listen=events.extend)
    time.sleep(moment)
    run.cancel()
    assert run.wait(20)
    ends = [event for event in events if isinstance(event, TaskEnded)]
    assert len(ends) == 30
    assert isinstance(events[-1], RunEnded)


# Wrapped bodies


class Boxing(Wrapper):
    """A body around another one that puts the value into a list."""

    begun = 0
    """How many attempts have begun; not in other processes."""

    def begin(self) -> None:
        self.begun += 1

    def arrived(self, value: Any) -> Any:
        assert not hasattr(value, "send"), "this has yet to be awaited"
        return [value]


class Around:
    """An executor that wraps bodies twice, and leaves them to another executor."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner

    def start(self, driver: Driver, bodies: Sequence[Body]) -> Workers:
        self.boxes = [Boxing(Boxing(body)) for body in bodies]
        return self._inner.start(driver, self.boxes)


@everywhere
@pytest.mark.parametrize("options", [{}, {"keep": "leaves"}, {"output": "task"}])
def test_executors_see_to_wrappers_that_they_know_nothing_of(
    executor: Callable[[], Executor], options: dict[str, Any]
) -> None:
    graph = WorkGraph()
    plain = graph.add("plain", work.add, 2)
    graph.add("reads", work.same, plain)
    graph.add("limited", work.add, 1, timeout=60, after=[plain])
    graph.add("command", command="true")
    run = graph.run(on=Around(executor()), **options)
    assert run["reads"] == [[[[2]]]]
    assert run["limited"] == [[1]]
    assert run["command"][0][0].status == 0


def test_wrappers_of_coroutines_get_what_was_awaited() -> None:
    graph = WorkGraph()
    graph.add("awaited", work.coroutine)
    graph.add("given", lambda: work.coroutine(), timeout=60)
    around = Around(AsyncioExecutor())
    run = graph.run(on=around)
    assert (run["awaited"], run["given"]) == ([[None]], [[None]])
    assert [box.begun for box in around.boxes] == [1, 1]


# Words for mistakes


@pytest.mark.parametrize("wrong", [FuturesExecutor, object(), None, 3])
def test_what_is_no_executor_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="is no executor; give one of threads"):
        WorkGraph().run(on=wrong)


def test_a_start_that_fails_leaves_no_run_under_way() -> None:
    class Refusing:
        def start(self, driver: Driver, bodies: Sequence[Body]) -> Workers:
            raise UsageError("not here")

    graph = WorkGraph()
    graph.add("t", int)
    with pytest.raises(UsageError, match="not here"):
        graph.run(on=Refusing())
    with contextlib.suppress(UsageError):
        graph.start(on=Refusing())
    graph.add("more", int)
    assert graph.run().succeeded
