"""Jobservers: who takes part in one, and tokens that come and go."""

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from parallel_workers.children import MANY, Children
from parallel_workers.errors import UsageError
from parallel_workers.jobserver import MOST, Jobserver, join, serve
from tests.support.files import assert_closed_since, open_files
from tests.support.jobservers import Pipe, joined, served

PATIENCE = 30.0


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe(b"abc")
    yield pipe
    pipe.close()


def takes_part(makeflags: str) -> bool:
    jobserver = join(makeflags)
    if jobserver is not None:
        jobserver.close()
    return jobserver is not None


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


@pytest.mark.parametrize("style", ["pipe", "fifo"])
def test_a_jobserver_that_others_have_filled_holds_nobody_up(style: str) -> None:
    with served(style, 4) as (jobserver, makeflags):
        for fd in jobserver.passed:
            os.set_inheritable(fd, True)
        other = joined(makeflags)
        assert (jobserver.take(), other.take()) == (True, True)
        _fill(makeflags)
        jobserver.keep(0)
        other.close()
        jobserver.restore()
        assert taken_by(jobserver) == 3


def _fill(makeflags: str) -> None:
    """Write to a served jobserver until it takes nothing any more."""
    auth = makeflags.partition("auth=")[2]
    path = auth.removeprefix("fifo:") if "," not in auth else f"/proc/self/fd/{auth.split(',')[1]}"
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, b"y" * 4096)
    os.close(fd)


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
    before = open_files()
    for style in ("pipe", "fifo"):
        with served(style, 4):
            pass
    assert_closed_since(before)
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
