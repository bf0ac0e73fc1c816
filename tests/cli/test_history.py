"""`runs`, `show`, `logs` and `mark`: what people are told of earlier runs."""

import json
import os
import pty
import subprocess
import time
from pathlib import Path

import pytest

from parallel_workers.events import Event, Outcome, TaskRetried
from parallel_workers.journal import Journal
from parallel_workers.logs import log_name
from parallel_workers.state import run_id
from tests.support.journals import EPOCH, begun, declared, ends, facts, recorded, result, starts
from tests.support.program import WORDS, Ended, run, started, until, write_work

UTC = {"TZ": "UTC"}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where the program looks for runs by itself."""
    return tmp_path / ".parallel-workers"


def output(directory: Path, *arguments: str) -> str:
    ended = run(directory, *arguments, env=UTC)
    assert (ended.status, ended.errors) == (0, "")
    return ended.output


def complaint(directory: Path, *arguments: str) -> str:
    ended: Ended = run(directory, *arguments, env=UTC)
    assert (ended.status, ended.output) == (2, "")
    assert ended.errors.count("\n") == 1
    return ended.errors.removeprefix("error: ").rstrip("\n")


def various(state: Path) -> str:
    """Record a run in which tasks ended in different ways; return its id."""
    journal, run_id = begun(state, ["build", "test", "lint", "pack", "deploy"])
    broken = result(f"{state}/runs/{run_id}/2-test.2.log", 3)
    events: list[Event] = [
        *starts("build", "test"),
        *ends("build", seconds=75.0, time=75.0),
        TaskRetried(EPOCH + 5, "test", 1, Outcome.TIMED_OUT, 5.0, broken),
        *starts("test", attempt=2, time=6.0),
        *ends("test", outcome=Outcome.FAILED, attempt=2, time=8.0, result=broken),
        *ends("lint", outcome=Outcome.FAILED, result=ValueError("no rows")),
        *ends("pack", outcome=Outcome.SKIPPED, attempt=0, seconds=0.0, cause="test"),
    ]
    journal(events)
    journal.close("failed")
    return run_id


class TestRuns:
    """The list."""

    def test_the_latest_run_stands_last(self, tmp_path: Path, state: Path) -> None:
        ids = [recorded(state, [], "abc") for _ in range(3)]
        lines = output(tmp_path, "runs").splitlines()
        assert lines[0].split() == ["run", "started", "took", "outcome", "tasks", "file"]
        assert [line.split()[0] for line in lines[1:]] == ids
        assert lines[1].startswith(f"{ids[0]}  2023-11-14 22:13:20  ")
        assert lines[1].endswith("  failed             3  work.yaml")

    def test_at_most_twenty_are_listed_and_the_others_counted(
        self, tmp_path: Path, state: Path
    ) -> None:
        ids = [recorded(state, []) for _ in range(23)]
        lines = output(tmp_path, "runs").splitlines()
        assert lines[1] == "… 3 earlier runs; --all lists them"
        assert [line.split()[0] for line in lines[2:]] == ids[3:]
        assert len(output(tmp_path, "runs", "--all").splitlines()) == 24

    def test_a_run_whose_process_is_gone_is_interrupted(self, tmp_path: Path, state: Path) -> None:
        journal, _ = begun(state, "a")
        assert " running " in output(tmp_path, "runs")
        os.close(journal._run_lock or -1)
        journal._run_lock = None
        assert " interrupted " in output(tmp_path, "runs")

    def test_lines_are_cut_to_the_terminal(self, tmp_path: Path, state: Path) -> None:
        journal, run_id = begun(state, "a")
        journal.close("succeeded")
        Journal.open(str(state)).begin(facts(run_id, file="x" * 300), declared("a"))
        ours, theirs = pty.openpty()
        try:
            subprocess.run([*WORDS, "runs"], cwd=tmp_path, stdout=theirs, env=_terminal_env())
            os.close(theirs)
            shown = os.read(ours, 10_000).decode()
        finally:
            os.close(ours)
        assert max(len(line) for line in shown.splitlines()) == 80

    def test_without_a_journal_there_is_an_error(self, tmp_path: Path) -> None:
        for verb in (
            ["runs"],
            ["show", "last"],
            ["logs", "last", "a"],
            ["runs", "prune", "--keep=1"],
        ):
            assert complaint(tmp_path, *verb).startswith("there is no journal in .parallel-workers")
        assert not (tmp_path / ".parallel-workers").exists()

    def test_another_state_directory_can_be_named(self, tmp_path: Path) -> None:
        run_id = recorded(tmp_path / "other", [])
        assert run_id in output(tmp_path, "runs", "--state", "other")
        ended = run(tmp_path, "runs", env={"PARALLEL_WORKERS_STATE": "other"})
        assert run_id in ended.output


def _terminal_env() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "TERM": "xterm", "LANG": "C.UTF-8"}


class TestPrune:
    """Forgetting."""

    def test_the_latest_are_kept(self, tmp_path: Path, state: Path) -> None:
        ids = [recorded(state, []) for _ in range(5)]
        assert output(tmp_path, "runs", "prune", "--keep", "2") == "3 runs forgotten, 2 kept\n"
        assert sorted(os.listdir(state / "runs")) == sorted(ids[3:])

    def test_what_is_not_old_is_kept(self, tmp_path: Path, state: Path) -> None:
        old = recorded(state, [])
        new = recorded(state, [])
        journal = Journal.open(str(state))
        journal.begin(facts(new, started=4e9), declared("a"))
        journal.close("succeeded")
        assert output(tmp_path, "runs", "prune", "--older", "30d") == "1 run forgotten, 1 kept\n"
        assert old not in output(tmp_path, "runs")

    def test_what_either_keeps_is_kept(self, tmp_path: Path, state: Path) -> None:
        for _ in range(3):
            recorded(state, [])
        text = output(tmp_path, "runs", "prune", "--older", "1d", "--keep", "2")
        assert text == "1 run forgotten, 2 kept\n"

    def test_what_runs_is_kept(self, tmp_path: Path, state: Path) -> None:
        begun_run = begun(state, "a")
        assert output(tmp_path, "runs", "prune", "--keep", "0") == "0 runs forgotten, 1 kept\n"
        assert os.listdir(state / "runs") == [begun_run[1]]

    @pytest.mark.parametrize(
        ("arguments", "left"),
        [
            (["--keep", "0"], []),
            (["--keep", "1"], []),
            (["--keep", "2"], [2]),
            (["--keep", "3"], [1, 2]),
            (["--keep", "9"], [0, 1, 2]),
            (["--older", "30d"], [1, 2]),
            (["--older", "30d", "--keep", "2"], [1, 2]),
            (["--older", "1h", "--keep", "2"], [2]),
        ],
        ids=str,
    )
    def test_logs_of_a_journal_that_was_lost_go_by_when_their_runs_began(
        self, tmp_path: Path, state: Path, arguments: list[str], left: list[int]
    ) -> None:
        known = recorded(state, [])
        journal = Journal.open(str(state))
        journal.begin(facts(known, started=time.time()), declared("a"))
        journal.close("succeeded")
        days = (40, 20, 10)
        lost = [run_id(time.time() - 86400 * day, day) for day in days]
        for each in lost:
            (state / "runs" / each).mkdir()
            (state / "runs" / each / "1-a.1.log").touch()
        output(tmp_path, "runs", "prune", *arguments)
        found = set(os.listdir(state / "runs")) - {known}
        assert found == {lost[number] for number in left}

    def test_it_is_told_of_logs_that_went_without_a_run(self, tmp_path: Path, state: Path) -> None:
        recorded(state, [])
        (state / "runs" / run_id(EPOCH - 1, 1)).mkdir()
        text = output(tmp_path, "runs", "prune", "--keep", "1")
        assert text == "0 runs forgotten, 1 kept; logs of 1 unknown run deleted\n"

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([], "say what to keep, with --keep N or --older TIME"),
            (["--older", "soon"], "--older soon: give seconds"),
            (["--keep", "-1"], "Invalid value for '--keep'"),
        ],
    )
    def test_wrong_use_forgets_nothing(
        self, tmp_path: Path, state: Path, arguments: list[str], words: str
    ) -> None:
        run_id = recorded(state, [])
        assert complaint(tmp_path, "runs", "prune", *arguments).startswith(words)
        assert os.listdir(state / "runs") == [run_id]


class TestShow:
    """One run."""

    def test_every_task_is_shown_with_its_attempts(self, tmp_path: Path, state: Path) -> None:
        run_id = various(state)
        lines = output(tmp_path, "show", run_id[:6]).splitlines()
        assert lines[0] == f"run {run_id}, failed: work.yaml"
        assert lines[1].startswith("started 2023-11-14 22:13:20, took ")
        assert "; 2 at once; by " in lines[1]
        assert lines[2] == "5 tasks: 2 failed, 1 succeeded, 1 skipped, 1 not run"
        assert lines[4:] == [
            "outcome      started                   took  task",
            "succeeded    2023-11-14 22:13:20   1 m 15 s  build",
            "failed       2023-11-14 22:13:27     500 ms  test  attempt 2  "
            "exit status 3 after 500 ms",
            "timed out    2023-11-14 22:13:20      5.0 s    attempt 1",
            "failed       2023-11-14 22:13:20     500 ms  lint  ValueError: no rows",
            "skipped                                      pack  because of test",
            "not run                                      deploy",
        ]

    def test_programs_get_all_of_it(self, tmp_path: Path, state: Path) -> None:
        run_id = various(state)
        shown = json.loads(output(tmp_path, "show", "last", "--json"))
        assert (shown["run"], shown["outcome"], shown["file"]) == (run_id, "failed", "work.yaml")
        assert [task["name"] for task in shown["tasks"]][:2] == ["build", "test"]
        attempt = shown["tasks"][1]["attempts"][1]
        assert (attempt["number"], attempt["status"], attempt["seconds"]) == (2, 3, 0.5)
        assert attempt["log"].endswith("/2-test.2.log")

    def test_its_counts_are_those_of_the_end_of_the_run(self, tmp_path: Path) -> None:
        tasks = {
            "lint": {"command": "exit 3", "allow-failure": True},
            "slow": {"command": "sleep 60", "timeout": 0.05, "allow-failure": True},
            "late": {"command": "sleep 60", "timeout": 0.05},
            "test": "exit 1",
            "deploy": {"command": "true", "after": ["test"]},
            "build": {"command": "true", "after": ["lint"]},
        }
        write_work(tmp_path, tasks)
        ended = run(tmp_path, "run", "-k", "--state", ".parallel-workers").output.splitlines()[-1]
        told = ended.partition(" in ")[0]
        assert told == "1 succeeded, 1 failed, 1 timed out, 1 skipped, 2 allowed to fail"
        lines = output(tmp_path, "show", "last").splitlines()
        counts = lines[2].removeprefix("6 tasks: ").split(", ")
        assert sorted(counts) == sorted(told.split(", "))
        allowed = [line for line in lines if line.endswith("  it may fail")]
        assert [name for name in tasks if any(f"  {name}  " in line for line in allowed)] == [
            "lint",
            "slow",
        ]
        shown = json.loads(output(tmp_path, "show", "last", "--json"))["tasks"]
        assert {task["name"] for task in shown if task["forgiven"]} == {"lint", "slow"}

    def test_a_mark_is_shown_as_one(self, tmp_path: Path, state: Path) -> None:
        various(state)
        text = output(tmp_path, "mark", "last", "test", "lint", "--succeeded")
        assert text.endswith(": 2 tasks marked as succeeded\n")
        text = output(tmp_path, "show", "last")
        assert "5 tasks: 3 succeeded, 1 skipped, 1 not run" in text
        assert "  lint  marked by " in text


class TestMark:
    """What is refused."""

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["last", "a"], "say what became of them: --succeeded or --failed"),
            (["last", "a", "--succeeded", "--failed"], "say what became of them"),
            (["last", "--failed"], "Missing argument 'TASK...'"),
            (["last", "zzz", "--failed"], "run "),
            (["last", "z*", "--failed"], "run "),
            (["zzz", "a", "--failed"], "there is no run zzz in .parallel-workers"),
        ],
    )
    def test_wrong_use_is_an_error(
        self, tmp_path: Path, state: Path, arguments: list[str], words: str
    ) -> None:
        recorded(state, [])
        assert complaint(tmp_path, "mark", *arguments).startswith(words)


MATRIX = ["lint", "test[os=a,py=3.1]", "test[os=a,py=3.2]", "test[os=b,py=3.1]", "-v"]
"""The tasks of a run of a file in which `test` has a matrix."""


class TestNames:
    """What can be typed for tasks of a run: as for a run itself, though all it has are names."""

    @pytest.mark.parametrize(
        ("typed", "marked", "said"),
        [
            (["test"], MATRIX[1:4], "3 tasks"),
            (["t?st", "test"], MATRIX[1:4], "3 tasks"),
            (["test[os=a,*]", "lint"], ["lint", *MATRIX[1:3]], "3 tasks"),
            (["lint", "lint"], ["lint"], "lint"),
            (["*int"], ["lint"], "lint"),
            (["[-]v"], ["-v"], "-v"),
            (["*"], MATRIX, "5 tasks"),
        ],
    )
    def test_all_that_is_meant_is_marked(
        self, tmp_path: Path, state: Path, typed: list[str], marked: list[str], said: str
    ) -> None:
        run_id = recorded(state, [], MATRIX)
        text = output(tmp_path, "mark", "last", *typed, "--succeeded")
        assert text == f"run {run_id}: {said} marked as succeeded\n"
        tasks = json.loads(output(tmp_path, "show", "last", "--json"))["tasks"]
        assert [task["name"] for task in tasks if task["mark"]] == marked

    @pytest.mark.parametrize(
        ("typed", "said"),
        [
            ("tset", 'there is no task named tset; did you mean "test"?'),
            ("test[os=c,*]", "no task matches test[os=c,*]"),
            ("3.1", "there is no task named 3.1"),
        ],
    )
    def test_where_one_means_nothing_none_is_marked(
        self, tmp_path: Path, state: Path, typed: str, said: str
    ) -> None:
        run_id = recorded(state, [], MATRIX)
        complained = complaint(tmp_path, "mark", "last", "lint", typed, "--succeeded")
        assert complained.startswith(f"run {run_id}: {said}")
        assert "marked by" not in output(tmp_path, "show", "last")

    @pytest.mark.parametrize("typed", ["lint", "l?nt", "test[os=b,*]", "[-]v"])
    def test_the_log_of_the_one_task_that_is_meant_is_shown(
        self, tmp_path: Path, state: Path, typed: str
    ) -> None:
        journal, run_id = begun(state, MATRIX)
        for number, name in enumerate(MATRIX, 1):
            log = state / "runs" / run_id / f"{log_name(number, name)}.1.log"
            log.write_text(f"{typed}\n" if name in ("lint", MATRIX[3], "-v") else "wrong\n")
        journal(starts(*MATRIX))
        assert output(tmp_path, "logs", "last", typed) == f"{typed}\n"

    def test_where_several_are_meant_they_are_listed_and_none_is_shown(
        self, tmp_path: Path, state: Path
    ) -> None:
        recorded(state, [], MATRIX)
        listed = ", ".join(MATRIX[1:4])
        for arguments in (["test"], ["test", "-f"]):
            complained = complaint(tmp_path, "logs", "last", *arguments)
            assert complained == f"test means 3 tasks; name one: {listed}"

    def test_of_many_that_are_meant_twenty_are_listed(self, tmp_path: Path, state: Path) -> None:
        recorded(state, [], [f"test[n={number}]" for number in range(23)])
        complained = complaint(tmp_path, "logs", "last", "test")
        assert complained.endswith("test[n=18], test[n=19], … and 3 more tasks")

    def test_a_task_that_is_really_called_so_is_meant_alone(
        self, tmp_path: Path, state: Path
    ) -> None:
        run_id = recorded(state, [], ["test", *MATRIX[1:4]])
        text = output(tmp_path, "mark", "last", "test", "--failed")
        assert text == f"run {run_id}: test marked as failed\n"


class TestLogs:
    """What tasks wrote."""

    def log(self, state: Path, run_id: str, attempt: int = 1) -> Path:
        return state / "runs" / run_id / f"{log_name(1, 'a')}.{attempt}.log"

    def test_the_last_attempt_is_shown_as_it_was_written(self, tmp_path: Path, state: Path) -> None:
        journal, run_id = begun(state, "ab")
        for attempt in (1, 2):
            log = self.log(state, run_id, attempt)
            log.write_bytes(b"\xff attempt %d\x1b[0m" % attempt)
            gone = ends("a", attempt=attempt, result=result(str(log)))
            journal([*starts("a", attempt=attempt), *gone])
        journal.close("succeeded")
        ended = subprocess.run([*WORDS, "logs", "last", "a"], cwd=tmp_path, capture_output=True)
        assert (ended.returncode, ended.stdout) == (0, b"\xff attempt 2\x1b[0m")
        words = [*WORDS, "logs", "last", "a", "--attempt", "1"]
        ended = subprocess.run(words, cwd=tmp_path, capture_output=True)
        assert ended.stdout == b"\xff attempt 1\x1b[0m"
        assert complaint(tmp_path, "logs", "last", "a", "--attempt", "3") == (
            "a has no attempt 3; there is 1, 2"
        )
        assert (
            complaint(tmp_path, "logs", "last", "b") == f"b has not been attempted in run {run_id}"
        )

    def test_a_log_that_is_gone_is_an_error(self, tmp_path: Path, state: Path) -> None:
        journal, run_id = begun(state, "a")
        journal([*starts("a"), *ends("a", result=result(str(self.log(state, run_id))))])
        journal.close("succeeded")
        assert complaint(tmp_path, "logs", "last", "a").endswith(
            "1-a.1.log cannot be read: No such file or directory"
        )

    def test_a_function_has_no_log(self, tmp_path: Path, state: Path) -> None:
        recorded(state, [*starts("a"), *ends("a")])
        assert complaint(tmp_path, "logs", "last", "a") == "attempt 1 of a has no log"

    def test_the_log_of_a_task_that_runs_is_shown(self, tmp_path: Path, state: Path) -> None:
        journal, run_id = begun(state, "a")
        self.log(state, run_id).write_text("so far\n")
        journal(starts("a"))
        assert output(tmp_path, "logs", run_id, "a") == "so far\n"

    def test_following_shows_all_attempts_until_the_task_has_ended(
        self, tmp_path: Path, state: Path
    ) -> None:
        journal, run_id = begun(state, "a")
        shown = tmp_path / "shown"
        with (
            shown.open("wb") as out,
            started(tmp_path, "logs", "-f", "last", "a", stdout=out) as program,
        ):
            journal(starts("a"))
            self.log(state, run_id).write_text("one\n")
            until(lambda: shown.read_text() == "one\n")
            with self.log(state, run_id).open("a") as log:
                log.write("two\n")
            until(lambda: shown.read_text() == "one\ntwo\n")
            journal(
                [
                    TaskRetried(
                        EPOCH, "a", 1, Outcome.FAILED, 1.0, result(str(self.log(state, run_id)), 1)
                    )
                ]
            )
            self.log(state, run_id, 2).write_text("three\n")
            journal(starts("a", attempt=2))
            until(lambda: shown.read_text() == "one\ntwo\nthree\n")
            with self.log(state, run_id, 2).open("a") as log:
                log.write("end\n")
            last = result(str(self.log(state, run_id, 2)))
            journal(ends("a", attempt=2, result=last))
            ended = program.end()
        assert (ended.status, ended.errors) == (0, "attempt 2:\n")
        assert shown.read_text() == "one\ntwo\nthree\nend\n"

    def test_following_ends_with_a_run_that_is_broken_off(
        self, tmp_path: Path, state: Path
    ) -> None:
        journal, run_id = begun(state, "a")
        journal(starts("a"))
        self.log(state, run_id).write_text("one\n")
        with started(tmp_path, "logs", "-f", "last", "a") as program:
            os.close(journal._run_lock or -1)
            journal._run_lock = None
            ended = program.end()
        assert (ended.status, ended.output) == (0, "one\n")

    def test_a_task_of_another_number_is_found_by_its_name(
        self, tmp_path: Path, state: Path
    ) -> None:
        journal, run_id = begun(state, "ab")
        self.log(state, run_id).write_text("one\n")
        journal(starts("a"))
        journal.close("interrupted")
        journal = Journal.open(str(state))
        journal.begin(facts(run_id), declared("xba"))
        journal.close("interrupted")
        assert output(tmp_path, "logs", "last", "a") == "one\n"
