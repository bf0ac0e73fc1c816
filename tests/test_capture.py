"""What tasks print and log, kept by task."""

import asyncio
import contextvars
import io
import logging
import multiprocessing
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from parallel_workers.bodies import Body
from parallel_workers.capture import KEPT, TaskOutput, captured
from parallel_workers.driver import Driver
from parallel_workers.errors import UsageError
from parallel_workers.graph import WorkGraph
from parallel_workers.run import Run


def output_of(function: Callable[..., Any], *args: Any, on: str = "threads", **fields: Any) -> str:
    """Run one task and return what was kept of it."""
    graph = WorkGraph()
    graph.add("task", function, *args, **fields)
    output = graph.run(on=on, check=False, output="task").tasks["task"].output
    assert output is not None
    return output


class Held:
    """A run that keeps output and goes on until it is let go."""

    def __init__(self) -> None:
        self._begun, self._go = threading.Event(), threading.Event()
        graph = WorkGraph()
        graph.add("held", self._wait)
        self.run: Run = graph.start(output="task")
        assert self._begun.wait(20)

    def _wait(self) -> None:
        self._begun.set()
        assert self._go.wait(20)
        print("let go")

    def let_go(self) -> str | None:
        self._go.set()
        self.run.wait()
        return self.run.tasks["held"].output


