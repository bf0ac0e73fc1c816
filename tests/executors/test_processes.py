"""Worker processes: what travels to them, what they die of, and what is left when a run is over."""

import array
import contextlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from parallel_workers.bodies import function_bodies
from parallel_workers.driver import Driver
from parallel_workers.errors import (
    AttemptError,
    Cancelled,
    NoValueError,
    RunFailed,
    TimedOut,
    UsageError,
)
from parallel_workers.events import Event, Outcome, TaskEnded, TaskStarted
from parallel_workers.executors.processes import ProcessesExecutor
from parallel_workers.frontier import Frontier
from parallel_workers.graph import WorkGraph
from parallel_workers.plan import Plan
from parallel_workers.run import Run
from parallel_workers.tasks import Task
from tests.support import work
from tests.support.files import assert_closed_since, open_files

needs_cloudpickle = pytest.mark.skipif(find_spec("cloudpickle") is None, reason="needs cloudpickle")
without_cloudpickle = pytest.mark.skipif(
    find_spec("cloudpickle") is not None, reason="is about cloudpickle not being installed"
)


def child_processes() -> set[str]:
    """Return the children of all threads of this process."""
    found: set[str] = set()
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            found.update(Path(f"/proc/self/task/{thread}/children").read_text().split())
    return found


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    WorkGraph().run(on="processes")  # what is imported and opened once
    files, children = open_files(), child_processes()
    yield
    assert_closed_since(files)
    assert child_processes() == children
    assert not [t for t in threading.enumerate() if t.name.startswith(("processes", "beside"))]


def run(graph: WorkGraph, jobs: int = 2, **options: Any) -> Run:
    return graph.run(on="processes", jobs=jobs, check=False, **options)


def error_of(run: Run, task: str) -> BaseException:
    error = run.tasks[task].error
    assert error is not None
    return error


def processes_of(run: Run, prefix: str) -> set[int]:
    return {run[name] for name in run.graph.numbers if name.startswith(prefix)}


# What is run


@pytest.mark.parametrize("jobs", [0, 1, 2, 5])
def test_functions_run_in_other_processes_and_their_values_come_back(jobs: int) -> None:
    graph = WorkGraph()
    here = graph.add("where", work.process)
    three = graph.add("three", work.add, 1, 2)
    many = graph.map("many", work.add, [1, 2, 3])
    total = graph.add("total", work.add, three, kwargs={"more": 10})
    kept = graph.add("kept", work.same, [{"all": many}, (three,)])
    done = graph.run(on="processes", jobs=jobs)
    assert done[here] != os.getpid()
    assert done[total] == 13
    assert done[kept] == [{"all": [1, 2, 3]}, (3,)]


def test_a_run_of_nothing_ends() -> None:
    assert WorkGraph().run(on="processes").succeeded


def test_there_are_no_more_processes_than_work_for_them() -> None:
    graph = WorkGraph()
    for number in range(30):
        graph.add(f"t{number}", work.process, after=[f"t{number - 1}"] if number else [])
    assert len(processes_of(run(graph, jobs=8), "t")) == 1


def test_as_many_processes_as_are_allowed_work_at_once(tmp_path: Path) -> None:
    graph = WorkGraph()
    group = graph.map("t", work.meet, [(str(tmp_path), number, 3) for number in range(3)])
    assert len(set(run(graph, jobs=3)[group])) == 3


def test_commands_and_functions_run_in_one_graph() -> None:
    graph = WorkGraph()
    listing = graph.add("echo", command="echo hello")
    status = graph.add("same", work.same, listing)
    for number in range(5):
        graph.add(f"true {number}", command=["true"], after=[status])
    graph.add("false", command="false")
    done = run(graph, keep_going=True)
    assert done[status].status == 0
    assert done.outcomes == {Outcome.SUCCEEDED: 7, Outcome.FAILED: 1}


def test_a_graph_of_commands_alone_needs_no_worker() -> None:
    graph = WorkGraph()
    graph.add("true", command="true")
    assert run(graph).succeeded


def test_a_task_in_a_worker_can_run_a_graph() -> None:
    graph = WorkGraph()
    for place in ("processes", "threads", "inline"):
        graph.add(place, work.run_within, place)
    done = graph.run(on="processes", jobs=2)
    assert [done[name] for name in ("processes", "threads", "inline")] == [[1, 2, 3]] * 3


