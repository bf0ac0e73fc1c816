"""Commands: what is executed, how, and what is told of those that cannot be."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parallel_workers.children import Children
from parallel_workers.commands import Command, CommandRunner, words_of
from parallel_workers.errors import AttemptError, CommandFailed, TimedOut
from parallel_workers.events import CommandResult, Outcome
from parallel_workers.logs import KeptLogs, PassingLogs
from tests.support.program import until

ENV = {**os.environb, b"PW_RUN": b"r1"}


def attempt_with(
    runner: CommandRunner, command: Command, attempt: int
) -> tuple[Outcome, CommandResult]:
    """Attempt a command, and tell an end by an error in the same way as a good one."""
    kinds = {CommandFailed: Outcome.FAILED, TimedOut: Outcome.TIMED_OUT}
    try:
        return Outcome.SUCCEEDED, _steady(runner.run(command, attempt))
    except AttemptError as error:
        return kinds.get(type(error), Outcome.CANCELLED), _steady(error.result)


def _steady(result: CommandResult) -> CommandResult:
    """Leave out what is another each time."""
    return result._replace(cpu=None, memory=None)


class Bench:
    """A runner of commands in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.children = Children(grace=0.2)
        (directory / "logs").mkdir()
        self.logs = KeptLogs(str(directory / "logs"))
        self.runner = CommandRunner(self.children, self.logs, ENV)

    def attempt(
        self,
        command: str | tuple[str, ...],
        *,
        attempt: int = 1,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        timeout: float | None = None,
    ) -> tuple[Outcome, CommandResult]:
        own = {key.encode(): value.encode() for key, value in (env or {}).items()}
        text = command if isinstance(command, str) else " ".join(command)
        where = None if cwd is None else str(cwd)
        prepared = Command(text, words_of(command), where, own, timeout, "1-task", 0, "task")
        # In a run no attempt has the log of another.
        with contextlib.suppress(NotADirectoryError):
            (self.directory / "logs" / f"1-task.{attempt}.log").unlink(missing_ok=True)
        return attempt_with(self.runner, prepared, attempt)

    def output(self, command: str | tuple[str, ...], **options: object) -> str:
        """What a command writes that must succeed."""
        outcome, result = self.attempt(command, **options)  # type: ignore[arg-type]
        text = Path(result.log).read_text()
        assert (outcome, len(text.encode())) == (Outcome.SUCCEEDED, result.size), text
        return text

    def why_not(self, command: str | tuple[str, ...], **options: object) -> str:
        """Why a command was not started."""
        outcome, result = self.attempt(command, **options)  # type: ignore[arg-type]
        assert (outcome, result.status) == (Outcome.FAILED, None)
        assert result.error is not None
        return result.error

    def script(self, name: str, text: str, mode: int = 0o755) -> Path:
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.children.close()


def test_a_success_and_a_failure_are_told_with_status_log_and_size(bench: Bench) -> None:
    log = str(bench.directory / "logs" / "1-task.1.log")
    good = CommandResult("echo hi", 0, log, 3)
    assert bench.attempt("echo hi") == (Outcome.SUCCEEDED, good)
    assert bench.attempt("exit 3") == (Outcome.FAILED, CommandResult("exit 3", 3, log, 0))


def test_each_attempt_has_its_number_and_its_log(bench: Bench) -> None:
    assert bench.output("echo $PW_ATTEMPT", attempt=12) == "12\n"
    assert (bench.directory / "logs" / "1-task.12.log").exists()


def test_words_are_handed_over_as_they_are(bench: Bench) -> None:
    words = ("printf", "[%s]", "a b", "$HOME", "*", "", "it's", "-rf", "é\n")
    assert bench.output(words) == "[a b][$HOME][*][][it's][-rf][é\n]"


def test_words_are_handed_over_as_they_are_in_another_directory(bench: Bench) -> None:
    words = ("printf", "[%s]", "a b", "$HOME", "*", "", "it's", "-rf", "é\n")
    assert bench.output(words, cwd=bench.directory) == "[a b][$HOME][*][][it's][-rf][é\n]"


def test_what_a_task_sets_goes_over_all_else(bench: Bench) -> None:
    assert bench.output("echo $PW_RUN $HOME", env={"HOME": "/mine"}) == "r1 /mine\n"


def test_a_command_starts_in_its_directory_and_we_stay_in_ours(bench: Bench) -> None:
    inner = bench.directory / "a 'b' $(c)"
    inner.mkdir()
    before = Path.cwd()
    assert bench.output("pwd", cwd=inner) == f"{inner}\n"
    assert bench.output(("pwd",), cwd=inner) == f"{inner}\n"
    assert Path.cwd() == before
    assert bench.output("pwd") == f"{before}\n"


