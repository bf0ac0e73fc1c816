"""Faults of the machine, brought about: the task fails with a clear line, and the run goes on."""

import os
import resource
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from parallel_workers.journal_schema import lock_run
from tests.support.program import Ended, run, started, until, write_work

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do this")

GOOD = "echo good >> ran"


def failure_of(task: str, output: str) -> str:
    """The line that told of the failure of a task when it happened."""
    [line] = {line for line in output.splitlines() if line.startswith(f"✗ {task}  ")}
    return line.removeprefix(f"✗ {task}  ")


def limit(what: int, most: int) -> Callable[[], None]:
    """What sets a limit in a process that is being started."""
    return lambda: resource.setrlimit(what, (most, most))


def assert_only_this_fails(directory: Path, command: object, words: str, **fields: object) -> None:
    """Run a task with others around it; it alone fails, and the line says `words`."""
    tasks = {
        "before": GOOD,
        "it": {"command": command, **fields},
        "beside": GOOD,
        "behind": {"command": "touch behind", "after": ["it"]},
    }
    write_work(directory, tasks)
    ended = run(directory, "run", "-k", "-j", "1")
    assert (ended.status, ended.errors) == (1, "")
    assert failure_of("it", ended.output).startswith(words)
    assert "2 succeeded, 1 failed, 1 skipped" in ended.output
    assert not (directory / "behind").exists()


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with files that cannot be run, each for its own reason."""
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    (tmp_path / "no-interpreter").write_text("#!/none/such\n")
    (tmp_path / "no-interpreter").chmod(0o755)
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("no-such-program --x", "command not found: no-such-program"),
        (["./none", "x"], "command not found: ./none"),
        (["./plain"], "not executable: ./plain"),
        (["./folder"], "is a directory: ./folder"),
        (["plain"], "command not found: plain"),
        ("./no-interpreter", "the interpreter that its first line names does not exist"),
        (["echo", "x" * 200_000], "an argument of it has 200,0"),
        ("true; " + "x" * 200_000, "an argument of it has 200,0"),
        ("no-such-program; exit $?", "exit status 127"),
        ("kill -KILL $$", "killed by SIGKILL"),
        ("kill -SEGV $$", "killed by SIGSEGV"),
        ("kill -35 $$", "killed by signal 35"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_command_that_cannot_be_run_fails_alone(here: Path, command: object, words: str) -> None:
    assert_only_this_fails(here, command, words)


@pytest.mark.parametrize(
    ("cwd", "words"),
    [
        ("none", "its directory does not exist: "),
        ("plain", "its directory is not a directory: "),
    ],
)
@pytest.mark.parametrize("command", [["echo", "hi"], "echo hi; true"], ids=["words", "shell"])
def test_a_task_whose_directory_cannot_be_entered_fails_alone(
    here: Path, command: object, cwd: str, words: str
) -> None:
    assert_only_this_fails(here, command, words + str(here / cwd), cwd=cwd)


def test_a_child_killed_from_outside_is_told_by_the_name_of_the_signal(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "echo $$ > pid.part; mv pid.part pid; sleep 300", "b": GOOD})
    with started(tmp_path, "run", "-k", "-j", "2") as program:
        program.wait_for("pid")
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
        ended = program.end()
    assert ended.status == 1
    assert failure_of("a", ended.output).startswith("killed by SIGTERM")
    assert "1 succeeded, 1 failed" in ended.output


def test_a_file_that_grows_beyond_the_limit_ends_its_task_only(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "exec head -c 100000 /dev/zero", "b": "head -c 1000 /dev/zero"})
    ended = run(tmp_path, "run", "-k", preexec_fn=limit(resource.RLIMIT_FSIZE, 50_000))
    assert ended.status == 1
    assert failure_of("a", ended.output).startswith("killed by SIGXFSZ")
    assert "1 succeeded, 1 failed" in ended.output


def test_few_file_descriptors_are_enough(tmp_path: Path) -> None:
    """Far fewer than there are children, each with a time limit, which one descriptor watches."""
    tasks = {f"t{number}": {"command": "sleep 0.2; echo x", "timeout": 60} for number in range(60)}
    write_work(tmp_path, tasks)
    ended = run(tmp_path, "run", "-j", "0", preexec_fn=limit(resource.RLIMIT_NOFILE, 16))
    assert (ended.status, ended.errors) == (0, "")
    assert ended.output.splitlines()[-1].startswith("60 succeeded in")


def test_many_workers_need_few_file_descriptors(tmp_path: Path) -> None:
    names = [f"t{number}" for number in range(500)]
    write_work(tmp_path, dict.fromkeys(names, "touch up.$PW_TASK; read line < go"))
    os.mkfifo(tmp_path / "go")
    few = limit(resource.RLIMIT_NOFILE, 256)
    with started(tmp_path, "run", "-j", "500", preexec_fn=few) as program:
        program.wait_for(*(f"up.{name}" for name in names))
        # Open until all have ended: one may have said that it is up and not have opened it yet.
        go = os.open(tmp_path / "go", os.O_RDWR)
        os.write(go, b"\n" * len(names))
        ended = program.end()
        os.close(go)
    assert (ended.status, ended.errors) == (0, "")
    assert ended.output.splitlines()[-1].startswith("500 succeeded in")


def test_an_interrupt_needs_no_file_descriptor(tmp_path: Path) -> None:
    names = [f"t{number}" for number in range(20)]
    task = {"command": "trap '' INT; touch up.$PW_TASK; exec sleep 300", "timeout": 600}
    write_work(tmp_path, dict.fromkeys(names, task))
    with started(
        tmp_path, "run", "-j", "0", "--grace", "1", preexec_fn=limit(resource.RLIMIT_NOFILE, 16)
    ) as program:
        program.wait_for(*(f"up.{name}" for name in names))
        program.send(signal.SIGINT)
        ended = program.end()
        assert program.left_behind() == []
    assert (ended.status, ended.errors) == (130, "")
    assert ended.output.splitlines()[-1].startswith("0 succeeded, 20 cancelled in")


def test_time_limits_need_no_file_descriptor(tmp_path: Path) -> None:
    task = {"command": "touch up.$PW_TASK; exec sleep 300", "timeout": "1.5s"}
    write_work(tmp_path, {f"t{number}": task for number in range(20)})
    with started(
        tmp_path, "run", "-k", "-j", "0", preexec_fn=limit(resource.RLIMIT_NOFILE, 16)
    ) as program:
        ended = program.end()
        assert program.left_behind() == []
    assert (ended.status, ended.errors) == (1, "")
    assert ended.output.splitlines()[-1].startswith("0 succeeded, 20 timed out in")


@pytest.mark.parametrize("deleted", [".parallel-workers/runs/*", "logs/*"])
def test_logs_that_are_deleted_during_the_run_do_not_keep_others_from_running(
    tmp_path: Path, deleted: str
) -> None:
    (tmp_path / "logs").mkdir()
    options = [] if deleted.startswith(".") else ["--no-journal"]
    tasks = {
        "a": f"echo lost; rm -r {deleted}",
        "b": {"command": "echo kept", "after": ["a"]},
        "c": {"command": "echo why; exit 7", "after": ["b"]},
    }
    write_work(tmp_path, tasks)
    env = {**os.environ, "TMPDIR": str(tmp_path / "logs")}
    ended = run(tmp_path, "run", "-j", "1", *options, env=env)
    assert ended.status == 1
    assert "\nkept\n" in ended.output
    assert "\nwhy\n" in ended.output
    assert ("were deleted during the run" in ended.errors) == (not options)


def test_a_run_whose_record_was_deleted_has_done_its_work_and_says_so(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "rm -r .parallel-workers", "b": {"command": "true", "after": ["a"]}})
    ended = run(tmp_path, "run", "-j", "1")
    assert ended.status == 3
    assert ended.errors.startswith("warning: not all was recorded: ")


def assert_unrecorded(ended: Ended, why: str) -> None:
    """A run has said at its beginning and at its end that, and why, nothing of it is recorded."""
    first, last = ended.errors.splitlines()
    assert first.startswith("warning: the run goes on, and nothing of it is recorded: ")
    assert last.startswith("warning: not all was recorded: ")
    assert why in first
    assert why in last


POWERLESS = ("setpriv", "--bounding-set", "-dac_override")
"""What starts a program as root for whom the modes of files hold as for anybody."""


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A directory with a run in which `b` has failed, and a state that cannot be written to."""
    tasks = {
        "a": "echo V=1 >> $PW_OUTPUTS; echo a >> ran",
        "b": {"command": "echo b$V >> ran; test -e go", "after": ["a"]},
    }
    write_work(tmp_path, tasks)
    assert run(tmp_path, "run").status == 1
    (tmp_path / "go").touch()
    (tmp_path / "ran").unlink()
    subprocess.run(["chmod", "-R", "a-w", ".parallel-workers"], cwd=tmp_path, check=True)
    yield tmp_path
    subprocess.run(["chmod", "-R", "u+w", ".parallel-workers"], cwd=tmp_path, check=True)