def test_several_runs_at_once_do_not_meet() -> None:
    graphs = [WorkGraph() for _ in range(3)]
    for number, graph in enumerate(graphs):
        graph.map("t", work.same, [number] * 50)
    runs = [graph.start(on="processes", jobs=1) for graph in graphs]
    for number, started in enumerate(runs):
        started.wait()
        assert [started[f"t[{n}]"] for n in range(50)] == [number] * 50


def test_values_that_nobody_reads_any_more_are_let_go() -> None:
    graph = WorkGraph()
    first = graph.add("first", work.same, "value")
    graph.add("second", work.same, first)
    done = graph.run(on="processes", keep="leaves")
    assert done["second"] == "value"
    with pytest.raises(NoValueError, match="let go"):
        done["first"]


def test_times_are_those_of_the_worker() -> None:
    graph = WorkGraph()
    first = graph.add("first", work.nap, 0.05)
    graph.add("second", work.nothing, after=[first])
    before = time.time()
    tasks = run(graph).tasks
    one, two = tasks["first"], tasks["second"]
    times = [before, one.started, one.finished, two.started, two.finished, time.time()]
    assert times == sorted(time or 0 for time in times)
    assert (one.finished or 0) - (one.started or 0) >= 0.05


@pytest.mark.parametrize("listened", [False, True])
def test_short_tasks_behind_a_long_one_are_taken_by_others(tmp_path: Path, listened: bool) -> None:
    graph = WorkGraph()
    short = graph.map("short", work.same, range(200))
    done = tmp_path / "done"
    graph.add("long", work.wait_for, str(done), after=[short[100]])
    graph.add("touch", work.write_down, str(done), "", after=[short])
    assert run(graph, listen=(lambda events: None) if listened else None).succeeded


@pytest.mark.parametrize("limit", [1, 2])
def test_pools_are_respected(limit: int, tmp_path: Path) -> None:
    graph = WorkGraph()
    graph.pools["narrow"] = limit
    marks = tmp_path / "marks"
    group = graph.map("t", work.mark, [str(marks)] * 30, pool="narrow")
    assert len(run(graph, jobs=3)[group]) == 30
    depth = most = 0
    for line in marks.read_text().split():
        depth += 1 if line == "in" else -1
        most = max(most, depth)
    assert most <= limit


@pytest.mark.parametrize("jobs", [0, 1, 4])
@pytest.mark.parametrize("with_commands", [False, True])
def test_no_start_is_told_of_a_task_that_no_worker_has_begun(
    jobs: int, with_commands: bool
) -> None:
    """The first task fails while no worker but the first is ready."""
    graph = WorkGraph()
    graph.add("bad", work.fail, "no", duration=9)
    graph.map("t", work.nap, [0.01] * 5)
    if with_commands:
        graph.add("command", command="true")
    events: list[Event] = []
    done = run(graph, jobs, listen=events.extend)
    told = [event.task for event in events if isinstance(event, TaskStarted)]
    ends = {event.task: event for event in events if isinstance(event, TaskEnded)}
    assert set(ends) == set(graph.numbers)
    assert {name for name, end in ends.items() if end.attempt} == set(told)
    assert len(told) == len(set(told))
    assert all(done.tasks[name].attempts == end.attempt for name, end in ends.items())


def test_commands_run_while_functions_wait_for_a_worker_to_be_ready(tmp_path: Path) -> None:
    graph = WorkGraph()
    done = tmp_path / "done"
    graph.map("waits", work.wait_for, [str(done)] * 3)
    graph.add("command", command=["touch", str(done)])
    events: list[Event] = []
    assert run(graph, 4, listen=events.extend).succeeded
    told = [event.task for event in events if isinstance(event, TaskStarted)]
    assert sorted(told) == sorted(graph.numbers)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["wide", "chain", "tree"])
