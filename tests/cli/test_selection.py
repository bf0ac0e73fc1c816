"""Which tasks run: by the real program."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import run, started, write_work

# a → b → c → d, and e beside.
TASKS: dict[str, Any] = {
    "a": "echo a >> told",
    "b": {"command": "echo b >> told", "after": ["a"]},
    "c": {"command": "echo c >> told", "after": ["b"]},
    "d": {"command": "echo d >> told", "after": ["c"]},
    "e": "echo e >> told",
}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with a work file."""
    write_work(tmp_path, TASKS)
    return tmp_path


def ran(directory: Path, *arguments: str) -> str:
    """Which tasks a run ran, in order."""
    ended = run(directory, "run", "-j", "1", *arguments)
    assert (ended.status, ended.errors) == (0, "")
    return told(directory)


def told(directory: Path) -> str:
    """Which tasks ran since this was last asked."""
    path = directory / "told"
    words = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return "".join(words)


def complaint(directory: Path, *arguments: str) -> str:
    ended = run(directory, *arguments)
    assert (ended.status, ended.output, told(directory)) == (2, "", "")
    assert ended.errors.count("\n") == 1
    return ended.errors.removeprefix("error: ").rstrip("\n")


@pytest.mark.parametrize(
    ("arguments", "tasks"),
    [
        (["c"], "abc"),
        (["c", "--only"], "c"),
        (["d", "b", "--only"], "bd"),
        (["work.json", "c", "--only"], "c"),
        (["--skip", "b"], "acde"),
        (["--skip", "d", "--skip", "e"], "abc"),
        (["d", "--skip", "c"], "d"),
        (["c", "--skip", "b"], "c"),
        (["d", "a", "--skip", "c"], "ad"),
        (["--from", "c"], "cd"),
        (["--from", "c", "--from", "e"], "cde"),
        (["--from", "b", "c"], "bc"),
        (["--from", "b", "--skip", "c"], "bd"),
        (["--from", "b", "--skip", "b"], "cd"),
        (["[a-c]"], "abc"),
        (["--only", "[!bd]"], "ace"),
        (["--skip", "?", "--from", "b", "c"], None),
    ],
    ids=str,
)
def test_tasks_are_selected(here: Path, arguments: list[str], tasks: str | None) -> None:
    if tasks is None:
        assert "nothing is left to run" in complaint(here, "run", *arguments)
        return
    assert sorted(ran(here, *arguments)) == list(tasks)
    listed = json.loads(run(here, "list", "--json", *arguments).output)
    planned = json.loads(run(here, "plan", "--json", *arguments).output)
    assert listed == list(tasks)
    assert sorted(slot["task"] for slot in planned["schedule"]) == list(tasks)
    dry = run(here, "run", "-n", *arguments).output.splitlines()
    assert sorted(line[0] for line in dry) == list(tasks)


def test_one_still_waits_for_another_when_what_is_between_them_is_left_out(here: Path) -> None:
    tasks = {**TASKS, "a": "sleep 0.3; echo a >> told"}
    write_work(here, tasks)
    assert run(here, "run", "-j", "4", "--only", "d", "a").status == 0
    assert told(here) == "ad"


def test_a_task_has_the_position_that_it_has_in_the_file(here: Path) -> None:
    run(here, "run", "--only", "c", "--command", "x")
    write_work(here, {"a": {}, "b": {"after": ["a"]}})
    ended = run(here, "run", "--only", "b", "--command", "echo {name} is at {position}")
    assert "b is at 1" in ended.output


