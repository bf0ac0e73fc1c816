"""Signals: what the children get and when, what is told, and that nothing of them is left."""

import array
import contextlib
import fcntl
import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import termios
import time
from functools import partial
from pathlib import Path

import pytest

from tests.reports.screen import Pty
from tests.support.program import WORDS, Running, run, run_directory, started, until, write_work

STUBBORN = "trap '' INT TERM HUP; touch $PW_TASK.up; while :; do sleep 0.05; done"
PATIENT = "touch $PW_TASK.up; sleep 300"
"""Each tells by a file that it is there; the first can only be killed."""

RECORDING = (
    "trap 'echo INT >> got' INT; trap 'echo TERM >> got' TERM; trap 'echo HUP >> got' HUP;"
    " touch $PW_TASK.up; while :; do sleep 0.05; done"
)
"""Writes down each signal, and goes on."""


def nothing_left(program: Running) -> bool:
    return program.left_behind() == []


@pytest.mark.parametrize(
    ("signum", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["SIGINT", "SIGTERM", "SIGHUP"],
)
def test_an_interrupt_ends_everything_and_says_what_became_of_it(
    tmp_path: Path, signum: signal.Signals, status: int
) -> None:
    tasks = {
        "done": {"command": "true", "duration": 9},
        "one": {"command": PATIENT, "duration": 5},
        "two": {"command": f"({PATIENT}) & wait", "duration": 5},
        "later": "true",
        "behind": {"command": "true", "after": ["one"]},
    }
    write_work(tmp_path, tasks)
    with started(tmp_path, "run", "-j", "2", "--grace", "1") as program:
        program.wait_for("one.up", "two.up")
        program.send(signum)
        ended = program.end()
        assert nothing_left(program)
    assert (ended.status, ended.errors) == (status, "")
    assert "2 cancelled: " in ended.output
    assert "2 not started: interrupted" in ended.output
    assert ended.output.splitlines()[-1].startswith("1 succeeded, 2 cancelled, 2 skipped in")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_children_get_the_signal_then_sigterm_then_are_killed(
    tmp_path: Path, signum: signal.Signals
) -> None:
    write_work(tmp_path, {"a": RECORDING})
    with started(tmp_path, "run", "--grace", "1") as program:
        program.wait_for("a.up")
        program.send(signum)
        ended = program.end()
        assert nothing_left(program)
    assert ended.status == 128 + signum
    assert (tmp_path / "got").read_text().split() == [signum.name.removeprefix("SIG"), "TERM"]


def test_a_child_that_cleans_up_is_given_the_time(tmp_path: Path) -> None:
    command = (
        "trap 'echo cleaning; sleep 0.3; echo cleaned; exit 5' INT; touch a.up;"
        " while :; do sleep 0.05; done"
    )
    write_work(tmp_path, {"a": command})
    with started(tmp_path, "run", "--grace", "20") as program:
        program.wait_for("a.up")
        program.send(signal.SIGINT)
        assert "\ncleaning\ncleaned\n" in program.end().output


def test_a_child_that_ends_well_when_told_to_has_succeeded(tmp_path: Path) -> None:
    command = "trap 'exit 0' INT; touch a.up; while :; do sleep 0.05; done"
    write_work(tmp_path, {"a": command, "b": {"command": "true", "after": ["a"]}})
    with started(tmp_path, "run", "--grace", "20") as program:
        program.wait_for("a.up")
        program.send(signal.SIGINT)
        ended = program.end()
    assert ended.status == 130
    assert ended.output.splitlines()[-1].startswith("1 succeeded, 1 skipped in")


def test_a_second_ctrl_c_kills_at_once(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": RECORDING, "b": STUBBORN})
    with started(tmp_path, "run", "-j", "2", "--grace", "1h") as program:
        program.wait_for("a.up", "b.up")
        program.send(signal.SIGINT)
        program.wait_for("got")
        program.send(signal.SIGINT)
        ended = program.end()
        assert nothing_left(program)
    assert ended.status == 130


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_comes_twice_leaves_the_grace(tmp_path: Path, signum: signal.Signals) -> None:
    """As timeout(1) does it, and a terminal that is closed with its shell."""
    command = (
        f"trap 'echo x >> got; [ -e again ] || exit 9' {signum.name.removeprefix('SIG')};"
        " touch a.up; until [ -e enough ]; do sleep 0.05; done; echo cleaned > told"
    )
    write_work(tmp_path, {"a": command})
    (tmp_path / "again").touch()
    with started(tmp_path, "run", "--grace", "1h") as program:
        program.wait_for("a.up")
        program.send(signum)
        program.wait_for("got")
        program.send(signum)
        # An interrupt that kills is acted on before this: signals are taken one after the other.
        until(lambda: _pending(program.pid) == 0)
        (tmp_path / "enough").touch()
        ended = program.end()
    assert ended.status == 128 + signum
    assert (tmp_path / "told").read_text() == "cleaned\n"


def _pending(pid: int) -> int:
    """Return the signals that a process has been sent and that have not reached it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return sum(int(bits, 16) for bits in re.findall(r"(?:Sig|Shd)Pnd:\s*(\w+)", status))


TIME_OVER = "warning: the run was ended by its time limit: --timeout "


def test_a_time_limit_ends_a_run_in_order_and_says_so(tmp_path: Path) -> None:
    tasks = {
        "one": {"command": PATIENT, "duration": 5},
        "clean": {"command": PATIENT, "always": True},
        "later": "true",
    }
    write_work(tmp_path, tasks)
    with started(tmp_path, "run", "-j2", "--timeout", "0.5s") as program:
        ended = program.end()
        assert nothing_left(program)
    assert (ended.status, ended.errors) == (124, f"{TIME_OVER}'500 ms'\n")
    assert "2 cancelled: " in ended.output
    assert ended.output.splitlines()[-1].startswith("0 succeeded, 2 cancelled, 1 skipped in")
    recorded = json.loads(run(tmp_path, "show", "last", "--json").output)
    assert recorded["outcome"] == "cancelled"


def test_a_run_goes_on_that_its_time_limit_has_ended(tmp_path: Path) -> None:
    slow = "touch slow.up; [ -e faster ] || sleep 60"
    write_work(tmp_path, {"done": "true", "slow": {"command": slow, "after": ["done"]}})
    assert run(tmp_path, "run", "--timeout", "0.5").status == 124
    (tmp_path / "faster").touch()
    ended = run(tmp_path, "run", "--resume", "--timeout", "1h")
    assert (ended.status, ended.errors) == (0, "")
    assert "1 succeeded, 1 cached in" in ended.output


def test_what_does_not_end_when_the_time_limit_is_over_is_killed(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": STUBBORN})
    with started(tmp_path, "run", "--timeout", "0.3", "--grace", "0.2") as program:
        ended = program.end()
        assert nothing_left(program)
    assert ended.status == 124


def test_ctrl_c_kills_at_once_what_the_time_limit_has_told_to_end(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": RECORDING})
    with started(tmp_path, "run", "--timeout", "1", "--grace", "1h") as program:
        program.wait_for("got")
        program.send(signal.SIGINT)
        ended = program.end()
        assert nothing_left(program)
    assert (ended.status, ended.errors) == (124, f"{TIME_OVER}'1.0 s'\n")
    assert (tmp_path / "got").read_text().split() == ["TERM"]


def test_a_signal_that_comes_before_the_time_limit_is_what_ends_the_run(tmp_path: Path) -> None:
    """The limit is over before SIGTERM follows, which ends the task."""
    write_work(tmp_path, {"a": "trap '' INT; touch a.up; while :; do sleep 0.02; done"})
    with started(tmp_path, "run", "--timeout", "0.8", "--grace", "1.8") as program:
        program.wait_for("a.up")
        program.send(signal.SIGINT)
        ended = program.end()
    assert (ended.status, ended.errors) == (130, "")


def test_a_time_limit_that_is_over_after_the_run_does_nothing(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "true", "b": "exit 3"})
    ended = run(tmp_path, "run", "-k", "--timeout", "30")
    assert (ended.status, ended.errors) == (1, "")


def test_what_a_child_started_ends_with_it_in_whatever_group(tmp_path: Path) -> None:
    stubborn = 'trap "" INT TERM; touch $0.up; while :; do sleep 0.05; done'
    command = (
        f"sh -c '{stubborn}' one & timeout 300 sh -c '{stubborn}' two & timeout 300 sleep 300 &"
        " touch a.up; sleep 300"
    )
    write_work(tmp_path, {"a": command})
    with started(tmp_path, "run", "--grace", "0.2") as program:
        program.wait_for("a.up", "one.up", "two.up")
        program.send(signal.SIGINT)
        assert program.end().status == 130
        assert nothing_left(program)


def test_a_leader_that_ends_at_once_does_not_save_its_followers(tmp_path: Path) -> None:
    command = "(trap '' INT TERM; touch a.up; while :; do sleep 0.05; done) & wait; exit 0"
    write_work(tmp_path, {"a": command})
    with started(tmp_path, "run", "--grace", "0.2") as program:
        program.wait_for("a.up")
        program.send(signal.SIGTERM)
        assert program.end().status == 143
        assert nothing_left(program)


def test_a_stopped_child_is_killed(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "touch a.up; kill -STOP $$"})
    with started(tmp_path, "run", "--grace", "0.2") as program:
        program.wait_for("a.up")
        program.send(signal.SIGINT)
        assert program.end().status == 130
        assert nothing_left(program)


def test_hundreds_of_children_end_within_the_grace(tmp_path: Path) -> None:
    """To look for each one's session by itself took longer than that."""
    names = [f"t{number}" for number in range(300)]
    write_work(tmp_path, dict.fromkeys(names, "touch up.$PW_TASK; exec sleep 300"))
    with started(tmp_path, "run", "-j", "0", "--grace", "1h") as program:
        program.wait_for(*(f"up.{name}" for name in names))
        program.send(signal.SIGINT)
        ended = program.end()
        assert nothing_left(program)
    assert ended.output.splitlines()[-1].startswith("0 succeeded, 300 cancelled in")


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_ignored_from_the_start_stays_ignored(
    tmp_path: Path, signum: signal.Signals
) -> None:
    write_work(
        tmp_path, {"a": f"kill -{signum} $$; touch a.up; until [ -e on ]; do sleep 0.02; done"}
    )
    with started(
        tmp_path, "run", preexec_fn=lambda: signal.signal(signum, signal.SIG_IGN)
    ) as program:
        program.wait_for("a.up")
        program.send(signum)
        (tmp_path / "on").touch()
        ended = program.end()
    assert ended.status == 0
    assert ended.output.splitlines()[-1].startswith("1 succeeded in")


def test_children_are_waited_for_though_whoever_started_us_waits_for_none(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "exit 3"})
    ended = run(tmp_path, "run", preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert ended.status == 1
    assert "exit status 3" in ended.output


@pytest.mark.parametrize("verb", ["run", "check"])
def test_an_interrupt_before_anything_runs_says_nothing(tmp_path: Path, verb: str) -> None:
    fifo = tmp_path / "graph.json"
    os.mkfifo(fifo)
    with started(tmp_path, verb, "graph.json") as program:
        writer = os.open(fifo, os.O_WRONLY)  # when this is open, the file is being read
        program.send(signal.SIGINT)
        ended = program.end()
        os.close(writer)
    assert ended.status == 130
    assert (ended.output, ended.errors.strip()) == ("", "")
    assert not (tmp_path / ".parallel-workers").exists()


def test_an_interrupt_during_retries_gives_up_on_them(tmp_path: Path) -> None:
    write_work(
        tmp_path,
        {"a": {"command": "[ -e a.up ] && exec sleep 300; touch a.up; false", "retries": 9}},
    )
    output = tmp_path / "output"
    with output.open("wb") as file, started(tmp_path, "run", stdout=file) as program:
        until(lambda: "trying again" in output.read_text())
        until(lambda: len(list(run_directory(tmp_path).glob("*.log"))) == 2)
        program.send(signal.SIGINT)
        assert program.end().status == 130
        assert nothing_left(program)
    assert output.read_text().count("trying again") == 1


def test_no_zombie_is_left_while_the_run_goes_on(tmp_path: Path) -> None:
    look = 'grep -l "^PPid:[[:space:]]*$PPID$" /proc/[0-9]*/status 2>/dev/null > of_us;'
    look += " for f in $(cat of_us); do grep '^State:' $f; done > states"
    names = [f"t{number}" for number in range(20)]
    write_work(
        tmp_path, {**dict.fromkeys(names, "true"), "look": {"command": look, "after": names}}
    )
    assert run(tmp_path, "run", "-j", "4").status == 0
    states = (tmp_path / "states").read_text().split("\n")
    assert [state for state in states if "zombie" in state] == []
    assert [state for state in states if state] != []


def test_timeout_ends_a_run_in_order(tmp_path: Path) -> None:
    command = (
        "trap 'echo got >> got' TERM; touch a.up; until [ -e got ]; do sleep 0.02; done;"
        " sleep 0.3; echo cleaned > told"
    )
    write_work(tmp_path, {"a": command})
    with started(tmp_path, "run", "--grace", "1h") as program:
        program.wait_for("a.up")
        # What `timeout` does to the command and to its group.
        subprocess.run(["kill", "-TERM", str(program.pid), str(program.pid)], check=True)
        assert program.end().status == 143
    assert (tmp_path / "told").exists()


LOUD = {
    "loud": "head -c 1000000 /dev/zero",
    "a": {"command": PATIENT, "after": ["loud"]},
    "b": PATIENT,
}
"""Writes more than a pipe holds."""

STALLED = "standard output could not be written to the end: nobody reads it"


def outcomes(directory: Path) -> tuple[str, dict[str, str]]:
    """What is recorded of the last run, and of its tasks."""
    shown = json.loads(run(directory, "show", "last", "--json").output)
    return shown["outcome"], {task["name"]: task["outcome"] for task in shown["tasks"]}


def wait_until_held_up(program: Running, reader: int | socket.socket) -> None:
    """Wait until nobody reads what the run tells; workers go on meanwhile."""
    program.wait_for("a.up", "b.up")
    until(lambda: select.select([reader], [], [], 0)[0] != [])


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupt_ends_a_run_whose_output_nobody_takes(
    tmp_path: Path, signum: signal.Signals
) -> None:
    write_work(tmp_path, LOUD)
    reader, writer = os.pipe()
    with started(tmp_path, "run", "-j", "3", "--grace", "0.2", stdout=writer) as program:
        wait_until_held_up(program, reader)
        program.send(signum)
        ended = program.end()
        assert program.left_behind() == []
    os.close(reader)
    os.close(writer)
    assert (ended.status, ended.errors) == (128 + signum, f"warning: {STALLED}\n")
    told = {"loud": "succeeded", "a": "cancelled", "b": "cancelled"}
    assert outcomes(tmp_path) == ("cancelled", told)


def test_an_interrupt_ends_a_run_of_which_nobody_reads_anything(tmp_path: Path) -> None:
    write_work(tmp_path, LOUD)
    reader, writer = os.pipe()
    with started(
        tmp_path, "run", "-j", "3", "--grace", "0.2", stdout=writer, stderr=writer
    ) as program:
        wait_until_held_up(program, reader)
        program.send(signal.SIGTERM)
        assert program.end().status == 143
    os.close(reader)
    os.close(writer)
    assert outcomes(tmp_path)[0] == "cancelled"


def test_an_interrupt_ends_a_run_that_is_stuck_for_good_with_its_journal_closed(
    tmp_path: Path,
) -> None:
    """What can be opened only once has no other way to be left than with the program."""
    write_work(tmp_path, LOUD)
    reader, writer = socket.socketpair()
    with (
        reader,
        writer,
        started(tmp_path, "run", "-j", "3", "--grace", "0.2", stdout=writer) as program,
    ):
        wait_until_held_up(program, reader)
        program.send(signal.SIGTERM)
        ended = program.end()
        assert program.left_behind() == []
    assert (ended.status, ended.errors) == (143, "")
    outcome, tasks = outcomes(tmp_path)
    assert (outcome, tasks["loud"]) == ("cancelled", "succeeded")


def test_an_interrupt_ends_a_run_whose_events_nobody_takes_and_all_is_recorded(
    tmp_path: Path,
) -> None:
    names = [f"t{number}" for number in range(1500)]
    write_work(tmp_path, {**dict.fromkeys(names, "true"), "a": PATIENT})
    reader, writer = os.pipe()
    with started(
        tmp_path,
        *("run", "-j", "2", "--grace", "0.2", "--events", f"/dev/fd/{writer}"),
        pass_fds=[writer],
    ) as program:
        os.close(writer)
        program.wait_for("a.up")
        until(lambda: _holds(reader) > MANY)
        program.send(signal.SIGTERM)
        ended = program.end()
        assert program.left_behind() == []
    os.close(reader)
    assert ended.status == 143
    told = "warning: the file of events could not be written to the end: nobody reads it\n"
    assert ended.errors == told
    assert " cancelled" in ended.output.splitlines()[-1]
    outcome, tasks = outcomes(tmp_path)
    assert (outcome, tasks["a"]) == ("cancelled", "cancelled")
    assert None not in tasks.values()


def test_an_interrupt_ends_a_run_that_cannot_begin_to_tell(tmp_path: Path) -> None:
    """What has been done before is told by the thread that hears of signals."""
    names = [f"t{number}" for number in range(1500)]
    write_work(tmp_path, {**dict.fromkeys(names, "true"), "last": "exit 1"})
    assert run(tmp_path, "run", "-k").status == 1
    reader, writer = os.pipe()
    with started(
        tmp_path, "run", "--resume", "--events", f"/dev/fd/{writer}", pass_fds=[writer]
    ) as program:
        os.close(writer)
        until(lambda: _holds(reader) > MANY)
        program.send(signal.SIGTERM)
        ended = program.end()
    os.close(reader)
    assert ended.status == 143
    assert outcomes(tmp_path)[0] == "cancelled"


MANY = 30_000
"""Bytes that a full pipe may hold: what does not fit into the rest of a page begins another."""


def _holds(pipe: int) -> int:
    """Return how many bytes lie in a pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


@pytest.mark.parametrize("times", [1, 2])
def test_a_quit_says_where_the_run_stands_and_it_goes_on(tmp_path: Path, times: int) -> None:
    """Twice, since a second Ctrl-C does what no second SIGQUIT should."""
    waiting = "echo $$ > $PW_TASK.pid; touch $PW_TASK.up; until [ -e go ]; do sleep 0.02; done"
    write_work(tmp_path, {"a": waiting, "b": waiting})
    errors = tmp_path / "errors"
    with errors.open("wb") as file, started(tmp_path, "run", "-j", "2", stderr=file) as program:
        program.wait_for("a.up", "b.up")
        for lines in range(3, 3 * times + 1, 3):
            program.send(signal.SIGQUIT)
            until(partial(_has_lines, errors, lines))
        (tmp_path / "go").touch()
        ended = program.end()
    assert ended.status == 0
    assert ended.output.splitlines()[-1].startswith("2 succeeded in")
    directory = run_directory(tmp_path).relative_to(tmp_path)
    told = errors.read_text().splitlines()
    assert told[::3] == ["2 tasks running"] * times
    for number, (name, line) in enumerate(zip("ab", sorted(told[-2:]), strict=True), 1):
        pid = (tmp_path / f"{name}.pid").read_text().strip()
        assert line.startswith(f"  {name}  ")
        assert line.endswith(f"s  process {pid}  log {directory}/{number}-{name}.1.log")


def _has_lines(path: Path, count: int) -> bool:
    return path.read_text().count("\n") == count


def test_a_quit_is_answered_though_nobody_takes_the_output(tmp_path: Path) -> None:
    write_work(tmp_path, {"loud": "head -c 1000000 /dev/zero", "a": PATIENT})
    errors = tmp_path / "errors"
    reader, writer = os.pipe()
    with (
        errors.open("wb") as file,
        started(tmp_path, "run", "-j", "2", stdout=writer, stderr=file) as program,
    ):
        program.wait_for("a.up")
        until(lambda: select.select([reader], [], [], 0)[0] != [])
        program.send(signal.SIGQUIT)
        until(lambda: "a  " in errors.read_text())
    os.close(reader)
    os.close(writer)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


JOB = ("bash", "-c", 'set -m; "$@"; touch stopped; until [ -e fg ]; do sleep 0.02; done; fg', "-")
"""A shell that has control of its jobs: when the program has stopped, it waits to let it go on."""

TWO_GROUPS = (
    "timeout 300 sh -c 'echo $$ > part; mv part other; while :; do sleep 0.02; done' &"
    " echo $$ > pid; until [ -e other ]; do sleep 0.02; done;"
    " touch a.up; until [ -e go ]; do sleep 0.02; done; exit 3"
)


def _states(directory: Path) -> set[str]:
    """The states of the two processes that `TWO_GROUPS` writes the ids of."""
    states = set()
    for name in ("pid", "other"):
        stat = Path(f"/proc/{(directory / name).read_text().strip()}/stat").read_text()
        states.add(stat[stat.rindex(")") + 2])
    return states


def _words(pid: int) -> list[bytes]:
    """The words that a process was started with; none if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _runner(program: Running) -> int:
    """The process of the program itself, where a shell has started it."""
    return next(
        pid
        for pid in program.left_behind()
        if b"parallel_workers" in _words(pid) and pid != program.pid
    )


class Keyboard(Pty):
    """A terminal that can be typed at."""

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)


@pytest.mark.program("bash")
@pytest.mark.parametrize("terminal", [True, False], ids=["Ctrl-Z", "SIGTSTP"])
def test_a_stop_stops_the_children_too_until_the_run_goes_on(
    tmp_path: Path, terminal: bool
) -> None:
    write_work(tmp_path, {"a": TWO_GROUPS})
    with contextlib.ExitStack() as stack:
        pty = Keyboard(columns=100)
        stack.enter_context(pty)
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), pty.fd) if terminal else {}
        program = stack.enter_context(
            started(
                tmp_path,
                "run",
                before=JOB,
                env={"TERM": "xterm"},
                start_new_session=True,
                preexec_fn=_take_terminal if terminal else None,
                **streams,
            )
        )
        program.wait_for("a.up")
        until(lambda: _states(tmp_path) <= {"S", "R"})
        if terminal:
            until(lambda: "1 running" in pty.screen().rows[-1])
            pty.press(b"\x1a")
        else:
            os.kill(_runner(program), signal.SIGTSTP)
        program.wait_for("stopped")
        # A shell whose child was stopped before it became another program waits for that (D).
        until(lambda: _states(tmp_path) <= {"T", "D"})
        if terminal:
            assert [row for row in pty.screen().rows if "running" in row] == []
        (tmp_path / "fg").touch()
        until(lambda: _states(tmp_path) <= {"S", "R"})
        if terminal:
            until(lambda: "1 running" in pty.screen().rows[-1])
        (tmp_path / "go").touch()
        assert program.end().status == 1


