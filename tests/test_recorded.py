"""Runs from Python with a journal: recorded, and gone on with."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

from parallel_workers import Outcome, WorkGraph
from parallel_workers.errors import GraphError, RunFailed, UsageError
from parallel_workers.history import History
from parallel_workers.run import Run
from parallel_workers.upkeep import Upkeep
from tests.support.program import until

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


def outcome_recorded(state: Path) -> str:
    [run] = History.open(str(state)).runs()
    return run.outcome


def test_a_run_that_waits_for_a_confirmation_is_recorded_as_parked_and_goes_on(
    tmp_path: Path,
) -> None:
    graph = WorkGraph()
    a = graph.add("a", work, "a")
    b = graph.add("b", work, "b", a, confirm="Really?")
    graph.add("c", work, "c", b)
    graph.run(journal=tmp_path, check=False)
    assert (ran, outcome_recorded(tmp_path)) == (["a"], "parked")
    again(graph, tmp_path, yes=True)
    assert (ran, outcome_recorded(tmp_path)) == (["a", "b", "c"], "succeeded")


@pytest.mark.parametrize(("allow_failure", "outcome"), [(False, "failed"), (True, "succeeded")])
def test_a_failure_that_may_be_is_recorded_as_none_of_the_run(
    tmp_path: Path, allow_failure: bool, outcome: str
) -> None:
    graph = WorkGraph()
    a = graph.add("a", int, "x", allow_failure=allow_failure)
    graph.add("b", work, "b", after=[a])
    graph.run(journal=tmp_path, check=False)
    assert outcome_recorded(tmp_path) == outcome


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


def test_to_go_on_needs_a_journal_that_can_be_read(tmp_path: Path) -> None:
    chain().run(journal=tmp_path)
    ran.clear()
    damaged = b"garbage" * 2000
    (tmp_path / "journal.db").write_bytes(damaged)
    with pytest.raises(UsageError, match=r"journal\.db is damaged: "):
        again(chain(), tmp_path)
    assert (ran, (tmp_path / "journal.db").read_bytes()) == ([], damaged)
    with pytest.warns(UserWarning, match="the journal was damaged; it is kept as"):
        assert chain().run(journal=tmp_path).succeeded


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


def outcomes(state: Path) -> list[str]:
    """How each run ended, as another process would read it."""
    return [record.outcome for record in History.open(str(state)).runs()]


class TestUnusable:
    """Where nothing can be recorded."""

    def spoil(self, state: Path) -> None:
        state.mkdir()
        os.mkfifo(state / "journal.db")

    def test_the_work_is_done_and_a_warning_says_what_was_not_recorded(
        self, tmp_path: Path
    ) -> None:
        self.spoil(tmp_path / "state")
        with pytest.warns(
            UserWarning, match=r"nothing was recorded: .*journal\.db is no reg"
        ) as told:
            run = chain().run(journal=tmp_path / "state")
        assert run["c"] == ["c", ["b", ["a"], 1]]
        ours = [warning for warning in told if warning.category is UserWarning]
        assert [warning.filename for warning in ours] == [__file__]

    def test_what_was_recorded_is_not_to_be_had(self, tmp_path: Path) -> None:
        self.spoil(tmp_path / "state")
        with pytest.raises(UsageError, match=r"journal\.db is no regular file"):
            again(chain(), tmp_path / "state")
        assert ran == []

    def test_a_directory_that_cannot_be_made_is_told_likewise(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.warns(UserWarning, match="nothing was recorded: .*Not a directory"):
            chain().run(journal=tmp_path / "file" / "state")
        assert ran == ["a", "b", "c"]

    def test_no_room_for_a_run_is_told_likewise_and_leaves_no_lock(self, tmp_path: Path) -> None:
        chain().run(journal=tmp_path)
        (tmp_path / "runs").rename(tmp_path / "gone")
        (tmp_path / "runs").symlink_to("/nowhere/runs")
        with pytest.warns(UserWarning, match="nothing was recorded: "):
            chain().run(journal=tmp_path)
        with pytest.raises(UsageError):
            again(chain(), tmp_path)
        (tmp_path / "runs").unlink()
        (tmp_path / "gone").rename(tmp_path / "runs")
        assert again(chain(), tmp_path).tasks["c"].outcome is Outcome.CACHED

    def test_a_warning_that_is_an_error_comes_when_all_has_ended(self, tmp_path: Path) -> None:
        self.spoil(tmp_path / "state")
        graph = chain()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(UserWarning, match="nothing was recorded"):
                graph.run(journal=tmp_path / "state")
            assert ran == ["a", "b", "c"]
            ran.clear()
            with pytest.raises(UserWarning, match="there was no earlier run"):
                again(graph, tmp_path / "other")
            assert ran == ["a", "b", "c"]
            assert outcomes(tmp_path / "other") == ["succeeded"]
            assert again(graph, tmp_path / "other").tasks["c"].outcome is Outcome.CACHED

    def test_a_listener_that_raises_does_not_keep_the_run_open(self, tmp_path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(UserWarning, match="told no more"):
                chain().run(journal=tmp_path, listen=lambda events: 1 / 0)
        assert outcomes(tmp_path) == ["succeeded"]


class TestLetGo:
    """A run that has ended can be gone on with, whoever looks after it."""

    def test_it_need_not_be_waited_for(self, tmp_path: Path) -> None:
        for function in (print, int):
            graph = WorkGraph()
            graph.add("x", function, "x")
            graph.start(journal=tmp_path)
            until(lambda: outcomes(tmp_path)[-1] != "running")
        assert outcomes(tmp_path) == ["succeeded", "failed"]

    def test_it_may_be_left_by_a_second_interrupt(self, tmp_path: Path) -> None:
        program = """
            import signal, threading
            from parallel_workers import WorkGraph
            go = threading.Event()
            def x():
                print("begun", flush=True)
                go.wait(60)
            graph = WorkGraph()
            graph.add("y", print, after=[graph.add("x", x)])
            try:
                graph.run(journal="state")
            except KeyboardInterrupt as interrupt:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                print(interrupt, flush=True)
                input()
                go.set()
                input()
        """
        words = [sys.executable, "-c", textwrap.dedent(program)]
        with subprocess.Popen(
            words, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdin is not None
            assert process.stdout.readline() == "begun\n"
            left = threading.Event()

            def interrupt() -> None:
                # Two that come together are one.
                while not left.wait(0.5):
                    process.send_signal(signal.SIGINT)

            interrupting = threading.Thread(target=interrupt)
            interrupting.start()
            assert process.stdout.readline() == "left running: x\n"
            left.set()
            interrupting.join()
            assert outcomes(tmp_path / "state") == ["running"]
            print(file=process.stdin, flush=True)
            until(lambda: outcomes(tmp_path / "state") == ["failed"])
            print(file=process.stdin, flush=True)

    @pytest.mark.parametrize("on", ["threads", "inline"])
    def test_it_may_be_refused_by_the_executor(self, tmp_path: Path, on: str) -> None:
        async def coroutine() -> None: ...

        graph = WorkGraph()
        graph.add("x", coroutine)
        with pytest.raises(UsageError, match="coroutine"):
            graph.run(journal=tmp_path, on=on)
        assert outcomes(tmp_path) == ["cancelled"]

    def test_what_has_nothing_to_run_is_not_recorded(self, tmp_path: Path) -> None:
        graph = WorkGraph()
        graph.add("x")
        with pytest.raises(GraphError, match=r"1 task with nothing to run; .*: x"):
            graph.run(journal=tmp_path / "state")
        assert not (tmp_path / "state").exists()

    def test_an_interrupt_in_the_calling_thread_ends_it(self, tmp_path: Path) -> None:
        graph = WorkGraph()
        graph.add("x", signal.raise_signal, signal.SIGINT)
        graph.add("y", print, after=["x"])
        with pytest.raises(KeyboardInterrupt):
            graph.run(journal=tmp_path, on="inline")
        assert outcomes(tmp_path)[0] in ("failed", "cancelled")


class TestPrograms:
    """Whose run is gone on with."""

    PROGRAM = """
        from parallel_workers import WorkGraph
        graph = WorkGraph()
        graph.add("x", print, "x ran")
        run = graph.run(journal="state", resume=True)
        print(run.id, run.tasks["x"].outcome)
    """

    def run(self, directory: Path, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, *words], cwd=directory, check=True, capture_output=True, text=True
        )

    def test_each_script_goes_on_with_its_own(self, tmp_path: Path) -> None:
        for name in ("one.py", "other.py"):
            (tmp_path / name).write_text(textwrap.dedent(self.PROGRAM))
            first = self.run(tmp_path, name)
            assert first.stdout.startswith("x ran\n")
            assert f"there was no earlier run of {tmp_path / name} in" in first.stderr
        first, second = (self.run(tmp_path, name) for name in ("one.py", str(tmp_path / "one.py")))
        assert first.stdout == second.stdout
        assert first.stdout.endswith(" cached\n")
        assert first.stderr == second.stderr == ""
        files = [record.file for record in History.open(str(tmp_path / "state")).runs()]
        assert files == [str(tmp_path / "other.py"), str(tmp_path / "one.py")]

    def test_what_is_no_script_shares_a_name(self, tmp_path: Path) -> None:
        program = textwrap.dedent(self.PROGRAM)
        assert "no earlier run of <interactive>" in self.run(tmp_path, "-c", program).stderr
        assert self.run(tmp_path, "-c", program).stdout.endswith(" cached\n")


def test_sets_among_the_arguments_are_the_same_in_the_next_process(tmp_path: Path) -> None:
    program = """
        from parallel_workers import WorkGraph
        graph = WorkGraph()
        graph.add("x", print, {"one", "two", "three"}, [{"x": frozenset({"four", "five"})}])
        print(graph.run(journal="state", resume=True).tasks["x"].outcome)
    """
    for seed in ("1", "2", "3"):
        ended = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
        )
    assert ended.stdout == "cached\n"


def test_a_closure_is_part_of_what_a_function_does(tmp_path: Path) -> None:
    def graph(value: object) -> WorkGraph:
        graph = WorkGraph()
        graph.add("x", lambda: work("x", value))
        return graph

    graph(1).run(journal=tmp_path)
    assert again(graph(1), tmp_path).tasks["x"].outcome is Outcome.CACHED
    assert again(graph(2), tmp_path)["x"] == ["x", 2]
    with pytest.warns(UserWarning, match="1 task cannot be pickled, and will run again"):
        again(graph(threading.Lock()), tmp_path, check=False)