def test_every_task_of_a_large_graph_runs_once(shape: str) -> None:
    graph = WorkGraph()
    count = 20_000
    tasks: list[Task[int]] = []
    for number in range(count):
        after = {
            "wide": [],
            "chain": tasks[-1:],
            "tree": tasks[(number - 1) // 2 :][: bool(number)],
        }
        tasks.append(graph.add(f"t{number}", work.same, number, after=after[shape]))
    done = graph.run(on="processes", jobs=2)
    assert [done[task] for task in tasks] == list(range(count))
    assert {done.tasks[f"t{n}"].attempts for n in range(0, count, 100)} == {1}


# What travels


def test_large_arguments_and_values_travel_whole() -> None:
    graph = WorkGraph()
    size = 100_000_000
    text = os.urandom(1000) * (size // 1000)
    graph.add("bytes", work.same, text)
    numbers = graph.add("array", work.zeros, size // 8)
    graph.add("again", work.same, numbers)
    graph.add("several", work.same, [bytearray(b"x" * 70_000), numbers, "é" * 100_000])
    done = graph.run(on="processes", jobs=2)
    assert done["bytes"] == text
    assert done["again"] == array.array("d", bytes(size))
    assert done["several"][0] == bytearray(b"x" * 70_000)
    assert done["several"][2] == "é" * 100_000


@pytest.mark.parametrize("size", [0, 1, 65_000, 65_535, 65_536, 65_537, 300_000])
def test_values_of_all_sizes_travel(size: int) -> None:
    graph = WorkGraph()
    values = [bytes(size), array.array("B", bytes(size)), "x" * size]
    group = graph.map("t", work.same, values * 5)
    assert graph.run(on="processes", jobs=2)[group] == values * 5


def test_small_and_large_values_that_follow_each_other_travel_whole() -> None:
    graph = WorkGraph()
    rng = random.Random(2)
    values = [bytes([n % 256]) * rng.choice([1, 3000, 60_000, 65_500, 70_000]) for n in range(400)]
    group = graph.map("t", work.same, values)
    assert graph.run(on="processes", jobs=2)[group] == values


@without_cloudpickle
def test_a_lambda_is_refused_by_the_name_of_its_task() -> None:
    graph = WorkGraph()
    graph.add("fine", work.nothing)
    graph.add("odd one", lambda: 1)
    with pytest.raises(UsageError, match=r"task odd one: its function cannot .* cloudpickle$"):
        run(graph)


@needs_cloudpickle
def test_a_lambda_travels_where_cloudpickle_is_installed() -> None:
    graph = WorkGraph()
    one = graph.add("one", lambda: 1)
    graph.add("more", lambda value: lambda: value, one)
    done = run(graph)
    assert done["more"]() == 1


def test_what_cannot_be_pickled_is_told_by_task_and_argument_before_anything_runs(
    tmp_path: Path,
) -> None:
    graph = WorkGraph()
    told = tmp_path / "told"
    graph.add("fine", work.write_down, str(told), 1)
    graph.add("odd", work.same, [1, {"lock": threading.Lock()}])
    with pytest.raises(UsageError, match=r"task odd: argument 1 cannot be sent .*lock"):
        run(graph)
    other = WorkGraph()
    other.add("odd", work.add, 1, kwargs={"more": threading.Lock()})
    with pytest.raises(UsageError, match=r"task odd: argument more cannot be sent .*lock"):
        run(other)
    assert not told.exists()


def test_a_value_that_cannot_be_pickled_fails_its_task_alone() -> None:
    graph = WorkGraph()
    graph.add("odd", work.lock)
    graph.add("fine", work.nothing)
    done = run(graph, keep_going=True)
    assert "its value cannot be sent back: TypeError" in str(error_of(done, "odd"))
    assert done.tasks["fine"].outcome is Outcome.SUCCEEDED


def test_a_value_that_cannot_be_read_here_fails_its_task_alone() -> None:
    graph = WorkGraph()
    graph.add("odd", work.unreadable)
    error = error_of(run(graph), "odd")
    assert str(error) == "its value cannot be read here: ValueError: no way back"


def test_an_argument_that_cannot_be_read_there_fails_its_task_alone() -> None:
    graph = WorkGraph()
    graph.add("odd", work.same, work.Unreadable())
    graph.add("fine", work.nothing)
    done = run(graph, keep_going=True)
    assert "cannot be read in its process: ValueError: no way back" in str(error_of(done, "odd"))
    assert done.tasks["fine"].outcome is Outcome.SUCCEEDED


def test_an_exception_comes_back_as_it_was_and_with_its_traceback() -> None:
    graph = WorkGraph()
    graph.add("bad", work.fail, "no")
    error = error_of(run(graph), "bad")
    assert isinstance(error, ValueError)
    assert str(error) == "no"
    assert "in fail\n    raise ValueError(message)" in str(error.__cause__)
    assert "worker.py" not in str(error.__cause__)


def test_where_output_is_kept_values_and_exceptions_come_back_as_elsewhere() -> None:
    graph = WorkGraph()
    graph.add("bad", work.print_and_call, "before", work.fail, "no", retries=1)
    graph.add("strange", work.print_and_call, "before", work.fail_strangely)
    graph.add("odd", work.print_and_call, "before", work.lock)
    graph.add("dies", work.print_and_call, "lost", work.vanish, 1)
    done = run(graph, keep_going=True, output="task")
    assert done.tasks["bad"].output == "before\n--- attempt 2 ---\nbefore\n"
    assert isinstance(error_of(done, "bad"), ValueError)
    assert "in fail\n    raise ValueError(message)" in str(error_of(done, "bad").__cause__)
    assert "parallel_workers/capture.py" not in str(error_of(done, "bad").__cause__)
    assert done.tasks["strange"].output == "before\n"
    assert str(error_of(done, "strange")) == "tests.support.work.OnlyThere: 1 and 2"
    assert done.tasks["odd"].output == "before\n"
    assert "its value cannot be sent back: TypeError" in str(error_of(done, "odd"))
    assert "ended with exit status 1" in str(error_of(done, "dies"))


def test_an_exception_that_cannot_be_had_back_is_still_told() -> None:
    graph = WorkGraph()
    graph.add("bad", work.fail_strangely)
    error = error_of(run(graph), "bad")
    assert str(error) == "tests.support.work.OnlyThere: 1 and 2"
    assert "in fail_strangely" in str(error.__cause__)


def test_a_worker_outlives_an_exit() -> None:
    graph = WorkGraph()
    graph.add("bad", work.leave, 3)
    graph.add("worker", work.process)
    done = run(graph, jobs=1, keep_going=True)
    assert isinstance(error_of(done, "bad"), SystemExit)


def test_coroutine_functions_are_refused_before_anything_runs() -> None:
    for place in ("processes", "threads", "inline"):
        graph = WorkGraph()
        graph.add("await me", work.coroutine)
        with pytest.raises(UsageError, match=r'task await me .*on="asyncio"'):
            graph.run(on=place)


# What workers die of


DEATHS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], str]] = {
    "exit": (work.vanish, (3,), "ended with exit status 3"),
    "segfault": (work.crash, (), "was killed by SIGSEGV"),
    "kill": (work.kill_itself, (), "was killed by SIGKILL"),
}


