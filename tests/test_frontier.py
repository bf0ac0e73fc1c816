"""The frontier in every state, and against the reference model at random."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parallel_workers import pools
from parallel_workers.frontier import (
    DELAYED,
    FAILED,
    READY,
    RUNNING,
    SERVING,
    SKIPPED,
    STATES,
    SUCCEEDED,
    TRANSITIONS,
    WAITING,
    Frontier,
)
from tests.support.model import Model
from tests.support.strategies import Numbers, numbered_graphs


def chain(length: int, **options: object) -> Frontier:
    successors = [[number + 1] for number in range(length - 1)] + [[]]
    return Frontier(successors, [0] + [1] * (length - 1), tasks=length, **options)


def fan(width: int, **options: object) -> Frontier:
    """Tasks that wait for nothing, and nothing waits for."""
    return Frontier([[] for _ in range(width)], [0] * width, tasks=width, **options)


def test_an_empty_graph_is_finished_before_it_begins() -> None:
    frontier = Frontier([], [], tasks=0)
    assert frontier.unfinished == 0
    assert frontier.step([], 8) == []


def test_a_task_starts_when_its_predecessor_has_ended_and_not_before() -> None:
    frontier = chain(2)
    assert frontier.step([], 8) == [0]
    assert frontier.step([], 8) == []
    assert frontier.step([0], 8) == [1]
    assert frontier.step([1], 8) == []
    assert frontier.unfinished == 0


def test_the_best_ready_tasks_start_first_and_no_more_than_there_is_room_for() -> None:
    frontier = fan(5)
    assert frontier.step([], 2) == [0, 1]
    assert frontier.step([], 0) == []
    assert frontier.step([1], 2) == [2, 3]


def test_a_failure_stops_what_has_not_started_and_lets_run_what_runs() -> None:
    frontier = Frontier([[3], [], [], []], [0, 0, 0, 1], tasks=4)
    assert frontier.step([], 2) == [0, 1]
    assert frontier.step([~0], 2) == []
    assert [STATES[frontier.state_of(task)] for task in range(4)] == [
        "failed",
        "running",
        "skipped",
        "skipped",
    ]
    assert frontier.cause == {2: 0, 3: 0}
    assert frontier.step([1], 2) == []
    assert frontier.state_of(1) == SUCCEEDED
    assert frontier.unfinished == 0


def test_keeping_going_skips_only_what_depends_on_the_failure() -> None:
    frontier = Frontier([[2], [3], [4], [4], []], [0, 0, 1, 1, 2], tasks=5, most_failures=None)
    assert frontier.step([], 2) == [0, 1]
    assert frontier.step([~0], 2) == []
    assert frontier.skipped == [2]
    assert frontier.step([1], 2) == [3]
    assert frontier.step([3], 2) == []
    assert frontier.skipped == [2, 4]
    assert frontier.cause == {2: 0, 4: 0}
    assert frontier.unfinished == 0


def test_a_task_is_tried_again_as_often_as_it_may_be() -> None:
    frontier = chain(2, retries={0: 2})
    assert frontier.step([], 1) == [0]
    assert frontier.step([~0], 0) == []
    assert frontier.state_of(0) == READY
    assert frontier.step([], 1) == [0]
    assert frontier.step([~0], 1) == [0]
    assert frontier.step([~0], 1) == []
    assert frontier.state_of(0) == FAILED
    assert frontier.skipped == [1]


def test_a_task_that_succeeds_at_last_lets_its_successors_run() -> None:
    frontier = chain(2, retries={0: 1})
    frontier.step([], 1)
    assert frontier.step([~0], 1) == [0]
    assert frontier.step([0], 1) == [1]


def test_a_stop_gives_up_the_attempt_that_was_to_come() -> None:
    frontier = fan(2, retries={0: 5})
    assert frontier.step([], 1) == [0]
    assert frontier.step([~0], 0) == []
    frontier.stop()
    assert frontier.given_up == [0]
    assert frontier.skipped == [1]
    assert (frontier.state_of(0), frontier.state_of(1)) == (FAILED, SKIPPED)
    assert frontier.cause == {}


def test_after_a_stop_a_failed_attempt_is_not_tried_again() -> None:
    frontier = fan(1, retries={0: 5})
    frontier.step([], 1)
    frontier.stop()
    assert frontier.state_of(0) == RUNNING
    assert frontier.step([~0], 1) == []
    assert frontier.state_of(0) == FAILED


def test_a_gate_opens_when_the_last_task_before_it_ends() -> None:
    gate = 4
    frontier = Frontier([[gate], [gate], [], [], [2, 3]], [0, 0, 1, 1, 2], tasks=4)
    assert frontier.step([], 4) == [0, 1]
    assert frontier.step([1], 4) == []
    assert frontier.state_of(gate) == WAITING
    assert frontier.step([0], 4) == [2, 3]
    assert frontier.state_of(gate) == SUCCEEDED


def test_a_failure_before_a_gate_skips_all_behind_it_and_names_the_cause() -> None:
    gate = 4
    frontier = Frontier(
        [[gate], [gate], [], [], [2, 3]], [0, 0, 1, 1, 2], tasks=4, most_failures=None
    )
    frontier.step([], 4)
    frontier.step([0], 4)
    assert frontier.step([~1], 4) == []
    assert frontier.skipped == [2, 3]
    assert {frontier.cause[2], frontier.cause[3]} == {1}


def test_a_pool_is_never_exceeded_and_no_room_is_wasted_on_it() -> None:
    frontier = fan(4, needs={0: {0: 1}, 1: {0: 1}, 2: {0: 1}}, limits=[1])
    assert frontier.step([], 3) == [0, 3]
    assert frontier.step([0], 2) == [1]
    assert frontier.step([1], 2) == [2]


def test_the_best_of_those_parked_in_a_pool_comes_first() -> None:
    needs = {0: {0: 1}, 1: {0: 1}, 2: {0: 1}}
    frontier = Frontier([[], [], [], [0]], [1, 0, 0, 0], tasks=4, needs=needs, limits=[1])
    assert frontier.step([], 4) == [1, 3]
    assert frontier.step([3], 4) == []
    assert frontier.step([1], 4) == [0]
    assert frontier.step([0], 4) == [2]


def test_a_task_takes_all_units_that_it_needs_or_none() -> None:
    frontier = fan(3, needs={0: {0: 1}, 1: {0: 1, 1: 2}, 2: {1: 1}}, limits=[1, 2])
    assert frontier.step([], 3) == [0, 2]
    assert frontier.step([0], 3) == []
    assert frontier.step([2], 3) == [1]


def test_a_task_that_fits_does_not_wait_for_a_better_one_that_does_not() -> None:
    frontier = fan(3, needs={0: {0: 1}, 1: {0: 3}, 2: {0: 2}}, limits=[3])
    assert frontier.step([], 3) == [0, 2]
    assert frontier.ready == 0


def test_units_are_kept_back_for_a_task_that_was_passed_over_many_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pools, "PATIENCE", 3)
    needs = {0: {0: 1}, 1: {0: 2}} | {task: {0: 1} for task in range(2, 9)}
    frontier = fan(10, needs=needs, limits=[2])
    assert frontier.step([], 2) == [0, 2]
    assert frontier.step([0], 1) == [3]
    assert frontier.step([2], 1) == [4]
    # Task 1 was passed over three times: now a unit lies idle, and what needs none goes on.
    assert frontier.step([3], 1) == [9]
    assert frontier.step([4], 2) == [1]
    assert frontier.step([1], 2) == [5, 6]


def test_units_that_a_task_has_no_more_need_of_are_free_and_not_asked_for_again() -> None:
    frontier = Frontier(
        [[], [], []],
        [0, 0, 0],
        tasks=3,
        retries={0: 1},
        needs={0: {0: 1, 1: 1}, 1: {0: 1}, 2: {1: 1}},
        limits=[1, 1],
    )
    assert frontier.step([], room=3) == [0]
    frontier.release(0, 0)
    assert frontier.ready == 1
    assert frontier.step([], room=2) == [1]
    assert frontier.step([~0], room=2) == [0]
    assert frontier.step([0, 1], room=2) == [2]


def test_a_forgiven_failure_counts_as_a_success_for_all_but_itself() -> None:
    frontier = chain(2, forgiven={0})
    assert frontier.step([], 1) == [0]
    assert frontier.step([~0], 1) == [1]
    assert frontier.state_of(0) == FAILED
    assert not frontier.closing


def test_what_runs_always_runs_after_a_failure_and_nothing_else_does() -> None:
    frontier = Frontier([[2], [], [3], []], [0, 0, 1, 1], tasks=4, always={2})
    assert frontier.step([], 1) == [0]
    assert frontier.step([~0], 2) == [2]
    assert frontier.skipped == [1, 3]
    assert frontier.cause == {1: 0, 3: 0}
    assert frontier.step([2], 1) == []
    assert frontier.unfinished == 0


def test_what_runs_always_waits_for_all_before_it_and_undoes_their_mark() -> None:
    frontier = Frontier([[2], [2], [3], []], [0, 0, 2, 1], tasks=4, always={2}, most_failures=None)
    assert frontier.step([], 2) == [0, 1]
    assert frontier.step([~0], 1) == []
    assert frontier.step([1], 1) == [2]
    assert frontier.step([2], 1) == [3]
    assert frontier.skipped == []


def test_a_stop_from_outside_lets_not_even_that_start_which_runs_always() -> None:
    frontier = chain(2, always={1})
    frontier.step([], 1)
    frontier.stop()
    assert frontier.step([~0], 1) == []
    assert frontier.skipped == [1]


def test_a_service_none_of_whose_users_will_run_does_not_start() -> None:
    # 0 and 1 come before 4 and 5, which use 3, which uses 2; behind a gate, 6.
    frontier = Frontier(
        [[6], [2, 5], [3], [4, 5], [], [], [4]],
        [0, 0, 1, 1, 2, 2, 1],
        tasks=6,
        services={2, 3},
        parked={5},
        most_failures=None,
    )
    assert frontier.step([], room=2) == [0, 1]
    assert frontier.step([~0], room=1) == []
    assert frontier.step([1], room=2) == []
    assert frontier.unfinished == 0
    assert frontier.skipped == [2, 3, 4, 5]
    assert frontier.cause == {2: 0, 3: 0, 4: 0, 5: 5, 6: 0}
    assert frontier.is_parked(5)


def test_a_long_chain_of_services_that_nobody_will_use_does_not_start() -> None:
    services, user = 2000, 2000
    frontier = Frontier(
        [*[[number + 1] for number in range(services)], []],
        [0, *[1] * services],
        tasks=services + 1,
        services=range(services),
        parked={user},
    )
    assert (frontier.ready, frontier.unfinished) == (0, 0)
    assert frontier.skipped == [*range(services), user]


def test_so_many_failures_as_are_allowed_close_the_frontier() -> None:
    frontier = fan(5, most_failures=2)
    assert frontier.step([], 2) == [0, 1]
    assert frontier.step([~0], 1) == [2]
    assert frontier.step([~2], 1) == []
    assert frontier.skipped == [3, 4]
    assert frontier.cause == {3: 2, 4: 2}


def test_a_delayed_attempt_waits_until_it_is_woken() -> None:
    frontier = fan(1, retries={0: 1}, delayed={0})
    frontier.step([], 1)
    assert frontier.step([~0], 1) == []
    assert (frontier.state_of(0), frontier.to_wake) == (DELAYED, [0])
    assert frontier.step([], 1) == []
    frontier.wake(0)
    assert frontier.step([], 1) == [0]
    frontier.wake(0)  # too late to mean anything
    assert frontier.step([0], 1) == []
    assert frontier.unfinished == 0


def test_a_stop_gives_up_an_attempt_that_is_delayed() -> None:
    frontier = fan(1, retries={0: 1}, delayed={0})
    frontier.step([], 1)
    frontier.step([~0], 0)
    frontier.stop()
    assert frontier.given_up == [0]
    assert frontier.unfinished == 0


def test_no_other_attempt_comes_after_one_that_was_the_last_by_what_it_was() -> None:
    frontier = fan(1, retries={0: 5})
    frontier.step([], 1)
    frontier.forgo(0)
    assert frontier.step([~0], 1) == []
    assert frontier.state_of(0) == FAILED


def test_every_state_is_in_the_table_and_ended_states_are_never_left() -> None:
    assert set(TRANSITIONS) == set(range(len(STATES)))
    assert all(target in TRANSITIONS for targets in TRANSITIONS.values() for target in targets)
    assert {state for state, targets in TRANSITIONS.items() if not targets} == {
        SUCCEEDED,
        FAILED,
        SKIPPED,
    }


@st.composite
def policies(draw: st.DrawFn, graph: Numbers) -> dict[str, Any]:
    if not graph.tasks:
        return {}
    tasks = st.integers(0, graph.tasks - 1)
    some = st.sets(tasks, max_size=4)
    limits = draw(st.lists(st.integers(1, 3), max_size=2))
    units = [st.integers(1, limit) for limit in limits]
    needs = st.fixed_dictionaries({}, optional=dict(enumerate(units))).filter(bool)
    services = draw(st.just(set()) | some)
    in_pools = st.sampled_from(sorted(set(range(graph.tasks)) - services) or [0])
    return {
        "retries": draw(st.dictionaries(tasks, st.integers(1, 3))),
        "delayed": draw(some),
        "needs": draw(st.dictionaries(in_pools, needs))
        if limits and services != set(range(graph.tasks))
        else {},
        "limits": limits,
        "forgiven": draw(some),
        "always": draw(some) - services,
        "services": services,
        "parked": draw(st.just(set()) | some),
        "most_failures": draw(st.none() | st.integers(1, 3)),
    }


def check_invariants(frontier: Frontier, model: Model, tasks: int) -> None:
    told = {
        task: STATES[frontier.state_of(task)]
        for task in range(tasks)
        if frontier.state_of(task) >= SUCCEEDED
    }
    for task in told:
        if frontier.state_of(task) == SKIPPED and frontier.cause.get(task) == task:
            told[task] = "parked"
    assert told == model.outcome
    serving = {task for task in range(tasks) if frontier.state_of(task) == SERVING}
    assert serving == model.serving
    assert model.unneeded() <= set(frontier.unneeded) <= model.services
    running = {task for task in range(tasks) if frontier.state_of(task) == RUNNING}
    assert running == model.running
    assert frontier.running == len(running)
    assert {task for task in range(tasks) if frontier.state_of(task) == READY} == model.ready()
    assert {task for task in range(tasks) if frontier.state_of(task) == DELAYED} == model.asleep
    assert frontier.unfinished == sum(
        frontier.state_of(number) < SUCCEEDED for number in range(len(frontier.waiting))
    )


class Checked(Frontier):
    """A frontier that holds every change of a state against the table."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        frontier = self

        class States(bytearray):
            def __setitem__(self, number: int, state: int) -> None:
                before = frontier.state_of(number)
                super().__setitem__(number, state)
                assert frontier.state_of(number) in TRANSITIONS[before]

        self._states = States(self._states)


