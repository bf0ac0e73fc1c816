"""What `run` runs, where, and in which order; with the real program."""

import json
import os
import shlex
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from parallel_workers.cores import usable_cores
from parallel_workers.definition import SET_BY_RUNS
from tests.support.program import WORDS, run, run_directory, started, until, write_work

CHAIN = {
    "build": "echo build >> ran",
    "test": {"command": "echo test >> ran", "after": ["build"]},
    "deploy": {"command": "echo deploy >> ran", "after": ["test"]},
    "docs": "echo docs >> ran",
}


def ran(directory: Path) -> list[str]:
    """What the tasks wrote down, in order."""
    try:
        return (directory / "ran").read_text().split()
    except FileNotFoundError:
        return []


@pytest.mark.parametrize("name", ["work.yaml", "work.yml", "work.toml", "work.json"])
def test_the_work_file_of_the_directory_need_not_be_named(tmp_path: Path, name: str) -> None:
    toml, other = '[tasks]\na = "echo a >> ran"\n', '{"tasks": {"a": "echo a >> ran"}}'
    (tmp_path / name).write_text(toml if name.endswith("toml") else other)
    assert run(tmp_path, "run").status == 0
    assert ran(tmp_path) == ["a"]


def test_the_names_of_tasks_choose_those_and_what_they_need(tmp_path: Path) -> None:
    write_work(tmp_path, CHAIN)
    assert run(tmp_path, "run", "test").status == 0
    assert ran(tmp_path) == ["build", "test"]


def test_names_of_tasks_may_follow_a_file(tmp_path: Path) -> None:
    write_work(tmp_path, CHAIN)
    (tmp_path / "work.json").rename(tmp_path / "other.json")
    assert run(tmp_path, "run", "other.json", "build", "docs", "-j", "1").status == 0
    assert sorted(ran(tmp_path)) == ["build", "docs"]


def test_a_file_without_a_known_suffix_is_a_file_all_the_same(tmp_path: Path) -> None:
    write_work(tmp_path, CHAIN)
    (tmp_path / "plan").write_text('[{"name": "other", "command": "echo other >> ran"}]')
    assert run(tmp_path, "run", "plan").status == 0
    assert ran(tmp_path) == ["other"]


def test_a_graph_comes_from_standard_input(tmp_path: Path) -> None:
    (tmp_path / "graph").write_text('[[["a"], ["b"]]]')
    with (tmp_path / "graph").open() as graph:
        ended = run(tmp_path, "run", "-", "--command", "echo {name} >> ran", stdin=graph)
    assert ended.status == 0
    assert ran(tmp_path) == ["a", "b"]