@pytest.mark.parametrize("kind", DEATHS)
def test_the_death_of_a_worker_fails_only_what_it_was_running(kind: str) -> None:
    function, args, told = DEATHS[kind]
    graph = WorkGraph()
    for number in range(300):
        if number in (3, 150):
            graph.add(f"bad{number}", function, *args)
        else:
            graph.add(f"t{number}", work.same, number)
    done = run(graph, keep_going=True)
    assert done.outcomes == {Outcome.SUCCEEDED: 298, Outcome.FAILED: 2}
    for name in ("bad3", "bad150"):
        error = error_of(done, name)
        assert isinstance(error, AttemptError)
        assert told in str(error)
        assert (done.tasks[name].finished or 0) >= (done.tasks[name].started or 1)
    assert all(done[f"t{n}"] == n for n in range(300) if n not in (3, 150))


def test_a_task_whose_worker_died_is_retried(tmp_path: Path) -> None:
    graph = WorkGraph()
    graph.add("once", work.vanish_once, str(tmp_path / "been here"), retries=1)
    graph.add("never", work.vanish, 1, retries=2)
    done = run(graph, keep_going=True)
    assert (done["once"], done.tasks["once"].attempts) == (7, 2)
    assert done.tasks["never"].attempts == 3


def test_the_first_failure_leaves_what_had_not_begun_undone(tmp_path: Path) -> None:
    told = tmp_path / "told"
    graph = WorkGraph()
    graph.map("before", work.same, range(100))
    bad: Task[Any] = graph.add("bad", work.vanish, 1)
    for number in range(20):
        graph.add(f"after{number}", work.write_down, str(told), number, after=[bad])
    done = run(graph)
    assert done.outcomes[Outcome.FAILED] == 1
    assert done.outcomes[Outcome.SKIPPED] >= 20
    assert not told.exists()
    with pytest.raises(RunFailed):
        done.check()