@contextmanager
def unconfigured_logging() -> Iterator[logging.Logger]:
    """Have the root of all loggers as if nobody had configured anything."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    try:
        yield root
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def test_what_many_tasks_print_at_once_is_kept_by_task() -> None:
    meeting = threading.Barrier(8)

    def count(name: str) -> None:
        meeting.wait(20)
        for number in range(300):
            print(name, number)

    graph = WorkGraph()
    graph.map("t", count, [f"t[{number}]" for number in range(8)])
    run = graph.run(jobs=8, output="task")
    for name, task in run.tasks.items():
        assert task.output == "".join(f"{name} {number}\n" for number in range(300))


@pytest.mark.parametrize("on", ["threads", "inline"])
def test_both_streams_are_kept_in_order_and_nothing_of_them_is_shown(
    on: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def talk() -> None:
        print("one", end=" ")
        print("two", file=sys.stderr)
        sys.stdout.buffer.write(b"three\n")
        sys.stdout.writelines(["four\n", "é\udcff\n"])
        sys.stdout.flush()

    assert output_of(talk, on=on) == "one two\nthree\nfour\né\\udcff\n"
    assert capfd.readouterr() == ("", "")


def test_what_others_print_meanwhile_goes_where_it_always_went(
    capsys: pytest.CaptureFixture[str],
) -> None:
    held = Held()
    print("shown")
    print("shown, too", file=sys.stderr)
    assert held.let_go() == "let go\n"
    assert capsys.readouterr() == ("shown\n", "shown, too\n")


def test_a_run_that_is_not_asked_to_leaves_the_streams_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stream = sys.stdout
    graph = WorkGraph()
    graph.add("task", lambda: print(sys.stdout is stream))
    assert graph.run().tasks["task"].output is None
    assert capsys.readouterr().out == "True\n"


def test_the_streams_are_put_back_when_the_last_of_several_runs_ends() -> None:
    before = sys.stdout, sys.stderr
    first, second = Held(), Held()
    assert sys.stdout is not before[0]
    first.let_go()
    assert sys.stdout is not before[0]
    assert second.let_go() == "let go\n"
    assert (sys.stdout, sys.stderr) == before


def test_the_streams_are_put_back_by_the_end_of_a_run_that_nobody_waits_for() -> None:
    before = sys.stdout
    graph = WorkGraph()
    graph.add("task", print, "x")
    assert [task.output for task in graph.start(output="task").as_completed()] == ["x\n"]
    assert sys.stdout is before


def test_the_streams_are_put_back_after_a_run_of_nothing() -> None:
    before = sys.stdout
    WorkGraph().run(output="task")
    assert sys.stdout is before


def test_the_streams_are_put_back_when_an_executor_refuses_to_start() -> None:
    class Refusing:
        def start(self, driver: Driver, bodies: Sequence[Body]) -> Any:
            raise UsageError("no")

    before = sys.stdout
    with pytest.raises(UsageError):
        WorkGraph().run(output="task", on=Refusing())
    assert sys.stdout is before


def test_a_stream_that_the_program_put_there_meanwhile_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs = io.StringIO()
    held = Held()
    monkeypatch.setattr(sys, "stdout", theirs)
    second = Held()
    print("theirs")
    held.let_go()
    assert second.let_go() == "let go\n"
    assert sys.stdout is theirs
    assert theirs.getvalue() == "theirs\n"


def test_a_stream_that_was_kept_beyond_the_run_goes_on_to_the_real_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    held = Held()
    stream = sys.stdout
    held.let_go()
    print("later", file=stream)
    assert capsys.readouterr().out == "later\n"


def test_a_program_without_standard_streams_can_keep_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    held = Held()
    print("nowhere")
    assert held.let_go() == "let go\n"
    assert sys.stdout is None


def test_the_stream_of_a_task_has_what_the_real_one_has() -> None:
    def look() -> list[object]:
        stream = sys.stdout
        return [stream.encoding, stream.isatty(), stream.writable(), bool(stream.name)]

    graph = WorkGraph()
    task = graph.add("look", look)
    assert graph.run(output="task")[task] == ["utf-8", False, True, True]


async def talk() -> None:
    print("one")
    await asyncio.sleep(0)
    print("two")
    await asyncio.create_task(whisper())
    await asyncio.to_thread(print, "four")


async def whisper() -> None:
    print("three")


def test_coroutines_print_into_their_tasks() -> None:
    graph = WorkGraph()
    for number in range(5):
        graph.add(f"t{number}", talk)
    graph.add("returned", lambda: talk())
    tasks = graph.run(on="asyncio", output="task").tasks
    assert {task.output for task in tasks.values()} == {"one\ntwo\nthree\nfour\n"}


def test_a_task_that_closes_its_stream_closes_no_other() -> None:
    def close() -> None:
        print("before")
        sys.stdout.close()
        print("after")

    assert output_of(close) == "before\nafter\n"
    print("still open")


def test_a_run_within_a_task_prints_into_that_task() -> None:
    def nest() -> None:
        graph = WorkGraph()
        graph.map("inner", print, ["x", "y"])
        graph.run(jobs=1)

    assert output_of(nest) == "x\ny\n"


def test_a_run_within_a_task_keeps_its_own_output_if_asked_to() -> None:
    def nest() -> str | None:
        print("outer")
        graph = WorkGraph()
        graph.add("inner", print, "inner")
        return graph.run(output="task").tasks["inner"].output

    graph = WorkGraph()
    task = graph.add("outer", nest)
    run = graph.run(output="task")
    assert run[task] == "inner\n"
    assert run.tasks[task].output == "outer\n"


def test_what_a_thread_in_the_context_of_a_task_prints_is_kept() -> None:
    def delegate() -> None:
        thread = threading.Thread(target=contextvars.copy_context().run, args=(print, "beside"))
        thread.start()
        thread.join()

    assert output_of(delegate) == "beside\n"


@pytest.mark.parametrize(
    "process_of",
    [multiprocessing.get_context("fork").Process, multiprocessing.get_context("spawn").Process],
    ids=["fork", "spawn"],
)
def test_what_a_process_prints_that_a_task_starts_is_shown(
    process_of: Callable[..., BaseProcess], capfd: pytest.CaptureFixture[str]
) -> None:
    def delegate() -> None:
        process = process_of(target=print, args=("beside",))
        process.start()
        process.join()
        print("here")

    assert output_of(delegate) == "here\n"
    assert capfd.readouterr() == ("beside\n", "")


def test_the_output_of_all_attempts_is_kept_with_a_line_between() -> None:
    tries = iter(["first", "second", "third"])

    def attempt() -> None:
        print(next(tries), end="")
        raise ValueError

    assert output_of(attempt, retries=2) == (
        "first\n--- attempt 2 ---\nsecond\n--- attempt 3 ---\nthird"
    )


def test_attempts_that_print_nothing_leave_nothing() -> None:
    assert output_of(lambda: 1 / 0, retries=2) == ""


def test_of_much_output_the_end_is_kept_and_a_line_says_so() -> None:
    def flood() -> None:
        for _ in range(50):
            print("x" * (KEPT // 10))
        print("the end")

    text = output_of(flood)
    first, rest = text.split("\n", 1)
    assert len(rest) == KEPT
    assert rest.endswith("x\nthe end\n")
    lost = 50 * (KEPT // 10 + 1) + len("the end\n") - KEPT
    assert first == f"--- {lost:,} bytes before this were not kept ---"


def test_one_huge_write_is_cut_like_many_small_ones() -> None:
    output = TaskOutput()
    output.new_attempt().write("é" * (2 * KEPT))
    assert len(output.text) < KEPT
    assert output.text.endswith("é")


def test_the_output_of_a_task_can_be_read_while_it_runs() -> None:
    graph = WorkGraph()
    printed, go = threading.Event(), threading.Event()

    def talk() -> None:
        print("so far")
        printed.set()
        go.wait(20)

    graph.add("task", talk)
    run = graph.start(output="task")
    assert printed.wait(20)
    assert run.tasks["task"].output == "so far\n"
    go.set()
    run.wait()


def test_a_value_that_is_let_go_leaves_the_output() -> None:
    graph = WorkGraph()
    first = graph.add("first", lambda: print("here") or 1)
    graph.add("second", str, first)
    run = graph.run(output="task", keep="leaves")
    assert run.tasks["first"].output == "here\n"
    assert run["second"] == "1"


def test_the_output_of_a_command_is_its_log() -> None:
    graph = WorkGraph()
    graph.add("talks", command="echo out; echo err >&2")
    graph.add("fails", command="echo why; exit 3")
    graph.add("silent", command="true")
    graph.add("late", command="echo never", after=["fails"])
    run = graph.run(check=False, keep_going=True)
    found = [run.tasks[name].output for name in graph.numbers]
    assert found == ["out\nerr\n", "why\n", "", None]


def test_of_a_command_that_succeeds_at_last_it_is_the_log_of_the_last_attempt(
    tmp_path: Path,
) -> None:
    graph = WorkGraph()
    mark = tmp_path / "mark"
    graph.add(
        "a", command=f"if [ -e {mark} ]; then echo b; else touch {mark}; exit 1; fi", retries=1
    )
    assert graph.run().tasks["a"].output == "b\n"


def test_log_lines_are_kept_as_the_program_formats_them_and_not_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def work() -> None:
        logging.getLogger("job").info("hello")
        logging.getLogger("job").debug("too much")

    with unconfigured_logging():
        logging.basicConfig(level=logging.INFO, format="%(name)s says %(message)s")
        assert output_of(work) == "job says hello\n"
        logging.getLogger("main").info("shown")
    assert capsys.readouterr() == ("", "main says shown\n")


def test_where_logging_is_not_configured_warnings_are_kept() -> None:
    with unconfigured_logging() as root:
        assert output_of(logging.getLogger("job").warning, "careful") == "careful\n"
        assert root.handlers == []


def test_where_logs_go_to_files_they_are_kept_by_task_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = logging.FileHandler(tmp_path / "log")
    with unconfigured_logging() as root:
        root.addHandler(handler)
        assert output_of(logging.getLogger("job").warning, "careful") == "WARNING:job:careful\n"
        assert root.handlers == [handler]
    handler.close()
    assert (tmp_path / "log").read_text() == "careful\n"
    assert capsys.readouterr() == ("", "")


def test_a_file_that_logs_go_to_when_there_are_any_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    handler = logging.FileHandler(tmp_path / "log", delay=True)
    with unconfigured_logging() as root:
        root.addHandler(handler)
        output_of(logging.getLogger("job").warning, "careful")
    handler.close()
    assert (tmp_path / "log").read_text() == "careful\n"


def test_a_handler_that_prints_in_its_own_way_does_so_once() -> None:
    class Printing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print("printed", self.format(record))

    with unconfigured_logging() as root:
        root.addHandler(Printing())
        assert output_of(logging.getLogger("job").warning, "careful") == "printed careful\n"


def test_logging_that_a_task_configures_outlives_the_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def configure() -> None:
        logging.basicConfig(format="now: %(message)s")
        logging.warning("kept")

    with unconfigured_logging():
        assert output_of(configure) == "now: kept\n"
        logging.warning("shown")
    assert capsys.readouterr() == ("", "now: shown\n")


def test_threads_may_log_while_runs_begin_and_end() -> None:
    done = threading.Event()

    def log() -> None:
        while not done.is_set():
            logging.warning("elsewhere")

    graph = WorkGraph()
    graph.map("t", logging.warning, ["careful"] * 20)
    elsewhere = threading.Thread(target=log)
    with unconfigured_logging():
        logging.basicConfig(format="%(message)s")
        elsewhere.start()
        try:
            for _ in range(30):
                tasks = graph.run(jobs=4, output="task").tasks
                assert {task.output for task in tasks.values()} == {"careful\n"}
        finally:
            done.set()
            elsewhere.join()


def test_a_body_can_be_called_and_its_output_taken_at_once() -> None:
    def fail() -> None:
        print("before", file=sys.stderr)
        raise ValueError("no")

    before = sys.stdout
    value, error, text = captured(fail)
    assert (value, repr(error), text) == (None, "ValueError('no')", "before\n")
    assert captured(lambda: "value") == ("value", None, "")
    assert sys.stdout is before


def test_what_else_could_be_meant_by_output_is_refused() -> None:
    with pytest.raises(UsageError, match='output="all": give "task"'):
        WorkGraph().run(output="all")  # type: ignore[arg-type]


def test_what_functions_print_in_other_processes_is_kept_too() -> None:
    graph = WorkGraph()
    told = graph.add("told", print, "from", "elsewhere")
    value = graph.add("value", int, "7", after=[told])
    graph.add("bad", int, "x", after=[value])
    run = graph.run(on="processes", jobs=1, output="task", check=False)
    assert run.tasks["told"].output == "from elsewhere\n"
    assert (run["value"], run.tasks["value"].output) == (7, "")
    assert isinstance(run.tasks["bad"].error, ValueError)
