"""The guardian, a real one: what it ends and when, what it leaves alone, and what it holds."""

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from parallel_workers import guardian as module
from parallel_workers.guardian import Guardian, hunt, marked
from tests.support.program import until

STARTER = """
import sys
from parallel_workers.guardian import Guardian
guardian = Guardian("r1")
guardian.mark = sys.argv[1]
guardian.start()
print(flush=True)
for line in sys.stdin:
    getattr(guardian, line.strip())()
    print(guardian.trouble, flush=True)
"""
"""Starts a guardian, and does with it what it is told."""


class Runner:
    """A process that has a guardian."""

    def __init__(self, mark: str, **options: Any) -> None:
        self.mark = mark
        self._process = subprocess.Popen(
            [sys.executable, "-c", STARTER, mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return str(self._process.stdout.readline()).strip()

    def call(self, method: str) -> str:
        """Call a method of the guardian; return what trouble there has been."""
        assert self._process.stdin is not None
        print(method, file=self._process.stdin, flush=True)
        return self._read()

    def guardian(self) -> int:
        """Return the process id of the guardian, as soon as it can be told by its arguments."""
        until(lambda: guardians_of(self.mark) != [])
        [pid] = guardians_of(self.mark)
        return pid

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def guardians_of(mark: str) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            if words[-2:-1] == [mark.encode()] and b"-I" in words:
                found.append(int(name))
    return found


def state_of(pid: int) -> str:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat[stat.rindex(")") + 2]


@pytest.fixture
def mark() -> Iterator[str]:
    """A mark that no process bears in the end."""
    mark = uuid.uuid4().hex
    yield mark
    for pid in [*guardians_of(mark), *marked(mark)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def start(script: str, directory: Path, env: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        ["/bin/sh", "-c", script],
        cwd=directory,
        env={"PATH": os.environ["PATH"], **env},
        start_new_session=True,
    )


ESCAPES = [
    pytest.param("(setsid sleep 300 &)", id="a session of its own"),
    pytest.param("(setsid sh -c '(setsid sleep 300 &)' &)", id="a double fork"),
    pytest.param("(trap '' TERM INT HUP; setsid nohup sleep 300 &)", id="deaf to signals"),
    pytest.param("(setsid sh -c 'kill -STOP $$' &)", id="stopped"),
    pytest.param("(setsid sh -c 'while :; do sleep 0.01; done' &)", id="always a new child"),
    pytest.param("(cd / && setsid env -u PATH /bin/sleep 300 &)", id="another environment"),
]


@pytest.mark.program("setsid")
@pytest.mark.parametrize("script", ESCAPES)
def test_whatever_has_escaped_is_hunted_down(tmp_path: Path, mark: str, script: str) -> None:
    start(script, tmp_path, {"PW_RUNNER": mark}).wait()
    until(lambda: list(marked(mark)) != [])
    hunt(mark)
    assert list(marked(mark)) == []


@pytest.mark.program("setsid")
def test_what_flees_from_one_process_into_the_next_is_hunted_down(
    tmp_path: Path, mark: str
) -> None:
    script = "[ $1 = 0 ] && touch end || { (setsid sh flee $(($1 - 1)) &) ; }"
    (tmp_path / "flee").write_text(script)
    start("sh flee 3000", tmp_path, {"PW_RUNNER": mark}).wait()
    hunt(mark)
    assert list(marked(mark)) == []
    assert not (tmp_path / "end").exists()


def test_a_run_is_told_from_others_exactly(tmp_path: Path, mark: str) -> None:
    environments: list[dict[str, str]] = [
        {"PW_RUNNER": f"{mark}x"},
        {"PW_RUNNER": mark[:-1]},
        {"PW_RUNNER": f"x{mark}"},
        {"MY_PW_RUNNER": mark},
        {"TEXT": f"PW_RUNNER={mark}"},
        {"TEXT": f"x\nPW_RUNNER={mark}\n"},
        {},
    ]
    others = [start("exec sleep 300", tmp_path, env) for env in environments]
    first = start("exec sleep 300", tmp_path, {"PW_RUNNER": mark, "TEXT": "x"})
    last = start("exec sleep 300", tmp_path, {"TEXT": "x", "PW_RUNNER": mark})
    until(lambda: set(marked(mark)) == {first.pid, last.pid})
    hunt(mark)
    assert [process.wait() for process in (first, last)] == [-signal.SIGKILL] * 2
    assert [process.poll() for process in others] == [None] * len(others)
    for process in others:
        process.kill()
        process.wait()


@pytest.mark.program("setpriv")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can do this")
def test_marked_other_users_are_left_alone(tmp_path: Path, mark: str) -> None:
    process = start("exec sleep 300", tmp_path, {"PW_RUNNER": mark})
    until(lambda: list(marked(mark)) == [process.pid])
    source = tmp_path / "guardian.py"
    source.write_bytes(Path(module.__file__).read_bytes())
    user = ("setpriv", "--reuid", "1234567", "--regid", "1234567", "--clear-groups")
    caps = ("--inh-caps", "-all,+dac_override", "--ambient-caps", "-all,+dac_override")
    python = os.path.realpath(sys.executable)  # in a directory that others may not read
    subprocess.run([*user, *caps, python, "-I", "-S", source, mark], check=True, timeout=20)
    assert process.poll() is None
    process.kill()
    process.wait()


def test_a_run_ends_with_its_killed_runner(tmp_path: Path, mark: str) -> None:
    runner = Runner(mark)
    process = start("trap '' TERM; while :; do sleep 0.05; done", tmp_path, {"PW_RUNNER": mark})
    runner.kill()
    assert process.wait(20) == -signal.SIGKILL
    until(lambda: guardians_of(mark) == [])


def test_a_released_guardian_ends_and_harms_nothing(tmp_path: Path, mark: str) -> None:
    runner = Runner(mark)
    process = start("exec sleep 300", tmp_path, {"PW_RUNNER": mark})
    assert runner.call("release") == "None"
    assert guardians_of(mark) == []
    runner.kill()
    assert process.poll() is None
    process.kill()
    process.wait()


def test_a_guardian_that_was_killed_is_started_again(tmp_path: Path, mark: str) -> None:
    runner = Runner(mark)
    assert runner.call("keep") == "None"
    first = runner.guardian()
    os.kill(first, signal.SIGKILL)
    until(lambda: state_of(first) == "Z")
    assert runner.call("keep").endswith("was itself killed; another was started")
    assert runner.guardian() != first
    process = start("exec sleep 300", tmp_path, {"PW_RUNNER": mark})
    runner.kill()
    assert process.wait(20) == -signal.SIGKILL


def test_a_guardian_that_was_killed_is_noticed_at_the_end(mark: str) -> None:
    runner = Runner(mark)
    pid = runner.guardian()
    os.kill(pid, signal.SIGKILL)
    until(lambda: state_of(pid) == "Z")
    assert runner.call("release").endswith("was itself killed")
    runner.kill()


@pytest.mark.parametrize(
    "signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT], ids=lambda s: s.name
)
def test_signals_that_end_a_run_do_not_end_its_guardian(
    tmp_path: Path, mark: str, signum: signal.Signals
) -> None:
    runner = Runner(mark)
    process = start("exec sleep 300", tmp_path, {"PW_RUNNER": mark})
    until(lambda: os.readlink(f"/proc/{runner.guardian()}/cwd") == "/")
    until(lambda: _is_deaf(runner.guardian()))
    os.kill(runner.guardian(), signum)
    runner.kill()
    assert process.wait(20) == -signal.SIGKILL


def _is_deaf(pid: int) -> bool:
    """Whether a process has come to ignoring what ends a mark."""
    [line] = [
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("SigIgn:")
    ]
    return bool(int(line.split()[1], 16) & 1 << (signal.SIGTERM - 1))


def test_a_guardian_holds_nothing_of_the_runner(tmp_path: Path, mark: str) -> None:
    lock = os.open(tmp_path / "lock", os.O_WRONLY | os.O_CREAT)
    environment = {**os.environ, "PW_RUNNER": "outer"}
    runner = Runner(mark, pass_fds=[lock], env=environment, cwd=tmp_path)
    os.close(lock)
    pid = runner.guardian()
    until(lambda: os.readlink(f"/proc/{pid}/cwd") == "/")
    files = {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    assert files.pop("0").startswith("pipe:")
    assert files == {"1": "/dev/null", "2": "/dev/null", "3": module.__file__}
    assert Path(f"/proc/{pid}/environ").read_bytes() == b""
    assert os.getsid(pid) == pid
    runner.kill()
    until(lambda: guardians_of(mark) == [])


def test_a_guardian_that_cannot_be_started_is_told_of(mark: str) -> None:
    script = """if True:
        import resource, sys
        from parallel_workers.guardian import Guardian
        guardian = Guardian(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))
        guardian.start()
        guardian.keep()
        guardian.release()
        print(guardian.trouble)
    """
    told = subprocess.check_output([sys.executable, "-c", script, mark], text=True)
    assert told.endswith("could not be started: Too many open files\n")


def test_inherited_files_numbered_above_the_limit_are_kept_from_the_guardian(mark: str) -> None:
    script = """if True:
        import os, resource, sys
        from parallel_workers.guardian import Guardian
        for number in (15, 60):
            os.set_inheritable(os.dup2(1, number), True)
        resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
        guardian = Guardian("r1")
        guardian.mark = sys.argv[1]
        guardian.start()
        print(guardian.trouble, os.get_inheritable(15), os.get_inheritable(60), flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", script, mark], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == b"None True True\n"
        until(lambda: guardians_of(mark) != [])
        [pid] = guardians_of(mark)
        until(lambda: os.readlink(f"/proc/{pid}/cwd") == "/")
        assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2", "3"]
        runner.kill()
    until(lambda: guardians_of(mark) == [])


def test_what_is_in_given_sessions_has_not_escaped(tmp_path: Path, mark: str) -> None:
    guardian = Guardian("r1")
    guardian.mark = mark
    one, two = (start("exec sleep 300", tmp_path, {"PW_RUNNER": mark}) for _ in range(2))
    until(lambda: set(guardian.escaped(())) == {one.pid, two.pid})
    assert guardian.escaped({one.pid: "a leader", -1: "none"}) == [two.pid]
    for process in (one, two):
        process.kill()
        process.wait()
    assert guardian.escaped(()) == []