def test_a_program_is_found_in_the_directory_of_its_command(bench: Bench) -> None:
    bench.script("inner/tool", "#!/bin/sh\necho $0 $1\n")
    inner = bench.directory / "inner"
    assert bench.output(("./tool", "x"), cwd=inner) == f"{inner}/./tool x\n"


def test_a_program_is_found_on_the_path_that_its_task_sets(bench: Bench) -> None:
    bench.script("one/tool", "#!/bin/sh\necho one\n")
    bench.script("two/tool", "#!/bin/sh\necho two\n")
    for name in ("one", "two", "one"):
        path = f"{bench.directory / name}:{os.environ['PATH']}"
        assert bench.output(("tool",), env={"PATH": path}) == f"{name}\n"
    assert bench.why_not(("tool",)) == "command not found: tool"


def test_a_file_that_is_not_executable_does_not_hide_one_that_is(bench: Bench) -> None:
    bench.script("one/tool", "", mode=0o644)
    (bench.directory / "zero" / "tool").mkdir(parents=True)
    bench.script("two/tool", "#!/bin/sh\necho two\n")
    path = ":".join(str(bench.directory / name) for name in ("none", "zero", "one", "two"))
    assert bench.output(("tool",), env={"PATH": f"{path}:/bin:/usr/bin"}) == "two\n"


def test_a_relative_path_is_relative_to_the_directory_of_the_command(bench: Bench) -> None:
    bench.script("bin/tool", "#!/bin/sh\necho found\n")
    env = {"PATH": "bin:/usr/bin:/bin"}
    assert bench.output(("tool",), env=env, cwd=bench.directory) == "found\n"


@pytest.mark.parametrize("inside", [False, True], ids=["here", "in its directory"])
def test_a_script_that_names_no_interpreter_is_the_shells(bench: Bench, inside: bool) -> None:
    script = bench.script("old script", "echo old $1\n")
    cwd = bench.directory if inside else None
    assert bench.output((str(script), "a b"), cwd=cwd) == "old a b\n"


def test_a_program_that_another_task_makes_is_found(bench: Bench) -> None:
    assert bench.why_not(("./made",), cwd=bench.directory) == "command not found: ./made"
    bench.script("made", "#!/bin/sh\necho made\n")
    assert bench.output(("./made",), cwd=bench.directory) == "made\n"


def test_a_program_that_is_gone_again_fails(bench: Bench) -> None:
    script = bench.script("brief", "#!/bin/sh\n")
    assert bench.output((str(script),)) == ""
    script.unlink()
    assert bench.why_not((str(script),)) == f"No such file or directory: {script}"


def test_many_threads_look_for_a_missing_program_at_once(bench: Bench) -> None:
    told: list[str] = []
    barrier = threading.Barrier(8)

    def look() -> None:
        barrier.wait()
        told.extend(bench.why_not(("no-such-program",)) for _ in range(50))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == ["command not found: no-such-program"] * 400


@pytest.mark.parametrize("inside", [False, True], ids=["here", "in a directory"])
@pytest.mark.parametrize(
    ("name", "text", "mode", "words"),
    [
        ("plain", "", 0o644, "not executable: {0}"),
        ("lost", "#!/none/such\n", 0o755, "the interpreter that its first line names does not"),
        ("none", None, 0, "command not found: {0}"),
        ("folder/", None, 0, "is a directory: {0}"),
    ],
)
def test_why_a_command_is_not_started_is_told(
    bench: Bench, name: str, text: str | None, mode: int, words: str, inside: bool
) -> None:
    path = f"{bench.directory}/{name}"
    if text is not None:
        bench.script(name, text, mode)
    elif name.endswith("/"):
        Path(path).mkdir()
    cwd = bench.directory if inside else None
    assert bench.why_not((path,), cwd=cwd).startswith(words.format(path))


def test_a_directory_that_is_missing_is_the_reason_that_is_told(bench: Bench) -> None:
    missing = bench.directory / "missing"
    for command in ("echo hi; true", ("echo", "hi"), ("./tool",)):
        assert bench.why_not(command, cwd=missing) == f"its directory does not exist: {missing}"
    file = bench.script("file", "")
    assert bench.why_not("true", cwd=file) == f"its directory is not a directory: {file}"


def test_a_log_that_cannot_be_written_is_the_reason_that_is_told(bench: Bench) -> None:
    (bench.directory / "logs").rmdir()
    (bench.directory / "logs").touch()
    log = bench.directory / "logs" / "1-task.1.log"
    said = bench.why_not("echo hi")
    assert said == f"its log cannot be written: Not a directory: {log}"


def test_a_directory_of_logs_that_was_deleted_is_made_again(bench: Bench) -> None:
    (bench.directory / "logs").rmdir()
    assert bench.output("echo hi") == "hi\n"
    assert bench.logs.trouble == f"the logs in {bench.directory}/logs were deleted during the run"


