"""Random graphs for hypothesis."""

from typing import NamedTuple

from hypothesis import strategies as st

from parallel_workers.graph import WorkGraph


class Numbers(NamedTuple):
    """A graph as a frontier takes it, and its tasks' predecessors with gates multiplied out."""

    successors: list[list[int]]
    waits: list[int]
    tasks: int
    predecessors: dict[int, set[int]]


@st.composite
def numbered_graphs(draw: st.DrawFn, most_tasks: int = 12, most_gates: int = 3) -> Numbers:
    """Tasks numbered without regard to their order, as priorities would, and gates behind."""
    tasks = draw(st.integers(0, most_tasks))
    gates = draw(st.integers(0, most_gates)) if tasks else 0
    order = list(draw(st.permutations(range(tasks + gates))))
    # A gate always waits for something, so that the first of all is a task.
    first = next((node for node in order if node < tasks), None)
    order.sort(key=lambda node: node != first)
    successors: list[list[int]] = [[] for _ in order]
    waits = [0] * len(order)
    before: dict[int, set[int]] = {}
    for place, node in enumerate(order):
        least = int(node >= tasks)
        earlier = order[:place]
        chosen = (
            draw(st.sets(st.sampled_from(earlier), min_size=least, max_size=4)) if place else ()
        )
        before[node] = set()
        for other in sorted(chosen):
            successors[other].append(node)
            waits[node] += 1
            before[node] |= {other} if other < tasks else before[other]
    return Numbers(successors, waits, tasks, {node: before[node] for node in range(tasks)})


@st.composite
def work_graphs(draw: st.DrawFn, most_tasks: int = 12) -> WorkGraph:
    """Work graphs of tasks `t0`, `t1`, … with durations on some of them."""
    graph = WorkGraph()
    for number in range(draw(st.integers(0, most_tasks))):
        names = [f"t{other}" for other in range(number)]
        after = draw(st.lists(st.sampled_from(names), unique=True, max_size=4)) if names else []
        duration = draw(st.none() | st.integers(0, 9))
        fields = {} if duration is None else {"duration": duration}
        graph.add(f"t{number}", after=after, **fields)
    return graph
