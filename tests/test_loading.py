"""Files as graphs of a Python program."""

import json
from pathlib import Path

import pytest

from parallel_workers import load
from parallel_workers.errors import InvalidInput, UsageError

RECORDS = [{"name": "a b", "successors": ["c"]}, {"name": "c", "command": "echo own"}]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "work.json"
    path.write_text(json.dumps(RECORDS))
    return path


def test_a_template_says_what_tasks_without_a_command_run(file: Path) -> None:
    graph = load(file, command="echo {name} at {position}")
    run = graph.run()
    assert Path(run["a b"].log).read_text() == "a b at 0\n"
    assert Path(run["c"].log).read_text() == "own\n"


def test_a_function_is_called_with_the_name_of_each_task_without_a_command(file: Path) -> None:
    run = load(file, call=str.upper).run()
    assert (run["a b"], run["c"].status) == ("A B", 0)


def test_warnings_are_kept_and_strict_makes_them_errors(tmp_path: Path) -> None:
    path = tmp_path / "work.json"
    path.write_text('[{"name": "a", "position": 3}]')
    assert len(load(path).warnings) == 1
    with pytest.raises(InvalidInput, match="position"):
        load(path, strict=True)


def test_a_wrong_template_is_refused(file: Path) -> None:
    with pytest.raises(UsageError, match="nmae"):
        load(file, command="echo {nmae}")
