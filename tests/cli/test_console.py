"""Tasks that have the terminal, and those that somebody has to confirm, at a real terminal."""

import os
import signal
import termios
from pathlib import Path

import pytest

from tests.support.keyboard import Keyboard, at
from tests.support.program import run, run_directory, until, write_work


def shows(terminal: Keyboard, text: str) -> None:
    """Wait until a text stands on the screen."""
    until(lambda: any(text in row for row in terminal.screen().rows))


def task(command: str, **fields: object) -> dict[str, object]:
    return {"command": command, "console": True, **fields}


def test_a_task_that_has_the_terminal_reads_and_writes_there(
    tmp_path: Path, terminal: Keyboard
) -> None:
    ask = "tty; test -t 1 -a -t 2 && stty size; printf 'name? '; read name; echo hi $name"
    write_work(tmp_path, {"ask": task(ask), "next": {"command": "true", "after": ["ask"]}})
    modes = termios.tcgetattr(terminal.fd)
    with at(terminal.fd, tmp_path, "run") as program:
        shows(terminal, "name?")
        terminal.press(b"Ann\r")
        assert program.end().status == 0
    rows = terminal.screen().rows
    assert rows[0].startswith("/dev/pts/")
    assert rows[0] != os.ttyname(terminal.fd)
    assert rows[1:4] == ["24 100", "name? Ann", "hi Ann"]
    assert rows[4].startswith("✓ ask  ")
    assert rows[6].startswith("2 succeeded in")
    assert termios.tcgetattr(terminal.fd) == modes
    [log] = run_directory(tmp_path).glob("*-ask.1.log")
    assert log.read_text().splitlines()[-1] == "hi Ann"


def test_what_others_write_waits_until_the_terminal_is_free(
    tmp_path: Path, terminal: Keyboard
) -> None:
    tasks = {
        "edit": task("touch edits; read line; echo got $line"),
        "other": "until [ -e edits ]; do sleep 0.01; done; echo from the other",
        "last": {"command": "touch others", "after": ["other"]},
    }
    write_work(tmp_path, tasks)
    with at(terminal.fd, tmp_path, "run", "-j2", "--events", "events") as program:
        program.wait_for("others")
        until(lambda: (tmp_path / "events").read_text().count("task_ended") == 2)
        assert not [row for row in terminal.screen().rows if row]
        terminal.press(b"x\r")
        assert program.end().status == 0
    rows = terminal.screen().rows
    assert rows[:2] == ["x", "got x"]
    assert "from the other" in rows


def test_one_task_at_a_time_has_the_terminal_and_others_do_not_wait_for_that(
    tmp_path: Path, terminal: Keyboard
) -> None:
    alone = "mkdir alone && touch $PW_TASK.up && read line && rmdir alone"
    tasks = {
        "a": task(alone, duration=9),
        "b": task(alone, duration=9),
        "c": {"command": "touch c.ran"},
    }
    write_work(tmp_path, tasks)
    with at(terminal.fd, tmp_path, "run", "-j2") as program:
        program.wait_for("a.up", "c.ran")
        assert not (tmp_path / "b.up").exists()
        terminal.press(b"\r")
        program.wait_for("b.up")
        terminal.press(b"\r")
        assert program.end().status == 0


def test_ctrl_c_at_a_task_that_has_the_terminal_ends_the_run(
    tmp_path: Path, terminal: Keyboard
) -> None:
    tasks = {"a": task("touch up; read line"), "b": {"command": "true", "after": ["a"]}}
    write_work(tmp_path, tasks)
    modes = termios.tcgetattr(terminal.fd)
    with at(terminal.fd, tmp_path, "run") as program:
        program.wait_for("up")
        terminal.press(b"\x03")
        assert program.end().status == 130
    assert any(row.startswith("■ a  cancelled") for row in terminal.screen().rows)
    assert termios.tcgetattr(terminal.fd) == modes