@pytest.mark.slow
def test_tasks_are_neither_lost_nor_blamed_when_workers_are_killed_at_random(
    tmp_path: Path,
) -> None:
    told = tmp_path / "told"
    told.touch()
    graph = WorkGraph()
    count = 8000
    for number in range(count):
        seconds = 0.05 if number % 100 == 0 else 0.0015
        graph.add(f"t{number}", work.note_and_nap, str(told), number, seconds, retries=60)
    started = graph.start(on="processes", jobs=2)
    rng = random.Random(1)
    killed = progress = 0
    while killed < 50 and not started.wait(rng.uniform(0.0, 0.1)):
        workers = sorted(child_processes())
        if workers and told.stat().st_size > progress:
            progress = told.stat().st_size
            os.kill(int(rng.choice(workers)), signal.SIGKILL)
            killed += 1
    assert killed == 50
    started.wait()
    assert started.succeeded
    attempts = [started.tasks[f"t{n}"].attempts for n in range(count)]
    assert sum(attempts) - count <= killed
    seen = [int(line) for line in told.read_text().split()]
    assert set(seen) == set(range(count))
    assert len(seen) <= sum(attempts)


def test_a_worker_that_closes_all_its_files_is_replaced() -> None:
    graph = WorkGraph()
    graph.add("bad", work.close_everything)
    graph.map("t", work.same, range(20))
    done = run(graph, keep_going=True)
    assert done.outcomes == {Outcome.SUCCEEDED: 20, Outcome.FAILED: 1}


# Time limits, cancelling, interrupts


def test_a_task_that_takes_too_long_is_ended_with_its_worker(tmp_path: Path) -> None:
    graph = WorkGraph()
    graph.add("late", work.nap, 60, timeout=0.1, retries=1)
    graph.map("in time", work.nap, [0.01] * 5, timeout=30)
    graph.map("t", work.same, range(100))
    done = run(graph, keep_going=True)
    assert done.tasks["late"].outcome is Outcome.TIMED_OUT
    assert done.tasks["late"].attempts == 2
    assert isinstance(error_of(done, "late"), TimedOut)
    assert done.outcomes == {Outcome.SUCCEEDED: 105, Outcome.TIMED_OUT: 1}


def test_a_task_with_a_time_limit_that_cannot_be_sent_fails_alone() -> None:
    graph = WorkGraph()
    first = graph.add("first", command="true")
    graph.add("odd", work.add, first, timeout=5)
    graph.add("fine", work.nap, 0.01, timeout=5)
    done = run(graph, jobs=1, keep_going=True)
    assert done.outcomes == {Outcome.SUCCEEDED: 2, Outcome.FAILED: 1}


def test_cancelling_ends_what_runs_at_once(tmp_path: Path) -> None:
    graph = WorkGraph()
    told = tmp_path / "told"
    told.touch()
    long = [graph.add(f"long[{n}]", work.note_and_nap, str(told), n, 60) for n in range(2)]
    graph.map("behind", work.nap, [60] * 10, after=long)
    started = graph.start(on="processes", jobs=2)
    while len(told.read_text().split()) < 2:
        time.sleep(0.01)
    started.cancel()
    assert started.wait(20)
    assert isinstance(error_of(started, "long[0]"), Cancelled)
    assert started.outcomes == {Outcome.CANCELLED: 2, Outcome.SKIPPED: 10}
    started.cancel()


def test_a_run_can_be_cancelled_before_anything_has_begun() -> None:
    graph = WorkGraph()
    graph.map("t", work.nap, [60] * 5)
    started = graph.start(on="processes", jobs=2)
    started.cancel()
    assert started.wait(20)
    assert set(started.outcomes) <= {Outcome.CANCELLED, Outcome.SKIPPED}


