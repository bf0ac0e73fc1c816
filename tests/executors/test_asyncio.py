"""Coroutines on an event loop: how many at once, what is cancelled and how, which loop it is."""

import asyncio
import functools
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

import pytest

from parallel_workers.errors import (
    Cancelled,
    NoValueError,
    RunFailed,
    TaskRaised,
    TimedOut,
    UsageError,
)
from parallel_workers.events import Event, Outcome, TaskEnded, TaskStarted
from parallel_workers.graph import WorkGraph
from parallel_workers.run import Run
from tests.support.threads import allow_threads

T = TypeVar("T")

Main = Coroutine[Any, Any, T]

FOREVER = 3600.0

OURS = ("beside", "event loop")
"""What the names of the executor's threads begin with."""


def run_by_asyncio(main: Main[T]) -> T:
    return asyncio.run(main)


def run_by_uvloop(main: Main[T]) -> T:
    return pytest.importorskip("uvloop").run(main)  # type: ignore[no-any-return]


def run_in_notebook(main: Main[T]) -> T:
    """Run a cell on a loop that runs other cells before and after."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(asyncio.sleep(0))
        value = loop.run_until_complete(main)
        loop.run_until_complete(asyncio.sleep(0))
        assert not asyncio.all_tasks(loop)
        return value
    finally:
        loop.close()


def run_graph_on_own_loop(graph: WorkGraph, **options: Any) -> Run:
    return graph.run(on="asyncio", **options)


def run_graph_on_running_loop(graph: WorkGraph, **options: Any) -> Run:
    return asyncio.run(graph.run_async(**options))


everywhere = pytest.mark.parametrize("run", [run_by_asyncio, run_by_uvloop, run_in_notebook])
both_ways = pytest.mark.parametrize("run", [run_graph_on_own_loop, run_graph_on_running_loop])


def threads_of_runs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(OURS)]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert threads_of_runs() == []


async def give(value: T) -> T:
    await asyncio.sleep(0)
    return value


async def wait_forever() -> None:
    await asyncio.sleep(FOREVER)


class Waiting:
    """A coroutine function that tells when it runs, and what ended it."""

    def __init__(self) -> None:
        self.runs = asyncio.Event()
        self.ended_by: list[str] = []

    async def __call__(self) -> None:
        self.runs.set()
        try:
            await asyncio.sleep(FOREVER)
        except BaseException as error:
            await asyncio.sleep(0)
            self.ended_by.append(type(error).__name__)
            raise


def outcomes(events: list[Event]) -> dict[str, Outcome]:
    return {event.task: event.outcome for event in events if isinstance(event, TaskEnded)}


@everywhere
def test_values_of_coroutines_functions_and_commands_reach_those_that_read_them(
    run: Callable[[Main[Run]], Run],
) -> None:
    graph = WorkGraph()
    one = graph.add("one", give, 1)
    group = graph.map("times", give, [one, 2, 3])
    total = graph.add("total", sum, group)
    said = graph.add("said", command="echo hello", after=[total])
    status = graph.add("status", give, said)
    found = run(graph.run_async(jobs=2))
    assert (found[total], found[status].status) == (6, 0)
    assert found.succeeded


@both_ways
def test_a_graph_of_nothing_ends(run: Callable[[WorkGraph], Run]) -> None:
    assert run(WorkGraph()).succeeded


@everywhere
@pytest.mark.parametrize(("jobs", "expected"), [(1, 1), (3, 3), (0, 7), (99, 7)])
def test_as_many_coroutines_as_are_allowed_run_at_once(
    run: Callable[[Main[Run]], Run], jobs: int, expected: int
) -> None:
    now = most = 0

    async def count(_: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1

    graph = WorkGraph()
    graph.map("count", count, range(7))
    run(graph.run_async(jobs=jobs))
    assert most == expected


@both_ways
def test_functions_and_commands_do_not_hold_up_the_loop_and_count_among_the_jobs(
    run: Callable[..., Run],
) -> None:
    set_by_coroutine = threading.Event()

    async def set_it() -> int:
        set_by_coroutine.set()
        return threading.get_ident()

    def wait_for_it() -> int:
        assert set_by_coroutine.wait(20)
        return threading.get_ident()

    graph = WorkGraph()
    graph.add("waits", wait_for_it)
    graph.add("sets", set_it)
    found = run(graph, jobs=2)
    assert found["waits"] != found["sets"]

    in_turn: list[str] = []
    graph = WorkGraph()
    graph.add("function", in_turn.append, "function")
    graph.map("coroutine", give, range(3))
    graph.add("command", command="true")
    events: list[Event] = []
    run(graph, jobs=1, listen=events.extend)
    kinds = [type(event) for event in events if isinstance(event, TaskStarted | TaskEnded)]
    assert kinds == [TaskStarted, TaskEnded] * 5


def test_every_kind_of_coroutine_function_is_stepped_on_the_loop() -> None:
    class Callee:
        async def __call__(self) -> int:
            return threading.get_ident()

        async def method(self) -> int:
            return threading.get_ident()

    async def identify(_: object) -> int:
        return threading.get_ident()

    graph = WorkGraph()
    tasks = [
        graph.add("partial", functools.partial(identify, 1)),
        graph.add("twice partial", functools.partial(functools.partial(identify), 1)),
        graph.add("callable", Callee()),
        graph.add("method", Callee().method),
    ]
    found = asyncio.run(graph.run_async())
    assert {found[task] for task in tasks} == {threading.get_ident()}


@both_ways
def test_a_coroutine_that_a_function_gives_is_awaited_and_nothing_else_is(
    run: Callable[..., Run],
) -> None:
    future = asyncio.Future[int](loop=asyncio.new_event_loop())
    future.get_loop().close()
    generator = (number for number in range(3))
    graph = WorkGraph()
    graph.add("coroutine", lambda: give(3))
    graph.add("future", lambda: future)
    graph.add("generator", lambda: generator)
    graph.add("nothing", lambda: None)
    found = run(graph)
    assert [found[name] for name in graph.numbers] == [3, future, generator, None]


def test_what_a_function_sets_in_its_context_holds_in_the_coroutine_that_it_gives() -> None:
    variable = ContextVar("variable", default=0)

    async def read() -> int:
        return variable.get()

    def set_and_read() -> Coroutine[Any, Any, int]:
        variable.set(5)
        return read()

    graph = WorkGraph()
    graph.add("a", set_and_read)
    assert graph.run(on="asyncio")["a"] == 5


@both_ways
def test_every_task_has_a_copy_of_the_context_of_the_caller(run: Callable[..., Run]) -> None:
    variable = ContextVar("variable", default=0)

    async def add() -> int:
        variable.set(variable.get() + 1)
        await asyncio.sleep(0)
        return variable.get()

    def add_in_thread() -> int:
        variable.set(variable.get() + 1)
        return variable.get()

    graph = WorkGraph()
    first = graph.add("first", add)
    graph.add("second", add, after=[first])
    graph.add("third", add_in_thread, after=["second"])
    variable.set(10)
    found = run(graph)
    assert [found[name] for name in graph.numbers] == [11, 11, 11]
    assert variable.get() == 10


@both_ways
def test_the_listener_is_called_on_the_loop_in_the_context_of_the_caller(
    run: Callable[..., Run],
) -> None:
    variable = ContextVar("variable", default="")
    variable.set("of the caller")
    heard: list[tuple[bool, str]] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def task() -> None:
        variable.set("of a task")
        loops.append(asyncio.get_running_loop())

    def listen(events: list[Event]) -> None:
        if any(isinstance(event, TaskEnded) for event in events):
            heard.append((asyncio.get_running_loop() in loops, variable.get()))

    graph = WorkGraph()
    first = graph.add("first", task)
    graph.add("second", abs, 1, after=[first])
    run(graph, listen=listen)
    assert set(heard) == {(True, "of the caller")}


@both_ways
def test_a_failure_skips_what_depends_on_it_and_what_runs_may_end(run: Callable[..., Run]) -> None:
    failing = asyncio.Event()

    async def fail() -> None:
        failing.set()
        raise ValueError("no")

    async def outlive() -> str:
        await failing.wait()
        await asyncio.sleep(0.001)
        return "there"

    graph = WorkGraph()
    bad = graph.add("bad", fail)
    graph.add("other", outlive)
    graph.add("after", give, 1, after=[bad])
    found = run(graph, check=False, jobs=2)
    assert {name: task.outcome for name, task in found.tasks.items()} == {
        "bad": Outcome.FAILED,
        "other": Outcome.SUCCEEDED,
        "after": Outcome.SKIPPED,
    }
    failing.clear()
    with pytest.raises(RunFailed) as failure:
        run(graph, jobs=2)
    (error,) = failure.value.exceptions
    assert (str(error), error.__notes__) == ("no", ["task bad"])


@both_ways
def test_retries_start_a_coroutine_again_with_values_that_are_kept_for_it(
    run: Callable[..., Run],
) -> None:
    calls: list[object] = []

    async def fail_twice(value: object) -> object:
        calls.append(value)
        await asyncio.sleep(0)
        if len(calls) < 3:
            raise OSError("again")
        return value

    graph = WorkGraph()
    value = graph.add("value", give, "kept")
    graph.add("user", fail_twice, value, retries=2)
    found = run(graph, keep="leaves")
    assert (found["user"], calls, found.tasks["user"].attempts) == ("kept", ["kept"] * 3, 3)
    with pytest.raises(NoValueError, match="let go"):
        found["value"]


@both_ways
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_loop_outlives_whatever_a_coroutine_raises(
    run: Callable[..., Run], kind: type[BaseException]
) -> None:
    async def raise_it() -> None:
        await asyncio.sleep(0)
        raise kind("odd")

    graph = WorkGraph()
    graph.add("odd", raise_it)
    graph.add("even", give, 2)
    found = run(graph, keep_going=True, check=False)
    assert found["even"] == 2
    with pytest.raises(RunFailed) as failure:
        found.check()
    (raised,) = failure.value.exceptions
    assert isinstance(raised, TaskRaised)
    assert isinstance(raised.__cause__, kind)


# Time limits


@both_ways
def test_a_coroutine_that_takes_too_long_is_cancelled_and_has_timed_out(
    run: Callable[..., Run],
) -> None:
    waiting = Waiting()
    graph = WorkGraph()
    graph.add("slow", waiting, timeout=0.01, retries=1)
    graph.add("quick", give, 1, timeout=FOREVER)
    found = run(graph, check=False, keep_going=True)
    slow = found.tasks["slow"]
    assert (slow.outcome, slow.attempts) == (Outcome.TIMED_OUT, 2)
    assert waiting.ended_by == ["CancelledError"] * 2
    assert isinstance(slow.error, TimedOut)
    assert str(slow.error) == "timed out after 10 ms"
    assert found["quick"] == 1


@pytest.mark.parametrize("ending", ["value", "error"])
def test_a_coroutine_that_goes_on_after_its_time_is_waited_for_and_has_timed_out(
    ending: str,
) -> None:
    gone_on: list[str] = []

    async def go_on() -> str:
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            await asyncio.sleep(0.001)
            gone_on.append(ending)
            if ending == "error":
                raise ValueError("another") from None
        return "late"

    graph = WorkGraph()
    graph.add("a", go_on, timeout=0.01)
    found = asyncio.run(graph.run_async(check=False))
    assert found.tasks["a"].outcome is Outcome.TIMED_OUT
    assert gone_on == [ending]


def test_a_timeout_that_a_coroutine_raises_by_itself_is_its_failure() -> None:
    async def wait_shortly() -> None:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(FOREVER)

    graph = WorkGraph()
    graph.add("a", wait_shortly, timeout=FOREVER)
    found = asyncio.run(graph.run_async(check=False))
    assert found.tasks["a"].outcome is Outcome.FAILED
    assert isinstance(found.tasks["a"].error, TimeoutError)


@both_ways
def test_a_function_that_takes_too_long_has_timed_out_and_is_not_waited_for(
    run: Callable[..., Run],
) -> None:
    release, released = threading.Event(), threading.Event()

    def block() -> str:
        if release.is_set():
            return "second attempt"
        release.wait(20)
        released.set()
        return "late"

    graph = WorkGraph()
    graph.add("a", block, timeout=0.01)
    found = run(graph, check=False)
    assert found.tasks["a"].outcome is Outcome.TIMED_OUT
    release.set()
    assert released.wait(20)
    for thread in threads_of_runs():
        thread.join(20)
    assert found.tasks["a"].outcome is Outcome.TIMED_OUT
    assert run(graph)["a"] == "second attempt"


def test_the_coroutine_that_a_function_gives_has_a_time_limit() -> None:
    graph = WorkGraph()
    graph.add("a", lambda: wait_forever(), timeout=0.05)
    found = asyncio.run(graph.run_async(check=False))
    assert found.tasks["a"].outcome is Outcome.TIMED_OUT


# Cancelling


@everywhere
def test_whoever_cancels_the_awaiting_task_cancels_the_run_in_order(
    run: Callable[[Main[None]], None],
) -> None:
    events: list[Event] = []

    async def main() -> None:
        waiting = Waiting()
        graph = WorkGraph()
        graph.add("runs", waiting)
        graph.add("runs, too", wait_forever)
        graph.add("is ready", give, 1)
        graph.add("waits", give, 1, after=["runs"])
        task = asyncio.create_task(graph.run_async(jobs=2, listen=events.extend))
        await waiting.runs.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert waiting.ended_by == ["CancelledError"]
        assert asyncio.all_tasks() == {asyncio.current_task()}
        graph.add("can be changed again", give, 1)

    run(main())
    assert outcomes(events) == {
        "runs": Outcome.CANCELLED,
        "runs, too": Outcome.CANCELLED,
        "is ready": Outcome.SKIPPED,
        "waits": Outcome.SKIPPED,
    }


@everywhere
def test_a_time_limit_around_a_run_ends_it_in_order(run: Callable[[Main[None]], None]) -> None:
    async def main() -> None:
        graph = WorkGraph()
        graph.map("a", lambda _: wait_forever(), range(3))
        graph.add("b", wait_forever)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await graph.run_async(jobs=0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


def test_a_failing_sibling_in_a_task_group_ends_a_run_in_order() -> None:
    events: list[Event] = []

    async def main() -> None:
        waiting = Waiting()

        async def fail() -> None:
            await waiting.runs.wait()
            raise OSError("sibling")

        graph = WorkGraph()
        graph.add("a", waiting)
        async with asyncio.TaskGroup() as group:
            group.create_task(graph.run_async(listen=events.extend))
            group.create_task(fail())

    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        asyncio.run(main())
    assert outcomes(events) == {"a": Outcome.CANCELLED}


def test_a_coroutine_that_swallows_its_cancellation_is_waited_for() -> None:
    events: list[Event] = []

    async def main() -> None:
        runs, may_end = asyncio.Event(), asyncio.Event()

        async def swallow() -> str:
            runs.set()
            try:
                await asyncio.sleep(FOREVER)
            except asyncio.CancelledError:
                await may_end.wait()
            return "done"

        graph = WorkGraph()
        graph.add("a", swallow)
        graph.add("b", give, 1, after=["a"])
        task = asyncio.create_task(graph.run_async(listen=events.extend))
        await runs.wait()
        task.cancel()
        await asyncio.sleep(0.02)
        assert not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert outcomes(events) == {"a": Outcome.SUCCEEDED, "b": Outcome.SKIPPED}


def test_a_second_cancellation_reaches_a_coroutine_that_swallowed_the_first() -> None:
    async def main() -> None:
        caught = 0
        waits: asyncio.Queue[None] = asyncio.Queue()

        async def stubborn() -> None:
            nonlocal caught
            while caught < 2:
                waits.put_nowait(None)
                try:
                    await asyncio.sleep(FOREVER)
                except asyncio.CancelledError:
                    caught += 1

        graph = WorkGraph()
        graph.add("a", stubborn)
        task = asyncio.create_task(graph.run_async())
        for _ in range(2):
            await waits.get()
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert caught == 2

    asyncio.run(main())


def test_functions_in_threads_are_waited_for_and_commands_are_ended_by_a_cancellation() -> None:
    events: list[Event] = []
    release = threading.Event()

    async def main() -> None:
        runs = asyncio.Event()
        loop = asyncio.get_running_loop()

        def block() -> str:
            loop.call_soon_threadsafe(runs.set)
            assert release.wait(20)
            return "done"

        graph = WorkGraph()
        graph.add("function", block)
        graph.add("command", command="sleep 3600")
        task = asyncio.create_task(graph.run_async(jobs=2, listen=events.extend))
        await runs.wait()
        task.cancel()
        await asyncio.sleep(0.02)
        assert not task.done()
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert outcomes(events) == {"function": Outcome.SUCCEEDED, "command": Outcome.CANCELLED}


def test_a_coroutine_that_a_function_gives_after_the_cancellation_is_not_begun() -> None:
    release = threading.Event()
    events: list[Event] = []
    begun: list[int] = []

    async def begin() -> None:
        begun.append(1)

    async def main() -> None:
        runs = asyncio.Event()
        loop = asyncio.get_running_loop()

        def block() -> Coroutine[Any, Any, None]:
            loop.call_soon_threadsafe(runs.set)
            assert release.wait(20)
            return begin()

        graph = WorkGraph()
        graph.add("a", block)
        task = asyncio.create_task(graph.run_async(listen=events.extend))
        await runs.wait()
        task.cancel()
        await asyncio.sleep(0.01)
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert outcomes(events) == {"a": Outcome.CANCELLED}
    assert begun == []


@pytest.mark.parametrize("run", [run_by_asyncio, run_by_uvloop])
@pytest.mark.parametrize("turns", range(6))
def test_a_program_that_ends_while_a_run_is_under_way_ends_it_in_order(
    run: Callable[[Main["asyncio.Task[Run]"]], "asyncio.Task[Run]"], turns: int
) -> None:
    events: list[Event] = []

    async def main() -> "asyncio.Task[Run]":
        graph = WorkGraph()
        graph.map("a", lambda _: wait_forever(), range(3))
        graph.add("b", wait_forever, retries=3)
        graph.add("c", wait_forever, after=["b"])
        task = asyncio.create_task(graph.run_async(jobs=0, listen=events.extend))
        for _ in range(turns):
            await asyncio.sleep(0)
        return task  # and the loop cancels all tasks

    assert run(main()).cancelled()
    if events:
        assert set(outcomes(events)) == {"a[0]", "a[1]", "a[2]", "b", "c"}
        assert set(outcomes(events).values()) <= {Outcome.CANCELLED, Outcome.SKIPPED}


def test_a_coroutine_that_others_cancel_before_it_begins_is_cancelled() -> None:
    async def cancel_others_in_the_next_turn() -> None:
        loop, main = asyncio.get_running_loop(), tasks_of_main()
        loop.call_soon(lambda: [task.cancel() for task in asyncio.all_tasks() - main])

    def tasks_of_main() -> set["asyncio.Task[Any]"]:
        return {task for task in asyncio.all_tasks() if task.get_name() == "main"}

    async def main() -> Run:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("main")
        return await graph.run_async(check=False)

    graph = WorkGraph()
    first = graph.add("first", cancel_others_in_the_next_turn)
    graph.add("second", wait_forever, after=[first])
    found = asyncio.run(main())
    assert found.tasks["second"].outcome is Outcome.CANCELLED
    assert isinstance(found.tasks["second"].error, Cancelled)


def test_a_run_on_its_own_loop_is_cancelled_from_outside() -> None:
    runs = threading.Event()
    ended: list[str] = []

    async def wait() -> None:
        runs.set()
        try:
            await asyncio.sleep(FOREVER)
        finally:
            ended.append("in order")

    graph = WorkGraph()
    first = graph.add("first", wait)
    graph.add("second", give, 1, after=[first])
    run = graph.start(on="asyncio")
    assert runs.wait(20)
    assert not run.over
    run.cancel()
    assert run.wait(20)
    run.cancel()
    assert ended == ["in order"]
    assert run.outcomes == {Outcome.CANCELLED: 1, Outcome.SKIPPED: 1}


@pytest.mark.parametrize("attempt", range(20))
def test_a_run_can_be_cancelled_at_any_moment(attempt: int) -> None:
    graph = WorkGraph()
    graph.map("coroutine", give, range(100))
    graph.map("function", abs, range(20))
    graph.map("either", lambda n: give(n), range(20))
    graph.add("last", wait_forever)
    run = graph.start(on="asyncio", jobs=0 if attempt % 2 else 3)
    threading.Event().wait(attempt * 0.0005)
    run.cancel()
    assert run.wait(20)
    assert run.outcomes.total() == len(graph)
    assert run.outcomes[Outcome.FAILED] == 0


# Which loop


def test_a_run_on_its_own_loop_gives_each_task_as_it_ends() -> None:
    graph = WorkGraph()
    first = graph.add("first", give, 1)
    graph.add("second", give, 2, after=[first])
    run = graph.start(on="asyncio")
    assert [task.name for task in run.as_completed()] == ["first", "second"]


@everywhere
def test_within_a_running_loop_the_error_names_what_to_await(
    run: Callable[[Main[None]], None],
) -> None:
    graph = WorkGraph()
    graph.add("a", give, 1)

    async def main() -> None:
        for start in (graph.start, graph.run):
            with pytest.raises(UsageError, match=r"await graph\.run_async\(\)"):
                start(on="asyncio")
        assert (await graph.run_async())["a"] == 1

    run(main())


def test_a_task_may_await_a_run_of_another_graph() -> None:
    async def run_inner(number: int) -> int:
        inner = WorkGraph()
        inner.add("double", give, 2 * number)
        return (await inner.run_async(jobs=1))["double"]  # type: ignore[no-any-return]

    graph = WorkGraph()
    doubled = graph.map("outer", run_inner, range(5))
    assert graph.run(on="asyncio", jobs=2)[doubled] == [0, 2, 4, 6, 8]


def test_runs_beside_each_other_on_one_loop_do_not_meet() -> None:
    async def main() -> list[Run]:
        return await asyncio.gather(*(graph.run_async(jobs=2) for _ in range(5)))

    graph = WorkGraph()
    graph.add("sum", sum, graph.map("n", give, range(10)))
    assert [run["sum"] for run in asyncio.run(main())] == [45] * 5


def test_its_own_loop_is_of_the_kind_that_the_policy_makes() -> None:
    uvloop = pytest.importorskip("uvloop")
    graph = WorkGraph()

    async def kind_of_loop() -> str:
        return type(asyncio.get_running_loop()).__module__

    graph.add("kind", kind_of_loop)
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    try:
        assert graph.run(on="asyncio")["kind"].startswith("uvloop")
    finally:
        asyncio.set_event_loop_policy(None)


def test_its_own_loop_can_run_processes_and_ends_what_coroutines_leave() -> None:
    left: list[str] = []

    async def stay() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            left.append("ended")

    async def leave_one() -> "asyncio.Task[None]":
        task = asyncio.create_task(stay())
        await asyncio.sleep(0)
        return task

    async def ask_a_process() -> bytes:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print(5)", stdout=asyncio.subprocess.PIPE
        )
        return (await process.communicate())[0]

    graph = WorkGraph()
    graph.add("process", ask_a_process)
    graph.add("left", leave_one)
    assert graph.run(on="asyncio")["process"] == b"5\n"
    assert left == ["ended"]


def test_what_a_coroutine_started_cannot_end_its_own_loop_before_the_run() -> None:
    async def exit_later() -> None:
        raise SystemExit(3)

    async def start_one() -> None:
        task = asyncio.create_task(exit_later())
        await asyncio.sleep(0.001)
        assert isinstance(task.exception(), SystemExit)
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.001)

    graph = WorkGraph()
    graph.add("a", start_one)
    assert graph.run(on="asyncio").succeeded


def test_asynchronous_generators_that_are_left_open_are_closed() -> None:
    closed: list[bool] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    async def first() -> tuple[int, AsyncIterator[int]]:
        generator = numbers()
        return await anext(generator), generator

    graph = WorkGraph()
    graph.add("first", first)
    assert graph.run(on="asyncio")["first"][0] == 1
    assert closed == [True]


def test_a_task_factory_of_the_user_does_not_matter() -> None:
    def factory(loop: asyncio.AbstractEventLoop, coro: Any) -> "asyncio.Task[Any]":
        return asyncio.Task(coro, loop=loop)

    async def main() -> Run:
        asyncio.get_running_loop().set_task_factory(factory)
        return await graph.run_async()

    graph = WorkGraph()
    graph.add("a", give, 1)
    assert asyncio.run(main())["a"] == 1


def test_a_task_of_asyncio_has_the_name_of_its_task() -> None:
    async def name() -> str:
        task = asyncio.current_task()
        assert task is not None
        return task.get_name()

    graph = WorkGraph()
    graph.add("fetch", name)
    assert asyncio.run(graph.run_async())["fetch"] == "fetch"


CLOSING = """
import asyncio, gc, threading
from parallel_workers import WorkGraph

