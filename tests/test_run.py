"""Runs from Python: values, outcomes, errors, waiting, cancelling, what is kept."""

import asyncio
import contextlib
import contextvars
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parallel_workers import CommandResult, Outcome, WorkGraph
from parallel_workers.errors import (
    Cancelled,
    CommandFailed,
    CycleError,
    GraphError,
    NotConfirmed,
    NoValueError,
    RunFailed,
    TaskRaised,
    TimedOut,
    UnknownTaskError,
    UsageError,
)
from parallel_workers.events import Event, RunEnded, RunStarted, TaskEnded, TaskStarted
from tests.support.program import until
from tests.support.threads import allow_threads


def fail(message: str = "no") -> None:
    raise ValueError(message)


def failing_graph() -> WorkGraph:
    graph = WorkGraph()
    graph.add("bad", fail)
    graph.add("behind", print, after=["bad"])
    graph.add("apart", int, "3", duration=0)
    return graph


# Values


def test_a_task_as_an_argument_is_its_value_and_waited_for() -> None:
    graph = WorkGraph()
    one = graph.add("one", int, "1")
    two = graph.add("two", lambda value: value + 1, one)
    run = graph.run()
    assert (run["one"], run[two]) == (1, 2)
    assert graph.plan().critical_path == ["one", "two"]


def test_tasks_are_found_in_lists_tuples_dicts_and_keywords() -> None:
    graph = WorkGraph()
    a, b, c = (graph.add(name, str.upper, name) for name in "abc")
    given = {"list": [a, "x", [b]], "tuple": (c, 1)}
    all_of_it = graph.add("all", lambda *args, **kwargs: (args, kwargs), given, kwargs={"k": a})
    args, kwargs = graph.run()[all_of_it]
    assert args == ({"list": ["A", "x", ["B"]], "tuple": ("C", 1)},)
    assert kwargs == {"k": "A"}
    assert given["list"][0] is a  # type: ignore[index]


def test_arguments_without_tasks_arrive_as_they_are() -> None:
    graph = WorkGraph()
    thing = [object()]
    graph.add("same", lambda value: value is thing, thing)
    assert graph.run()["same"] is True


def test_a_list_that_holds_itself_is_an_argument_like_any_other() -> None:
    loop: list[Any] = []
    loop.append(loop)
    graph = WorkGraph()
    graph.add("loop", len, loop)
    assert graph.run()["loop"] == 1


def test_after_is_order_only_and_may_name_what_comes_later() -> None:
    order: list[str] = []
    graph = WorkGraph()
    graph.add("second", order.append, "second", after=["first"])
    graph.add("first", order.append, "first")
    graph.run()
    assert order == ["first", "second"]


def test_a_mapped_function_gives_a_list_of_values_in_order() -> None:
    graph = WorkGraph()
    squares = graph.map("square", lambda number: number**2, range(5))
    total = graph.add("total", sum, squares)
    late = graph.add("late", lambda: "late", after=[squares])
    run = graph.run(jobs=4)
    assert run[squares] == [0, 1, 4, 9, 16]
    assert (run[total], run[late], run["square[3]"]) == (30, "late", 9)


def test_many_behind_many_stay_few_edges() -> None:
    graph = WorkGraph()
    first = graph.map("first", int, range(300))
    graph.map("second", int, range(300), after=[first])
    assert graph.compiled().edges == 600


def test_an_empty_map_is_an_empty_list_that_nobody_waits_for() -> None:
    graph = WorkGraph()
    none = graph.map("none", int, [])
    graph.add("count", len, none)
    graph.add("free", int, after=[none])
    assert graph.run()["count"] == 0


def test_a_decorated_function_is_a_task_of_its_name() -> None:
    graph = WorkGraph()

    @graph.task
    def one() -> int:
        return 1

    @graph.task(after=[one], retries=1, name="zwei")
    def two() -> int:
        return 2

    run = graph.run()
    assert (run[one], run["zwei"]) == (1, 2)


def test_commands_and_functions_mix_and_a_command_gives_what_is_left_of_it() -> None:
    graph = WorkGraph()
    listing = graph.add("list", command="echo one; echo two")
    count = graph.add("count", lambda done: len(Path(done.log).read_text().split()), listing)
    run = graph.run()
    result = run[listing]
    assert isinstance(result, CommandResult)
    assert (result.status, run[count]) == (0, 2)