@pytest.mark.program("bash")
def test_a_stopped_run_can_be_ended(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": f"trap 'touch got; exit 4' TERM; {TWO_GROUPS}"})
    with started(tmp_path, "run", before=JOB, start_new_session=True) as program:
        program.wait_for("a.up")
        runner = _runner(program)
        os.kill(runner, signal.SIGTSTP)
        program.wait_for("stopped")
        os.kill(runner, signal.SIGTERM)
        (tmp_path / "fg").touch()
        ended = program.end()
        assert nothing_left(program)
    assert ended.status == 143
    assert (tmp_path / "got").exists()


@pytest.mark.slow
@pytest.mark.program("bash")
def test_time_for_which_a_run_is_stopped_does_not_count_for_its_limit(tmp_path: Path) -> None:
    """The limit is over by the clock on the wall when the run goes on, and by its own later."""
    write_work(tmp_path, {"a": "touch a.up; until [ -e go ]; do sleep 0.02; done"})
    with started(tmp_path, "run", "--timeout", "5", before=JOB, start_new_session=True) as program:
        program.wait_for("a.up")
        os.kill(_runner(program), signal.SIGTSTP)
        program.wait_for("stopped")
        time.sleep(5.1)
        (tmp_path / "fg").touch()
        time.sleep(0.5)  # in which it would be ended
        (tmp_path / "go").touch()
        assert program.end().status == 0


def test_a_stop_that_nobody_could_end_is_none(tmp_path: Path) -> None:
    """The system lets no process stop whose group has no parent that would let it go on."""
    write_work(tmp_path, {"a": TWO_GROUPS})
    with started(tmp_path, "run", start_new_session=True) as program:
        program.wait_for("a.up")
        program.send(signal.SIGTSTP)
        until(lambda: _pending(program.pid) == 0)
        (tmp_path / "go").touch()
        assert program.end().status == 1


def test_a_signal_to_go_on_reaches_children_that_have_been_stopped(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "touch a.up; kill -STOP $$; echo on"})
    with started(tmp_path, "run") as program:
        program.wait_for("a.up")
        leader = next(pid for pid in program.left_behind() if os.getsid(pid) == pid != program.pid)
        until(lambda: Path(f"/proc/{leader}/stat").read_text().split()[2] == "T")
        program.send(signal.SIGCONT)
        assert program.end().status == 0


