"""`--recorded-commands`: what was recorded runs when it is asked for, and never else."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import run
from tests.support.wfformat import workflow

TASKS = [{"id": "a_1", "children": ["b_2"]}, {"id": "b_2", "name": "b"}]


def ran(directory: Path) -> str:
    """What the tasks wrote down."""
    return (directory / "ran").read_text() if (directory / "ran").exists() else ""


def words(task: str, *arguments: str) -> dict[str, Any]:
    return {"id": task, "command": {"program": arguments[0], "arguments": arguments[1:]}}


def write(directory: Path, *executions: dict[str, Any]) -> None:
    (directory / "made.json").write_text(json.dumps(workflow(TASKS, executions)))


# An argument may be a word, several, or quoted for the shell; a program may be a whole script.
BOTH = words("a_1", "printf", "'%s '", '"a b"', ">> ran"), words("b_2", "echo b\\\n >> ran")


def test_recorded_commands_run_as_lines_of_the_shell(tmp_path: Path) -> None:
    write(tmp_path, *BOTH)
    ended = run(tmp_path, "run", "made.json", "--recorded-commands")
    assert (ended.status, ended.errors) == (0, "")
    assert ran(tmp_path) == "a b b\n"


def test_recorded_commands_do_not_run_by_themselves(tmp_path: Path) -> None:
    write(tmp_path, *BOTH)
    ended = run(tmp_path, "run", "made.json")
    assert (ended.status, ran(tmp_path)) == (2, "")
    assert "2 tasks have nothing to run: give each a command" in ended.errors
    assert "or run what was recorded with --recorded-commands\n  a_1\n  b_2\n" in ended.errors


def test_the_option_is_not_mentioned_where_nothing_was_recorded(tmp_path: Path) -> None:
    write(tmp_path)
    ended = run(tmp_path, "run", "made.json")
    assert ended.status == 2
    assert "--recorded-commands" not in ended.errors


def test_tasks_of_which_nothing_was_recorded_are_listed_and_nothing_runs(tmp_path: Path) -> None:
    write(tmp_path, BOTH[0])
    ended = run(tmp_path, "run", "made.json", "--recorded-commands")
    assert (ended.status, ran(tmp_path)) == (2, "")
    assert "1 task has nothing to run, and nothing recorded: give each a command" in ended.errors
    assert ended.errors.endswith("in place of --recorded-commands\n  b_2\n")


def test_tasks_not_asked_for_need_no_recorded_command(tmp_path: Path) -> None:
    write(tmp_path, BOTH[0])
    assert run(tmp_path, "run", "made.json", "--recorded-commands", "a_1").status == 0
    assert ran(tmp_path) == "a b "


def test_a_command_of_the_task_itself_goes_over_the_recorded_one(tmp_path: Path) -> None:
    own = {"command": "echo own >> ran", "vars": {"recorded_command": "echo recorded >> ran"}}
    (tmp_path / "work.json").write_text(json.dumps({"tasks": {"a": own}}))
    assert run(tmp_path, "run", "--recorded-commands").status == 0
    assert ran(tmp_path) == "own\n"


@pytest.mark.parametrize("other", ["records", "workfile"])
def test_recorded_commands_run_after_conversion_too(tmp_path: Path, other: str) -> None:
    write(tmp_path, *BOTH)
    assert run(tmp_path, "convert", "made.json", "--to", other, "-o", "other.json").status == 0
    assert run(tmp_path, "run", "other.json", "--recorded-commands").status == 0
    assert ran(tmp_path) == "a b b\n"


def test_a_recorded_command_that_is_none_is_told_with_its_task(tmp_path: Path) -> None:
    records = [
        {"name": "a", "vars": {"recorded_command": 5}},
        {"name": "b", "vars": {"recorded_command": []}},
    ]
    (tmp_path / "made.json").write_text(json.dumps(records))
    ended = run(tmp_path, "run", "made.json", "--recorded-commands")
    assert ended.status == 2
    assert "task a: the recorded command in its vars: 5 is not a command" in ended.errors
    assert "task b: the recorded command in its vars: a command cannot be an empty" in ended.errors


@pytest.mark.parametrize(
    "other", [("--command", "echo"), ("--programs", "."), ("--command", "a", "--programs", "b")]
)
def test_only_one_option_says_what_to_run(tmp_path: Path, other: tuple[str, ...]) -> None:
    write(tmp_path, *BOTH)
    ended = run(tmp_path, "run", "made.json", "--recorded-commands", *other)
    assert (ended.status, ran(tmp_path)) == (2, "")
    assert ended.errors.endswith("both say what to run; give one of them\n")


def test_a_dry_run_shows_recorded_commands_and_runs_none(tmp_path: Path) -> None:
    write(tmp_path, *BOTH)
    ended = run(tmp_path, "run", "made.json", "--recorded-commands", "--dry-run")
    assert ended.output == ("a_1: printf '%s ' \"a b\" >> ran\nb_2: echo b\\ >> ran\n")
    assert ran(tmp_path) == ""


def test_the_line_that_runs_a_failed_task_again_has_the_option(tmp_path: Path) -> None:
    write(tmp_path, words("a_1", "false"), BOTH[1])
    ended = run(tmp_path, "run", "made.json", "--recorded-commands")
    assert ended.status == 1
    assert "parallel-workers run --recorded-commands --only made.json a_1" in ended.output