def test_a_command_whose_task_is_done_gives_nothing() -> None:
    graph = WorkGraph()
    a = graph.add("a", command="exit 1", done_if="true")
    run = graph.run()
    assert (run[a], run.tasks["a"].outcome, run.tasks["a"].error) == (None, Outcome.CACHED, None)


def test_the_log_of_a_command_is_there_as_long_as_its_result() -> None:
    graph = WorkGraph()
    graph.add("say", command="echo hello")
    result = graph.run()["say"]
    gc.collect()
    log = Path(str(result.log))
    assert log.read_text() == "hello\n"
    del result
    gc.collect()
    assert not log.exists()


def test_names_can_be_mapped_to_a_function() -> None:
    records = [{"name": "a", "successors": ["b"]}, {"name": "b", "command": "true"}]
    run = WorkGraph.from_records(records, call=str.upper).run()
    assert (run["a"], run["b"].status) == ("A", 0)
    assert WorkGraph.from_groups([[["a"], ["b"]]], call=str.upper).run()["b"] == "B"
    graph = WorkGraph.from_predecessors({"b": ["a", "a"]}, call=str.upper)
    assert graph.run()["a"] == "A"
    assert graph.plan().positions == {"a": 0, "b": 1}


def test_a_run_of_nothing_is_over() -> None:
    run = WorkGraph().run()
    assert (run.over, run.succeeded, len(run.tasks)) == (True, True, 0)


# What became of each task


def test_each_task_tells_outcome_times_and_attempts() -> None:
    graph = WorkGraph()
    graph.add("a", time.sleep, 0.01)
    before = time.time()
    task = graph.run().tasks["a"]
    assert (task.outcome, task.attempts, task.error) == (Outcome.SUCCEEDED, 1, None)
    assert task.started is not None
    assert task.finished is not None
    assert before - 0.1 <= task.started <= task.finished - 0.01 <= time.time() + 0.1


def test_a_failure_skips_what_is_behind_it() -> None:
    run = failing_graph().run(jobs=1, check=False, keep_going=True)
    assert {name: task.outcome for name, task in run.tasks.items()} == {
        "bad": Outcome.FAILED,
        "behind": Outcome.SKIPPED,
        "apart": Outcome.SUCCEEDED,
    }
    behind = run.tasks["behind"]
    assert (behind.cause, behind.started, behind.attempts) == ("bad", None, 0)
    assert str(run.tasks["bad"].error) == "no"
    assert dict(run.outcomes) == {"failed": 1, "skipped": 1, "succeeded": 1}
    assert not run.succeeded


def test_a_value_that_is_not_there_says_why() -> None:
    run = failing_graph().run(check=False)
    with pytest.raises(NoValueError, match="the task bad has no value: failed") as caught:
        run["bad"]
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(NoValueError, match="behind has no value: skipped"):
        run["behind"]
    with pytest.raises(UnknownTaskError, match='no task named bad1; did you mean "bad"'):
        run["bad1"]


def test_a_task_is_tried_again_as_often_as_it_may_be() -> None:
    tries: list[int] = []

    def flaky() -> str:
        tries.append(len(tries))
        if len(tries) < 3:
            raise OSError("not yet")
        return "now"

    graph = WorkGraph()
    graph.add("flaky", flaky, retries=2)
    run = graph.run()
    assert (run["flaky"], run.tasks["flaky"].attempts) == ("now", 3)
    assert run.tasks["flaky"].error is None


def test_pools_hold_for_functions() -> None:
    graph = WorkGraph()
    graph.pools["one"] = 1
    inside: list[int] = []

    def alone() -> None:
        inside.append(1)
        assert len(inside) == 1
        time.sleep(0.002)
        inside.pop()

    for number in range(10):
        graph.add(f"t{number}", alone, pool="one")
    graph.run(jobs=4)


# Errors of tasks