def test_a_stop_takes_back_what_a_busy_worker_has_not_begun(tmp_path: Path) -> None:
    """Many short tasks come first, so that the worker has several behind the long one."""
    graph = WorkGraph()
    short = graph.map("short", work.same, range(300))
    long = graph.add("long", work.meet, (str(tmp_path), 0, 2), after=short)
    graph.map("behind", work.same, range(50), after=short)
    plan = Plan(graph)
    driver = Driver(plan, Frontier.of(plan), jobs=1)
    bodies = [body for body in function_bodies(plan, driver.values) if body is not None]
    driver.begin("r")
    workers = ProcessesExecutor().start(driver, bodies)
    behind = [task for name, task in plan.by_name.items() if name.startswith("behind")]
    wait_until((tmp_path / "0").exists)
    driver.stop()
    wait_until(lambda: all(driver.outcome(task) is Outcome.SKIPPED for task in behind))
    assert not driver.over.is_set()
    (tmp_path / "1").touch()
    workers.join()
    assert driver.outcome(plan.by_name[long.name]) is Outcome.SUCCEEDED


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + work.PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(work.NAP)


def test_workers_do_not_hear_interrupts() -> None:
    graph = WorkGraph()
    graph.add("ignored", work.ignores_interrupts)
    assert run(graph)["ignored"] is True


# Scripts


