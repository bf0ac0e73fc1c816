"""Tasks among arguments: where they are found, and what of it is copied."""

from collections import Counter, OrderedDict, defaultdict
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from parallel_workers.errors import GraphError
from parallel_workers.graph import WorkGraph
from parallel_workers.tasks import Task, arguments_of


class Pair(NamedTuple):
    left: Any
    right: Any = 0


class Labelled(list[Any]):
    label = "none"


class Fixed(dict[str, Any]):
    def __setitem__(self, key: str, value: Any) -> None:
        raise TypeError("fixed")


class Triple(tuple[Any, ...]):
    pass


@pytest.fixture
def task() -> Task[int]:
    return WorkGraph().add("task", int)


def filled(value: Any) -> Any:
    """Return what a function gets for an argument, where every task has the value 7."""
    (arrives,), _ = arguments_of((value,), {}).filled(lambda number: 7)
    return arrives


def test_a_task_in_a_named_tuple_is_replaced(task: Task[int]) -> None:
    arrives = filled(Pair(task, [task]))
    assert arrives == Pair(7, [7])
    assert type(arrives) is Pair


def test_an_ordered_dictionary_keeps_its_kind_and_order(task: Task[int]) -> None:
    given = OrderedDict(b=task, a=1)
    given.move_to_end("b")
    arrives = filled(given)
    assert type(arrives) is OrderedDict
    assert list(arrives.items()) == [("a", 1), ("b", 7)]


def test_a_dictionary_with_a_default_keeps_that(task: Task[int]) -> None:
    arrives = filled(defaultdict(list, {"a": task}))
    assert arrives == {"a": 7}
    assert arrives["other"] == []


def test_a_counter_keeps_its_counts(task: Task[int]) -> None:
    assert filled(Counter({"a": task, "b": 2})) == Counter({"a": 7, "b": 2})


def test_a_list_of_a_class_of_its_own_keeps_what_else_it_holds(task: Task[int]) -> None:
    given = Labelled([task, 1])
    given.label = "mine"
    arrives = filled(given)
    assert (type(arrives), arrives, arrives.label) == (Labelled, [7, 1], "mine")


def test_what_is_given_is_not_changed_and_what_is_done_to_it_later_is_not_meant(
    task: Task[int],
) -> None:
    inner = [1]
    given = OrderedDict(a=task, b=inner)
    arguments = arguments_of((given,), {})
    given["c"] = 3
    (arrives,), _ = arguments.filled(lambda number: 7)
    assert arrives == {"a": 7, "b": [1]}
    assert arrives["b"] is inner
    assert given["a"] is task


@pytest.mark.parametrize("value", [Pair(1), OrderedDict(a=1), Fixed(a=1), Triple("ab"), {1, 2}])
def test_containers_without_tasks_arrive_as_they_are(value: Any) -> None:
    assert filled(value) is value


def test_a_group_among_others_is_replaced_by_the_list_of_its_values() -> None:
    group = WorkGraph().map("t", int, range(2))
    assert filled(Pair(group, {"all": group})) == Pair([7, 7], {"all": [7, 7]})


@pytest.mark.parametrize(
    ("container", "named"),
    [(lambda task: Fixed(a=task), "Fixed"), (lambda task: Triple([task]), "Triple")],
)
def test_a_container_that_cannot_be_made_anew_is_refused_at_once(
    container: Any, named: str, task: Task[int]
) -> None:
    with pytest.raises(GraphError, match=f"task next: a task in a {named} cannot be replaced"):
        task.graph.add("next", print, container(task))


@pytest.mark.parametrize("kind", [set, frozenset])
def test_a_task_in_a_set_is_refused(kind: Any, task: Task[int]) -> None:
    group = task.graph.map("t", int, range(2))
    for item in (task, group):
        with pytest.raises(GraphError, match="a task in a set cannot be replaced"):
            arguments_of((kind([item]),), {})


def test_a_container_that_holds_a_task_and_itself_is_refused(task: Task[int]) -> None:
    loop: OrderedDict[str, Any] = OrderedDict(task=task)
    loop["loop"] = loop
    with pytest.raises(GraphError, match="holds itself"):
        arguments_of((loop,), {})


def test_tasks_in_other_objects_are_left_alone(task: Task[int]) -> None:
    thing = SimpleNamespace(task=task)
    assert filled(thing) is thing
    assert thing.task is task
