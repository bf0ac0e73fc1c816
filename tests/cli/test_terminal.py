"""The program on a real terminal: the status, the keys, and what is left of both."""

import os
import termios
from pathlib import Path

import pytest

from tests.support.keyboard import Keyboard, at
from tests.support.program import until, write_work

WAITING = "touch $PW_TASK.up; until [ -e go ]; do sleep 0.02; done"


def test_the_last_line_is_a_status_that_is_not_left_behind(
    tmp_path: Path, terminal: Keyboard
) -> None:
    write_work(tmp_path, {"first": "true", "a": {"command": WAITING, "after": ["first"]}})
    modes = termios.tcgetattr(terminal.fd)
    with at(terminal.fd, tmp_path, "run") as program:
        program.wait_for("a.up")
        until(lambda: "1 of 2" in terminal.bottom() and "1 running" in terminal.bottom())
        (tmp_path / "go").touch()
        assert program.end().status == 0
    screen = terminal.screen()
    assert [row for row in screen.rows if " of 2" in row] == []
    assert [row.split()[1] for row in screen.rows[:2]] == ["first", "a"]
    assert screen.rows[2].startswith("2 succeeded in")
    assert screen.rows[3:] == [""]
    assert screen.plain
    assert termios.tcgetattr(terminal.fd) == modes


def test_ctrl_c_ends_the_run_and_leaves_the_terminal_as_it_was(
    tmp_path: Path, terminal: Keyboard
) -> None:
    write_work(tmp_path, {"a": WAITING, "b": {"command": "true", "after": ["a"]}})
    modes = termios.tcgetattr(terminal.fd)
    with at(terminal.fd, tmp_path, "run") as program:
        program.wait_for("a.up")
        until(lambda: "1 running" in terminal.bottom())
        terminal.press(b"\x03")
        assert program.end().status == 130
        assert program.left_behind() == []
    screen = terminal.screen()
    assert [row for row in screen.rows if "running" in row] == []
    assert screen.rows[-2].startswith("0 succeeded, 1 cancelled, 1 skipped in")
    assert screen.plain
    assert termios.tcgetattr(terminal.fd) == modes


def test_ctrl_c_twice_kills(tmp_path: Path, terminal: Keyboard) -> None:
    write_work(tmp_path, {"a": "trap 'touch got' INT; touch a.up; while :; do sleep 0.05; done"})
    with at(terminal.fd, tmp_path, "run", "--grace", "1h") as program:
        program.wait_for("a.up")
        terminal.press(b"\x03")
        program.wait_for("got")
        terminal.press(b"\x03")
        assert program.end().status == 130
        assert program.left_behind() == []


def test_a_terminal_that_is_closed_ends_the_run(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": f"trap 'echo HUP >> got; exit 1' HUP; {WAITING}"})
    master, slave = os.openpty()
    with at(slave, tmp_path, "run") as program:
        os.close(slave)
        program.wait_for("a.up")
        os.close(master)
        assert program.end().status == 129
        assert program.left_behind() == []
    assert (tmp_path / "got").read_text() == "HUP\n"


def test_a_command_that_asks_at_the_terminal_fails_instead_of_waiting(
    tmp_path: Path, terminal: Keyboard
) -> None:
    write_work(
        tmp_path,
        {"tty": "tty; test -t 0", "open": ": < /dev/tty", "write": "echo hi > /dev/tty"},
    )
    with at(terminal.fd, tmp_path, "run", "-k", "-j", "1") as program:
        assert program.end().status == 1
    rows = terminal.screen().rows
    assert "not a tty" in rows
    assert rows[-2].startswith("0 succeeded, 3 failed in")


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_dumb_terminal_gets_lines_only(tmp_path: Path, terminal: Keyboard, term: str) -> None:
    write_work(tmp_path, {"a": "sleep 0.3; echo hi", "b": "false"})
    with at(terminal.fd, tmp_path, "run", "-k", term=term) as program:
        assert program.end().status == 1
    written = terminal.written()
    assert b"\x1b" not in written
    assert b"hi\r\n" in written


def test_a_stopped_terminal_holds_up_one_worker_and_not_the_other(
    tmp_path: Path, terminal: Keyboard
) -> None:
    first = "touch $PW_TASK.up; until [ -e stopped ]; do sleep 0.02; done"
    names = [f"t{number:02}" for number in range(20)]
    tasks = {name: {"command": "touch up.$PW_TASK", "after": ["x", "y"]} for name in names}
    write_work(tmp_path, {"x": first, "y": first, **tasks})
    with at(terminal.fd, tmp_path, "run", "-j", "2") as program:
        program.wait_for("x.up", "y.up")
        terminal.press(b"\x13")  # Ctrl-S
        (tmp_path / "stopped").touch()
        # The worker that waits for the terminal has one in hand.
        until(lambda: len(list(tmp_path.glob("up.*"))) >= len(names) - 1)
        terminal.press(b"\x11")  # Ctrl-Q
        assert program.end().status == 0
    assert terminal.screen().rows[-2].startswith("22 succeeded in")