@needs_root
@pytest.mark.program("setpriv")
@pytest.mark.parametrize(
    ("options", "ran"),
    [
        ([], "a\nb1\n"),
        (["--only", "b"], "b1\n"),
        (["--failed"], "b1\n"),
        (["--resume"], "b1\n"),
        (["--resume-run", "last"], "b1\n"),
        (["--again", "a"], "a\nb1\n"),
    ],
    ids=str,
)
def test_a_run_goes_on_without_its_record_and_says_so_at_once(
    locked: Path, options: list[str], ran: str
) -> None:
    ended = run(locked, "run", "-j", "1", *options, before=POWERLESS)
    assert ended.status == 3
    assert_unrecorded(ended, "the state directory .parallel-workers cannot be used: ")
    assert (locked / "ran").read_text() == ran
    assert os.listdir(locked / "tmp") == []
    assert "failed" in run(locked, "runs").output


@needs_root
@pytest.mark.program("setpriv")
def test_where_no_state_can_be_made_that_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    write_work(tmp_path, {"a": "touch ran"})
    ended = run(tmp_path, "run", "--state", "closed/state", before=POWERLESS)
    assert ended.status == 3
    assert_unrecorded(ended, "closed/state cannot be used: Permission denied")
    assert (tmp_path / "ran").exists()
    assert os.listdir(tmp_path / "tmp") == []