def test_what_failed_is_raised_as_a_group_with_the_names_of_tasks() -> None:
    graph = WorkGraph()
    graph.add("a", fail, "first")
    graph.add("b", command="exit 3")
    graph.add("c", sys.exit, 4)
    graph.add("d", command="sleep 60", timeout=0.05)
    graph.add("e", print, after=["a"])
    with pytest.raises(RunFailed, match="4 of 5 tasks failed, 1 skipped") as caught:
        graph.run(jobs=2, keep_going=True)
    failure = caught.value
    by_task = {error.__notes__[0]: error for error in _noted(failure)}
    assert str(by_task["task a"]) == "first"
    command = by_task["task b"]
    assert isinstance(command, CommandFailed)
    assert (str(command), command.result.status) == ("exit 3: exit status 3", 3)
    assert isinstance(by_task["task d"], TimedOut)
    (exit_,) = [error for error in failure.exceptions if isinstance(error, TaskRaised)]
    assert isinstance(exit_.__cause__, SystemExit)
    assert failure.run.tasks["a"].outcome is Outcome.FAILED
    assert isinstance(failure.split(ValueError)[0], RunFailed)


def _noted(failure: RunFailed) -> list[BaseException]:
    return [error for error in failure.exceptions if hasattr(error, "__notes__")]


def test_the_traceback_is_that_of_the_function() -> None:
    graph = WorkGraph()
    graph.add("bad", fail)
    with pytest.raises(RunFailed) as caught:
        graph.run()
    frames = traceback.extract_tb(caught.value.exceptions[0].__traceback__)
    assert [frame.name for frame in frames] == ["fail"]


def test_an_error_raised_again_in_another_run_is_noted_once() -> None:
    error = ValueError("always the same")

    def bad() -> None:
        raise error

    graph = WorkGraph()
    graph.add("bad", bad)
    for _ in range(2):
        with pytest.raises(RunFailed):
            graph.run()
    assert error.__notes__ == ["task bad"]


# Errors before anything runs


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda graph: graph.add("a", print), "there is a task named a already"),
        (lambda graph: graph.add("b", "make"), 'b: "make" cannot be called; a command goes into'),
        (lambda graph: graph.add("b", 5), "b: 5 cannot be called"),
        (lambda graph: graph.add("b", print, command="make"), "a function or a command, not both"),
        (lambda graph: graph.add("b", None, 5), "there are arguments, but no function"),
        (lambda graph: graph.add("b", print, after="a"), r'after is a list: after=\["a"\]'),
        (lambda graph: graph.add("b", print, after=[5]), "5 is no task"),
        (lambda graph: graph.add("b", print, WorkGraph().add("x")), "<Task 'x'> is of another"),
        (lambda graph: graph.add("b", print, after=[WorkGraph().map("x", int, "12")]), "another"),
        (lambda graph: graph.add("b", print, retrys=5), 'no option "retrys"; did you mean'),
        (lambda graph: graph.add("b", print, timeout=-1), "timeout: -1 is not a timeout"),
        (lambda graph: graph.add("", print), "cannot be empty"),
        (lambda graph: graph.add("a\nb", print), "a line break"),
        (lambda graph: graph.add(7, print), "7 is not the name of a task"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_when_it_is_added(
    add: Callable[[WorkGraph], object], message: str
) -> None:
    graph = WorkGraph()
    graph.add("a", print)
    with pytest.raises(GraphError, match=message):
        add(graph)
    assert list(graph.numbers) == ["a"]


def test_what_can_only_be_seen_of_the_whole_is_refused_before_anything_runs() -> None:
    ran: list[int] = []
    graph = WorkGraph()
    graph.add("a", ran.append, 1)
    graph.add("b", ran.append, 1, after=["c"])
    with pytest.raises(UnknownTaskError, match="task b waits for c, which is no task"):
        graph.run()
    graph.add("c", ran.append, 1, after=["b"])
    with pytest.raises(CycleError, match="b → c → b"):
        graph.run()
    assert ran == []


def test_tasks_with_nothing_to_run_are_listed() -> None:
    graph = WorkGraph()
    graph.add("a")
    graph.add("b", print)
    graph.add("c")
    with pytest.raises(GraphError, match=r"2 tasks with nothing to run; .*: a, c"):
        graph.run()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jobs": -1}, "jobs=-1: give a whole number, or 0"),
        ({"jobs": 1.5}, "jobs=1.5"),
        ({"on": "thread"}, 'no executor "thread"; did you mean "threads"'),
        ({"keep": "none"}, 'keep="none": give "all" or "leaves"'),
    ],
)
def test_wrong_options_are_told(options: dict[str, Any], message: str) -> None:
    graph = WorkGraph()
    graph.add("a", print)
    with pytest.raises(UsageError, match=message):
        graph.run(**options)


