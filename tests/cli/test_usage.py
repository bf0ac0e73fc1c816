"""Every wrong use: one clear error on standard error, exit status 2, nothing run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from parallel_workers.cli import convert
from tests.support.program import WORDS, run, write_work

HARMLESS = {"a": "touch ran", "b": {"after": ["a"]}}


def complaint(directory: Path, *arguments: str) -> str:
    """What the program says against its arguments, without `error: `."""
    ended = run(directory, *arguments)
    assert (ended.status, ended.output) == (2, "")
    assert not (directory / "ran").exists()
    assert not (directory / ".parallel-workers").exists()
    assert ended.errors.startswith("error: ")
    assert ended.errors.endswith("\n")
    return ended.errors.removeprefix("error: ").rstrip("\n")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with a work file in which one task has no command."""
    write_work(tmp_path, HARMLESS)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "c"], ["no task named c"]),
        (["run", "work.json", "a", "nope"], ["no task named nope"]),
        (["run", "--nope"], ["--nope", "parallel-workers run --help"]),
        (["run", "-x"], ["-x", "parallel-workers run --help"]),
        (["run", "-j"], ["-j"]),
        (["run", "-j", "-1"], ["-j", "-1"]),
        (["run", "-j", "many"], ["-j", "many"]),
        (["run", "--grace", "nan"], ["--grace nan", "seconds"]),
        (["run", "--timeout", "0"], ["--timeout 0", "no limit"]),
        (["run", "--timeout", "-1"], ["--timeout -1", "seconds"]),
        (["run", "--timeout", "soon"], ["--timeout soon", "seconds"]),
        (["run", "--grace", "-1"], ["--grace -1", "seconds"]),
        (["run", "--grace", "soon"], ["--grace soon", "seconds"]),
        (["run", "missing.json"], ["missing.json"]),
        (["run", "-C", "missing"], ["-C missing", "No such file or directory"]),
        (["run", "-C", "work.json"], ["-C work.json", "Not a directory"]),
        (["run", "--format", "nope", "work.json"], ["--format", "nope"]),
        (["run", "--command", "x", "--programs", "y"], ["--command", "--programs", "one of them"]),
        (["run", "--command", "echo {nope}"], ["nope", "name"]),
        (["run", "--programs", "missing"], ["missing"]),
        (["rum"], ["rum", "parallel-workers --help"]),
        (["--nope"], ["--nope", "parallel-workers --help"]),
        (["check", "work.json", "a"], ["check takes one FILE"]),
        (["convert", "work.json", "--to", "nope"], ["--to", "nope"]),
        (["plan", "c"], ["no task named c"]),
    ],
    ids=" ".join,
)
def test_a_wrong_argument_is_named(here: Path, arguments: list[str], words: list[str]) -> None:
    said = complaint(here, *arguments)
    assert "\n" not in said
    assert [word for word in words if word not in said] == []


def test_tasks_with_nothing_to_run_are_all_listed_before_anything_runs(here: Path) -> None:
    tasks = {**HARMLESS, **{f"idle{number:02}": {} for number in range(30)}}
    write_work(here, tasks)
    first, *others = complaint(here, "run").splitlines()
    assert first.startswith("31 tasks have nothing to run")
    assert [way for way in ("--command", "--programs") if way not in first] == []
    assert others == ["  b", *(f"  idle{number:02}" for number in range(19)), "… and 11 more tasks"]


def test_only_tasks_that_are_to_run_need_something_to_run(here: Path) -> None:
    assert run(here, "run", "a").status == 0
    assert (here / "ran").exists()


def test_programs_that_are_missing_are_all_listed_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    ok = tmp_path / "bin" / "ok"
    ok.write_text("#!/bin/sh\ntouch ran\n")
    ok.chmod(0o755)
    (tmp_path / "bin" / "plain").write_text("")
    (tmp_path / "bin" / "out").symlink_to("/bin/true")
    names = ["ok", "plain", "none", "../x", "/bin/true", "out"]
    (tmp_path / "graph.json").write_text(json.dumps([[names]]))
    said = complaint(tmp_path, "run", "graph.json", "--programs", "bin")
    assert [name for name in names if f"task {name}:" not in said] == ["ok"]


