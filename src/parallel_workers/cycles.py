"""Finding a short cycle to show to whoever made one."""

from collections.abc import Iterable, Sequence

MOST_STEPS = 2_000_000
"""How many edges are followed at the most; then the shortest cycle so far is good enough."""


def shortest_cycle(successors: Sequence[Sequence[int]], suspects: Iterable[int]) -> list[int]:
    """Return the shortest cycle found among some nodes.

    A search in breadth from one node after the other, for as many steps as there is patience; so it
    is the shortest of all only in a graph that is not large.

    Args:
        successors: By node, those behind it.
        suspects: Nodes that hold a cycle: what is left when nodes that wait for nothing are taken
            away, again and again.

    Returns:
        The nodes in order, each before the next, the last before the first.

    >>> shortest_cycle([[1], [2, 0], [0]], [0, 1, 2])
    [0, 1]
    """
    inside = _between_cycles(successors, suspects)
    best: list[int] = []
    steps = 0
    for start in (_one_on_a_cycle(successors, inside), *inside):
        cycle, followed = _cycle_through(start, successors, inside)
        steps += followed
        if cycle and (not best or len(cycle) < len(best)):
            best = cycle
        if len(best) <= 2 or steps > MOST_STEPS:
            break
    return best


def _between_cycles(successors: Sequence[Sequence[int]], suspects: Iterable[int]) -> dict[int, int]:
    """Return those of `suspects` that are not behind every cycle, with how many are behind them.

    What is before every cycle has been taken away from `suspects`; here the same is done from the
    other end.
    """
    left = dict.fromkeys(suspects, 0)
    predecessors: dict[int, list[int]] = {node: [] for node in left}
    for node in left:
        for successor in successors[node]:
            if successor in left:
                left[node] += 1
                predecessors[successor].append(node)
    ended = [node for node, count in left.items() if not count]
    for node in ended:  # grows while it is walked
        del left[node]
        for predecessor in predecessors[node]:
            left[predecessor] -= 1
            if not left[predecessor]:
                ended.append(predecessor)
    return left


def _one_on_a_cycle(successors: Sequence[Sequence[int]], inside: dict[int, int]) -> int:
    """Return one of `inside` that is on a cycle; each of them has a successor among them."""
    node = next(iter(inside))
    seen: set[int] = set()
    while node not in seen:
        seen.add(node)
        node = next(other for other in successors[node] if other in inside)
    return node


def _cycle_through(
    start: int, successors: Sequence[Sequence[int]], inside: dict[int, int]
) -> tuple[list[int], int]:
    """Return the shortest cycle through `start`, none if it is on none, and the edges followed."""
    came_from: dict[int, int] = {}
    queue = [start]
    steps = 0
    for node in queue:  # grows while it is walked
        steps += len(successors[node])
        for successor in successors[node]:
            if successor in inside and successor not in came_from:
                came_from[successor] = node
                queue.append(successor)
        if start in came_from:
            break
    else:
        return [], steps  # it lies between two cycles
    cycle = [start]
    while (node := came_from[cycle[-1]]) != start:
        cycle.append(node)
    return [start, *reversed(cycle[1:])], steps