def test_a_directory_is_gone_to_before_anything_is_looked_for(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    (inner / "sub").mkdir(parents=True)
    write_work(
        inner,
        {"here": "pwd -P >> ran", "below": {"command": "pwd -P >> ../ran", "cwd": "sub"}},
    )
    assert run(tmp_path, "run", "-C", "inner", "-j", "1").status == 0
    assert sorted(ran(inner)) == [str(inner.resolve()), str(inner.resolve() / "sub")]
    assert run_directory(inner).is_dir()
    assert not (tmp_path / ".parallel-workers").exists()


def test_both_forms_of_a_graph_run_in_their_order(tmp_path: Path) -> None:
    records = [
        {"name": "b", "ancestors": ["a"]},
        {"name": "a", "successors": ["b"]},
        {"name": "c", "ancestors": ["b"], "position": 2},
    ]
    (tmp_path / "records.json").write_text(json.dumps(records))
    (tmp_path / "groups.json").write_text('[[["d"], [], ["e"],],  # the rest\n [["e"], ["f"]], []]')
    for file in ("records.json", "groups.json"):
        assert run(tmp_path, "run", file, "--command", "echo {name} >> ran").status == 0
    assert ran(tmp_path) == list("abcdef")


def test_a_dry_run_prints_the_planned_order_and_runs_nothing(tmp_path: Path) -> None:
    end = {"command": ["touch", "a b"], "after": ["long"], "duration": 5}
    write_work(tmp_path, {"short": "touch ran", "long": "touch ran", "end": end})
    ended = run(tmp_path, "run", "-n", "-j", "1")
    assert ended == (0, "long: touch ran\nend: touch 'a b'\nshort: touch ran\n", "")
    assert sorted(os.listdir(tmp_path)) == ["tmp", "work.json"]


def test_a_dry_run_is_in_the_order_of_the_run(tmp_path: Path) -> None:
    tasks = {
        f"t{number}": {"command": f"echo t{number} >> ran", "duration": number % 5 + 1}
        for number in range(12)
    }
    for number in (5, 8, 11):
        tasks[f"t{number}"]["after"] = [f"t{number - 4}", f"t{number - 3}"]
    write_work(tmp_path, tasks)
    planned = run(tmp_path, "run", "-n", "-j", "1").output
    assert run(tmp_path, "run", "-j", "1").status == 0
    assert ran(tmp_path) == [line.split(":")[0] for line in planned.splitlines()]


@pytest.mark.parametrize(("jobs", "most"), [("1", 1), ("2", 2), ("0", 4)])
def test_as_many_run_at_once_as_are_allowed(tmp_path: Path, jobs: str, most: int) -> None:
    """Each waits for as many to be there as may be; a task too many would be seen."""
    command = (
        f"mkdir here.$PW_TASK; until [ $(ls -d here.* | wc -l) -ge {most} ] || [ -e enough ];"
        " do sleep 0.02; done; ls -d here.* | wc -l >> counts; touch enough; sleep 0.2;"
        " rmdir here.$PW_TASK; rm -f enough"
    )
    write_work(tmp_path, dict.fromkeys(["a", "b", "c", "d"], command))
    assert run(tmp_path, "run", "-j", jobs).status == 0
    counts = [int(line) for line in (tmp_path / "counts").read_text().split()]
    assert max(counts) == most
    assert len(counts) == 4


def test_by_default_as_many_run_as_there_are_cores_to_use(tmp_path: Path) -> None:
    cores = usable_cores()
    write_work(tmp_path, {f"t{number}": "true" for number in range(cores + 3)})
    shown = json.loads(run(tmp_path, "plan", "--json").output)
    assert shown["jobs"] == cores


def test_without_cores_to_spare_one_runs_at_a_time(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "true", "b": "true"})
    core = min(os.sched_getaffinity(0))
    ended = run(tmp_path, "plan", "--json", preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    assert json.loads(ended.output)["jobs"] == 1


def test_a_failure_stops_what_has_not_started(tmp_path: Path) -> None:
    tasks = {
        "bad": {"command": "until [ -e slow.up ]; do sleep 0.02; done; exit 3", "duration": 9},
        "slow": {
            "command": "touch slow.up; until [ -e told ]; do sleep 0.02; done; echo slow >> ran",
            "duration": 9,
        },
        "other": "echo other >> ran",
        "behind": {"command": "echo behind >> ran", "after": ["bad"]},
    }
    write_work(tmp_path, tasks)
    output = tmp_path / "output"
    with output.open("wb") as file, started(tmp_path, "run", "-j", "2", stdout=file) as program:
        program.wait_for("slow.up")
        until(lambda: "exit status 3" in output.read_text())
        (tmp_path / "told").touch()
        assert program.end().status == 1
    assert ran(tmp_path) == ["slow"]
    assert "1 succeeded, 1 failed, 2 skipped" in output.read_text()


@pytest.mark.parametrize("option", ["-k", "--keep-going"])
def test_keeping_going_runs_what_no_failure_is_before(tmp_path: Path, option: str) -> None:
    tasks = {
        "bad": {"command": "false", "duration": 100},
        "behind": {"command": "echo behind >> ran", "after": ["bad"]},
        "far_behind": {"command": "echo far_behind >> ran", "after": ["behind"]},
        "good": "echo good >> ran",
        "next": {"command": "echo next >> ran", "after": ["good"]},
    }
    write_work(tmp_path, tasks)
    ended = run(tmp_path, "run", "-j", "1", option)
    assert ended.status == 1
    assert ran(tmp_path) == ["good", "next"]
    assert "2 skipped because of bad" in ended.output


def test_a_pool_holds_its_tasks_to_its_limit(tmp_path: Path) -> None:
    command = "mkdir held && sleep 0.05 && rmdir held"
    tasks = {f"t{number}": {"command": command, "pool": "db"} for number in range(4)}
    write_work(tmp_path, tasks, pools={"db": 1})
    assert run(tmp_path, "run", "-j", "4").status == 0


def test_retries_are_numbered_and_each_has_its_log(tmp_path: Path) -> None:
    command = "echo attempt $PW_ATTEMPT; [ $PW_ATTEMPT = 3 ]"
    write_work(tmp_path, {"flaky": {"command": command, "retries": 2}})
    ended = run(tmp_path, "run")
    assert ended.status == 0
    assert ended.output.count("trying again") == 2
    logs = run_directory(tmp_path)
    assert sorted(path.name for path in logs.glob("*.log")) == [
        f"1-flaky.{attempt}.log" for attempt in (1, 2, 3)
    ]
    assert (logs / "1-flaky.2.log").read_text() == "attempt 2\n"


def test_a_timeout_is_a_failure_that_says_so(tmp_path: Path) -> None:
    write_work(tmp_path, {"slow": {"command": "echo begun; sleep 60", "timeout": "300ms"}})
    ended = run(tmp_path, "run")
    assert ended.status == 1
    assert "timed out after" in ended.output
    assert "begun" in ended.output


@pytest.mark.parametrize("graph", ["[]", '{"tasks": {}}', "[[], [[]]]"])
def test_a_graph_of_nothing_runs_nothing_and_is_well(tmp_path: Path, graph: str) -> None:
    (tmp_path / "graph.json").write_text(graph)
    ended = run(tmp_path, "run", "graph.json")
    assert (ended.status, ended.errors) == (0, "")
    assert ended.output.startswith("0 succeeded")


ODD_NAMES = [
    "a b",
    "it's",
    'say "hi"',
    "$(touch owned)",
    "`touch owned`",
    "; touch owned",
    "../../etc",
    "/etc/passwd",
    "-rf",
    "--help",
    "👩‍💻 emoji",
    "*",
    "~",
    "%s%n",
    "\\",
    "{name}",
    "𠀀" * 3000,
    "x" * 3000,
]


def test_a_name_is_never_more_than_a_name(tmp_path: Path) -> None:
    (tmp_path / "graph.json").write_text(json.dumps([[ODD_NAMES]]))
    (tmp_path / "say").write_text('printf "%s\\n" "$1" "$PW_TASK" > "told.$$"')
    ended = run(tmp_path, "run", "graph.json", "--command", "sh ./say {name}")
    assert (ended.status, ended.errors) == (0, "")
    told = [path.read_text().splitlines() for path in tmp_path.glob("told.*")]
    assert sorted(told) == sorted([name, name] for name in ODD_NAMES)
    assert not (tmp_path / "owned").exists()
    assert len(list(run_directory(tmp_path).glob("*.log"))) == len(ODD_NAMES)


@pytest.mark.parametrize("name", ["-rf", "--help", "it's", "a b", "$(false)", "𠀀" * 3000])
def test_the_line_that_runs_it_again_does(tmp_path: Path, name: str) -> None:
    (tmp_path / "my graph.json").write_text(json.dumps([{"name": name}]))
    ended = run(tmp_path, "run", "my graph.json", "--command", "echo ran >> ran; exit 1")
    [line] = [line for line in ended.output.splitlines() if "run it again: " in line]
    script = tmp_path / "parallel-workers"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(WORDS)} "$@"\n')
    script.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    again = subprocess.run(["sh", "-c", line.partition(": ")[2]], cwd=tmp_path, env=env)
    assert again.returncode == 1
    assert ran(tmp_path) == ["ran", "ran"]


