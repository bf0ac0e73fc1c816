"""Runs from Python with a journal: recorded, and gone on with."""

import functools
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from parallel_workers import Outcome, WorkGraph
from parallel_workers.digest import function_content
from parallel_workers.errors import RunFailed, UsageError
from parallel_workers.history import History
from parallel_workers.run import Run
from parallel_workers.upkeep import Upkeep

ran: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    ran.clear()


def work(name: str, *values: Any) -> Any:
    ran.append(name)
    return [name, *values]


def again(graph: WorkGraph, state: Path, **options: Any) -> Run:
    return graph.run(journal=state, resume=True, jobs=1, **options)


def chain(factor: int = 1) -> WorkGraph:
    graph = WorkGraph()
    a = graph.add("a", work, "a")
    b = graph.add("b", work, "b", a, factor)
    graph.add("c", work, "c", b)
    return graph


def test_what_has_succeeded_keeps_its_value_and_is_not_done_again(tmp_path: Path) -> None:
    chain().run(journal=tmp_path)
    assert ran == ["a", "b", "c"]
    run = again(chain(), tmp_path)
    assert ran == ["a", "b", "c"]
    assert run["c"] == ["c", ["b", ["a"], 1]]
    assert {task.outcome for task in run.tasks.values()} == {Outcome.CACHED}
    assert (run.succeeded, run.tasks["a"].attempts) == (True, 0)


def test_another_argument_makes_a_task_and_all_behind_it_run_again(tmp_path: Path) -> None:
    chain().run(journal=tmp_path)
    ran.clear()
    run = again(chain(factor=2), tmp_path)
    assert ran == ["b", "c"]
    assert run["c"] == ["c", ["b", ["a"], 2]]


def test_a_failed_run_goes_on_where_it_stood(tmp_path: Path) -> None:
    def graph(bad: bool) -> WorkGraph:
        graph = WorkGraph()
        a = graph.add("a", work, "a")
        b = graph.add("b", open, "/nowhere" if bad else "/dev/null", after=[a])
        graph.add("c", work, "c", after=[b])
        return graph

    with pytest.raises(RunFailed):
        graph(bad=True).run(journal=tmp_path)
    ran.clear()
    with pytest.warns(UserWarning, match=r"1 task cannot be pickled, and will run again .*: b"):
        run = again(graph(bad=False), tmp_path)
    assert ran == ["c"]
    [record] = History.open(str(tmp_path)).runs()
    assert (record.id, record.outcome) == (run.id, "succeeded")


def test_a_value_that_cannot_be_pickled_makes_its_task_run_again(tmp_path: Path) -> None:
    graph = WorkGraph()
    lock = graph.add("lock", threading.Lock)
    graph.add("next", work, "next", after=[lock])
    with pytest.warns(UserWarning, match="1 task cannot be pickled"):
        graph.run(journal=tmp_path)
    ran.clear()
    with pytest.warns(UserWarning, match="cannot be pickled"):
        run = again(graph, tmp_path)
    assert run.tasks["lock"].outcome is Outcome.SUCCEEDED
    assert ran == ["next"]


def test_an_argument_that_cannot_be_pickled_makes_its_task_run_again(tmp_path: Path) -> None:
    graph = WorkGraph()
    graph.add("a", work, "a", threading.Event().is_set)
    with pytest.warns(UserWarning, match="1 task cannot be pickled"):
        graph.run(journal=tmp_path)
    with pytest.warns(UserWarning, match="1 task cannot be pickled"):
        again(graph, tmp_path)
    assert ran == ["a", "a"]


def test_large_values_and_none_are_kept(tmp_path: Path) -> None:
    graph = WorkGraph()
    graph.add("large", bytes, 1_000_000)
    graph.add("none", print)
    graph.run(journal=tmp_path)
    run = again(graph, tmp_path)
    assert (len(run["large"]), run["none"]) == (1_000_000, None)
    assert {task.outcome for task in run.tasks.values()} == {Outcome.CACHED}
    values = next((tmp_path / "runs").iterdir()) / "values"
    for file in values.iterdir():
        file.write_bytes(b"cut")
    assert again(graph, tmp_path).tasks["large"].outcome is Outcome.SUCCEEDED


def test_commands_are_recorded_with_their_logs(tmp_path: Path) -> None:
    graph = WorkGraph()
    say = graph.add("say", command="echo $PW_RUN")
    first = graph.run(journal=tmp_path)
    run = again(graph, tmp_path)
    assert run.id == first.id
    assert Path(run[say].log).read_text() == f"{run.id}\n"
    graph = WorkGraph()
    graph.add("say", command="echo other")
    assert again(graph, tmp_path).tasks["say"].outcome is Outcome.SUCCEEDED


