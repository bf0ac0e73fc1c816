"""What the types of the API promise: all of this is right. It is checked, and never run."""

import os
from functools import partial
from pathlib import Path
from typing import Any, assert_type

from parallel_workers import CommandResult, Outcome, Task, TaskGroup, WorkGraph, load


def count(text: str, least: int = 0) -> int:
    return max(len(text), least)


async def fetch(url: str) -> bytes:
    return url.encode()


class Scaled:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, number: int) -> float:
        return float(number * self.factor)


def tasks_of_functions(graph: WorkGraph) -> None:
    assert_type(graph.add("function", count, "abc"), Task[int])
    assert_type(graph.add("keywords", count, "abc", kwargs={"least": 2}), Task[int])
    assert_type(graph.add("partial", partial(count, least=2), "abc"), Task[int])
    assert_type(graph.add("class", Scaled, 2), Task[Scaled])
    assert_type(graph.add("callable", Scaled(2), 1), Task[float])
    assert_type(graph.add("lambda", lambda: "x"), Task[str])
    assert_type(graph.add("nothing", lambda: print("x")), Task[None])
    assert_type(graph.add("method", Path("a").as_posix), Task[str])


def tasks_of_coroutine_functions(graph: WorkGraph) -> None:
    assert_type(graph.add("fetch", fetch, "x"), Task[bytes])
    assert_type(graph.map("pages", fetch, ["x", "y"]), TaskGroup[bytes])


def tasks_of_commands(graph: WorkGraph) -> None:
    assert_type(graph.add("text", command="make"), Task[CommandResult])
    assert_type(graph.add("words", command=["make", "all"], cwd="lib"), Task[CommandResult])
    assert_type(graph.add("tuple", command=("make", "all")), Task[CommandResult])


def fields_of_tasks(graph: WorkGraph) -> None:
    graph.add(
        "all of them",
        command="make",
        after=[graph["lambda"], graph.map("n", count, ["a"]), "later"],
        env={"PORT": 80, "HOST": "here"},
        cwd="lib",
        duration="5m",
        pool="net",
        retries=2,
        timeout=1.5,
        vars={"owner": ["a", "b"]},
        description="builds it",
    )
    graph.map("mapped", count, ["a"], env=os.environ, retries=1)
    graph.add("no command yet", after=["mapped"], duration=3)


def tasks_as_arguments(graph: WorkGraph) -> None:
    text = graph.add("text", str.upper, "a")
    numbers = graph.map("count", count, [text, "b"])
    assert_type(numbers, TaskGroup[int])
    assert_type(numbers[0], Task[int])
    assert_type(list(numbers), list[Task[int]])
    graph.add("all", max, numbers, after=numbers)
    graph.add("first", {"a": 1}.get, text, after=[numbers[0], *numbers])


def a_task_is_also_one_of_a_wider_type(graph: WorkGraph) -> None:
    whole = graph.add("whole", count, "a")
    wider: Task[float] = whole
    group: TaskGroup[object] = graph.map("group", count, ["a"])
    tasks: list[Task[Any] | TaskGroup[Any] | str] = [wider, group, "name"]
    graph.add("behind", count, "", after=tasks)


def decorated_functions(graph: WorkGraph) -> None:
    @graph.task
    def plain() -> int:
        return 1

    @graph.task(after=[plain], timeout="5m", retries=2, name="other")
    def optioned() -> str:
        return "x"

    @graph.task
    async def awaited() -> bytes:
        return b""

    @graph.task(pool="net")
    async def optioned_and_awaited() -> list[int]:
        return []

    assert_type(plain, Task[int])
    assert_type(optioned, Task[str])
    assert_type(awaited, Task[bytes])
    assert_type(optioned_and_awaited, Task[list[int]])


def values(graph: WorkGraph) -> None:
    number = graph.add("number", count, "a")
    make = graph.add("make", command="make")
    page = graph.add("page", fetch, "x")
    group = graph.map("group", count, ["a"])
    run = graph.run(jobs=2, on="threads", check=False, keep_going=True, keep="leaves")
    assert_type(run[number], int)
    assert_type(run[page], bytes)
    assert_type(run[group], list[int])
    assert_type(run[make].status, int | None)
    assert_type(run["number"], Any)


async def values_of_an_asynchronous_run(graph: WorkGraph) -> None:
    page = graph.add("page", fetch, "x")
    run = await graph.run_async(jobs=0, output="task")
    assert_type(run[page], bytes)


def facts(graph: WorkGraph) -> None:
    run = graph.start(listen=print, output="task")
    for task in run.as_completed():
        assert_type(task.name, str)
        assert_type(task.outcome, Outcome | None)
    number = graph.add("number", count, "a")
    assert_type(run.tasks[number].output, str | None)
    assert_type(run.tasks["number"].error, BaseException | None)
    assert_type(run.outcomes[Outcome.FAILED], int)
    assert_type(run.wait(5), bool)


def graphs_from_data() -> None:
    records: list[dict[str, object]] = [{"name": "a", "successors": ["b"]}, {"name": "b"}]
    assert_type(WorkGraph.from_records(records, call=count), WorkGraph)
    assert_type(WorkGraph.from_groups([[["a", "b"], ["c"]]]), WorkGraph)
    assert_type(WorkGraph.from_predecessors({"b": ["a"]}, call=str.upper), WorkGraph)
    assert_type(load("work.json", command="echo {name}"), WorkGraph)
    assert_type(WorkGraph.from_groups([])["a"], Task[Any])