def test_too_many_arguments_are_the_reason_that_is_told(bench: Bench) -> None:
    assert bench.why_not(("echo", "x" * 200_000)).startswith("an argument of it has 200,000 bytes")
    said = "its arguments and environment have "
    assert bench.why_not(("echo", *["x" * 1000] * 10_000)).startswith(said)
    assert bench.why_not(("echo",), env={"X": "x" * 200_000}).startswith("X has 200,002 bytes")


def test_a_time_limit_is_told_whatever_the_command_makes_of_it(bench: Bench) -> None:
    outcome, result = bench.attempt("exec sleep 60", timeout=0.1)
    assert (outcome, result.status) == (Outcome.TIMED_OUT, -signal.SIGTERM)
    command = "trap 'exit 0' TERM; echo up; while :; do sleep 0.02; done"
    outcome, result = bench.attempt(command, timeout=0.5)
    assert (outcome, result.status) == (Outcome.TIMED_OUT, 0)
    assert Path(result.log).read_text().startswith("up\n")


def test_a_child_killed_from_outside_has_failed(bench: Bench) -> None:
    outcome, result = bench.attempt("kill -9 $$")
    assert (outcome, result.status) == (Outcome.FAILED, -signal.SIGKILL)


def test_once_all_are_told_to_end_what_does_not_succeed_is_cancelled(bench: Bench) -> None:
    bench.children.tell_all(signal.SIGTERM)
    assert bench.attempt("exec sleep 60")[0] is Outcome.CANCELLED
    assert bench.attempt(("no-such-program",))[0] is Outcome.CANCELLED


# Cancelling


def test_a_command_is_cancelled_while_it_runs(bench: Bench) -> None:
    up = bench.directory / "up"

    def cancel() -> None:
        until(up.exists)
        bench.runner.cancel([0, 1])

    other = threading.Thread(target=cancel)
    other.start()
    outcome, result = bench.attempt(f"touch {up}; sleep 60")
    other.join()
    assert (outcome, result.ending) == (Outcome.CANCELLED, "killed by SIGTERM")


def test_a_command_that_ends_well_when_it_is_cancelled_has_succeeded(bench: Bench) -> None:
    up = bench.directory / "up"

    def cancel() -> None:
        until(up.exists)
        bench.runner.cancel([0])

    other = threading.Thread(target=cancel)
    other.start()
    outcome, _ = bench.attempt(f"trap 'exit 0' TERM; touch {up}; while :; do sleep 0.02; done")
    other.join()
    assert outcome is Outcome.SUCCEEDED


def test_a_command_that_is_cancelled_before_it_starts_does_not_start(bench: Bench) -> None:
    bench.runner.cancel([0])
    outcome, result = bench.attempt("touch here", cwd=bench.directory)
    assert (outcome, result.ending) == (Outcome.CANCELLED, "cancelled before it was started")
    assert not (bench.directory / "here").exists()


def test_a_command_that_is_cancelled_while_it_is_started_is_ended(tmp_path: Path) -> None:
    class Starting(Children):
        def spawn(self, *arguments: Any) -> int:
            pid = super().spawn(*arguments)
            runner.cancel([0])
            return pid

    (tmp_path / "logs").mkdir()
    children = Starting(grace=0.2)
    runner = CommandRunner(children, KeptLogs(str(tmp_path / "logs")), ENV)
    command = Command("sleep 60", words_of("sleep 60"), None, {}, None, "1-task", 0, "task")
    outcome, result = attempt_with(runner, command, 1)
    assert (outcome, result.status) == (Outcome.CANCELLED, -signal.SIGTERM)
    children.close()


LEAVERS = {
    "in its group": "({0}) & until [ -e up ]; do sleep 0.02; done",
    "in a group of its own": "timeout 300 sh -c '{0}' & until [ -e up ]; do sleep 0.02; done",
    "as a daemon": "setsid sh -c '{0}' & until [ -e up ]; do sleep 0.02; done",
}


@pytest.mark.parametrize("way", LEAVERS)
def test_late_output_of_what_a_task_left_goes_to_no_other_task(tmp_path: Path, way: str) -> None:
    """The log of an attempt that wrote nothing serves the next one, if nobody can write to it."""
    (tmp_path / "logs").mkdir()
    children = Children(grace=0.2)
    runner = CommandRunner(children, PassingLogs(str(tmp_path / "logs")), ENV)

    def attempt(text: str, log: str) -> CommandResult:
        return runner.run(Command(text, words_of(text), str(tmp_path), {}, None, log, 0, log), 1)

    late = "touch up; until [ -e go ]; do sleep 0.02; done; echo late; touch done"
    attempt(LEAVERS[way].format(late), "leaver")
    mine = attempt("touch go; until [ -e done ]; do sleep 0.02; done; echo mine", "other")
    assert Path(mine.log).read_text() == "mine\n"
    until(lambda: "late\n" in [path.read_text() for path in (tmp_path / "logs").iterdir()])
    children.close()