def test_a_task_that_has_the_terminal_may_do_what_it_likes_with_ctrl_c(
    tmp_path: Path, terminal: Keyboard
) -> None:
    write_work(tmp_path, {"a": task("trap 'echo caught; exit 0' INT; touch up; read line")})
    with at(terminal.fd, tmp_path, "run") as program:
        program.wait_for("up")
        terminal.press(b"\x03")
        assert program.end().status == 0
    assert any("caught" in row for row in terminal.screen().rows)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_ended_gives_the_terminal_back(
    tmp_path: Path, terminal: Keyboard, signum: signal.Signals
) -> None:
    write_work(tmp_path, {"a": task("stty -echo raw; touch up; exec sleep 600")})
    modes = termios.tcgetattr(terminal.fd)
    with at(terminal.fd, tmp_path, "run") as program:
        program.wait_for("up")
        program.send(signum)
        assert program.end().status == 128 + signum
        assert program.left_behind() == []
    assert termios.tcgetattr(terminal.fd) == modes


def test_a_task_that_reads_nothing_of_much_that_is_typed_holds_up_nobody(
    tmp_path: Path, terminal: Keyboard
) -> None:
    write_work(tmp_path, {"a": task("touch up; until [ -e go ]; do sleep 0.01; done; echo end")})
    with at(terminal.fd, tmp_path, "run") as program:
        program.wait_for("up")
        for _ in range(20):
            terminal.press(b"x" * 1000 + b"\r")
        (tmp_path / "go").touch()
        assert program.end().status == 0
    assert "end" in terminal.written().decode()


def test_a_window_that_changes_its_size_does_so_for_the_task(
    tmp_path: Path, terminal: Keyboard
) -> None:
    wait = "stty size; touch up; until stty size | grep -q ' 60$'; do sleep 0.01; done"
    write_work(tmp_path, {"a": task(wait)})
    with at(terminal.fd, tmp_path, "run") as program:
        program.wait_for("up")
        terminal.resize(60)
        assert program.end().status == 0


def test_the_output_of_a_failure_at_the_terminal_is_told_at_the_end(
    tmp_path: Path, terminal: Keyboard
) -> None:
    write_work(tmp_path, {"a": task("echo it broke; exit 3")})
    with at(terminal.fd, tmp_path, "run") as program:
        assert program.end().status == 1
    rows = terminal.screen().rows
    assert [row.strip() for row in rows if "it broke" in row] == [
        "it broke",
        "$ echo it broke; exit 3",
        "$ echo it broke; exit 3",
        "| it broke",
    ]


