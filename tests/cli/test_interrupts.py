"""Signals: what the children get and when, what is told, and that nothing of them is left."""

import os
import re
import select
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.program import Running, run, run_directory, started, until, write_work

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
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 143),
        (signal.SIGHUP, 129),
        (signal.SIGQUIT, 131),
    ],
    ids=["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"],
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


def test_a_quit_kills_at_once_whatever_the_grace(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": RECORDING})
    with started(tmp_path, "run", "--grace", "1000") as program:
        program.wait_for("a.up")
        program.send(signal.SIGQUIT)
        ended = program.end()
        assert nothing_left(program)
    assert ended.status == 131
    assert not (tmp_path / "got").exists() or (tmp_path / "got").read_text() == ""


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
        until(lambda: len(list(run_directory(tmp_path).iterdir())) == 2)
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


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupt_ends_a_run_whose_output_nobody_takes(
    tmp_path: Path, signum: signal.Signals
) -> None:
    tasks = {"loud": "head -c 1000000 /dev/zero", "a": {"command": PATIENT, "after": ["loud"]}}
    write_work(tmp_path, {**tasks, "b": PATIENT})
    reader, writer = os.pipe()
    with started(tmp_path, "run", "-j", "3", "--grace", "0.2", stdout=writer) as program:
        program.wait_for("b.up")
        until(lambda: select.select([reader], [], [], 0)[0] != [])
        program.send(signum)
        ended = program.end()
        assert program.left_behind() == []
    os.close(reader)
    os.close(writer)
    assert (ended.status, ended.errors) == (128 + signum, "")
