"""What the types of the API refuse: all of this is wrong. It is checked, and never run.

Where one of these were accepted, its comment would be unused, which is an error itself.
"""

from parallel_workers import Task, TaskGroup, WorkGraph


def count(text: str) -> int:
    return len(text)


async def fetch(url: str) -> bytes:
    return url.encode()


def fields(graph: WorkGraph) -> None:
    graph.add("unknown", count, retires=2)  # type: ignore[call-overload]
    graph.add("retries", count, retries="2")  # type: ignore[call-overload]
    graph.add("timeout", count, timeout=[5])  # type: ignore[call-overload]
    graph.add("env", command="make", env="A=b")  # type: ignore[call-overload]
    graph.add("command", command=5)  # type: ignore[call-overload]
    graph.map("map", count, ["a"], retires=2)  # type: ignore[call-overload]
    graph.task(retires=2)  # type: ignore[call-overload]


def what_a_task_does(graph: WorkGraph) -> None:
    graph.add("both", count, command="make")  # type: ignore[call-overload]
    graph.add("text", "make")  # type: ignore[call-overload]
    graph.add("called", count("a"))  # type: ignore[call-overload]
    graph.add(count)  # type: ignore[call-overload]
    graph.map("none", count, 5)  # type: ignore[call-overload]


def what_a_task_waits_for(graph: WorkGraph) -> None:
    graph.add("one", count, "a", after=5)  # type: ignore[call-overload]
    numbers = [5]
    graph.add("numbers", count, "a", after=numbers)  # type: ignore[arg-type]


def types_of_values(graph: WorkGraph) -> None:
    number = graph.add("number", count, "a")
    pages = graph.map("pages", fetch, ["x"])
    text: Task[str] = number  # type: ignore[assignment]
    texts: TaskGroup[str] = pages  # type: ignore[assignment]
    run = graph.run()
    run[number].upper()  # type: ignore[attr-defined]
    run[pages].upper()  # type: ignore[attr-defined]
    run[text].bit_length()  # type: ignore[attr-defined]
    run[texts[0]].decode()  # type: ignore[attr-defined]


def decorated(graph: WorkGraph) -> None:
    @graph.task(retries=1)
    async def page() -> bytes:
        return b""

    graph.run()[page].upper().encode()  # type: ignore[attr-defined]


def runs(graph: WorkGraph) -> None:
    graph.run(jobs="2")  # type: ignore[arg-type]
    graph.run(keep="none")  # type: ignore[arg-type]
    graph.run(output="all")  # type: ignore[arg-type]
    graph.run(listen=5)  # type: ignore[arg-type]
    graph.start(check=True)  # type: ignore[call-arg]
    graph.run()[5]  # type: ignore[call-overload]
    graph.run().tasks["a"].outcome = None  # type: ignore[misc]