def test_programs_are_found_by_the_names_of_their_tasks(tmp_path: Path) -> None:
    for name in ("top", "deep/er"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho {name} >> ran\n")
        path.chmod(0o755)
    (tmp_path / "graph.json").write_text(
        '{"tasks": {"own": "echo own >> ran"}, "threads": [[["top"], ["deep/er"], ["own"]]]}'
    )
    assert run(tmp_path, "run", "graph.json", "--programs", "bin").status == 0
    assert ran(tmp_path) == ["top", "deep/er", "own"]


def test_logs_are_for_their_owner_only(tmp_path: Path) -> None:
    write_work(tmp_path, {"a/b": "echo secret"})
    run(tmp_path, "run", preexec_fn=lambda: os.umask(0o022))
    logs = run_directory(tmp_path)
    [log] = logs.glob("*.log")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (logs.parent, logs, log)]
    assert modes == [0o700, 0o700, 0o600]
    assert (log.name, log.read_text()) == ("1-a_b.1.log", "secret\n")


def test_the_state_lies_where_it_is_told_to(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "echo hi"})
    assert run(tmp_path, "run", "--state", "deep/state").status == 0
    assert run(tmp_path, "run", env={"PARALLEL_WORKERS_STATE": "other"}).status == 0
    for state in ("deep/state", "other"):
        assert len(list((tmp_path / state / "runs").glob("*/1-a.1.log"))) == 1
    assert not (tmp_path / ".parallel-workers").exists()


def test_nothing_is_kept_of_a_success_without_a_journal(tmp_path: Path) -> None:
    write_work(tmp_path, {"loud": "echo hi", "quiet": "true", "leaves": "echo x; sleep 0.1 &"})
    assert run(tmp_path, "run", "--no-journal").status == 0
    assert os.listdir(tmp_path / "tmp") == []
    assert not (tmp_path / ".parallel-workers").exists()