def test_with_no_earlier_run_it_is_the_first_and_says_so(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="no earlier run"):
        assert again(chain(), tmp_path).succeeded


def test_to_go_on_needs_a_journal() -> None:
    with pytest.raises(UsageError, match="journal=PATH"):
        chain().run(resume=True)


def test_the_same_run_is_gone_on_with_once_at_a_time(tmp_path: Path) -> None:
    go = threading.Event()
    graph = WorkGraph()
    graph.add("wait", go.wait, 20)
    run = graph.start(journal=tmp_path)
    with pytest.raises(UsageError, match=run.id):
        chain().run(journal=tmp_path, resume=True)
    go.set()
    with pytest.warns(UserWarning, match="cannot be pickled"):
        run.wait(20)


def subtract(a: int, b: int) -> int:
    return a - b


def test_arguments_that_change_places_are_other_arguments(tmp_path: Path) -> None:
    def graph(swapped: bool) -> WorkGraph:
        graph = WorkGraph()
        a, b = graph.add("a", int, 1), graph.add("b", int, 10)
        graph.add("c", subtract, *((b, a) if swapped else (a, b)))
        graph.add("d", subtract, kwargs={"a": b, "b": a} if swapped else {"a": a, "b": b})
        return graph

    assert graph(swapped=False).run(journal=tmp_path)["c"] == -9
    run = again(graph(swapped=True), tmp_path)
    assert (run["c"], run["d"]) == (9, 9)


def test_a_value_whose_file_is_gone_is_made_again(tmp_path: Path) -> None:
    graph = WorkGraph()
    large = graph.add("large", bytes, 100_000)
    graph.add("size", len, large)
    graph.run(journal=tmp_path)
    for file in tmp_path.glob("runs/*/values/*"):
        file.unlink()
    run = again(graph, tmp_path)
    assert (run["size"], run.tasks["large"].outcome) == (100_000, Outcome.SUCCEEDED)


def test_a_task_that_runs_again_leaves_no_old_value(tmp_path: Path) -> None:
    values: list[Any] = ["small", b"x" * 100_000, None]

    for which, value in enumerate(values):
        VALUES[str(which)] = value
        state = tmp_path / f"state{which}"
        VALUES["old"] = "old"
        (tmp_path / "which").write_text("old")
        graph_of_old = WorkGraph()
        graph_of_old.add("value", read_value, str(tmp_path / "which"))
        graph_of_old.run(journal=state)
        upkeep = Upkeep.open(str(state))
        upkeep.mark(upkeep.find_run("last"), ["value"], Outcome.FAILED)
        (tmp_path / "which").write_text(str(which))
        assert again(graph_of_old, state)["value"] == value
        run = again(graph_of_old, state)
        assert (run["value"], run.tasks["value"].outcome) == (value, Outcome.CACHED)


VALUES: dict[str, Any] = {}


def read_value(path: str) -> Any:
    return VALUES[Path(path).read_text()]


def test_two_runs_of_one_process_keep_their_locks_on_the_journal(tmp_path: Path) -> None:
    """Another process that ends with the journal must not take it for its own."""
    go = threading.Event()
    graph = WorkGraph()
    graph.add("wait", print)
    outer = WorkGraph()
    outer.add("wait", waits, tmp_path)
    WAITS.append(go)
    run = outer.start(journal=tmp_path)
    graph.run(journal=tmp_path)
    program = (
        "from parallel_workers import WorkGraph; g = WorkGraph(); g.add('x', print); "
        f"g.run(journal={str(tmp_path)!r})"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    files = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
             if os.path.islink(f"/proc/self/fd/{fd}")]  # fmt: skip
    assert [file for file in files if str(tmp_path) in file and "deleted" in file] == []
    go.set()
    run.wait(20)
    assert [record.outcome for record in History.open(str(tmp_path)).runs()] == ["succeeded"] * 4


WAITS: list[threading.Event] = []


def waits(state: Path) -> None:
    WAITS[0].wait(60)


def test_what_a_function_wraps_is_part_of_it(tmp_path: Path) -> None:
    def made(body: str) -> Any:
        namespace: dict[str, Any] = {"__name__": "made", "functools": functools}
        exec(
            "def wrap(f):\n @functools.wraps(f)\n def g(*a): return f(*a)\n return g\n"
            f"@wrap\ndef f(): return {body}\n",
            namespace,
        )
        return namespace["f"]

    one, other = (function_content(made(body), None) for body in ("1", "2"))
    assert one != other
    first, second = (function_content(functools.partial(max, n), None) for n in (1, 2))
    assert first != second