def test_the_error_without_any_work_file_says_what_was_looked_for(tmp_path: Path) -> None:
    said = complaint(tmp_path, "run")
    assert "work.yaml, work.yml, work.toml or work.json" in said
    assert "build is no file" in complaint(tmp_path, "run", "build")


def test_a_state_directory_that_cannot_be_made_costs_the_record_and_not_the_run(here: Path) -> None:
    assert complaint(here, "run", "a", "--state", "").startswith("--state needs")
    ended = run(here, "run", "a", "--state", "work.json/state")
    assert ended.status == 3
    said = "the state directory work.json/state cannot be used: Not a directory"
    assert said in ended.errors
    assert "--no-journal" in ended.errors


def test_a_place_for_passing_logs_that_does_not_exist_is_an_error(here: Path) -> None:
    ended = run(here, "run", "a", "--no-journal", env={"TMPDIR": str(here / "none")})
    assert (ended.status, ended.output) == (2, "")
    assert "none" in ended.errors
    assert "TMPDIR" in ended.errors


def test_a_name_of_thousands_of_characters_is_cut(here: Path) -> None:
    assert len(complaint(here, "run", "x" * 3000)) < 300
    assert len(complaint(here, "run", "work.json", "x" * 3000)) < 300


def test_an_unreadable_file_is_named(here: Path) -> None:
    (here / "dir.json").mkdir()
    assert "dir.json" in complaint(here, "run", "dir.json")


def test_without_a_verb_the_help_is_shown(tmp_path: Path) -> None:
    ended = run(tmp_path)
    assert (ended.status, ended.output) == (2, "")
    verbs = ("run", "plan", "check", "convert", "schema", "runs", "show", "logs", "mark")
    assert [verb for verb in verbs if f"\n  {verb} " not in ended.errors] == []


@pytest.mark.parametrize("verb", ["run", "plan", "check", "convert", "schema"])
def test_help_goes_to_standard_output(tmp_path: Path, verb: str) -> None:
    ended = run(tmp_path, verb, "--help")
    assert (ended.status, ended.errors) == (0, "")
    assert f"parallel-workers {verb}" in ended.output


def test_an_error_that_nobody_can_read_has_its_exit_status_all_the_same(here: Path) -> None:
    for redirection in ("2>/dev/full", "2>&-", "2>&1 >/dev/null | true"):
        line = f'{{ "$@"; echo $? > status; }} {redirection}'
        subprocess.run(["sh", "-c", line, "sh", *WORDS, "run", "nope.json"], cwd=here, check=False)
        assert (here / "status").read_text() == "2\n"


@pytest.mark.parametrize("arguments", [["plan"], ["run", "-n"], ["check"], ["convert"], ["schema"]])
def test_a_result_that_cannot_be_written_is_an_error(tmp_path: Path, arguments: list[str]) -> None:
    write_work(tmp_path, {"a": "true"})
    with open("/dev/full", "wb") as full:
        ended = run(tmp_path, *arguments, stdout=full)
    why = os.strerror(28)
    assert ended == (2, "", f"error: standard output cannot be written: {why}\n")


def test_a_result_that_nobody_reads_ends_without_a_word(tmp_path: Path) -> None:
    write_work(tmp_path, {f"t{number}": "true" for number in range(20)})
    reader, writer = os.pipe()
    os.close(reader)
    ended = run(tmp_path, "run", "-n", stdout=writer)
    os.close(writer)
    assert ended == (1, "", "")