def test_what_was_done_before_is_not_done_again_and_frees_what_is_behind_it() -> None:
    frontier = Frontier([[1], [2], [], [2]], [0, 1, 2, 0], tasks=4, done=[1, 3])
    assert frontier.unfinished == 2
    assert frontier.step([], 8) == [0, 2]
    assert frontier.step([0, 2], 8) == []
    assert frontier.unfinished == 0


def test_a_run_of_which_all_is_done_is_over() -> None:
    frontier = Frontier([[2], [], [1]], [0, 1, 1], tasks=2, done={0, 1})
    assert frontier.unfinished == 0
    assert frontier.step([], 8) == []


def test_only_gates_succeed_without_having_run() -> None:
    frontier = Checked([[1], []], [0, 1], tasks=2)
    frontier.step([], 1)
    with pytest.raises(AssertionError):
        frontier.take_back([1])


def test_what_was_handed_out_and_not_begun_is_ready_again() -> None:
    frontier = fan(3, needs={0: {0: 1}, 2: {0: 1}}, limits=[1])
    assert frontier.step([], 3) == [0, 1]
    frontier.take_back([0, 1])
    assert frontier.running == 0
    assert frontier.step([], 3) == [0, 1]


def test_what_was_handed_out_and_not_begun_is_skipped_by_a_stop() -> None:
    frontier = fan(3)
    assert frontier.step([], 3) == [0, 1, 2]
    assert frontier.step([~0], 0) == []
    frontier.take_back([1, 2])
    assert frontier.skipped == [1, 2]
    assert frontier.cause == {1: 0, 2: 0}
    assert frontier.unfinished == 0