@needs_root
@pytest.mark.program("setpriv")
def test_logs_of_a_run_that_fails_without_a_record_are_kept(locked: Path) -> None:
    (locked / "go").unlink()
    ended = run(locked, "run", before=POWERLESS)
    assert ended.status == 1
    assert len(os.listdir(locked / "tmp")) == 1


@needs_root
@pytest.mark.program("setpriv")
def test_a_run_that_somebody_is_at_is_not_gone_on_with_unrecorded(locked: Path) -> None:
    [run_id] = os.listdir(locked / ".parallel-workers" / "runs")
    other = lock_run(str(locked / ".parallel-workers"), run_id)
    ended = run(locked, "run", "--resume", before=POWERLESS)
    os.close(other)
    assert (ended.status, ended.output) == (2, "")
    assert ended.errors.startswith(f"error: run {run_id} is running")
    assert not (locked / "ran").exists()


@needs_root
@pytest.mark.program("setpriv")
@pytest.mark.parametrize("verb", [["mark", "last", "a", "--failed"], ["runs", "prune", "--keep=0"]])
def test_verbs_that_have_to_write_say_which_file_and_what_to_do(
    locked: Path, verb: list[str]
) -> None:
    ended = run(locked, *verb, before=POWERLESS)
    assert (ended.status, ended.output) == (2, "")
    [line] = ended.errors.splitlines()
    assert ".parallel-workers/locks/" in line
    assert line.endswith("; make .parallel-workers, and what is in it, writable for yourself")
    locks = locked / ".parallel-workers" / "locks"
    for path in (locks, *locks.iterdir()):
        path.chmod(0o700)
    ended = run(locked, *verb, before=POWERLESS)
    assert ended.status == 2
    assert ended.errors.startswith("error: the journal .parallel-workers/journal.db cannot be used")
    assert ended.errors.endswith("; make it and its directory writable for yourself\n")


