"""`list`: by the real program."""

import json
from pathlib import Path

import pytest

from tests.support.program import run, write_work


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with a work file that has a name with blanks."""
    write_work(tmp_path, {"test": {"after": ["a b"]}, "a b": {}, "ü": {}})
    return tmp_path


def test_names_are_printed_in_the_order_of_the_file(here: Path) -> None:
    assert run(here, "list").output == "test\na b\nü\n"
    assert run(here, "list", "work.json", "test").output == "test\na b\n"


def test_names_are_printed_for_xargs(here: Path) -> None:
    assert run(here, "list", "-0").output == "test\0a b\0ü\0"


def test_names_are_printed_for_programs(here: Path) -> None:
    assert run(here, "list", "--json").output == '["test", "a b", "ü"]\n'


def test_an_empty_file_has_no_names(here: Path) -> None:
    write_work(here, {})
    assert [run(here, "list", *form).output for form in ([], ["-0"])] == ["", ""]
    assert json.loads(run(here, "list", "--json").output) == []


def test_two_forms_at_once_are_an_error(here: Path) -> None:
    ended = run(here, "list", "-0", "--json")
    assert (ended.status, ended.output) == (2, "")
    assert "give one of them" in ended.errors


def test_a_full_disk_is_told(here: Path) -> None:
    with open("/dev/full", "wb") as full:
        for form in ([], ["-0"]):
            ended = run(here, "list", *form, stdout=full)
            assert ended.status == 2
            assert ended.errors == (
                "error: standard output cannot be written: No space left on device\n"
            )