def test_a_graph_cannot_be_changed_while_it_runs() -> None:
    go = threading.Event()
    graph = WorkGraph()
    graph.add("a", go.wait, 20)
    run = graph.start()
    with pytest.raises(GraphError, match="cannot be changed while it runs"):
        graph.add("b", print)
    go.set()
    assert run.wait(20)
    graph.add("b", int)
    assert graph.run()["b"] == 0


# Waiting, and results as they come


def test_a_started_run_goes_on_by_itself() -> None:
    go = threading.Event()
    graph = WorkGraph()
    graph.add("a", go.wait, 20)
    run = graph.start(jobs=1)
    assert not run.wait(0.01)
    assert (run.over, run.tasks["a"].outcome) == (False, None)
    with pytest.raises(NoValueError, match="the task a has not ended"):
        run["a"]
    go.set()
    assert run.wait(20)
    assert run["a"] is True


def test_tasks_come_as_they_end() -> None:
    go = threading.Event()
    graph = WorkGraph()
    graph.add("first", int)
    graph.add("last", go.wait, 20)
    run = graph.start(jobs=2)
    seen = []
    for task in run.as_completed():
        seen.append((task.name, task.outcome))
        go.set()
    assert seen == [("first", "succeeded"), ("last", "succeeded")]
    assert [task.name for task in run.as_completed()] == ["first", "last"]


def test_a_listener_is_told_of_everything_in_order() -> None:
    told: list[Event] = []
    graph = failing_graph()
    graph.run(jobs=1, check=False, listen=told.extend)
    assert isinstance(told[0], RunStarted)
    assert isinstance(told[-1], RunEnded)
    words = [
        (event.task, str(getattr(event, "outcome", "started")))
        for event in told
        if isinstance(event, (TaskStarted, TaskEnded))
    ]
    assert words[:2] == [("bad", "started"), ("bad", "failed")]
    assert set(words[2:]) == {("behind", "skipped"), ("apart", "skipped")}


def test_a_listener_that_fails_harms_no_task_and_is_told_at_the_end() -> None:
    def listen(events: list[Event]) -> None:
        raise RuntimeError("deaf")

    done: list[int] = []
    graph = WorkGraph()
    for number in range(5):
        graph.add(f"t{number}", done.append, number)
    with pytest.warns(UserWarning, match="deaf"), pytest.raises(RuntimeError, match="deaf"):
        graph.run(listen=listen)
    assert len(done) == 5


# Ending early


def test_cancelling_starts_nothing_more_and_ends_commands() -> None:
    graph = WorkGraph()
    started = threading.Event()
    graph.add("function", lambda: started.wait(20))
    graph.add("command", command="sleep 60")
    graph.add("behind", print, after=["function"])
    run = graph.start(jobs=2)
    started.set()
    while run.tasks["command"].attempts == 0:
        time.sleep(0.001)
    run.cancel()
    assert run.wait(20)
    assert run.tasks["command"].outcome is Outcome.CANCELLED
    with pytest.raises(RunFailed) as caught:
        run.check()
    assert isinstance(caught.value.exceptions[0], Cancelled)


def test_a_run_cancelled_before_anything_failed_says_so() -> None:
    go = threading.Event()
    graph = WorkGraph()
    first = graph.add("first", go.wait, 20)
    graph.add("second", print, after=[first])
    run = graph.start(jobs=1)
    run.cancel()
    go.set()
    run.wait(20)
    with pytest.raises(RunFailed, match="0 of 2 tasks failed, 1 skipped"):
        run.check()


def test_where_no_thread_can_wait_for_a_delay_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries = iter([ValueError("busy"), None])

    def flaky() -> str:
        if error := next(tries):
            raise error
        return "done"

    graph = WorkGraph()
    task = graph.add("flaky", flaky, retries={"times": 1, "delay": 3600})
    allow_threads(monkeypatch, 0)
    assert graph.run(on="inline")[task] == "done"