@pytest.fixture
def crowded(tmp_path: Path) -> Callable[[int], list[str]]:
    """What starts a program as a user who may have so many processes and threads at once.

    Two of them are the program itself and its guardian.
    """
    user = str(1_000_000 + uuid.uuid4().int % 1_000_000_000)
    tmp_path.chmod(0o777)

    def as_crowded_user(most: int) -> list[str]:
        caps = "-all,+dac_override"  # for the directories on the way to Python and to the tests
        return [
            *("setpriv", "--reuid", user, "--regid", user, "--clear-groups"),
            *("--inh-caps", caps, "--ambient-caps", caps),
            *("prlimit", f"--nproc={most}"),
        ]

    return as_crowded_user


@needs_root
@pytest.mark.program("setpriv")
@pytest.mark.program("prlimit")
@pytest.mark.parametrize(("jobs", "most"), [("0", 10), ("2", 7), ("1", 5)])
def test_where_there_is_no_room_for_a_process_the_run_waits_for_it(
    tmp_path: Path, crowded: Callable[[int], list[str]], jobs: str, most: int
) -> None:
    write_work(tmp_path, {f"t{number}": ["sleep", "0.1"] for number in range(12)})
    ended = run(tmp_path, "run", "-j", jobs, before=crowded(most))
    assert (ended.status, ended.errors) == (0, "")
    assert ended.output.splitlines()[-1].startswith("12 succeeded in")


@needs_root
@pytest.mark.program("setpriv")
@pytest.mark.program("prlimit")
def test_where_there_will_be_no_room_for_a_process_the_task_fails(
    tmp_path: Path, crowded: Callable[[int], list[str]]
) -> None:
    write_work(tmp_path, {"a": ["true"]})
    ended = run(tmp_path, "run", before=crowded(3))
    assert (ended.status, ended.errors) == (1, "")
    assert failure_of("a", ended.output) == "the system allows no more processes"


