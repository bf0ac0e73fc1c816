"""Paths that are no text in UTF-8: they are recorded, told, and can be pasted."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.program import WORDS, run, write_work

ODD = os.fsdecode(b"d\xff")


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A directory whose name is no text, with a work file in which one task fails."""
    directory = tmp_path / ODD
    directory.mkdir()
    write_work(directory, {"good": "true", "bad": "echo tried >> tried; false"})
    return directory


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        (["-k"], 1, "1 succeeded, 1 failed"),
        (["-n", "-k"], 0, "bad: "),
        (["--only", "good"], 0, "1 succeeded"),
        (["--from", "bad"], 1, "1 failed"),
        (["--failed"], 1, "1 failed"),
        (["--resume", "-k"], 1, "1 cached"),
    ],
)
def test_a_run_in_such_a_directory_is_as_any_other(
    odd: Path, options: list[str], status: int, told: str
) -> None:
    assert run(odd, "run", "-k").status == 1
    ended = run(odd, "run", *options)
    assert (ended.status, ended.errors) == (status, "")
    assert told in ended.output


def test_a_run_of_such_a_file_goes_on(tmp_path: Path) -> None:
    file = os.fsdecode(b"w\xff.json")
    (tmp_path / file).write_text('{"tasks": {"a": "true"}}')
    assert run(tmp_path, "run", file).status == 0
    ended = run(tmp_path, "run", file, "--resume")
    assert (ended.status, ended.errors) == (0, "")
    assert "1 cached" in ended.output


def test_verbs_tell_of_such_a_run(odd: Path) -> None:
    run(odd, "run", "-k")
    for verb in (["runs"], ["show", "last"]):
        ended = run(odd, *verb)
        assert (ended.status, ended.errors) == (0, "")
        assert r"d\udcff/work.json" in ended.output
    shown = json.loads(run(odd, "show", "last", "--json").output)
    assert shown["file"].endswith(r"d\udcff/work.json")


def test_events_tell_of_logs_in_such_a_place(odd: Path) -> None:
    ended = run(odd, "run", "-k", "--state", f"{ODD}/state", "--events", "events")
    assert (ended.status, ended.errors) == (1, "")
    lines = [json.loads(line) for line in (odd / "events").read_bytes().splitlines()]
    logs = [line["log"] for line in lines if line["event"] == "task_ended"]
    assert len(logs) == 2
    assert all(log.startswith(r"d\udcff/state/runs/") for log in logs)


@pytest.mark.program("bash")
def test_the_line_that_runs_it_again_can_be_pasted(odd: Path) -> None:
    ended = run(odd.parent, "run", f"{ODD}/work.json", "bad", "--state", f"{ODD}/state")
    [line] = [line for line in ended.output.splitlines() if "run it again: " in line]
    script = odd.parent / "parallel-workers"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(WORDS)} "$@"\n')
    script.chmod(0o755)
    env = {**os.environ, "PATH": f"{odd.parent}:{os.environ['PATH']}"}
    words = ["bash", "-c", line.partition(": ")[2]]
    again = subprocess.run(words, cwd=odd.parent, env=env, capture_output=True)
    assert (again.returncode, again.stderr) == (1, b"")
    assert (odd.parent / "tried").read_text().split() == ["tried"] * 2
    assert len(list((odd / "state" / "runs").iterdir())) == 2
