"""Policies on the command line: what a failure means, and when it is tried again."""

import re
import signal
from pathlib import Path

import pytest

from tests.support.program import run, started, write_work


def test_a_task_that_may_fail_fails_nothing_else(tmp_path: Path) -> None:
    tasks = {
        "lint": {"command": "exit 3", "allow-failure": True},
        "build": {"command": "touch built", "after": ["lint"]},
    }
    write_work(tmp_path, tasks)
    ended = run(tmp_path, "run")
    assert (ended.status, ended.errors) == (0, "")
    assert "✗ lint  exit status 3" in ended.output
    assert "1 succeeded, 1 allowed to fail in" in ended.output
    assert (tmp_path / "built").exists()


def test_what_runs_always_cleans_up_after_a_failure(tmp_path: Path) -> None:
    tasks = {
        "test": "exit 1",
        "report": {"command": "true", "after": ["test"]},
        "clean": {"command": "touch cleaned", "after": ["report"], "always": True},
    }
    write_work(tmp_path, tasks)
    ended = run(tmp_path, "run")
    assert ended.status == 1
    assert "1 succeeded, 1 failed, 1 skipped in" in ended.output
    assert (tmp_path / "cleaned").exists()


def test_a_retry_waits_and_only_after_the_statuses_that_are_named(tmp_path: Path) -> None:
    once = "test -e {0}.tried || {{ touch {0}.tried; exit {1}; }}"
    retries = {"times": 3, "delay": 0.05, "on": [75]}
    tasks = {
        "busy": {"command": once.format("busy", 75), "retries": retries},
        "wrong": {"command": once.format("wrong", 2), "retries": retries},
    }
    write_work(tmp_path, tasks)
    ended = run(tmp_path, "run", "-k")
    assert ended.status == 1
    assert "trying again in 50 ms" in ended.output
    assert "✗ wrong  exit status 2" in ended.output
    assert "1 succeeded, 1 failed in" in ended.output


@pytest.mark.parametrize("kill", ["kill -9 $$", "sh -c 'kill -9 $$'; exit $?"])
def test_a_retry_after_a_signal_is_asked_for_as_a_shell_tells_it(tmp_path: Path, kill: str) -> None:
    command = f"test -e tried || {{ touch tried; {kill}; }}"
    write_work(tmp_path, {"a": {"command": command, "retries": {"times": 1, "on": [137]}}})
    assert run(tmp_path, "run").status == 0


def test_after_so_many_failures_nothing_new_starts(tmp_path: Path) -> None:
    write_work(tmp_path, {f"t{number}": "exit 1" for number in range(5)})
    ended = run(tmp_path, "run", "-j1", "--max-failures", "2")
    assert ended.status == 1
    assert "2 failed, 3 skipped in" in ended.output


def test_a_task_holds_all_units_that_it_needs(tmp_path: Path) -> None:
    alone = "mkdir held && sleep 0.05 && rmdir held"
    tasks = {f"t{number}": {"command": alone, "pool": {"net": 2}} for number in range(3)}
    write_work(tmp_path, tasks, pools={"net": 3})
    assert run(tmp_path, "run", "-j3").status == 0