def test_what_has_to_be_confirmed_is_parked_unless_it_is() -> None:
    graph = WorkGraph()
    plan = graph.add("plan", int, "3")
    apply = graph.add("apply", abs, plan, confirm="Apply this plan?")
    graph.add("report", str, apply)
    with pytest.raises(RunFailed, match=r"0 of 3 tasks failed, 1 skipped, 1 parked") as caught:
        graph.run()
    run = caught.value.run
    assert [str(error) for error in caught.value.exceptions] == [
        "to be confirmed: Apply this plan?"
    ]
    assert run.tasks["apply"].outcome is Outcome.PARKED
    assert isinstance(run.tasks["apply"].error, NotConfirmed)
    assert run.tasks["report"].cause == "apply"
    assert graph.run(yes=True)[apply] == 3


def test_a_run_of_which_all_is_parked_tells_so_before_it_ends() -> None:
    graph = WorkGraph()
    apply = graph.add("apply", int, confirm="Apply?")
    graph.add("behind", int, after=[apply])
    told: list[Event] = []
    graph.run(check=False, listen=told.extend)
    names = [getattr(event, "task", "") for event in told]
    assert names == ["", "apply", "behind", ""]
    assert isinstance(told[-1], RunEnded)


def test_a_run_that_goes_on_asks_for_what_was_parked_only(tmp_path: Path) -> None:
    graph = WorkGraph()
    graph.add("apply", command="true", confirm="Apply this plan?")
    assert graph.run(journal=tmp_path, yes=True).succeeded
    assert graph.run(journal=tmp_path, resume=True).outcomes == {Outcome.CACHED: 1}


def test_failing_fast_tells_what_it_has_cancelled() -> None:
    graph = WorkGraph()
    graph.add("bad", fail)
    graph.add("slow", command="exec sleep 60")
    with pytest.raises(RunFailed) as caught:
        graph.run(jobs=2, fail_fast=True)
    assert caught.value.subgroup(ValueError) is not None
    assert caught.value.run.tasks["slow"].outcome in {Outcome.CANCELLED, Outcome.SKIPPED}


def test_failing_fast_and_keeping_going_exclude_each_other() -> None:
    graph = WorkGraph()
    graph.add("a", int)
    with pytest.raises(UsageError, match="fail-fast"):
        graph.run(fail_fast=True, keep_going=True)


# The time limit of a run


ENDED_LATE = "its time limit of 50 ms ended the run: . of 2 tasks failed, . skipped"


def slow_graph() -> WorkGraph:
    graph = WorkGraph()
    graph.add("slow", command="exec sleep 60")
    graph.add("behind", print, after=["slow"])
    return graph


@pytest.mark.parametrize("on", ["threads", "processes", "asyncio"])
def test_a_time_limit_ends_a_run_and_is_told_as_the_reason(on: str) -> None:
    with pytest.raises(RunFailed, match=ENDED_LATE) as caught:
        slow_graph().run(on=on, timeout=0.05)
    [error] = caught.value.exceptions
    assert isinstance(error, Cancelled)
    assert caught.value.run.timed_out
    # It may be over before the first task has started.
    assert set(caught.value.run.outcomes) <= {Outcome.CANCELLED, Outcome.SKIPPED}


def test_a_time_limit_ends_a_run_that_was_started() -> None:
    run = slow_graph().start(timeout=0.05)
    assert run.wait(20)
    assert run.timed_out
    with pytest.raises(RunFailed, match=ENDED_LATE):
        run.check()


def test_a_time_limit_ends_coroutines_on_the_running_loop() -> None:
    graph = WorkGraph()
    graph.add("slow", asyncio.sleep, 60)
    graph.add("behind", print, after=["slow"])
    with pytest.raises(RunFailed, match=ENDED_LATE):
        asyncio.run(graph.run_async(timeout=0.05))


def test_a_function_that_outlasts_the_time_limit_is_waited_for_and_the_last() -> None:
    go = threading.Event()
    graph = WorkGraph()
    graph.add("first", go.wait, 20)
    graph.add("second", print, after=["first"])
    run = graph.start(timeout=0.05, jobs=1)
    until(lambda: run.tasks["second"].outcome is Outcome.SKIPPED)
    go.set()
    assert run.wait(20)
    with pytest.raises(RunFailed, match="50 ms ended the run: 0 of 2 tasks failed") as caught:
        run.check()
    assert str(caught.value.exceptions[0]) == "its time limit of 50 ms ended the run"


