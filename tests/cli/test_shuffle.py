"""`--shuffle` and `--seed`: by the real program."""

import re
from pathlib import Path

import pytest

from tests.support.program import Ended, run, write_work

TASKS = {f"t{number}": f"echo t{number} >> told" for number in range(20)}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with a work file of many tasks that wait for nothing."""
    write_work(tmp_path, {**TASKS, "last": {"command": "echo last >> told", "after": list(TASKS)}})
    return tmp_path


def told(directory: Path) -> list[str]:
    path = directory / "told"
    words = path.read_text().split()
    path.unlink()
    return words


def seed_of(ended: Ended) -> str:
    found = re.fullmatch(r"shuffled; --seed (\d+) takes tasks in that order again\n", ended.errors)
    assert found is not None
    return found[1]


def test_a_seed_that_was_printed_gives_the_same_order(here: Path) -> None:
    first = run(here, "run", "-j", "1", "--shuffle")
    order = told(here)
    assert (first.status, sorted(order), order[-1]) == (0, sorted([*TASKS, "last"]), "last")
    # By now it is known how long each took, which otherwise decides.
    again = run(here, "run", "-j", "1", "--seed", seed_of(first))
    assert (again.status, told(here), again.errors) == (0, order, first.errors)
    dry = run(here, "run", "-n", "-j", "1", "--shuffle", "--seed", seed_of(first))
    assert [line.partition(":")[0] for line in dry.output.splitlines()] == order


def test_other_seeds_give_other_orders(here: Path) -> None:
    orders = set()
    for seed in ("0", "1", "2"):
        run(here, "run", "-j", "1", "--seed", seed)
        orders.add(tuple(told(here)))
    assert len(orders) == 3


def test_each_shuffled_run_has_a_seed_of_its_own(here: Path) -> None:
    seeds = {seed_of(run(here, "run", "-n", "--shuffle")) for _ in range(3)}
    assert len(seeds) > 1


@pytest.mark.parametrize("seed", ["-1", "x", "1.5"])
def test_a_seed_is_a_whole_number(here: Path, seed: str) -> None:
    ended = run(here, "run", "--seed", seed)
    assert (ended.status, ended.output) == (2, "")
    assert "--seed" in ended.errors