@pytest.fixture
def escaped(tmp_path: Path) -> str:
    """A command that leaves a daemon: forked twice, in a session of its own, deaf to signals."""
    (tmp_path / "daemon").write_text(STUBBORN)
    return "(setsid sh -c '(setsid sh daemon &)' &)"


def _guardian(directory: Path) -> int | None:
    """The process id of the guardian of the only run that was made in `directory`."""
    name = f"parallel-workers, guardian of run {run_directory(directory).name}".encode()
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return next((pid for pid in pids if name in _words(pid)), None)


def _no_guardian(directory: Path) -> bool:
    return _guardian(directory) is None


@pytest.mark.program("setsid")
@pytest.mark.parametrize(
    "signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda s: s.name
)
def test_however_a_run_is_ended_early_none_of_its_processes_is_left(
    tmp_path: Path, escaped: str, signum: signal.Signals
) -> None:
    tasks: dict[str, object] = {f"t{number}": f"{escaped}; sleep 300" for number in range(3)}
    tasks["ended"] = {"command": escaped, "duration": 9}
    tasks["stubborn"] = STUBBORN
    write_work(tmp_path, tasks)
    with started(tmp_path, "run", "-j", "0", "--grace", "0.2") as program:
        program.wait_for(*(f"{name}.up" for name in tasks))
        program.send(signum)
        ended = program.end()
        if signum is signal.SIGKILL:
            until(lambda: nothing_left(program))
        assert nothing_left(program)
        until(lambda: _no_guardian(tmp_path))
    assert ended.status == (-signum if signum is signal.SIGKILL else 128 + signum)