def python(tmp_path: Path, text: str, *, by_input: bool = False) -> "subprocess.Popen[str]":
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(text))
    words = [sys.executable] if by_input else [sys.executable, str(script)]
    return subprocess.Popen(
        words,
        stdin=script.open() if by_input else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def output_of(process: "subprocess.Popen[str]") -> tuple[str, str]:
    try:
        return process.communicate(timeout=60)
    finally:
        process.kill()


GUARDED = """
    import os, sys, time
    from parallel_workers import WorkGraph

    class Point:
        def __init__(self, x): self.x = x

    def moved(point): return Point(point.x + 1)

    if __name__ == "__main__":
        graph = WorkGraph()
        first = graph.add("first", moved, Point(1))
        second = graph.add("second", moved, first)
        print(graph.run(on="processes", jobs=2)[second].x)
"""


def test_functions_of_a_script_are_found(tmp_path: Path) -> None:
    assert output_of(python(tmp_path, GUARDED)) == ("3\n", "")


def test_a_script_without_a_guard_is_told_so_and_ends(tmp_path: Path) -> None:
    text = """
        from parallel_workers import WorkGraph
        print("here")
        graph = WorkGraph()
        graph.add("a", print, "x")
        graph.run(on="processes", jobs=2)
    """
    out, err = output_of(python(tmp_path, text))
    assert out.count("here") == 2  # in the program and in its one worker
    assert err.count("Traceback") == 1
    last = err.strip().splitlines()[-1]
    assert last.startswith("parallel_workers.errors.UsageError: no worker process can be started")
    assert 'if __name__ == "__main__":' in last


@without_cloudpickle
def test_functions_of_a_script_that_is_no_file_are_refused(tmp_path: Path) -> None:
    out, err = output_of(python(tmp_path, GUARDED, by_input=True))
    assert out == ""
    assert "task first: its function cannot be sent to another process" in err
    assert "the main module is no file" in err


def test_a_main_module_that_cannot_be_imported_is_told(tmp_path: Path) -> None:
    text = """
        import sys
        from parallel_workers import WorkGraph
        if __name__ != "__main__":
            raise ValueError("not for you")
        graph = WorkGraph()
        graph.add("a", print, "x")
        graph.run(on="processes", jobs=2)
    """
    _, err = output_of(python(tmp_path, text))
    last = err.strip().splitlines()[-1]
    assert last.endswith("its main module cannot be imported: ValueError: not for you")


def test_a_worker_that_dies_before_it_is_ready_is_told(tmp_path: Path) -> None:
    text = """
        import os
        from parallel_workers import WorkGraph
        if __name__ != "__main__":
            os.kill(os.getpid(), 9)
        graph = WorkGraph()
        graph.add("a", print, "x")
        graph.run(on="processes", jobs=2)
    """
    _, err = output_of(python(tmp_path, text))
    last = err.strip().splitlines()[-1]
    assert "no worker process can be started: it was killed by SIGKILL" in last


LATER_WORKERS_DIE = """
    import os, time
    from pathlib import Path
    from parallel_workers import WorkGraph

    def stay(_): time.sleep(0.05)
    def vanish(): os._exit(3)

    if __name__ != "__main__":
        try:
            Path({mark!r}).touch(exist_ok=False)
        except FileExistsError:
            os.kill(os.getpid(), 9)
    else:
        graph = WorkGraph()
        graph.map("t", stay, range(20))
        {more}
        run = graph.run(on="processes", jobs=4, check=False, keep_going=True, listen={listen})
        errors = {{str(task.error) for task in run.tasks.values()}}
        print(sorted(run.outcomes.items()), *errors)
"""


@pytest.mark.parametrize("listen", ["None", "lambda events: None"])
def test_where_no_other_worker_gets_ready_the_first_does_it_all(
    tmp_path: Path, listen: str
) -> None:
    text = LATER_WORKERS_DIE.format(mark=str(tmp_path / "mark"), more="", listen=listen)
    out, err = output_of(python(tmp_path, text))
    assert (out, err) == ("[(<Outcome.SUCCEEDED: 'succeeded'>, 20)] None\n", "")


@pytest.mark.parametrize("listen", ["None", "lambda events: None"])
def test_where_the_last_worker_is_gone_and_none_gets_ready_the_run_fails(
    tmp_path: Path, listen: str
) -> None:
    more = 'graph.add("vanish", vanish, duration=9)'
    text = LATER_WORKERS_DIE.format(mark=str(tmp_path / "mark"), more=more, listen=listen)
    out, err = output_of(python(tmp_path, text))
    assert err == ""
    assert "no worker process can be started: it was killed by SIGKILL" in out
    assert "the process that ran it ended with exit status 3" in out


def test_workers_end_with_a_program_that_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    text = f"""
        import os, time
        from parallel_workers import WorkGraph

        def stay(_):
            with open({str(pids)!r}, "a") as file: file.write(f"{{os.getpid()}}\\n")
            time.sleep(600)

        if __name__ == "__main__":
            graph = WorkGraph()
            graph.map("t", stay, range(2))
            graph.run(on="processes", jobs=2)
    """
    process = python(tmp_path, text)
    while not pids.exists() or len(pids.read_text().split()) < 2:
        time.sleep(0.01)
    process.kill()
    output_of(process)
    workers = pids.read_text().split()
    patience = time.monotonic() + 20
    while any(map(is_alive, workers)) and time.monotonic() < patience:
        time.sleep(0.01)
    assert not any(map(is_alive, workers))


def is_alive(pid: str) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def test_a_program_that_ends_without_waiting_leaves_no_worker(tmp_path: Path) -> None:
    text = """
        import os, time
        from parallel_workers import WorkGraph

        def stay(_): time.sleep(600)

        if __name__ == "__main__":
            graph = WorkGraph()
            graph.map("t", stay, range(2))
            run = graph.start(on="processes", jobs=2)
            while not run.tasks["t[1]"].attempts:
                time.sleep(0.01)
            time.sleep(0.2)
            print(open(f"/proc/self/task/{os.getpid()}/children").read(), flush=True)
    """
    out, err = output_of(python(tmp_path, text))
    assert err == ""
    patience = time.monotonic() + 20
    while any(map(is_alive, out.split())) and time.monotonic() < patience:
        time.sleep(0.01)
    assert out.split()
    assert not any(map(is_alive, out.split()))


def test_an_interrupt_ends_a_run_in_order(tmp_path: Path) -> None:
    text = """
        import os, time
        from parallel_workers import WorkGraph

        def stay(_):
            time.sleep(0.5)
            print("up", flush=True)
            time.sleep(1)
            print("done", flush=True)

        def listen(events):
            print(*[event for event in events if type(event).__name__ == "TaskEnded"], flush=True)

        if __name__ == "__main__":
            graph = WorkGraph()
            graph.map("t", stay, range(3))
            graph.run(on="processes", jobs=2, listen=listen)
    """
    process = python(tmp_path, text)
    assert process.stdout is not None
    while "up" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    out, err = output_of(process)
    assert err.strip().splitlines()[-1] == "KeyboardInterrupt"
    assert "done" in out
    assert "Outcome.SKIPPED" in out
