"""Runs from Python with a journal: recorded, and gone on with."""

import threading
from pathlib import Path
from typing import Any

import pytest

from parallel_workers import Outcome, WorkGraph
from parallel_workers.errors import RunFailed, UsageError
from parallel_workers.history import History
from parallel_workers.run import Run

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
