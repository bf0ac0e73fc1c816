"""Graphs that benchmarks share, made task by task: for each, the numbers of its predecessors.

A predecessor has a smaller number than its successor. The same graph comes out for the same size.
"""

import random
from collections.abc import Callable, Iterator
from typing import TypeAlias

Rows: TypeAlias = Iterator[list[int]]

SEED = 7
LAYER = 100
PREDECESSORS = 3


def wide(tasks: int) -> Rows:
    """All tasks are independent."""
    return ([] for _ in range(tasks))


def chain(tasks: int) -> Rows:
    """Each task waits for the one before."""
    return ([task - 1] if task else [] for task in range(tasks))


def layers(tasks: int) -> Rows:
    """Each task waits for three random ones of the layer before; a layer has 100 tasks."""
    chance = random.Random(SEED)
    for task in range(tasks):
        first = task // LAYER * LAYER
        before = range(max(0, first - LAYER), first)
        yield chance.sample(before, PREDECESSORS) if before else []


def tree(tasks: int) -> Rows:
    """Each task waits for two others, and is waited for by one; the last one is the root."""
    # A heap, its root at the end.
    for task in range(tasks):
        place = tasks - 1 - task
        children = (2 * place + 1, 2 * place + 2)
        yield [tasks - 1 - child for child in children if child < tasks]


def scattered(tasks: int) -> Rows:
    """Each task waits for up to six others, three on average, anywhere before it."""
    chance = random.Random(SEED)
    for task in range(tasks):
        count = chance.randrange(2 * PREDECESSORS + 1) if task else 0
        yield list({chance.randrange(task) for _ in range(count)})


SHAPES: dict[str, Callable[[int], Rows]] = {
    "wide": wide,
    "chain": chain,
    "layers": layers,
    "tree": tree,
    "random": scattered,
}