@pytest.mark.program("setsid")
@pytest.mark.parametrize("seed", range(6))
def test_a_run_that_is_killed_at_any_moment_leaves_no_process(
    tmp_path: Path, escaped: str, seed: int
) -> None:
    quick = {f"quick{number}": "true" for number in range(200)}
    leaving = {f"leaving{number}": "setsid sleep 300 &" for number in range(20)}
    write_work(tmp_path, {**leaving, **quick, "escaped": escaped, "deaf": STUBBORN})
    with started(tmp_path, "run", "-j", "8") as program:
        program.wait_for(".parallel-workers/runs")
        logs = random.Random(seed).randrange(200)
        runs = tmp_path / ".parallel-workers" / "runs"
        until(lambda: len(list(runs.glob("*/*.log"))) >= logs)
        program.send(signal.SIGKILL)
        program.end()
        until(lambda: nothing_left(program))
        until(lambda: _no_guardian(tmp_path))
        assert nothing_left(program)


@pytest.mark.program("setsid")
def test_what_has_escaped_gets_the_signals_that_children_get(tmp_path: Path) -> None:
    (tmp_path / "daemon").write_text(RECORDING)
    first = "setsid sh daemon &"
    write_work(tmp_path, {"first": first, "a": {"command": PATIENT, "after": ["first"]}})
    with started(tmp_path, "run", "--grace", "1") as program:
        program.wait_for("a.up", "first.up")
        program.send(signal.SIGHUP)  # a shell has what it starts in the background ignore SIGINT
        assert program.end().status == 129
        assert nothing_left(program)
    assert (tmp_path / "got").read_text().split() == ["HUP", "TERM"]


