"""The verb `schema`."""

import json
import os
from pathlib import Path

from parallel_workers.schema import work_file_schema
from tests.support.program import run


def test_the_schema_is_printed_as_json_in_plain_ascii(tmp_path: Path) -> None:
    ended = run(tmp_path, "schema", env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii"})
    assert (ended.status, ended.errors) == (0, "")
    assert ended.output.isascii()
    assert ended.output.endswith("}\n")
    assert json.loads(ended.output) == work_file_schema()


def test_no_work_file_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "work.yaml").write_text("tasks: [")
    assert run(tmp_path, "schema").status == 0


def test_an_argument_is_refused(tmp_path: Path) -> None:
    ended = run(tmp_path, "schema", "work.yaml")
    assert (ended.status, ended.output) == (2, "")
    assert "work.yaml" in ended.errors
    assert "parallel-workers schema --help" in ended.errors


def test_a_schema_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        ended = run(tmp_path, "schema", stdout=full)
    why = os.strerror(28)
    assert ended == (2, "", f"error: standard output cannot be written: {why}\n")


def test_the_help_says_how_editors_are_told(tmp_path: Path) -> None:
    ended = run(tmp_path, "schema", "--help")
    assert "# yaml-language-server: $schema=work.schema.json\n" in ended.output
    assert "#:schema ./work.schema.json\n" in ended.output


def test_the_schema_is_there_without_docstrings(tmp_path: Path) -> None:
    ended = run(tmp_path, "schema", env={"PYTHONOPTIMIZE": "2"})
    assert (ended.status, ended.errors) == (0, "")
    assert json.loads(ended.output)["properties"]