@settings(max_examples=300, deadline=None)
@given(data=st.data(), graph=numbered_graphs())
def test_it_does_what_the_model_does(data: st.DataObject, graph: Numbers) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pools, "PATIENCE", data.draw(st.integers(1, 4), label="patience"))
        drive_both(data, graph, data.draw(policies(graph)))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.large_base_example])
@given(data=st.data(), limits=st.lists(st.integers(2, 4), min_size=1, max_size=2))
def test_pools_that_many_need_are_shared_as_the_model_says(
    data: st.DataObject, limits: list[int]
) -> None:
    units = {pool: st.integers(1, limit) for pool, limit in enumerate(limits)}
    needs = st.fixed_dictionaries({0: units[0]}, optional={1: units[1]} if 1 in units else {})
    chosen = data.draw(st.lists(needs, min_size=3, max_size=12))
    tasks, policy = len(chosen), {"needs": dict(enumerate(chosen)), "limits": limits}
    graph = Numbers([[]] * tasks, [0] * tasks, tasks, {task: set() for task in range(tasks)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pools, "PATIENCE", data.draw(st.integers(1, 3), label="patience"))
        drive_both(data, graph, {**policy, "most_failures": None})


def drive_both(data: st.DataObject, graph: Numbers, policy: dict[str, Any]) -> None:
    """Drive a frontier and the model through a run, and hold one against the other all the way."""
    done = data.draw(st.sets(st.integers(0, graph.tasks - 1)) if graph.tasks else st.just(set()))
    frontier = Checked(graph.successors, graph.waits, tasks=graph.tasks, done=done, **policy)
    model = Model(graph.predecessors, outcome=dict.fromkeys(done, "succeeded"), **policy)
    check_invariants(frontier, model, graph.tasks)
    ended: list[int] = []
    while True:
        least = int(len(model.running) == len(ended))
        room = data.draw(st.integers(least, 4), label="room")
        expected = model.step(ended, room)
        assert frontier.step(ended, room) == expected
        check_invariants(frontier, model, graph.tasks)
        if not (model.running or model.ready() or model.asleep or model.serving):
            break
        if data.draw(st.integers(0, 30), label="interrupt") == 30:
            frontier.stop()
            model.stop()
            check_invariants(frontier, model, graph.tasks)
        for task in sorted(model.asleep):
            if data.draw(st.booleans(), label="wake"):
                frontier.wake(task)
                model.wake(task)
                check_invariants(frontier, model, graph.tasks)
        for service in sorted(model.serving):
            most = 1 if service in model.unneeded() else 7
            if data.draw(st.integers(0, most), label="leave") == most:
                frontier.leave(service)
                model.leave(service)
                check_invariants(frontier, model, graph.tasks)
        give_back_some(data, frontier, model)
        check_invariants(frontier, model, graph.tasks)
        ending = data.draw(
            st.lists(st.sampled_from(sorted(model.running)), unique=True)
            if model.running
            else st.just([])
        )
        ended = [task if data.draw(st.integers(0, 3)) else ~task for task in ending]
    assert frontier.unfinished == 0
    assert set(model.outcome) == set(range(graph.tasks))
    skipped = {task for task, outcome in model.outcome.items() if outcome in ("skipped", "parked")}
    assert set(frontier.skipped) == skipped
    assert len(frontier.skipped) == len(skipped)
    # Why a service is needless is told when it is: what was parked may yet be skipped for another.
    for task in (skipped & set(frontier.cause)) - model.needless:
        assert model.outcome[frontier.cause[task]] in ("failed", "parked")


def give_back_some(data: st.DataObject, frontier: Frontier, model: Model) -> None:
    """Give back a task that has not begun, perhaps, units, and services that nobody needs."""
    for service in sorted(model.services & model.running):
        if not model.is_needed(service) and data.draw(st.booleans(), label="dismiss"):
            frontier.dismiss(service)
            model.dismiss(service)
    if model.running and not data.draw(st.integers(0, 5), label="take back"):
        returned = data.draw(st.sampled_from(sorted(model.running)))
        frontier.take_back([returned])
        model.take_back(returned)
    holding = sorted(task for task in model.running if model.needs.get(task))
    if holding and not data.draw(st.integers(0, 5), label="release"):
        task = data.draw(st.sampled_from(holding))
        pool = data.draw(st.sampled_from(sorted(model.needs[task])))
        frontier.release(task, pool)
        model.release(task, pool)