def hears(pid: int, signum: signal.Signals) -> bool:
    """Return whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signum - 1) & 1)


@needs_root
@pytest.mark.program("setpriv")
@pytest.mark.program("prlimit")
def test_an_interrupt_ends_the_wait_for_room(
    tmp_path: Path, crowded: Callable[[int], list[str]]
) -> None:
    write_work(tmp_path, {"a": ["true"]})
    with started(tmp_path, "run", before=crowded(3)) as program:
        program.wait_for(".parallel-workers/runs")
        # Before it hears signals it had another thread: what says that it waits for a lock.
        until(lambda: hears(program.pid, signal.SIGTERM))
        until(lambda: len(os.listdir(f"/proc/{program.pid}/task")) == 2)
        program.send(signal.SIGINT)
        ended = program.end()
    assert (ended.status, ended.errors) == (130, "")
    assert ended.output.splitlines()[-1].startswith("0 succeeded, 1 cancelled in")


@needs_root
@pytest.mark.program("setpriv")
@pytest.mark.program("prlimit")
def test_where_there_is_no_room_for_a_thread_an_error_says_so(
    tmp_path: Path, crowded: Callable[[int], list[str]]
) -> None:
    write_work(tmp_path, {"a": ["true"]})
    ended = run(tmp_path, "run", before=crowded(1))
    assert (ended.status, ended.output) == (2, "")
    assert ended.errors.startswith("error: the system allows no thread beside the first")
    assert " failed " in run(tmp_path, "runs").output


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A directory on a disk with room for little."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=8", "none", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@needs_root
@pytest.mark.program("mount")
def test_no_room_for_a_log_fails_its_task_only(tmp_path: Path, small: Path) -> None:
    write_work(tmp_path, {f"t{number}": f"touch ran.{number}; echo x" for number in range(9)})
    ended = run(tmp_path, "run", "-k", "-j", "1", "--no-journal", env={"TMPDIR": str(small)})
    assert (ended.status, ended.errors) == (1, "")
    ran = len(list(tmp_path.glob("ran.*")))
    assert 0 < ran < 9
    no_room = "its log cannot be written: No space left on device"
    assert ended.output.count(no_room) == 2 * (9 - ran)
    assert f"{ran} succeeded, {9 - ran} failed" in ended.output


@needs_root
@pytest.mark.program("mount")
def test_output_for_which_there_is_no_room_fails_its_task_only(tmp_path: Path, small: Path) -> None:
    write_work(tmp_path, {"big": "head -c 1000000 /dev/zero", "none": GOOD})
    ended = run(tmp_path, "run", "-k", "-j", "1", "--no-journal", env={"TMPDIR": str(small)})
    assert (ended.status, ended.errors) == (1, "")
    assert failure_of("big", ended.output).startswith("exit status 1")
    assert (tmp_path / "ran").exists()


@pytest.fixture
def full(small: Path) -> Path:
    """A directory on a disk with room for nothing."""
    for number in range(7):
        (small / str(number)).touch()
    return small


@needs_root
@pytest.mark.program("mount")
def test_no_room_for_the_state_leaves_a_run_unrecorded(tmp_path: Path, full: Path) -> None:
    write_work(tmp_path, {"a": GOOD})
    ended = run(tmp_path, "run", "--state", str(full / "state"))
    assert ended.status == 3
    assert_unrecorded(ended, "No space left on device")
    assert (tmp_path / "ran").exists()


@needs_root
@pytest.mark.program("mount")
@pytest.mark.program("setpriv")
@pytest.mark.parametrize("options", [["--resume"], ["--only", "b"]], ids=str)
def test_what_tasks_have_passed_on_is_not_lost_on_the_way_to_another_disk(
    locked: Path, small: Path, options: list[str]
) -> None:
    ended = run(locked, "run", *options, before=POWERLESS, env={"TMPDIR": str(small)})
    assert ended.status == 3
    assert (locked / "ran").read_text() == "b1\n"
    assert os.listdir(small) == []


@needs_root
@pytest.mark.program("mount")
def test_no_room_for_any_log_is_an_error_before_anything_runs(tmp_path: Path, full: Path) -> None:
    write_work(tmp_path, {"a": GOOD})
    ended = run(tmp_path, "run", "--no-journal", env={"TMPDIR": str(full)})
    assert (ended.status, ended.output) == (2, "")
    assert f"nothing can be written to {full}: No space left on device" in ended.errors
    assert not (tmp_path / "ran").exists()


FAULT = """
from parallel_workers.reports import {module}
def fail(*arguments):
    raise LookupError("a fault of ours")
{module}.{what} = fail
"""


@pytest.mark.parametrize(
    ("who", "module", "what"),
    [
        ("the file of events", "ndjson", "EventLines._fields"),
        ("the terminal", "progress", "Progress._tell_ended"),
        ("the summary", "summary", "Summary._note_no_success"),
    ],
)
def test_a_fault_of_ours_in_telling_is_told_and_costs_no_task(
    tmp_path: Path, who: str, module: str, what: str
) -> None:
    (tmp_path / "faulty").mkdir()
    (tmp_path / "faulty" / "sitecustomize.py").write_text(FAULT.format(module=module, what=what))
    path = os.pathsep.join([str(tmp_path / "faulty"), os.environ.get("PYTHONPATH", "")])
    write_work(tmp_path, {"a": GOOD, "b": {"command": GOOD, "done-if": "test -e ran"}})
    words = ("run", "-j1", "--events", "events")
    ended = run(tmp_path, *words, env={"PYTHONPATH": path})
    trouble = f"{who} was told no more, since it raised LookupError: a fault of ours"
    assert (ended.status, ended.errors) == (3, f"warning: {trouble}\n")
    assert (tmp_path / "ran").read_text() == "good\n"
    assert "2 cached in" in run(tmp_path, "run", "--resume").output