@pytest.mark.parametrize(
    ("arguments", "tasks"),
    [
        (["--only", "c"], "cstu"),
        (["--from", "c"], "cdstu"),
        (["--only", "d"], "d"),
        (["--only", "c", "--skip", "t"], "cs"),
        (["--only", "e"], "e"),
    ],
    ids=str,
)
def test_services_of_what_is_selected_are_selected_too(
    here: Path, arguments: list[str], tasks: str
) -> None:
    service = {"command": "echo up; exec sleep 60", "service": {"log": "up"}}
    needing = {
        "s": service,
        "t": {**service, "after": ["a", "u"]},
        "u": service,
        "c": {"command": "echo c >> told", "after": ["b", "s", "t"]},
    }
    write_work(here, {**TASKS, **needing})
    assert sorted(json.loads(run(here, "list", "--json", *arguments).output)) == list(tasks)
    assert ran(here, *arguments) == "".join(task for task in tasks if task not in "stu")


def test_only_what_is_selected_needs_something_to_run(here: Path) -> None:
    write_work(here, {"a": {}, "b": {"command": "echo b >> told", "after": ["a"]}})
    assert ran(here, "b", "--only") == "b"


def test_a_name_wins_over_what_it_matches_as_a_pattern(here: Path) -> None:
    write_work(here, {"t[1]": "echo x >> told", "t1": "echo y >> told"})
    assert ran(here, "t[1]") == "x"
    assert ran(here, "t[[]1]") == "x"
    assert ran(here, "t[12]") == "y"


def test_a_pattern_is_for_whole_names_and_matches_slashes(here: Path) -> None:
    names = ["@x/a/test", "@x/b", "y/@x/b"]
    write_work(here, {name: f"echo '{name}' >> told" for name in names})
    assert json.loads(run(here, "list", "--json", "@x/*").output) == names[:2]


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    """A directory with a work file that has a matrix between two tasks."""
    test = {
        "command": "echo $py$os >> told",
        "matrix": {"py": ["3.1", "3.2"], "os": ["a", "b"]},
        "after": ["build"],
    }
    last = {"command": "echo ,last >> told", "after": ["test"]}
    write_work(tmp_path, {"build": "echo build, >> told", "test": test, "last": last})
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "tasks"),
    [
        (["test"], "build,3.1a3.1b3.2a3.2b"),
        (["--only", "test"], "3.1a3.1b3.2a3.2b"),
        (["--only", "test[py=3.1,os=b]"], "3.1b"),
        (["--only", "test[py=3.2,*]"], "3.2a3.2b"),
        (["--only", "test[*os=a]", "last"], "3.1a3.2a,last"),
        (["--only", "te?t"], "3.1a3.1b3.2a3.2b"),
        (["--skip", "test"], "build,,last"),
        (["--skip", "test[py=3.1,*"], "build,3.2a3.2b,last"),
        (["--from", "test"], "3.1a3.1b3.2a3.2b,last"),
    ],
    ids=str,
)
def test_the_name_of_a_matrix_is_that_of_all_its_tasks(
    matrix: Path, arguments: list[str], tasks: str
) -> None:
    assert ran(matrix, *arguments) == tasks


def test_all_tasks_of_a_matrix_are_done_again_by_its_name(matrix: Path) -> None:
    ran(matrix)
    again = ran(matrix, "test[py=3.1,*]", "--again", "test")
    assert sorted(again) == sorted("3.1a3.1b")
    again = ran(matrix, "--again", "t?st")
    assert sorted(again) == sorted("3.1a3.1b3.2a3.2b,last")


def test_brackets_are_a_set_where_no_name_has_them(here: Path) -> None:
    names = ["x[os=a]", "x[os=b]", "xs"]
    write_work(here, {name: f"echo '{name}' >> told" for name in names})
    assert run(here, "list", "x[os=*]").output == "x[os=a]\nx[os=b]\n"
    assert run(here, "list", "x[os]").output == "xs\n"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("tset", 'there is no task named tset; did you mean "test"?'),
        ("tset[py=*]", "no task matches tset[py=*]; did you mean test[py=*]?"),
    ],
)
def test_a_matrix_is_suggested_where_no_task_has_the_name(
    matrix: Path, wanted: str, said: str
) -> None:
    assert complaint(matrix, "list", wanted) == said


