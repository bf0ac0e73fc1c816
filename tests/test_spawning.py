"""Both ways to start a process do the same."""

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from parallel_workers.children import MANY, starter
from parallel_workers.spawning import Starter, TerminalStarter


@pytest.fixture(params=[1, MANY], ids=["few", "many"])
def start(request: pytest.FixtureRequest) -> Iterator[Starter]:
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    yield starter(null, request.param)
    os.close(null)


def output_of(
    start: Starter, log: Path, *words: str, env: dict[bytes, bytes] | None = None
) -> bytes:
    pid = start(words[0], words, {b"SHARED": b"1", b"A": b"0"}, env or {}, str(log))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return log.read_bytes()


def test_there_are_two_ways() -> None:
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    assert type(starter(null, 1)) is not type(starter(null, MANY))
    os.close(null)


def test_output_and_errors_go_into_a_new_file_of_our_own(start: Starter, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert output_of(start, log, "/bin/sh", "-c", "echo out; echo err >&2") == b"out\nerr\n"
    assert log.stat().st_mode & 0o777 == 0o600


def test_there_is_nothing_to_read(start: Starter, tmp_path: Path) -> None:
    assert output_of(start, tmp_path / "log", "/bin/cat") == b""


def test_words_and_environment_arrive_byte_by_byte(start: Starter, tmp_path: Path) -> None:
    script = """printf "%s\\n" "$1" "$2" "$A" "$B" """
    words = ("/bin/sh", "-c", script, "sh", "é🙂", "a b")
    env = {b"A": b"\xff\xfe", b"B": b"x=y\nz"}
    seen = output_of(start, tmp_path / "log", *words, env=env)
    assert seen == "é🙂\na b\n".encode() + b"\xff\xfe\nx=y\nz\n"


def test_it_leads_a_session_of_its_own(start: Starter, tmp_path: Path) -> None:
    script = (
        "read pid comm state parent group session rest < /proc/self/stat; echo $$ $group $session"
    )
    process, group, session = output_of(start, tmp_path / "log", "/bin/sh", "-c", script).split()
    assert process == group == session


def test_signals_that_python_ignores_are_not_ignored(start: Starter, tmp_path: Path) -> None:
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    script = "grep SigIgn /proc/self/status"
    ignored = int(output_of(start, tmp_path / "log", "/bin/sh", "-c", script).split()[1], 16)
    for signum in (signal.SIGPIPE, signal.SIGXFSZ):
        assert not ignored >> (signum - 1) & 1


@pytest.mark.parametrize(
    ("program", "number"), [("/nowhere/x", errno.ENOENT), ("/etc/passwd", errno.EACCES)]
)
def test_what_cannot_be_started_is_an_error_with_its_number(
    start: Starter, tmp_path: Path, program: str, number: int
) -> None:
    with pytest.raises(OSError) as caught:
        start(program, (program,), {}, {}, str(tmp_path / "log"))
    assert caught.value.errno == number


def test_no_file_that_we_have_open_is_left_to_it(start: Starter, tmp_path: Path) -> None:
    with open(tmp_path / "ours", "w") as ours:
        seen = output_of(start, tmp_path / "log", "/bin/ls", "/proc/self/fd").split()
        assert b"%d" % ours.fileno() not in seen
    assert seen[0] == b"0"


def test_a_process_may_have_a_terminal_of_its_own_and_lead_it(tmp_path: Path) -> None:
    master, slave = os.openpty()
    try:
        start = TerminalStarter(os.ttyname(slave))
        script = "test -t 0 -a -t 1 -a -t 2 && tty && : > /dev/tty && read line && echo got $line"
        words = ("/bin/sh", "-c", script)
        pid = start("/bin/sh", words, {b"PATH": b"/usr/bin:/bin"}, {}, str(tmp_path / "log"))
        os.write(master, b"word\n")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        written = b""
        # The kernel hands on what was written in its own time.
        while b"got" not in written or not written.endswith(b"\n"):
            written += os.read(master, 1000)
    finally:
        os.close(slave)
        os.close(master)
    assert written.endswith(b"got word\r\n")
    assert not (tmp_path / "log").exists()
