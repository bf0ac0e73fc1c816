"""`run … -- ARGS`: by the real program."""

from pathlib import Path

import pytest

from tests.support.program import run, write_work


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with a work file of commands in all forms, which write down what they get."""
    program = tmp_path / "tell"
    program.write_text('#!/bin/sh\nprintf \'%s|\' "${0##*/}" "$@" >> told\n')
    program.chmod(0o755)
    write_work(
        tmp_path,
        {
            "before": './tell before "$@"',
            "text": {"command": './tell text "$@"', "after": ["before"]},
            "words": {"command": ["./tell", "words"]},
            "deaf": "./tell deaf",
            "-dash": './tell dash "$1"',
        },
    )
    return tmp_path


def told(directory: Path) -> str:
    path = directory / "told"
    text = path.read_text() if path.exists() else ""
    path.unlink(missing_ok=True)
    return text


def test_named_tasks_get_the_arguments_and_what_they_need_does_not(here: Path) -> None:
    assert run(here, "run", "text", "--", "-k", "a b", "--", "").status == 0
    assert told(here) == "tell|before|tell|text|-k|a b|--||"


def test_a_program_gets_them_as_its_arguments(here: Path) -> None:
    assert run(here, "run", "words", "[-]dash", "-j1", "--", "$HOME", "*").status == 0
    assert sorted(told(here).split("tell|")) == ["", "dash|$HOME|", "words|$HOME|*|"]


def test_a_program_of_a_directory_gets_them(here: Path) -> None:
    write_work(here, {"tell": {}})
    assert run(here, "run", "--programs", ".", "work.json", "tell", "--", "x").status == 0
    assert told(here) == "tell|x|"


def test_a_template_can_use_them(here: Path) -> None:
    write_work(here, {"a": {}})
    assert run(here, "run", "--command", './tell {name} "$@"', "a", "--", "x y").status == 0
    assert told(here) == "tell|a|x y|"


def test_nothing_behind_the_dashes_changes_nothing(here: Path) -> None:
    assert run(here, "run", "deaf", "--").status == 0
    assert told(here) == "tell|deaf|"


def test_they_are_part_of_what_is_done(here: Path) -> None:
    run(here, "run", "text", "--", "x")
    told(here)
    for arguments, done in (("x", ""), ("y", "tell|text|y|"), ("y", "")):
        assert run(here, "run", "--resume", "text", "--", arguments).status == 0
        assert told(here) == done


def test_they_are_shown(here: Path) -> None:
    ended = run(here, "run", "-n", "words", "--", "a b")
    assert ended.output == "words: ./tell words 'a b'\n"


def test_the_line_that_runs_a_task_again_has_them(here: Path) -> None:
    write_work(here, {"a": 'false "$@"', "b": {"command": "true", "after": ["a"]}})
    ended = run(here, "run", "a", "--", "x y")
    assert "run it again: parallel-workers run --only work.json a -- 'x y'\n" in ended.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--", "x"], ["goes to the commands of TASKs", "name them before it"]),
        (["deaf", "--", "x"], ["task deaf", '"$@"', "./tell deaf"]),
        (["text", "deaf", "--", "x"], ["task deaf"]),
    ],
)
def test_what_nobody_would_get_is_an_error(
    here: Path, arguments: list[str], words: list[str]
) -> None:
    ended = run(here, "run", *arguments)
    assert (ended.status, ended.output, told(here)) == (2, "", "")
    assert ended.errors.count("\n") == 1
    assert [word for word in words if word not in ended.errors] == []
