"""Random graphs for hypothesis."""

from typing import Any, NamedTuple

from hypothesis import strategies as st

from parallel_workers.definition import Retries
from parallel_workers.graph import WorkGraph
from parallel_workers.plan import Plan
from tests.support.model import Model
from tests.support.runs import told_of_end
from tests.support.work import Script


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
        fields: dict[str, Any] = {} if duration is None else {"duration": duration}
        graph.add(f"t{number}", after=after, **fields)
    return graph


class Case(NamedTuple):
    """A graph, what its tasks do, and how it is run.

    Attributes:
        most: How many failures let nothing new start; None for none.
        watched: Whether somebody listens. If not, tasks may be so short that workers take several.
    """

    graph: WorkGraph
    scripts: dict[str, Script]
    jobs: int
    most: int | None
    watched: bool

    def __repr__(self) -> str:
        graph = self.graph
        fields = {
            "names": graph.names,
            "successors": graph.successors,
            "definitions": graph.definitions,
            "pools": graph.pools,
            **self._asdict(),
        }
        return f"Case({', '.join(f'{name}={value!r}' for name, value in fields.items())})"

    def model(self) -> Model:
        """Return what the run is held against; it knows tasks by their numbers in the plan."""
        plan = Plan(self.graph)
        before: list[set[int]] = [set() for _ in plan.successors]
        for node, successors in enumerate(plan.successors):
            for successor in successors:
                before[successor].add(node)

        def tasks_before(node: int) -> set[int]:
            gates = [other for other in before[node] if other >= plan.tasks]
            tasks = before[node].difference(gates)
            return tasks.union(*map(tasks_before, gates))

        return Model(
            {task: tasks_before(task) for task in range(plan.tasks)},
            plan.retries,
            set(plan.delays),
            plan.needs,
            [limit for _, limit in plan.pools],
            plan.forgiven,
            plan.always,
            plan.services,
            most_failures=self.most,
            outcome=dict.fromkeys(plan.not_needed(()), "succeeded"),
        )

    def outcomes(self, model: Model) -> dict[str, str]:
        """Return the outcomes, by name, that a run tells of where the model is so far."""
        names, attempts = Plan(self.graph).names, model.attempts
        return {
            names[task]: told_of_end(state, self.scripts[names[task]], attempts.get(task, 0))
            for task, state in model.outcome.items()
        }


RETRIES_AND_FAILURES: list[tuple[int, int]] = [(0, 0), (0, 0), (1, 1), (2, 1), (0, 1), (1, 2)]
"""How often a task may be tried again, and how often it fails: a third of them too often."""


WAYS_TO_BE_UP: list[dict[str, str]] = [{"log": "up"}, {"ready": "test -e $PW_TASK.up"}]
"""What says of a service of a random case that it is up."""


@st.composite
def cases(draw: st.DrawFn, held: bool = False) -> Case:
    """Runs of tasks `t0`, `t1`, … with gates, failures and every policy among them.

    Args:
        draw: Given by hypothesis.
        held: Whether all tasks are held until they are released. Then services die when there is a
            file `NAME.die`; else when some task that needs them has begun.
    """
    graph = WorkGraph()
    for number, limit in enumerate(draw(st.lists(st.integers(1, 3), max_size=2))):
        graph.pools[f"p{number}"] = limit
    watched = draw(st.booleans())
    # Who releases tasks unwatched cannot know which end came first, and with it the stop, nor
    # whether a service had begun when it turned out that nobody will use it.
    in_order = watched or not held
    most = draw(st.sampled_from([None, 1, 1, 2])) if in_order else None
    # Of longer tasks no worker takes several at once, so that the best one always starts first.
    shortest = 0.002 if held else 0.0002 if watched else 0.0
    with_commands = draw(st.booleans())
    # What hangs cannot be held: its limit ends it.
    with_limits = not held and draw(st.integers(0, 3)) == 3
    scripts: dict[str, Script] = {}
    services: list[int] = []
    for number in range(draw(st.integers(0, 9))):
        name = f"t{number}"
        serves = with_commands and in_order and draw(st.integers(0, 2)) == 2
        fields = draw(service_fields() if serves else task_fields(graph.pools))
        retries, failures = draw(st.sampled_from(RETRIES_AND_FAILURES))
        delay = draw(st.sampled_from([0.0, 0.0, 0.003]))
        fields["retries"] = Retries(retries, delay=delay)
        graph.add(name, duration=draw(st.integers(1, 3)), **fields)
        draw_edges(draw, graph, services)
        script = Script(draw(st.sampled_from([shortest, 0.002])), failures, held=held)
        if serves:
            services.append(graph.number(name))
        elif with_commands:
            script = script._replace(done_from=draw(st.sampled_from([0, 0, 1, 2])))
        if with_limits and not script.done_from:
            script = script._replace(hangs=draw(st.integers(0, 3)) == 3)
        scripts[name] = script
    if in_order:
        draw_deaths(draw, graph, scripts, held)
    return Case(graph, scripts, draw(st.integers(0, 4)), most, watched)


def draw_edges(draw: st.DrawFn, graph: WorkGraph, services: list[int]) -> None:
    """Let the last node wait for some of the others, and perhaps a gate, too."""
    last = len(graph.names) - 1
    if not last:
        return
    before = draw(st.sets(st.sampled_from(range(last)), max_size=3))
    if services:
        before |= draw(st.sets(st.sampled_from(services), max_size=2))
    for node in before:
        graph.connect(node, last)
    if draw(st.integers(0, 4)) == 4:
        gate = graph.add_gate()
        for node in draw(st.sets(st.sampled_from(range(last)), min_size=1, max_size=4)):
            graph.connect(node, gate)


@st.composite
def task_fields(draw: st.DrawFn, pools: dict[str, int]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if draw(st.booleans()) and pools:
        units = {name: st.integers(1, limit) for name, limit in pools.items()}
        fields["pool"] = draw(st.fixed_dictionaries({}, optional=units))
    for field in ("allow_failure", "always"):
        fields[field] = draw(st.integers(0, 4)) == 4
    return fields


@st.composite
def service_fields(draw: st.DrawFn) -> dict[str, Any]:
    way = draw(st.sampled_from(WAYS_TO_BE_UP))
    return {"service": way, "allow_failure": draw(st.integers(0, 4)) == 4}


def draw_deaths(draw: st.DrawFn, graph: WorkGraph, scripts: dict[str, Script], held: bool) -> None:
    """Let some services die while others need them."""
    plan = Plan(graph)
    for service in sorted(plan.services):
        name, users = plan.names[service], plan.users(service)
        if users and draw(st.booleans()):
            when = f"{name}.die" if held else plan.names[draw(st.sampled_from(users))]
            scripts[name] = scripts[name]._replace(dies_with=when)