@pytest.mark.program("setsid")
def test_a_second_ctrl_c_kills_what_has_escaped_and_is_all_that_is_left(
    tmp_path: Path, escaped: str
) -> None:
    write_work(tmp_path, {"first": escaped, "a": {"command": PATIENT, "after": ["first"]}})
    with started(tmp_path, "run", "--grace", "1h") as program:
        program.wait_for("a.up", "first.up")
        program.send(signal.SIGINT)
        until(lambda: len(program.left_behind()) <= 3)  # with a `sleep` of what has escaped
        program.send(signal.SIGINT)
        assert program.end().status == 130
        assert nothing_left(program)


@pytest.mark.program("setsid")
@pytest.mark.parametrize("command", ["true", "false"])
def test_what_tasks_leave_running_on_purpose_lives_on_after_a_run(
    tmp_path: Path, escaped: str, command: str
) -> None:
    write_work(tmp_path, {"daemon": escaped, "end": {"command": command, "after": ["daemon"]}})
    with started(tmp_path, "run") as program:
        program.wait_for("daemon.up")
        assert program.end().status == (command == "false")
        assert _no_guardian(tmp_path)
        assert not nothing_left(program)


@pytest.mark.program("setsid")
def test_without_the_mark_of_the_runner_in_its_environment_a_process_always_lives_on(
    tmp_path: Path,
) -> None:
    daemon = "env -u PW_RUNNER setsid sh -c 'touch daemon.up; while :; do sleep 0.05; done' &"
    write_work(tmp_path, {"daemon": daemon, "a": {"command": PATIENT, "after": ["daemon"]}})
    with started(tmp_path, "run") as program:
        program.wait_for("daemon.up", "a.up")
        program.send(signal.SIGINT)
        assert program.end().status == 130
        assert not nothing_left(program)