def test_a_time_limit_ends_a_run_inline_between_two_functions() -> None:
    graph = WorkGraph()
    graph.add("first", time.sleep, 0.2)
    graph.add("second", print, after=["first"])
    run = graph.run(on="inline", timeout=0.05, check=False)
    assert run.timed_out
    assert run.tasks["second"].outcome is Outcome.SKIPPED


def test_a_run_within_its_time_limit_leaves_no_thread_behind() -> None:
    graph = WorkGraph()
    graph.add("a", int)
    run = graph.run(timeout=3600)
    assert (run.succeeded, run.timed_out) == (True, False)
    until(lambda: all(thread.name != "time limit" for thread in threading.enumerate()))


def test_a_time_limit_after_a_run_was_cancelled_is_not_the_reason() -> None:
    graph = WorkGraph()
    graph.add("outlasts it", time.sleep, 0.6)
    run = graph.start(timeout=0.5)
    run.cancel()
    assert run.wait(20)
    assert not run.timed_out


@pytest.mark.parametrize("limit", [0, -1, True, "soon", float("nan"), float("inf"), 1e12])
def test_what_is_no_time_limit_is_refused(limit: Any) -> None:
    graph = WorkGraph()
    graph.add("a", int)
    with pytest.raises(UsageError, match=r"timeout="):
        graph.run(timeout=limit)


def test_a_time_limit_may_be_text_and_an_answer_may_not() -> None:
    graph = WorkGraph()
    graph.add("slow", command="exec sleep 60")
    with pytest.raises(RunFailed, match="time limit of 50 ms"):
        graph.run(timeout="50ms")
    with pytest.raises(UsageError, match='yes="no": give True'):
        graph.run(yes="no")  # type: ignore[arg-type]


ENDS_EARLY = """
import pathlib, sys, time
from parallel_workers import WorkGraph

graph = WorkGraph()
db = graph.add("db", command="echo up; exec sleep 600", service={"log": "up"})
graph.add("use", command="echo $$ > pid; exec sleep 600", after=[db])
graph.start()
while not pathlib.Path("pid").exists() or not pathlib.Path("pid").read_text():
    time.sleep(0.01)
sys.exit(3)
"""


def test_commands_end_with_the_program_that_does_not_wait_for_them(tmp_path: Path) -> None:
    words = [sys.executable, "-c", ENDS_EARLY]
    assert subprocess.run(words, cwd=tmp_path, timeout=30).returncode == 3
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


INTERRUPTED = """
import threading, time, sys
from parallel_workers import WorkGraph

graph = WorkGraph()
def work():
    print("begun", flush=True)
    time.sleep(float(sys.argv[1]))
    print("worked", flush=True)
graph.add("work", work)
graph.add("behind", print, "behind", after=["work"])
try:
    graph.run(jobs=2, on=sys.argv[2])
except KeyboardInterrupt as interrupt:
    print("interrupted", interrupt, flush=True)
"""


def interrupted(seconds: float, on: str = "threads", *, often: bool = False) -> str:
    """Run a graph whose one function sleeps, interrupt it, and return what it prints."""
    program = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(seconds), on],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "begun\n"
    program.send_signal(signal.SIGINT)
    while often and program.poll() is None:
        # Two that come together are one.
        time.sleep(0.5)
        program.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(5)
    output, _ = program.communicate(timeout=30)
    return output


def test_an_interrupt_waits_for_what_runs_and_starts_nothing() -> None:
    assert interrupted(0.5) == "worked\ninterrupted \n"


def test_a_second_interrupt_returns_at_once_and_names_what_it_leaves() -> None:
    assert interrupted(60, often=True) == "interrupted left running: work\n"


def test_an_interrupt_reaches_a_function_that_runs_inline() -> None:
    assert interrupted(60, "inline") == "interrupted \n"


# Surroundings


