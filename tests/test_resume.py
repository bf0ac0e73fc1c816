"""What is done again after a change, against a slow and obvious model."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_workers.definition import Definition, Service
from parallel_workers.digest import command_content, digests
from parallel_workers.formats import from_data
from parallel_workers.graph import WorkGraph
from parallel_workers.plan import Plan
from parallel_workers.resume import Kept, resumption

SERVE = "serve"
"""The command of services."""

Tasks = dict[str, tuple[str, list[str]]]
"""Each task's command, and what it waits for."""


def plan_of(tasks: Tasks) -> tuple[Plan, list[bytes]]:
    graph = WorkGraph()
    for name, (command, after) in tasks.items():
        graph.add(name, command=command, after=after)
        if command == SERVE:
            number = graph.numbers[name]
            graph.definitions[number] = Definition(command=SERVE, service=Service(port=1))
    plan = Plan(graph)
    contents = [command_content(each.command or "", each) for each in plan.definitions]
    return plan, digests(plan, contents)


Sessions = dict[str, tuple[int, int]]
"""In which session each task was said to be done last, and in which it ran last."""


def kept_of(
    tasks: Tasks, succeeded: set[str], marked: set[str], sessions: Sessions | None = None
) -> dict[str, Kept]:
    plan, found = plan_of(tasks)
    by_name = dict(zip(plan.names, found, strict=True))
    return {
        name: Kept(by_name[name], name in marked, *(sessions or {}).get(name, (0, 0)))
        for name in succeeded | marked
    }


def runs_again(tasks: Tasks, kept: dict[str, Kept], again: set[str] | None = None) -> set[str]:
    plan, found = plan_of(tasks)
    asked = {task for task, name in enumerate(plan.names) if name in (again or ())}
    decided = resumption(plan, found, kept, asked)
    assert decided.done.isdisjoint(decided.reasons)
    assert len(decided.done) + len(decided.reasons) == plan.tasks
    return {plan.names[task] for task in decided.reasons}


CHAIN: Tasks = {"a": ("a", []), "b": ("b", ["a"]), "c": ("c", ["b"]), "x": ("x", [])}


def test_what_has_succeeded_is_left_as_it_is() -> None:
    assert runs_again(CHAIN, kept_of(CHAIN, {"a", "x"}, set())) == {"b", "c"}
    assert runs_again(CHAIN, kept_of(CHAIN, set("abcx"), set())) == set()


def test_a_change_runs_the_task_and_all_behind_it_again() -> None:
    changed = {**CHAIN, "b": ("other", ["a"])}
    assert runs_again(changed, kept_of(CHAIN, set("abcx"), set())) == {"b", "c"}


def test_what_is_asked_for_runs_again_with_all_behind_it() -> None:
    assert runs_again(CHAIN, kept_of(CHAIN, set("abcx"), set()), {"a"}) == {"a", "b", "c"}


def test_a_mark_holds_whatever_runs_before_it() -> None:
    assert runs_again(CHAIN, kept_of(CHAIN, set(), {"b"})) == {"a", "c", "x"}
    assert runs_again(CHAIN, kept_of(CHAIN, {"c"}, {"b"})) == {"a", "x"}


def test_a_marked_task_that_has_changed_since_runs() -> None:
    changed = {**CHAIN, "b": ("other", ["a"])}
    assert "b" in runs_again(changed, kept_of(CHAIN, {"a"}, {"b"}))


def test_every_reason_is_said() -> None:
    changed = {**CHAIN, "x": ("y", []), "new": ("new", [])}
    plan, found = plan_of(changed)
    kept = kept_of(CHAIN, set("abcx"), set())
    decided = resumption(plan, found, kept, [plan.names.index("b")])
    assert {plan.names[task]: reason for task, reason in decided.reasons.items()} == {
        "b": "asked for",
        "c": "b before it runs again",
        "x": "what it does has changed",
        "new": "has not succeeded yet",
    }


def test_a_service_is_needed_by_what_runs_and_is_no_reason_to_run() -> None:
    tasks = {"db": (SERVE, []), "test": ("test", ["db"]), "lint": ("lint", ["db"])}
    assert runs_again(tasks, kept_of(tasks, {"test", "lint"}, set())) == set()
    assert runs_again(tasks, kept_of(tasks, {"db", "lint"}, set())) == {"db", "test"}


def test_what_a_service_stands_on_and_what_it_does_are_reasons_to_run() -> None:
    tasks = {"setup": ("setup", []), "db": (SERVE, ["setup"]), "test": ("test", ["db"])}
    kept = kept_of(tasks, {"setup", "test"}, set())
    assert runs_again(tasks, kept, {"setup"}) == {"setup", "db", "test"}
    assert runs_again(tasks, kept, {"db"}) == {"db", "test"}


def test_it_travels_through_gates() -> None:
    graph = from_data([[["a", "b"], ["c", "d"]]], "groups")
    plan = Plan(graph)
    found = [name.encode() for name in plan.names]
    kept = {name: Kept(name.encode()) for name in "bcd"}
    decided = resumption(plan, found, kept)
    assert {plan.names[task] for task in decided.done} == {"b"}
    task = plan.names.index("c")
    assert decided.reasons[task] == "a before it runs again"