def test_without_a_terminal_a_task_that_wants_it_runs_as_any_other(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": task("test -t 0 || echo no terminal")})
    ended = run(tmp_path, "run")
    assert ended.status == 0
    assert "no terminal\n" in ended.output


CONFIRMED = {
    "plan": "echo the plan",
    "apply": {"command": "touch applied", "after": ["plan"], "confirm": "Apply this plan?"},
    "report": {"command": "touch reported", "after": ["apply"]},
}


@pytest.mark.parametrize("answer", [b"y\r", b"YES\r", b" y \r"])
def test_a_task_that_is_confirmed_runs(tmp_path: Path, terminal: Keyboard, answer: bytes) -> None:
    write_work(tmp_path, CONFIRMED)
    with at(terminal.fd, tmp_path, "run") as program:
        shows(terminal, "apply: Apply this plan? [y/N]")
        assert "the plan" in terminal.screen().rows
        assert not (tmp_path / "applied").exists()
        terminal.press(answer)
        assert program.end().status == 0
    assert (tmp_path / "reported").exists()


@pytest.mark.parametrize("answer", [b"n\r", b"\r", b"maybe\r", b"\x04"])
def test_any_other_answer_fails_the_task(tmp_path: Path, terminal: Keyboard, answer: bytes) -> None:
    write_work(tmp_path, CONFIRMED)
    with at(terminal.fd, tmp_path, "run") as program:
        shows(terminal, "[y/N]")
        terminal.press(answer)
        assert program.end().status == 1
    rows = terminal.screen().rows
    assert "✗ apply  not confirmed" in rows
    assert "1 skipped because of apply" in rows
    assert not (tmp_path / "applied").exists()


def test_what_was_typed_before_it_was_asked_is_no_answer(
    tmp_path: Path, terminal: Keyboard
) -> None:
    tasks = {**CONFIRMED, "plan": "touch up; until [ -e go ]; do sleep 0.01; done"}
    write_work(tmp_path, tasks)
    with at(terminal.fd, tmp_path, "run") as program:
        program.wait_for("up")
        terminal.press(b"y\r")
        (tmp_path / "go").touch()
        shows(terminal, "[y/N]")
        assert not (tmp_path / "applied").exists()
        terminal.press(b"n\r")
        assert program.end().status == 1


def test_ctrl_c_ends_a_run_that_asks(tmp_path: Path, terminal: Keyboard) -> None:
    write_work(tmp_path, CONFIRMED)
    modes = termios.tcgetattr(terminal.fd)
    with at(terminal.fd, tmp_path, "run") as program:
        shows(terminal, "[y/N]")
        terminal.press(b"\x03")
        assert program.end().status == 130
    assert any(row.startswith("■ apply  cancelled") for row in terminal.screen().rows)
    assert termios.tcgetattr(terminal.fd) == modes


def test_a_failure_elsewhere_makes_a_question_pointless(tmp_path: Path, terminal: Keyboard) -> None:
    tasks = {**CONFIRMED, "fails": "until [ -e go ]; do sleep 0.01; done; exit 1"}
    write_work(tmp_path, tasks)
    with at(terminal.fd, tmp_path, "run", "-j2") as program:
        shows(terminal, "[y/N]")
        (tmp_path / "go").touch()
        assert program.end().status == 1
    assert any(row.startswith("■ apply  cancelled") for row in terminal.screen().rows)


def test_questions_are_asked_one_after_the_other_and_once_for_all_attempts(
    tmp_path: Path, terminal: Keyboard
) -> None:
    tries = "test -e $PW_TASK.tried || { touch $PW_TASK.tried; exit 1; }"
    asked = {"command": tries, "confirm": "Really?", "retries": 1}
    write_work(tmp_path, {"a": asked, "b": asked})
    with at(terminal.fd, tmp_path, "run", "-j2") as program:
        for number in (1, 2):
            until(lambda: terminal.written().count(b"Really? [y/N]") == number)  # noqa: B023
            terminal.press(b"y\r")
        assert program.end().status == 0
    assert terminal.written().count(b"Really?") == 2


def test_questions_hold_up_one_worker_however_many_there_are(
    tmp_path: Path, terminal: Keyboard
) -> None:
    asked = {"command": "true", "confirm": "Really?", "duration": 9}
    chain = {"c1": "true", "c2": {"command": "touch c2.ran", "after": ["c1"]}}
    write_work(tmp_path, {"a": asked, "b": asked, "c": asked, **chain})
    with at(terminal.fd, tmp_path, "run", "-j2") as program:
        program.wait_for("c2.ran")
        for number in (1, 2, 3):
            until(lambda: terminal.written().count(b"Really? [y/N]") == number)  # noqa: B023
            terminal.press(b"y\r")
        assert program.end().status == 0


def test_a_task_that_was_confirmed_leaves_the_terminal_to_others(
    tmp_path: Path, terminal: Keyboard
) -> None:
    wait = "until [ -e go ]; do sleep 0.01; done"
    write_work(
        tmp_path,
        {
            "a": {"command": wait, "confirm": "Really?", "duration": 9},
            "b": task("touch go; read line; echo got $line"),
        },
    )
    with at(terminal.fd, tmp_path, "run", "-j2") as program:
        shows(terminal, "[y/N]")
        terminal.press(b"y\r")
        program.wait_for("go")
        terminal.press(b"x\r")
        assert program.end().status == 0


def test_a_task_that_is_confirmed_may_have_the_terminal(tmp_path: Path, terminal: Keyboard) -> None:
    write_work(tmp_path, {"a": task("read line; echo got $line", confirm="Now?")})
    with at(terminal.fd, tmp_path, "run") as program:
        shows(terminal, "[y/N]")
        terminal.press(b"y\r")
        terminal.press(b"word\r")
        assert program.end().status == 0
    assert "got word" in terminal.screen().rows


def test_yes_answers_all_questions(tmp_path: Path, terminal: Keyboard) -> None:
    write_work(tmp_path, CONFIRMED)
    with at(terminal.fd, tmp_path, "run", "--yes") as program:
        assert program.end().status == 0
    assert b"[y/N]" not in terminal.written()
    assert (tmp_path / "reported").exists()


def test_without_a_terminal_a_task_to_be_confirmed_is_parked_until_somebody_is_there(
    tmp_path: Path, terminal: Keyboard
) -> None:
    write_work(tmp_path, {**CONFIRMED, "other": "true"})
    for arguments in (["run"], ["run", "--resume"]):
        ended = run(tmp_path, *arguments)
        assert (ended.status, ended.errors) == (4, "")
        assert "1 parked; --resume asks again in a terminal, --yes answers\n" in ended.output
        assert "  apply: to be confirmed: Apply this plan?\n" in ended.output
        assert "1 skipped because of apply\n" in ended.output
        assert not (tmp_path / "applied").exists()
    assert " parked " in run(tmp_path, "runs").output
    with at(terminal.fd, tmp_path, "run", "--resume") as program:
        shows(terminal, "[y/N]")
        terminal.press(b"y\r")
        assert program.end().status == 0
    assert "2 succeeded, 2 cached in" in terminal.screen().rows[-2]
    assert run(tmp_path, "run", "--resume").status == 0


@pytest.mark.parametrize("field", [{"confirm": "Really?"}, {"console": True}])
def test_without_any_standard_input_there_is_no_terminal(
    tmp_path: Path, field: dict[str, object]
) -> None:
    write_work(tmp_path, {"a": {"command": "true", **field}})
    ended = run(tmp_path, "run", before=("sh", "-c", 'exec "$@" <&-', "sh"))
    assert (ended.status, ended.errors) == (4 if "confirm" in field else 0, "")


def test_a_failure_weighs_more_than_what_is_parked(tmp_path: Path) -> None:
    write_work(tmp_path, {**CONFIRMED, "fails": {"command": "exit 1", "after": ["plan"]}})
    ended = run(tmp_path, "run", "-k")
    assert ended.status == 1
    assert "1 succeeded, 1 failed, 1 skipped, 1 parked in" in ended.output


def test_who_interrupts_the_run_itself_leaves_others_their_grace(
    tmp_path: Path, terminal: Keyboard
) -> None:
    cleans = "trap 'sleep 0.3; touch cleaned; exit 1' INT; touch b.up; while :; do sleep 0.05; done"
    write_work(tmp_path, {"a": task("touch a.up; exec sleep 600"), "b": cleans})
    with at(terminal.fd, tmp_path, "run", "-j2") as program:
        program.wait_for("a.up", "b.up")
        program.send(signal.SIGINT)
        assert program.end().status == 130
    assert (tmp_path / "cleaned").exists()


def test_after_ctrl_c_at_a_task_nothing_starts_nor_is_tried_again(
    tmp_path: Path, terminal: Keyboard
) -> None:
    tasks = {
        "a": task("echo up >> up; exec sleep 600", retries=3, duration=9),
        "b": "touch b.ran",
    }
    write_work(tmp_path, tasks)
    with at(terminal.fd, tmp_path, "run", "-j1", "-k") as program:
        program.wait_for("up")
        terminal.press(b"\x03")
        assert program.end().status == 130
    assert (tmp_path / "up").read_text() == "up\n"
    assert not (tmp_path / "b.ran").exists()


def test_whoever_says_no_is_not_asked_again_for_another_attempt(
    tmp_path: Path, terminal: Keyboard
) -> None:
    write_work(tmp_path, {"a": {"command": "true", "confirm": "Really?", "retries": 2}})
    with at(terminal.fd, tmp_path, "run") as program:
        shows(terminal, "[y/N]")
        terminal.press(b"n\r")
        assert program.end().status == 1
    assert terminal.written().count(b"[y/N]") == 1


def test_the_log_of_a_task_at_the_terminal_is_like_any_other(
    tmp_path: Path, terminal: Keyboard
) -> None:
    tasks = {"rm": "rm -r .parallel-workers/runs", "a": task("echo kept", after=["rm"])}
    write_work(tmp_path, tasks)
    with at(terminal.fd, tmp_path, "run") as program:
        # Not all was recorded, since the logs were deleted.
        assert program.end().status == 3
    [log] = run_directory(tmp_path).glob("*-a.1.log")
    assert log.read_text() == "kept\n"
    assert log.stat().st_mode & 0o777 == 0o600


def test_ctrl_z_at_a_task_stops_nothing_that_nobody_could_continue(
    tmp_path: Path, terminal: Keyboard
) -> None:
    write_work(tmp_path, {"a": task("touch up; read line; echo got $line")})
    with at(terminal.fd, tmp_path, "run") as program:
        program.wait_for("up")
        terminal.press(b"\x1a")
        shows(terminal, "^Z")
        terminal.press(b"word\r")
        assert program.end().status == 0
    assert "got word" in terminal.screen().rows


def test_a_terminal_that_is_closed_ends_a_task_that_has_it(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": task("touch up; exec sleep 600")})
    master, slave = os.openpty()
    with at(slave, tmp_path, "run") as program:
        os.close(slave)
        program.wait_for("up")
        os.close(master)
        assert program.end().status == 129
        assert program.left_behind() == []
    assert "cancelled" in run(tmp_path, "show", run_directory(tmp_path).name).output


JOB = ("bash", "-c", 'set -m; "$@"; touch stopped; until [ -e fg ]; do sleep 0.02; done; fg', "-")
"""A shell that has control of its jobs: when the program has stopped, it waits to let it go on."""


@pytest.mark.program("bash")
def test_a_run_that_is_stopped_while_a_task_has_the_terminal_gives_it_back_meanwhile(
    tmp_path: Path, terminal: Keyboard
) -> None:
    write_work(tmp_path, {"a": task("echo $PPID > pid; mv pid runner; read line; echo got $line")})
    modes = termios.tcgetattr(terminal.fd)
    with at(terminal.fd, tmp_path, "run", before=JOB) as program:
        program.wait_for("runner")
        os.kill(int((tmp_path / "runner").read_text()), signal.SIGTSTP)
        program.wait_for("stopped")
        assert termios.tcgetattr(terminal.fd) == modes
        (tmp_path / "fg").touch()
        until(lambda: termios.tcgetattr(terminal.fd) != modes)
        terminal.press(b"word\r")
        assert program.end().status == 0
    assert "got word" in terminal.screen().rows
    assert termios.tcgetattr(terminal.fd) == modes


@pytest.mark.program("bash")
def test_a_run_that_goes_on_after_ctrl_z_asks_again(tmp_path: Path, terminal: Keyboard) -> None:
    write_work(tmp_path, CONFIRMED)
    with at(terminal.fd, tmp_path, "run", before=JOB) as program:
        shows(terminal, "[y/N]")
        terminal.press(b"\x1a")
        program.wait_for("stopped")
        (tmp_path / "fg").touch()
        until(lambda: terminal.written().count(b"[y/N]") == 2)
        terminal.press(b"y\r")
        assert program.end().status == 0
    assert (tmp_path / "reported").exists()