def test_failed_runs_what_failed_last_time_and_all_behind_it(here: Path) -> None:
    write_work(here, {**TASKS, "b": {"command": "echo b >> told; test -e go", "after": ["a"]}})
    assert run(here, "run", "-k").status == 1
    assert sorted(told(here)) == ["a", "b", "e"]
    (here / "go").touch()
    assert ran(here, "--failed", "c") == "bc"
    assert "nothing failed in the last run of work.json" in complaint(here, "run", "--failed")


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory in which `f` has failed before `g` was begun, and would succeed now."""
    tasks = {
        "f": {"command": "echo f >> told; test -e go", "duration": 100},
        "g": "echo g >> told",
        "h": {"command": "echo h >> told", "after": ["f", "g"]},
        "beside": "echo beside >> told",
    }
    write_work(tmp_path, tasks)
    assert run(tmp_path, "run", "-j1").status == 1
    assert told(tmp_path) == "f"
    (tmp_path / "go").touch()
    return tmp_path


def test_what_is_behind_a_failure_gets_all_that_it_needs(shared: Path) -> None:
    assert json.loads(run(shared, "list", "--json", "--failed").output) == ["f", "g", "h"]
    assert ran(shared, "--failed") == "fgh"


def test_what_has_been_done_since_counts_as_done(shared: Path) -> None:
    assert ran(shared, "g") == "g"
    assert ran(shared, "--failed") == "fh"


def test_what_was_skipped_last_time_is_not_done_by_an_older_success(here: Path) -> None:
    write_work(here, {"g": "echo g >> told", "f": "test -e go", "h": {"after": ["f", "g"]}})
    run(here, "run", "-k", "--command", "true")
    failing = {"command": "echo f >> told; test -e go"}
    last = {"command": "echo h >> told", "after": ["f", "g"]}
    write_work(here, {"g": {"command": "echo g >> told", "after": ["f"]}, "f": failing, "h": last})
    run(here, "run")
    assert told(here) == "gf"
    (here / "go").touch()
    write_work(here, {"g": "echo g >> told", "f": failing, "h": last})
    assert sorted(ran(here, "--failed")) == ["f", "g", "h"]


def test_a_failure_is_found_behind_runs_of_other_tasks(shared: Path) -> None:
    ran(shared, "beside")
    assert ran(shared, "--failed", "f") == "f"


def test_what_is_skipped_by_name_counts_as_done(shared: Path) -> None:
    assert ran(shared, "--failed", "--skip", "g") == "fh"


def test_what_is_new_before_a_failure_runs_and_what_needs_that(here: Path) -> None:
    failing = {"command": "echo c >> told; test -e go", "after": ["b"]}
    write_work(here, {**TASKS, "c": failing})
    run(here, "run", "-k")
    told(here)
    (here / "go").touch()
    new = {"new": "echo n >> told", "b": {"command": "echo b >> told", "after": ["a", "new"]}}
    write_work(here, {**TASKS, **new, "c": failing})
    assert ran(here, "--failed") == "nbcd"


def test_what_a_service_stands_on_is_needed_too(here: Path) -> None:
    service = {"command": "echo up; exec sleep 60", "service": {"log": "up"}, "after": ["base"]}
    first = {"command": "echo f >> told; test -e go", "duration": 9}
    last = {"command": "echo l >> told", "after": ["first", "s"]}
    write_work(here, {"base": "echo b >> told", "s": service, "first": first, "last": last})
    assert run(here, "run", "-j1").status == 1
    assert told(here) == "f"
    (here / "go").touch()
    assert sorted(ran(here, "--failed")) == ["b", "f", "l"]


def test_from_takes_what_is_before_it_as_done_and_runs_what_else_is_needed(here: Path) -> None:
    write_work(here, {**TASKS, "d": {"command": "echo d >> told", "after": ["c", "e"]}})
    assert sorted(ran(here, "--from", "b")) == ["b", "c", "d", "e"]
    assert ran(here, "--from", "b") == "bcd"


def test_only_takes_all_else_as_done(here: Path) -> None:
    assert ran(here, "--only", "d") == "d"


@pytest.mark.parametrize(
    ("signum", "how"), [(signal.SIGINT, "cancelled"), (signal.SIGKILL, "interrupted")], ids=str
)
def test_where_nothing_failed_in_a_run_that_did_not_end_it_can_go_on(
    here: Path, signum: signal.Signals, how: str
) -> None:
    write_work(here, {"a": "touch up; exec sleep 60"})
    with started(here, "run") as running:
        running.wait_for("up")
        running.send(signum)
        running.end()
    said = complaint(here, "run", "--failed")
    assert said.startswith("--failed: nothing failed in the last run of work.json, ")
    assert said.endswith(f", but it was {how}; --resume goes on with it")


def test_where_nothing_failed_in_a_run_whose_time_was_over_it_can_go_on(here: Path) -> None:
    write_work(here, {"a": "exec sleep 60"})
    assert run(here, "run", "--timeout", "0.1").status == 124
    assert complaint(here, "run", "--failed").endswith("; --resume goes on with it")


def test_where_nothing_failed_in_a_run_that_is_running_that_is_said(here: Path) -> None:
    write_work(here, {"a": "touch up; until [ -e go ]; do sleep 0.02; done"})
    with started(here, "run") as running:
        running.wait_for("up")
        assert complaint(here, "run", "--failed").endswith(", which is still running")
        (here / "go").touch()
        running.end()


def test_failed_goes_with_resume(here: Path) -> None:
    write_work(here, {**TASKS, "b": {"command": "echo b >> told; test -e go", "after": ["a"]}})
    run(here, "run", "-k")
    told(here)
    (here / "go").touch()
    assert ran(here, "--failed", "--resume") == "bcd"
    assert len(run(here, "runs").output.splitlines()) == 2


def test_failed_needs_an_earlier_run_of_the_same_file(here: Path) -> None:
    assert "no run has been recorded" in complaint(here, "run", "--failed")
    (here / "other.json").write_text(json.dumps({"tasks": {"x": "false"}}))
    run(here, "run", "other.json")
    assert "no earlier run of work.json" in complaint(here, "run", "--failed")
    (here / "other.json").write_text(json.dumps({"tasks": {"y": "true"}}))
    said = complaint(here, "run", "other.json", "--failed")
    assert "has none of the tasks any more that failed" in said


def test_a_part_of_a_file_has_the_same_digests_as_the_whole(here: Path) -> None:
    """So that what a part has done is not done again when the whole goes on."""
    assert ran(here, "--skip", "d") == "abce"
    assert ran(here, "--resume") == "d"
    assert ran(here, "--resume", "--from", "b") == ""
    write_work(here, {**TASKS, "a": "echo A >> told"})
    assert ran(here, "--resume", "--only", "c") == "c"


def test_why_a_part_runs_is_explained(here: Path) -> None:
    run(here, "run")
    told(here)
    ended = run(here, "run", "--resume", "--only", "c", "d", "--again", "[d]", "-n", "--explain")
    assert ended.output.splitlines() == ["c: cached", "d: runs: asked for"]


def test_the_line_that_runs_a_task_again_selects_as_this_run_did(here: Path) -> None:
    write_work(here, {"a": "true", "-b": {"command": "false", "after": ["a"]}, "c": "true"})
    ended = run(here, "run", "--skip", "c", "--skip", "a")
    assert (
        "run it again: parallel-workers run --only --skip c --skip a work.json '[-]b'\n"
        in ended.output
    )
    ended = run(here, "run", "--only", "[-]b")
    assert "run it again: parallel-workers run --only work.json '[-]b'\n" in ended.output
    ended = run(here, "run", "--failed")
    assert "run it again: parallel-workers run --only work.json '[-]b'\n" in ended.output


def test_the_line_that_runs_a_task_again_keeps_its_state_where_this_run_did(here: Path) -> None:
    write_work(here, {"a": "false"})
    ended = run(here, "run", "--state", "kept")
    assert "run it again: parallel-workers run --state kept --only work.json a\n" in ended.output


@pytest.mark.parametrize("more", [[], ["-n"]], ids=str)
@pytest.mark.parametrize(("name", "shown"), [("nope", "nope"), ("", '""'), ("a\n", '"a\\n"')])
def test_what_is_not_run_cannot_be_done_again(
    here: Path, more: list[str], name: str, shown: str
) -> None:
    said = complaint(here, "run", "c", *more, "--again", name)
    assert said.startswith(f"--again {shown}: there is no such task in what is run")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only"], ["--only", "names of TASKs"]),
        (["--only", "b", "--from", "a"], ["--only", "--from", "one of them"]),
        (["--only", "b", "--failed"], ["--only", "--failed", "one of them"]),
        (["--from", "a", "--failed"], ["--from", "--failed", "one of them"]),
        (["--from", "b", "a"], ["nothing is left"]),
        (["a", "--skip", "a"], ["nothing is left"]),
        (["--skip", "buld"], ['did you mean "build"?']),
        (["--from", "buld"], ['did you mean "build"?']),
        (["tset/*"], ["no task matches tset/*", "did you mean test/*?"]),
        (["test/zzz*"], ["no task matches test/zzz*"]),
        (["*zzz"], ["no task matches *zzz"]),
        (["[", "["], ["no task matches ["]),
        ([""], ['no task named ""']),
        (["--skip", ""], ['no task named ""']),
        (["a\nb"], ['no task named "a\\nb"']),
        (["*\n"], ['no task matches "*\\n"']),
    ],
    ids=str,
)
@pytest.mark.parametrize("verb", ["run", "list", "plan"])
def test_what_makes_no_sense_is_one_clear_error(
    here: Path, verb: str, arguments: list[str], words: list[str]
) -> None:
    write_work(here, {**TASKS, "build": "true", "test/one": "true"})
    said = complaint(here, verb, *arguments)
    assert [word for word in words if word not in said] == []


def test_what_counts_as_done_passes_on_what_it_has_written(tmp_path: Path) -> None:
    tasks = {
        "a": 'echo V=1 >> "$PW_OUTPUTS"',
        "b": {"command": "echo V=$V >> seen; test -e mended", "after": ["a"]},
        "c": {"command": "echo V=$V >> seen", "after": ["b"]},
    }
    write_work(tmp_path, tasks)
    assert run(tmp_path, "run").status == 1
    for arguments in (["--failed"], ["--failed"], ["--from", "b"], ["--resume", "--failed"]):
        assert run(tmp_path, "run", *arguments).status == 1
    (tmp_path / "mended").touch()
    assert run(tmp_path, "run", "--only", "b").status == 0
    # Nothing was passed on to this one, which does not wait for it directly.
    assert run(tmp_path, "run", "--only", "c").status == 0
    assert (tmp_path / "seen").read_text() == "V=1\n" * 6 + "V=\n"


def test_where_the_journal_is_damaged_nothing_is_done_again_by_mistake(tmp_path: Path) -> None:
    tasks = {
        "side": "echo x >> sides",
        "b": "true",
        "c": {"command": "true", "after": ["b", "side"]},
    }
    write_work(tmp_path, tasks)
    assert run(tmp_path, "run").status == 0
    journal = tmp_path / ".parallel-workers" / "journal.db"
    for name in ("journal.db-wal", "journal.db-shm"):
        (journal.parent / name).unlink(missing_ok=True)
    journal.write_bytes(b"no database" * 1000)
    ended = run(tmp_path, "run", "--from", "b")
    assert ended.status == 2
    assert "damaged" in ended.errors
    assert (tmp_path / "sides").read_text() == "x\n"