def test_the_program_can_be_started_by_its_names(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "true"})
    for name in ("parallel-workers", "pw"):
        program = Path(sys.executable).with_name(name)
        done = subprocess.run([program, "check"], cwd=tmp_path, capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (0, b"work.json: 1 task, no errors\n")


def test_convert_writes_through_a_link_and_keeps_who_may_read(here: Path) -> None:
    target = here / "kept.json"
    target.write_text("old")
    target.chmod(0o600)
    (here / "link.json").symlink_to("kept.json")
    ended = run(here, "convert", "work.json", "-o", "link.json")
    assert ended.status == 0
    assert (here / "link.json").is_symlink()
    assert json.loads(target.read_text()) == {"tasks": HARMLESS}
    assert target.stat().st_mode & 0o777 == 0o600


def test_convert_writes_into_a_pipe_and_leaves_it_one(here: Path) -> None:
    os.mkfifo(here / "pipe")
    with subprocess.Popen(["cat", "pipe"], cwd=here, stdout=subprocess.PIPE) as reader:
        assert run(here, "convert", "work.json", "-o", "pipe").status == 0
        output, _ = reader.communicate(timeout=30)
    assert len(json.loads(output)["tasks"]) == 2
    assert (here / "pipe").is_fifo()


def test_convert_does_not_write_json_under_a_name_that_says_toml(here: Path) -> None:
    ended = run(here, "convert", "work.json", "--to", "workfile", "-o", "work.toml")
    assert ended.status == 2
    assert "ends in .json" in ended.errors
    assert not (here / "work.toml").exists()


def test_convert_keeps_a_work_file_one_when_it_writes_over_it(tmp_path: Path) -> None:
    tasks = {"a": {"command": "true", "pool": "db"}}
    write_work(tmp_path, tasks, pools={"db": 3})
    assert run(tmp_path, "convert", "work.json", "-o", "work.json") == (0, "", "")
    assert json.loads((tmp_path / "work.json").read_text()) == {"pools": {"db": 3}, "tasks": tasks}


@pytest.mark.parametrize("arguments", [[], ["-o", "-"]])
def test_convert_writes_records_to_standard_output(here: Path, arguments: list[str]) -> None:
    ended = run(here, "convert", *arguments)
    assert [record["name"] for record in json.loads(ended.output)] == ["a", "b"]


def test_convert_writes_records_of_what_is_no_work_file(here: Path) -> None:
    (here / "groups.json").write_text('[[["a"], ["b"]]]')
    assert run(here, "convert", "groups.json", "-o", "out.json").status == 0
    assert [record["name"] for record in json.loads((here / "out.json").read_text())] == ["a", "b"]


@pytest.mark.parametrize(
    ("to", "name", "end"), [("dot", "g.mmd", ".dot"), ("mermaid", "g.dot", ".mmd")]
)
def test_convert_does_not_write_under_the_name_of_another_format(
    here: Path, to: str, name: str, end: str
) -> None:
    said = complaint(here, "convert", "work.json", "--to", to, "-o", name)
    assert said.endswith(f"give it a name that ends in {end}")
    assert not (here / name).exists()
    assert run(here, "convert", "work.json", "--to", to, "-o", "g.any").status == 0


def test_convert_leaves_nothing_beside_a_file_that_it_cannot_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        convert._write(str(tmp_path / "out.json"), "[]")
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "work.json").write_bytes(b"[" + b" " * 2**28 + b"]")
    limited = ("sh", "-c", 'ulimit -v 300000; exec "$@"', "sh")
    ended = run(tmp_path, "check", "work.json", before=limited)
    assert ended == (2, "", "error: this takes more memory than there is\n")


def test_a_current_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "touch ran"})
    gone = ("sh", "-c", 'mkdir gone; cd gone; rmdir ../gone; exec "$@"', "sh")
    ended = run(tmp_path, "run", str(tmp_path / "work.json"), before=gone)
    assert (ended.status, ended.output) == (2, "")
    said = "error: the current directory cannot be used; change to one that exists: "
    assert ended.errors == f"{said}No such file or directory\n"