def test_each_task_has_a_copy_of_the_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    def change(value: str) -> str:
        before = variable.get()
        variable.set(value)
        return before

    graph = WorkGraph()
    graph.add("a", change, "a")
    graph.add("b", change, "b", after=["a"])
    variable.set("outside")
    run = graph.run(jobs=1)
    assert (run["a"], run["b"], variable.get()) == ("outside", "outside", "outside")


def test_a_run_within_a_task_works() -> None:
    def nested(depth: int) -> int:
        if not depth:
            return 1
        graph = WorkGraph()
        parts = graph.map("part", nested, [depth - 1] * 3)
        total = graph.add("total", sum, parts)
        return graph.run(jobs=1)[total]

    assert nested(3) == 27


def test_nothing_of_the_process_is_changed() -> None:
    program = textwrap.dedent("""
        import os, signal, threading
        from parallel_workers import WorkGraph
        signal.signal(signal.SIGTERM, lambda *_: None)
        def facts():
            return ([signal.getsignal(n) for n in signal.valid_signals()],
                    len(os.listdir("/proc/self/fd")), threading.active_count(), os.getcwd())
        before = facts()
        graph = WorkGraph()
        graph.add("a", command="true")
        graph.add("b", int, timeout=5)
        graph.run()
        import time
        deadline = time.monotonic() + 10
        while facts() != before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert facts() == before, (before, facts())
    """)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_values_are_let_go_when_their_last_reader_has_run() -> None:
    class Value:
        pass

    alive: list[weakref.ref[Value]] = []

    def make(*others: Value) -> Value:
        value = Value()
        alive.append(weakref.ref(value))
        return value

    def count(*others: object) -> int:
        gc.collect()
        return sum(ref() is not None for ref in alive)

    graph = WorkGraph()
    a = graph.add("a", make)
    b = graph.add("b", make, a)
    unread = graph.add("unread", make, after=[b])
    left = graph.add("left", count, b, after=[unread])
    leaf = graph.add("leaf", make, after=[left])
    run = graph.run(jobs=1, keep="leaves")
    with pytest.raises(NoValueError, match="let go"):
        run[left]
    assert isinstance(run[leaf], Value)
    assert [ref() is not None for ref in alive] == [False, False, False, True]


def test_a_value_that_an_attempt_may_need_again_is_kept() -> None:
    tries: list[str] = []

    def flaky(value: str) -> str:
        tries.append(value)
        if len(tries) < 2:
            raise ValueError
        return value

    graph = WorkGraph()
    a = graph.add("a", str, "kept")
    b = graph.add("b", flaky, a, retries=1)
    assert graph.run(keep="leaves")[b] == "kept"


def test_a_hundred_thousand_tasks_are_nothing_special() -> None:
    calls: list[int] = []
    graph = WorkGraph()
    before: list[Any] = []
    for number in range(100_000):
        task = graph.add(f"t{number}", calls.append, number, after=before)
        before = [task] if number % 3 else []
    assert graph.run(jobs=4).succeeded
    assert len(calls) == len(set(calls)) == 100_000


def test_it_can_be_said_in_one_line() -> None:
    run = failing_graph().run(check=False, keep_going=True)
    assert repr(run).startswith(f"<Run {run.id}: 1 failed, 1 skipped, 1 succeeded")
    assert repr(run.tasks["bad"]) == "<TaskRun 'bad' failed>"


def test_environment_and_attempt_reach_a_command() -> None:
    graph = WorkGraph()
    graph.add("say", command='echo "$PW_TASK $PW_ATTEMPT $X"', env={"X": "y"})
    assert Path(graph.run()["say"].log).read_text() == "say 1 y\n"
    assert "PW_TASK" not in os.environ


# What a user may do wrong, or differently


def test_a_list_that_grows_after_it_was_given_is_what_it_was() -> None:
    graph = WorkGraph()
    parts: list[Any] = []
    for number in range(3):
        parts.append(graph.add(f"t{number}", int, number))
        graph.add(f"sum{number}", list, parts)
    run = graph.run()
    assert [run[f"sum{number}"] for number in range(3)] == [[0], [0, 1], [0, 1, 2]]


