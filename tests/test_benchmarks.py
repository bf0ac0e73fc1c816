import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.shapes import SHAPES

ROOT = Path(__file__).parents[1]


def benchmark(name: str, *arguments: str, **environment: str) -> str:
    """Run a benchmark, and return what it prints."""
    return subprocess.run(
        [sys.executable, ROOT / "benchmarks" / name, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tasks", [0, 1, 2, 3, 250])
def test_a_shape_has_as_many_tasks_as_asked_for_each_behind_what_it_waits_for(
    shape: str, tasks: int
) -> None:
    rows = list(SHAPES[shape](tasks))
    assert len(rows) == tasks
    for task, row in enumerate(rows):
        assert len(set(row)) == len(row)
        assert all(0 <= before < task for before in row)


def test_all_but_the_root_of_a_tree_are_waited_for_once() -> None:
    waited_for = sorted(before for row in SHAPES["tree"](100) for before in row)
    assert waited_for == list(range(99))


@pytest.mark.slow
@pytest.mark.parametrize(
    "question", ["graphlib", "thread-pool", "asyncio", "dask", "process-pool", "building"]
)
def test_overhead_is_measured_on_every_shape(question: str) -> None:
    if question == "dask":
        pytest.importorskip("dask")
    told = benchmark("overhead.py", "--only", question, "--tasks", "20", "--rounds", "1")
    lines = [line.split() for line in told.splitlines() if line.startswith(question)]
    assert [shape for _, shape, *_ in lines] == list(SHAPES)


@pytest.mark.slow
def test_sleeps_are_measured_against_bare_threads() -> None:
    assert "one long" in benchmark("overhead.py", "--only", "sleeps", "--rounds", "1")


@pytest.mark.slow
def test_workflows_are_replayed_on_every_executor() -> None:
    told = benchmark("replay.py", "--jobs", "4", "--seconds", "0.1")
    assert "threads    asyncio  processes       fifo" in told
    assert told.rstrip().splitlines()[-1].split()[2] == "4"


@pytest.mark.slow
def test_without_a_free_threaded_python_the_benchmark_says_so() -> None:
    told = benchmark("free_threading.py", FREE_THREADED_PYTHON="no-such-python")
    assert told.startswith("left out: there is no free-threaded Python")