release = threading.Event()

def block():
    release.wait(20)

async def wait():
    await asyncio.sleep(3600)

async def main():
    task = asyncio.create_task(graph.run_async(jobs=2))
    await asyncio.sleep(0.01)
    return task

graph = WorkGraph()
graph.add("coroutine", wait)
graph.add("function", block)
loop = asyncio.new_event_loop()
loop.set_exception_handler(lambda loop, context: None)
task = loop.run_until_complete(main())
loop.close()
release.set()
for thread in threading.enumerate():
    if thread.name.startswith("beside"):
        thread.join(0.1)
del task
gc.collect()
print("end")
"""


def test_a_loop_that_is_closed_under_a_run_leaves_a_program_that_ends_in_peace() -> None:
    program = [sys.executable, "-X", "dev", "-c", CLOSING]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("end\n", 0)
    assert "Traceback" not in done.stderr


def test_what_a_coroutine_prints_is_kept_for_its_task() -> None:
    async def say(word: str) -> None:
        print(word)
        await asyncio.sleep(0)
        print(word)

    def say_first(word: str) -> Coroutine[Any, Any, None]:
        print("first")
        return say(word)

    graph = WorkGraph()
    graph.map("say", say, ["a", "b"])
    graph.add("returned", say_first, "c")
    run = asyncio.run(graph.run_async(jobs=0, output="task"))
    assert [task.output for task in run.tasks.values()] == ["a\na\n", "b\nb\n", "first\nc\nc\n"]


@both_ways
def test_what_a_listener_raises_is_raised_after_the_run(run: Callable[..., Run]) -> None:
    def listen(events: list[Event]) -> None:
        raise LookupError("listener")

    graph = WorkGraph()
    graph.add("a", give, 1)
    with pytest.raises(LookupError, match="listener"):
        run(graph, listen=listen)


def test_an_interrupt_cancels_a_run_of_asyncio_run() -> None:
    events: list[Event] = []

    async def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(FOREVER)

    graph = WorkGraph()
    graph.add("a", interrupt)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(graph.run_async(listen=events.extend))
    assert outcomes(events) == {"a": Outcome.CANCELLED}


@pytest.mark.parametrize("delay", [0, 0.05])
def test_an_interrupt_of_a_run_on_its_own_loop_ends_it_in_order(delay: float) -> None:
    events: list[Event] = []
    main_thread = threading.get_ident()

    async def interrupt() -> None:
        await asyncio.sleep(delay)
        signal.pthread_kill(main_thread, signal.SIGINT)
        await asyncio.sleep(0.3)

    graph = WorkGraph()
    graph.add("a", interrupt)
    graph.add("b", give, 1, after=["a"])
    with pytest.raises(KeyboardInterrupt):
        graph.run(on="asyncio", listen=events.extend)
    # It is waited for; but where the interrupt came while the loop was being started, cancelled.
    assert outcomes(events)["a"] in (Outcome.SUCCEEDED, Outcome.CANCELLED)
    assert outcomes(events)["b"] is Outcome.SKIPPED
    for thread in threads_of_runs():
        thread.join(20)  # where the interrupt came before anybody held the loop


def test_where_no_thread_can_start_an_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    allow_threads(monkeypatch, 0)
    graph = WorkGraph()
    graph.add("coroutine", give, 1)
    with pytest.raises(UsageError, match=r"no thread .*ulimit -u"):
        graph.run(on="asyncio")
    assert asyncio.run(graph.run_async())["coroutine"] == 1
    graph.add("function", abs, 1)
    found = asyncio.run(graph.run_async(check=False, keep_going=True))
    assert found["coroutine"] == 1
    assert isinstance(found.tasks["function"].error, UsageError)


@pytest.mark.parametrize("shape", ["chain", "wide"])
def test_many_coroutines_run(shape: str) -> None:
    graph = WorkGraph()
    for number in range(5000):
        before = [f"t{number - 1}"] if shape == "chain" and number else []
        graph.add(f"t{number}", give, number, after=before)
    assert asyncio.run(graph.run_async(jobs=0)).succeeded