SESSIONS = {"a": Kept(b"a", said=1, ran=1), "b": Kept(b"b", said=1, ran=1)}


def reason_of(name: str, kept: dict[str, Kept], tasks: Tasks = CHAIN) -> str | None:
    plan, _ = plan_of(tasks)
    found = [name.encode() for name in plan.names]
    return resumption(plan, found, kept).reasons.get(plan.by_name[name])


def test_what_ran_since_runs_all_behind_it_again() -> None:
    assert reason_of("b", SESSIONS) is None
    since = {**SESSIONS, "a": Kept(b"a", said=2, ran=2)}
    assert reason_of("b", since) == "a before it has run since"
    assert reason_of("b", {**since, "b": Kept(b"b", marked=True, said=1)}) is None


def test_what_was_found_to_be_done_since_is_no_reason() -> None:
    assert reason_of("b", {**SESSIONS, "a": Kept(b"a", said=2, ran=1)}) is None


def test_what_was_found_to_be_done_behind_what_ran_is_done() -> None:
    kept = {"a": Kept(b"a", said=2, ran=2), "b": Kept(b"b", said=3, ran=1)}
    assert reason_of("b", kept) is None


def test_what_ran_since_is_a_reason_behind_a_service_too() -> None:
    tasks: Tasks = {"a": ("a", []), "s": (SERVE, ["a"]), "b": ("b", ["s"])}
    assert reason_of("b", SESSIONS, tasks) is None
    since = {**SESSIONS, "a": Kept(b"a", said=2, ran=2)}
    assert reason_of("b", since, tasks) == "a before it has run since"


def test_what_gave_something_that_is_gone_runs_again_with_all_behind_it() -> None:
    kept = {**SESSIONS, "a": Kept(b"a", said=1, ran=1, lost=True)}
    assert reason_of("a", kept) == "what it passed on is gone"
    assert reason_of("b", kept) == "a before it runs again"


@st.composite
def histories(draw: st.DrawFn) -> tuple[Tasks, Tasks, set[str], set[str], set[str], Sessions]:
    """Tasks before and after random edits; what had succeeded, what was marked, what is asked.

    And when.
    """
    count = draw(st.integers(1, 8))
    before: Tasks = {}
    for number in range(count):
        after = draw(st.lists(st.integers(0, number - 1), unique=True)) if number else []
        command = f"c{number}" if draw(st.integers(0, 3)) else SERVE
        before[f"t{number}"] = (command, [f"t{other}" for other in after])
    now: Tasks = {}
    for name, (command, after_names) in before.items():
        kind = draw(st.sampled_from(["same"] * 6 + ["command", "edges", "gone"]))
        here = [other for other in after_names if other in now]
        if kind == "command":
            now[name] = ("edited", here)
        elif kind == "edges":
            now[name] = (
                command,
                draw(st.lists(st.sampled_from(sorted(now)), unique=True)) if now else [],
            )
        elif kind == "same":
            now[name] = (command, here)
    if draw(st.booleans()):
        now["new"] = ("new", list(now)[:1])
    ended = set()
    for name, (_, others) in before.items():
        if all(other in ended for other in others) and draw(st.integers(0, 4)):
            ended.add(name)
    names = st.sets(st.sampled_from(sorted(before)), max_size=2)
    again = draw(st.sets(st.sampled_from(sorted(now)), max_size=2)) if now else set()
    sessions = {}
    for name in before:
        said = draw(st.integers(1, 3))
        sessions[name] = (said, draw(st.integers(0, said)))
    return before, now, ended, draw(names), again, sessions


def model(
    before: Tasks,
    now: Tasks,
    ended: set[str],
    marked: set[str],
    again: set[str],
    sessions: Sessions,
) -> set[str]:
    """The tasks that run again, said as slowly and obviously as possible."""

    def meaning(tasks: Tasks, name: str) -> Any:
        command, after = tasks[name]
        return command, sorted((meaning(tasks, other) for other in after), key=repr)

    def runs(name: str) -> bool:
        known = name in ended | marked and name in before
        if name in again or not known or meaning(before, name) != meaning(now, name):
            return True
        return name not in marked and any(
            is_reason(other) or ran(other) > sessions[name][0] for other in now[name][1]
        )

    def ran(name: str) -> int:
        command, after = now[name]
        own = sessions[name][1] * (command != SERVE and not runs(name))
        return max([own, *(ran(other) for other in after if command == SERVE)])

    def is_reason(name: str) -> bool:
        command, after = now[name]
        if command != SERVE:
            return runs(name)
        return name in again or any(is_reason(other) for other in after)

    def is_needed(service: str) -> bool:
        return any(service in after and goes(name) for name, (_, after) in now.items())

    def goes(name: str) -> bool:
        return is_needed(name) if now[name][0] == SERVE else runs(name)

    return {name for name in now if goes(name)}


@settings(max_examples=300, deadline=None)
@given(histories())
def test_it_is_exactly_what_the_model_says(
    history: tuple[Tasks, Tasks, set[str], set[str], set[str], Sessions],
) -> None:
    before, now, ended, marked, again, sessions = history
    kept = kept_of(before, ended, marked, sessions)
    assert runs_again(now, kept, again) == model(*history)
