"""Tasks that wait for the tokens of a jobserver."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from parallel_workers.errors import UsageError
from parallel_workers.events import Event, TaskEnded, TaskStarted
from parallel_workers.executors.tokens import TokenExecutor
from parallel_workers.graph import WorkGraph
from parallel_workers.jobserver import MOST, Jobserver
from tests.support.jobservers import Pipe, joined, served
from tests.support.program import until

PATIENCE = 30.0


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe(b"abc")
    yield pipe
    pipe.close()


class Watched:
    """A graph of tasks that hold on until they are let go, run with the tokens of a pipe."""

    def __init__(self, pipe: Pipe, names: str, jobs: int = 0, *, fails: str = "") -> None:
        self.jobserver = joined(pipe.flags())
        self.events: list[Event] = []
        self._gates = {name: threading.Event() for name in names}
        graph = WorkGraph()
        for name in names:
            graph.add(name, self._body(name, fails))
        self.run = graph.start(
            jobs=jobs, on=TokenExecutor(self.jobserver), keep_going=True, listen=self.events.extend
        )

    def _body(self, name: str, fails: str) -> Callable[[], None]:
        def body() -> None:
            assert self._gates[name].wait(PATIENCE)
            assert name not in fails

        return body

    def started(self) -> list[str]:
        return [event.task for event in self.events if isinstance(event, TaskStarted)]

    def ended(self) -> list[str]:
        return [event.task for event in self.events if isinstance(event, TaskEnded)]

    def let_go(self, *names: str) -> None:
        for name in names:
            self._gates[name].set()

    def close(self) -> None:
        self.let_go(*self._gates)
        self.run.wait()
        self.jobserver.close()


@contextlib.contextmanager
def watched(pipe: Pipe, names: str, jobs: int = 0, *, fails: str = "") -> Iterator[Watched]:
    """Start a run of tasks, each of which ends when it is let go."""
    found = Watched(pipe, names, jobs, fails=fails)
    yield found
    found.close()


@pytest.fixture
def empty() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_one_task_starts_without_a_token_and_another_when_there_is_one(empty: Pipe) -> None:
    with watched(empty, "abc") as run:
        until(lambda: run.started() == ["a"])
        empty.put(b"x")
        until(lambda: run.started() == ["a", "b"])
        empty.put(b"y")
        until(lambda: run.started() == ["a", "b", "c"])
        assert empty.tokens() == b""
    assert sorted(empty.tokens()) == sorted(b"xy")


def test_a_task_that_waits_for_a_token_has_not_started(empty: Pipe) -> None:
    with watched(empty, "ab") as run:
        run.let_go("a", "b")
    kinds = TaskStarted | TaskEnded
    told = [(type(event), event.task) for event in run.events if isinstance(event, kinds)]
    assert told == [(TaskStarted, "a"), (TaskEnded, "a"), (TaskStarted, "b"), (TaskEnded, "b")]


def test_no_more_tokens_are_taken_than_tasks_need(pipe: Pipe) -> None:
    with watched(pipe, "ab") as run:
        until(lambda: run.started() == ["a", "b"])
        until(lambda: len(pipe.tokens()) == 2)


def test_no_more_tokens_are_taken_than_jobs_allow(pipe: Pipe) -> None:
    with watched(pipe, "abcd", jobs=2) as run:
        until(lambda: run.started() == ["a", "b"])
        run.let_go("a")
        until(lambda: run.started() == ["a", "b", "c"])
        assert run.ended() == ["a"]
        assert len(pipe.tokens()) == 2


@pytest.mark.parametrize("fails", ["", "ab"])
def test_a_token_is_given_back_when_one_of_two_tasks_ends(pipe: Pipe, fails: str) -> None:
    with watched(pipe, "ab", fails=fails) as run:
        until(lambda: len(run.started()) == 2)
        # Not that of this task, which may have none: the other needs none when it is alone.
        run.let_go("a")
        until(lambda: len(pipe.tokens()) == 3)
        until(lambda: run.ended() == ["a"])


def test_a_run_that_is_cancelled_waits_for_no_token(empty: Pipe) -> None:
    with watched(empty, "ab") as run:
        until(lambda: run.started() == ["a"])
        run.run.cancel()
        until(lambda: run.ended() == ["b"])
    assert run.started() == ["a"]
    assert run.ended() == ["b", "a"]


def test_where_the_jobserver_has_gone_one_task_runs_after_the_other(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(writing)
    jobserver = Jobserver(reading, os.open(os.devnull, os.O_WRONLY), 4)
    running = 0

    def alone() -> None:
        nonlocal running
        running += 1
        assert running == 1
        running -= 1

    graph = WorkGraph()
    for number in range(20):
        graph.add(str(number), alone)
    assert graph.run(jobs=4, on=TokenExecutor(jobserver)).succeeded
    jobserver.close()


def test_tokens_that_a_task_has_lost_are_there_for_the_next_ones() -> None:
    with served("pipe", 3) as (jobserver, _):
        together = threading.Barrier(3)
        graph = WorkGraph()
        # As a program would that is killed.
        lose = graph.add("lose", os.read, jobserver.passed[0], MOST)
        for name in "abc":
            graph.add(name, together.wait, PATIENCE, after=[lose])
        assert graph.run(jobs=3, on=TokenExecutor(jobserver)).succeeded


def test_a_run_of_nothing_ends_at_once(pipe: Pipe) -> None:
    with watched(pipe, "") as run:
        assert run.run.wait(PATIENCE)
    assert len(pipe.tokens()) == 3


def test_coroutine_functions_are_refused(pipe: Pipe) -> None:
    async def coroutine() -> None: ...

    graph = WorkGraph()
    graph.add("a", coroutine)
    jobserver = joined(pipe.flags())
    with pytest.raises(UsageError, match="task a is a coroutine function"):
        graph.run(on=TokenExecutor(jobserver))
    jobserver.close()
