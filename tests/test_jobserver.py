"""Jobservers: who takes part in one, tokens that come and go, and tasks that wait for one."""

import contextlib
import os
import resource
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from parallel_workers.children import MANY, Children
from parallel_workers.errors import UsageError
from parallel_workers.events import Event, TaskEnded, TaskStarted
from parallel_workers.graph import WorkGraph
from parallel_workers.jobserver import MOST, Jobserver, TokenExecutor, join, serve
from tests.support.program import until

PATIENCE = 30.0


class Pipe:
    """A pipe of tokens, as a make leaves it to what it starts."""

    def __init__(self, tokens: bytes = b"") -> None:
        self.reading, self.writing = os.pipe()
        os.set_inheritable(self.reading, True)
        os.set_inheritable(self.writing, True)
        self.put(tokens)

    def put(self, tokens: bytes) -> None:
        os.write(self.writing, tokens)

    def tokens(self) -> bytes:
        """Take out all that are in there, and put them back."""
        readable, _, _ = select.select([self.reading], [], [], 0)
        found = os.read(self.reading, MOST) if readable else b""
        self.put(found)
        return found

    def flags(self, option: str = "--jobserver-auth") -> str:
        return f"{option}={self.reading},{self.writing}"

    def close(self) -> None:
        for fd in (self.reading, self.writing):
            with contextlib.suppress(OSError):
                os.close(fd)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe(b"abc")
    yield pipe
    pipe.close()


def joined(makeflags: str) -> Jobserver:
    jobserver = join(makeflags)
    assert jobserver is not None
    return jobserver


def takes_part(makeflags: str) -> bool:
    jobserver = join(makeflags)
    if jobserver is not None:
        jobserver.close()
    return jobserver is not None


@contextlib.contextmanager
def served(style: str, jobs: int, makeflags: str = "") -> Iterator[tuple[Jobserver, str]]:
    """Serve a jobserver; give the MAKEFLAGS of children, too."""
    jobserver = serve(style, jobs, makeflags)
    yield jobserver, jobserver.env[b"MAKEFLAGS"].decode()
    jobserver.close()


def taken_by(jobserver: Jobserver) -> int:
    """Take all tokens that there are; return how many."""
    count = 0
    while jobserver.take():
        count += 1
    return count


@pytest.mark.parametrize("option", ["--jobserver-auth", "--jobserver-fds"])
def test_the_pipe_of_makeflags_is_joined(pipe: Pipe, option: str) -> None:
    jobserver = joined(f"ks -j4 {pipe.flags(option)} -- CC=cc")
    assert jobserver.jobs == 4
    assert taken_by(jobserver) == 3
    jobserver.close()