def test_the_logs_of_a_failure_are_kept_and_told(tmp_path: Path) -> None:
    write_work(tmp_path, {"loud": {"command": "echo why; exit 9"}})
    ended = run(tmp_path, "run", "--no-journal")
    assert ended.status == 1
    [line] = [line for line in ended.output.splitlines() if "its log: " in line]
    log = Path(line.partition(": ")[2])
    assert log.is_relative_to(tmp_path / "tmp")
    assert log.read_text() == "why\n"


def test_every_attempt_knows_what_it_is(tmp_path: Path) -> None:
    command = "echo $PW_TASK $PW_ATTEMPT $PW_POSITION >> ran; echo $PW_RUN >> run"
    write_work(tmp_path, {"a": command, "b": {"command": command, "after": ["a"]}})
    assert run(tmp_path, "run", env={"PW_TASK": "outer", "PW_RUN": "outer"}).status == 0
    assert (tmp_path / "ran").read_text() == "a 1 0\nb 1 1\n"
    assert set((tmp_path / "run").read_text().split()) == {run_directory(tmp_path).name}


def test_what_a_task_sets_goes_over_what_is_inherited(tmp_path: Path) -> None:
    tasks = {"a": {"command": 'echo "$A $B $C" > env.txt', "env": {"A": "task", "B": "é"}}}
    write_work(tmp_path, tasks, env={"B": "file", "C": "file"})
    assert run(tmp_path, "run", env={"A": "outside", "C": "outside"}).status == 0
    assert (tmp_path / "env.txt").read_text() == "task é file\n"


def test_what_the_run_sets_is_what_nobody_else_can(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "env > told"})
    assert run(tmp_path, "run").status == 0
    told = [line.partition("=")[0] for line in (tmp_path / "told").read_text().splitlines()]
    assert {name for name in told if name.startswith("PW_")} == set(SET_BY_RUNS)


@pytest.mark.parametrize(
    ("fields", "arguments", "where"),
    [
        ({"env": {"PW_RUN": "x"}}, [], "work.json:1: env.PW_RUN"),
        ({"env-file": ".env"}, [], "work.json:1: env-file: .env:2"),
        ({"defaults": {"env": {"PW_RUN": "x"}}}, [], "work.json:1: defaults: env.PW_RUN"),
        ({"tasks": {"a": {"env": {"PW_RUN": 1}}}}, [], "work.json:1: task a: env.PW_RUN"),
        ({"tasks": {"a": {"matrix": {"PW_RUN": [1]}}}}, [], "work.json:1: task a: matrix.PW_RUN"),
        ({}, ["--set", "PW_RUN=x"], "--set PW_RUN=x"),
    ],
    ids=["file", "env-file", "defaults", "task", "matrix", "option"],
)
def test_what_the_run_sets_is_refused_wherever_it_stands(
    tmp_path: Path, fields: dict[str, Any], arguments: list[str], where: str
) -> None:
    (tmp_path / ".env").write_text("A=b\nPW_RUN=x\n")
    write_work(tmp_path, **{"tasks": {"a": "touch ran"}, **fields})
    ended = run(tmp_path, "run", *arguments)
    assert (ended.status, ended.output) == (2, "")
    said = "PW_RUN is set by the run itself, for each command; choose another name"
    assert ended.errors == f"error: {where}: {said}\n"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("command", ["cat", "cat; true"], ids=["direct", "shell"])
def test_a_command_has_nothing_to_read_whatever_we_have(tmp_path: Path, command: str) -> None:
    write_work(tmp_path, {"a": command, "b": {"command": command, "cwd": "."}})
    reader, writer = os.pipe()
    os.write(writer, b"not for commands")  # and no end of file, for which they would wait
    ended = run(tmp_path, "run", stdin=reader)
    os.close(reader)
    os.close(writer)
    assert ended.status == 0
    assert "not for commands" not in ended.output


def test_an_environment_that_is_no_text_is_handed_on_as_it_is(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": 'printf %s "$RAW" > raw'})
    assert run(tmp_path, "run", env={"RAW": os.fsdecode(b"\xff\xfe")}).status == 0
    assert (tmp_path / "raw").read_bytes() == b"\xff\xfe"


def test_names_need_no_locale(tmp_path: Path) -> None:
    write_work(tmp_path, {"é": {"command": 'printf %s "$PW_TASK$V" > told', "env": {"V": "ü"}}})
    env = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = run(tmp_path, "run", "--no-journal", env=env)
    assert (ended.status, ended.errors) == (0, "")
    assert (tmp_path / "told").read_text() == "éü"
    assert "\\xe9" in ended.output