def test_a_task_where_its_value_cannot_stand_is_refused() -> None:
    graph = WorkGraph()
    a = graph.add("a", int)
    loop: list[Any] = [a]
    loop.append(loop)
    with pytest.raises(GraphError, match="b: a task in a set"):
        graph.add("b", len, {a})
    with pytest.raises(GraphError, match="b: an argument that holds a task holds itself"):
        graph.add("b", len, loop)
    with pytest.raises(GraphError, match="env and cwd are for commands"):
        graph.add("b", len, "x", env={"A": "b"})
    with pytest.raises(GraphError, match="the console is for commands"):
        graph.add("b", len, "x", console=True)
    with pytest.raises(GraphError, match="a service is a command"):
        graph.add("b", len, "x", service={"port": 1})
    with pytest.raises(GraphError, match="done_if is for commands"):
        graph.add("b", len, "x", done_if="true")
    with pytest.raises(GraphError, match=r'map m: after is a list: after=\["a"\]'):
        graph.map("m", int, "12", after="a")
    graph.add("n[1]", int)
    with pytest.raises(GraphError, match=r"named n\[1\] already"):
        graph.map("n", int, "12")
    assert list(graph) == ["a", "n[1]"]


def test_a_pool_that_nobody_gave_a_limit_has_one_unit() -> None:
    graph = WorkGraph()
    graph.add("a", int, pool="p")
    assert graph.run().succeeded
    assert graph.pools == {"p": 1}


def test_a_task_of_another_graph_has_nothing_in_this_run() -> None:
    graph, other = WorkGraph(), WorkGraph()
    graph.add("a", int)
    run = graph.run()
    with pytest.raises(GraphError, match="x is of another graph"):
        run[other.add("x", int)]
    assert graph["a"] == graph["a"]
    assert {graph["a"]: 1}[graph["a"]] == 1


def test_a_run_is_of_the_graph_as_it_was() -> None:
    graph = WorkGraph()
    graph.add("a", int)
    run = graph.run()
    later = graph.add("b", int)
    assert (run.succeeded, list(run.tasks), len(run)) == (True, ["a"], 1)
    assert "b" not in run.tasks
    assert run.tasks.get("b") is None
    for key in ("b", later):
        with pytest.raises(UnknownTaskError, match="no task named b"):
            run[key]


def test_an_error_that_lets_nobody_set_anything_is_told_all_the_same() -> None:
    class FrozenError(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

    def bad() -> None:
        raise FrozenError("cold")

    graph = WorkGraph()
    graph.add("bad", bad)
    with pytest.raises(RunFailed) as caught:
        graph.run()
    assert str(caught.value.exceptions[0]) == "cold"


def test_a_value_that_was_let_go_says_so() -> None:
    graph = WorkGraph()
    a = graph.add("a", int, 1)
    graph.add("b", int, a)
    with pytest.raises(NoValueError, match="the task a has no value: let go"):
        graph.run(keep="leaves")["a"]


def test_a_listener_that_raises_anything_ends_no_run_and_hides_no_failure() -> None:
    def listen(events: list[Event]) -> None:
        raise SystemExit(3)

    with pytest.warns(UserWarning, match="listen= was told no more, since it raised SystemExit: 3"):
        run = failing_graph().run(listen=listen, check=False)
    assert run.over
    with pytest.raises(RunFailed):
        run.check()
    graph = WorkGraph()
    graph.add("a", int)
    with pytest.warns(UserWarning, match="SystemExit"), pytest.raises(SystemExit):
        graph.run(listen=listen)
    graph.add("b", int)


def test_an_interrupt_at_any_moment_ends_a_run_inline() -> None:
    program = textwrap.dedent("""
        import sys
        from parallel_workers import WorkGraph
        graph = WorkGraph()
        for number in range(200_000):
            graph.add(str(number), int)
        print("go", flush=True)
        try:
            graph.run(on="inline")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """)
    for pause in (0.0, 0.03, 0.06):
        running = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
        )
        assert running.stdout is not None
        assert running.stdout.readline() == "go\n"
        time.sleep(pause)
        running.send_signal(signal.SIGINT)
        output, _ = running.communicate(timeout=30)
        assert output in ("interrupted\n", "")


@pytest.mark.parametrize("on", [None, int, WorkGraph])
def test_what_is_no_executor_is_refused(on: Any) -> None:
    graph = WorkGraph()
    graph.add("a", int)
    with pytest.raises(UsageError, match="is no executor; give one of threads"):
        graph.run(on=on)