def test_a_fifo_of_makeflags_is_joined(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    one, two = (joined(f" -j --jobserver-auth=fifo:{fifo}") for _ in range(2))
    os.write(one.fileno(), b"ab")
    assert one.jobs == two.jobs == 0
    assert (one.take(), two.take(), one.take()) == (True, True, False)
    one.close()
    two.close()


def test_the_last_jobserver_of_makeflags_counts(pipe: Pipe) -> None:
    assert takes_part(f"--jobserver-auth=-2,-2 {pipe.flags()}")
    assert not takes_part(f"{pipe.flags()} --jobserver-auth=-2,-2")


@pytest.mark.parametrize(
    "makeflags",
    [
        "",
        "k",
        " -j4",
        " -j4 --jobserver-auth=",
        " -j4 --jobserver-auth=3",
        " -j4 --jobserver-auth=three,four",
        " -j4 --jobserver-auth=-2,-2",
        " -j4 --jobserver-auth=1000,1001",
        " -j4 --jobserver-auth=99999999999999999999,4",
        " -j4 --jobserver-auth=fifo:",
        " -j4 --jobserver-auth=fifo:/nowhere/fifo",
        " -j4 --jobserver-auth=fifo:/etc/passwd",
        " -j4 --jobserver-auth=fifo:/dev/null",
        " -j4 --jobserver-auth=fifo:a\0b",
    ],
)
def test_what_cannot_be_joined_is_left_alone(makeflags: str) -> None:
    assert not takes_part(makeflags)


def test_variables_of_makeflags_are_no_options(pipe: Pipe) -> None:
    assert not takes_part(f"k -- FLAGS={pipe.flags()} {pipe.flags()}")


def test_files_of_ours_are_not_taken_for_a_jobserver(pipe: Pipe) -> None:
    os.set_inheritable(pipe.reading, False)
    assert not takes_part(pipe.flags())


def test_what_is_not_the_two_ends_of_one_pipe_is_no_jobserver(pipe: Pipe, tmp_path: Path) -> None:
    other = Pipe()
    assert not takes_part(f"--jobserver-auth={pipe.reading},{other.writing}")
    assert not takes_part(f"--jobserver-auth={pipe.writing},{pipe.reading}")
    other.close()
    with open(tmp_path / "file", "w+") as file:
        os.set_inheritable(file.fileno(), True)
        assert not takes_part(f"--jobserver-auth={file.fileno()},{file.fileno()}")


def test_each_token_is_given_back_as_the_byte_that_it_was(pipe: Pipe) -> None:
    jobserver = joined(pipe.flags())
    assert taken_by(jobserver) == 3
    jobserver.keep(1)
    assert sorted(pipe.tokens()) == sorted(b"bc")
    jobserver.keep(5)
    jobserver.close()
    assert sorted(pipe.tokens()) == sorted(b"abc")


def test_taking_never_waits_though_the_pipe_does_for_others(pipe: Pipe) -> None:
    jobserver = joined(pipe.flags())
    assert os.get_blocking(pipe.reading)
    assert taken_by(jobserver) == 3
    assert not jobserver.lost
    jobserver.close()


def test_a_jobserver_that_has_gone_gives_no_tokens_and_takes_them(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"a")
    jobserver = Jobserver(reading, os.open(os.devnull, os.O_WRONLY), 2)
    os.close(writing)
    assert taken_by(jobserver) == 1
    assert jobserver.lost
    jobserver.close()


@pytest.mark.parametrize("style", ["pipe", "fifo"])
def test_a_served_jobserver_has_a_token_for_each_job_but_one(style: str) -> None:
    with served(style, 4) as (jobserver, _):
        assert taken_by(jobserver) == 3
    with served(style, 1) as (jobserver, _):
        assert taken_by(jobserver) == 0
    with served(style, MOST) as (jobserver, _):
        assert taken_by(jobserver) == MOST - 1


@pytest.mark.parametrize("style", ["pipe", "fifo"])
def test_others_take_tokens_of_a_served_jobserver(style: str) -> None:
    with served(style, 4) as (jobserver, makeflags):
        for fd in jobserver.passed:
            os.set_inheritable(fd, True)
        other = joined(makeflags)
        assert other.jobs == 4
        assert (other.take(), taken_by(jobserver)) == (True, 2)
        other.close()
        assert taken_by(jobserver) == 1


@pytest.mark.parametrize("style", ["pipe", "fifo"])
def test_lost_tokens_are_restored_and_never_too_many(style: str) -> None:
    with served(style, 4) as (jobserver, makeflags):
        for fd in jobserver.passed:
            os.set_inheritable(fd, True)
        other = joined(makeflags)
        assert taken_by(other) == 3
        jobserver.restore()
        jobserver.restore()
        assert taken_by(jobserver) == 3
        other.close()
        jobserver.keep(0)
        jobserver.restore()
        assert taken_by(jobserver) == 3


@pytest.mark.parametrize(
    ("before", "options", "behind"),
    [
        ("", "", ""),
        ("k", "k", ""),
        (" -j8", "", ""),
        ("-j 8 -k", "-k", ""),
        ("ks -j --jobserver-auth=3,4 --trace", "ks --trace", ""),
        ("--jobserver-fds=3,4 -j -- A=b C=-j8", "", " -- A=b C=-j8"),
        ("-- A=b", "", " -- A=b"),
        ("--jobserver-style=fifo -I -jx", "--jobserver-style=fifo -I -jx", ""),
    ],
)
def test_children_get_all_else_that_was_in_makeflags(
    before: str, options: str, behind: str
) -> None:
    with served("pipe", 4, before) as (jobserver, makeflags):
        reading, writing = jobserver.passed
        assert makeflags == f"{options} -j4 --jobserver-auth={reading},{writing}{behind}"


@pytest.mark.parametrize("jobs", [0, MOST + 1])
def test_what_cannot_be_shared_is_refused(jobs: int) -> None:
    with pytest.raises(UsageError, match=f"-j {jobs} cannot be shared; give -j from 1 to {MOST}"):
        serve("pipe", jobs, "")


def test_where_no_file_can_be_opened_any_more_that_is_what_is_told() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(UsageError, match="pipe: it cannot be served: Too many open files"):
            serve("pipe", 2, "")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_fifo_needs_a_path_that_makeflags_can_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "two words"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    with pytest.raises(UsageError, match="cannot hold a path with a blank"):
        serve("fifo", 2, "")
    assert list(place.iterdir()) == []


def test_of_a_served_jobserver_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    open_before = os.listdir("/proc/self/fd")
    for style in ("pipe", "fifo"):
        with served(style, 4):
            pass
    assert os.listdir("/proc/self/fd") == open_before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("expected", [1, MANY], ids=["few", "many"])
def test_only_children_get_the_file_descriptors_of_a_pipe(tmp_path: Path, expected: int) -> None:
    with served("pipe", 2) as (jobserver, _):
        children = Children(0.2, expected, jobserver.passed)
        words = ("/bin/ls", "/proc/self/fd")
        pid = children.spawn("/bin/ls", words, {}, {}, str(tmp_path / "log"))
        assert children.wait(pid, None).status == 0
        children.close()
        seen = (tmp_path / "log").read_text().split()
        assert {str(fd) for fd in jobserver.passed} < set(seen)
        assert not any(map(os.get_inheritable, jobserver.passed))


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