def test_a_task_that_needs_more_than_there_is_is_an_error_at_its_place(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": {"command": "true", "pool": {"net": 4}}}, pools={"net": 3})
    ended = run(tmp_path, "run")
    assert ended.status == 2
    assert "task a: pool.net: it needs 4 units of pool" in ended.errors


def test_what_is_done_already_does_not_run(tmp_path: Path) -> None:
    tasks = {
        "made": {"command": "touch again", "done-if": "test -e here"},
        "unmade": {"command": "touch there", "done-if": "test -e there"},
        "behind": {"command": "touch behind", "after": ["made", "unmade"]},
    }
    write_work(tmp_path, tasks)
    (tmp_path / "here").touch()
    ended = run(tmp_path, "run")
    assert (ended.status, ended.errors) == (0, "")
    assert "✓ made  done already\n" in ended.output
    assert "2 succeeded, 1 cached in" in ended.output
    assert not (tmp_path / "again").exists()
    assert (tmp_path / "behind").exists()
    assert "1 succeeded, 2 cached in" in run(tmp_path, "run").output


def test_a_condition_that_cannot_be_asked_fails_its_task(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": {"command": "touch run", "done-if": ["nosuch", "-x"]}})
    ended = run(tmp_path, "run")
    assert ended.status == 1
    assert "✗ a  done-if: command not found: nosuch\n  $ nosuch -x\n" in ended.output
    assert not (tmp_path / "run").exists()


def test_a_condition_is_asked_where_its_task_would_run(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    check = 'test "$PWD" = "$WHERE" && test "$PW_TASK $PW_ATTEMPT $GIVEN" = "a 1 by b"'
    task = {"command": "false", "done-if": check, "cwd": "there", "after": ["b"]}
    env = {"WHERE": str(tmp_path / "there")}
    tasks = {"a": {**task, "env": env}, "b": 'echo "GIVEN=by b" >> "$PW_OUTPUTS"'}
    write_work(tmp_path, tasks)
    assert run(tmp_path, "run").status == 0


def test_a_condition_that_takes_too_long_times_out(tmp_path: Path) -> None:
    task = {"command": "touch run", "done-if": "sleep 60", "timeout": 0.05}
    write_work(tmp_path, {"a": task})
    ended = run(tmp_path, "run")
    assert ended.status == 1
    told = r"✗ a  timed out after [\w. ]+; done-if\n  \$ sleep 60\n"
    assert len(re.findall(told, ended.output)) == 2
    assert "/dev/null" not in ended.output
    assert not (tmp_path / "run").exists()


# What a failure ends at once


BAD = "until [ -e slow.up ]; do sleep 0.01; done; exit 3"
"""Fails as soon as the other task has begun."""

STUBBORN = "trap 'touch told' TERM; touch $PW_TASK.up; while :; do sleep 0.02; done"
"""Can only be killed."""


@pytest.mark.parametrize(
    "more",
    [
        pytest.param([], id="alone"),
        pytest.param(["--jobserver", "pipe"], id="with a jobserver"),
    ],
)
def test_failing_fast_ends_what_runs_but_not_always(tmp_path: Path, more: list[str]) -> None:
    tasks = {
        "bad": BAD,
        "slow": f"({STUBBORN}) & wait",
        "behind": {"command": "touch behind", "after": ["slow"]},
        "clean": {"command": "until [ -e told ]; do sleep 0.01; done; sleep 0.1", "always": True},
        "last": {"command": "touch cleaned", "after": ["slow"], "always": True},
    }
    write_work(tmp_path, tasks)
    with started(tmp_path, "run", "-j3", "--fail-fast", "--grace", "0.2", *more) as program:
        ended = program.end()
        assert program.left_behind() == []
    assert (ended.status, ended.errors) == (1, "")
    assert "1 cancelled: slow" in ended.output
    assert "1 skipped because of bad" in ended.output
    assert "2 succeeded, 1 failed, 1 cancelled, 1 skipped in" in ended.output
    assert (tmp_path / "cleaned").exists()
    assert not (tmp_path / "behind").exists()


def test_a_run_that_failed_fast_goes_on_with_what_it_has_cancelled(tmp_path: Path) -> None:
    slow = "touch slow.up; [ -e fixed ] || sleep 60"
    write_work(tmp_path, {"bad": f"[ -e fixed ] || {{ {BAD}; }}", "slow": slow, "done": "true"})
    assert run(tmp_path, "run", "-j3", "--fail-fast").status == 1
    (tmp_path / "fixed").touch()
    ended = run(tmp_path, "run", "--resume")
    assert ended.status == 0
    assert "2 succeeded, 1 cached in" in ended.output


def test_a_failure_that_is_forgiven_or_one_of_too_few_ends_nothing(tmp_path: Path) -> None:
    """The slow task ends by itself, though others have failed, or else by the second failure."""
    tasks = {
        "may": {"command": "exit 3", "allow-failure": True},
        "bad": {"command": "exit 3", "after": ["may"]},
        "slow": "until [ -e go ]; do sleep 0.01; done",
        "go": {"command": "touch go", "after": ["may"]},
    }
    write_work(tmp_path, tasks)
    ended = run(tmp_path, "run", "-j3", "--fail-fast", "--max-failures", "2")
    assert ended.status == 1
    assert "2 succeeded, 1 failed, 1 allowed to fail in" in ended.output


def test_the_last_failure_that_is_allowed_ends_what_runs(tmp_path: Path) -> None:
    tasks = {
        "one": BAD,
        "two": {"command": "exit 3", "after": ["one"], "always": True},
        "slow": "touch slow.up; sleep 60",
    }
    write_work(tmp_path, tasks)
    ended = run(tmp_path, "run", "-j3", "--fail-fast", "--max-failures", "2")
    assert "0 succeeded, 2 failed, 1 cancelled in" in ended.output


def test_an_interrupt_ends_what_failing_fast_has_left(tmp_path: Path) -> None:
    tasks = {
        "bad": BAD,
        "slow": STUBBORN,
        "clean": {"command": STUBBORN.replace("told", "cleaning"), "always": True},
    }
    write_work(tmp_path, tasks)
    with started(tmp_path, "run", "-j3", "--fail-fast", "--grace", "1h") as program:
        program.wait_for("slow.up", "clean.up", "told")
        assert not (tmp_path / "cleaning").exists()
        program.send(signal.SIGTERM)
        program.wait_for("cleaning")
        program.send(signal.SIGINT)
        ended = program.end()
        assert program.left_behind() == []
    assert ended.status == 143
    assert "0 succeeded, 1 failed, 2 cancelled in" in ended.output


def test_failing_fast_and_keeping_going_exclude_each_other(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "touch here"})
    ended = run(tmp_path, "run", "--fail-fast", "-k")
    assert (ended.status, ended.output) == (2, "")
    assert "fail-fast" in ended.errors
    assert "keep-going" in ended.errors
    assert not (tmp_path / "here").exists()