def test_a_run_within_a_run_ends_with_it(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    write_work(inner, {"deep": f"{STUBBORN.replace('$PW_TASK', '../deep')}"})
    write_work(tmp_path, {"outer": {"command": [*WORDS, "run"], "cwd": "inner"}})
    with started(tmp_path, "run") as program:
        program.wait_for("deep.up")
        program.send(signal.SIGKILL)
        program.end()
        until(lambda: nothing_left(program))


def test_what_reads_our_output_sees_its_end_when_we_are_killed(tmp_path: Path) -> None:
    """Nothing that we have started holds it open."""
    write_work(tmp_path, {"a": f"({STUBBORN}) & wait"})
    with started(tmp_path, "run") as program:
        program.wait_for("a.up")
        program.send(signal.SIGKILL)
        assert program.end().status == -signal.SIGKILL


def test_a_killed_guardian_is_replaced_and_told_of(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "touch a.up; until [ -e go ]; do sleep 0.02; done"})
    with started(tmp_path, "run") as program:
        program.wait_for("a.up")
        first = _guardian(tmp_path)
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: _guardian(tmp_path) not in (None, first))
        (tmp_path / "go").touch()
        ended = program.end()
        assert _no_guardian(tmp_path)
    assert ended.status == 0
    assert ended.errors.startswith("warning: the guardian, ")
    assert ended.errors.count("\n") == 1
