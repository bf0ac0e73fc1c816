from typing import Any

import pytest

from parallel_workers.definition import (
    ATTRIBUTES,
    PLAIN,
    SET_BY_RUNS,
    Definition,
    Retries,
    Service,
    check_name,
    read_field,
)
from parallel_workers.durations import LONGEST
from parallel_workers.errors import FieldError


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("command", "make {all} $HOME", "make {all} $HOME"),
        ("command", ["printf", "%s", ""], ("printf", "%s", "")),
        ("env", {"PORT": 80, "EMPTY": ""}, {"PORT": "80", "EMPTY": ""}),
        ("env", {"PW_MINE": "x", "pw_run": "y"}, {"PW_MINE": "x", "pw_run": "y"}),
        ("duration", "1h 30m", 5400.0),
        ("duration", 0, 0.0),
        ("retries", 0, 0),
        ("retries", {"times": 3}, 3),
        ("retries", {"times": 3, "delay": "1m", "backoff": 2}, Retries(3, 60.0, 2.0)),
        ("retries", {"times": 1, "jitter": 0.5, "on": [75]}, Retries(1, jitter=0.5, on=(75,))),
        ("retries", Retries(2, delay=1.0), Retries(2, delay=1.0)),
        ("pool", "db", "db"),
        ("pool", {"db": 1}, "db"),
        ("pool", {"db": 1, "net": 4}, {"db": 1, "net": 4}),
        ("pool", {}, None),
        ("allow-failure", True, True),
        ("always", False, False),
        ("done-if", ["test", "-e", "a"], ("test", "-e", "a")),
        ("confirm", "Apply this plan?", "Apply this plan?"),
        ("console", True, True),
        ("service", {"ready": ["pg_isready"]}, Service(ready=("pg_isready",))),
        ("service", {"port": 80}, Service(port=80)),
        ("service", Service(log="up"), Service(log="up")),
        ("timeout", 0.5, 0.5),
        ("vars", {"x": [1, None, {"y": "é"}]}, {"x": [1, None, {"y": "é"}]}),
    ],
)
def test_a_field_is_kept_in_one_form(field: str, value: Any, kept: Any) -> None:
    assert read_field(field, value) == kept


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("command", "  ", ()),
        ("command", [], ()),
        ("command", [""], (0,)),
        ("command", ["a", 3], (1,)),
        ("command", "a\0b", ()),
        ("command", "\ud800", ()),
        ("done-if", "", ()),
        ("confirm", "", ()),
        ("confirm", "  ", ()),
        ("confirm", "Apply\nthis?", ()),
        ("confirm", True, ()),
        ("console", "yes", ()),
        ("service", True, ()),
        ("service", {}, ()),
        ("service", {"port": 80, "log": "up"}, ()),
        ("service", {"prot": 80}, ("prot",)),
        ("service", {"port": "80"}, ("port",)),
        ("service", {"port": 65536}, ("port",)),
        ("service", {"log": ""}, ("log",)),
        ("service", {"ready": []}, ("ready",)),
        ("service", {"ready": ["a", 1]}, ("ready", 1)),
        ("env", ["A=b"], ()),
        ("env", {"A=": "b"}, ("A=",)),
        *[("env", {"A": "b", name: "c"}, (name,)) for name in SET_BY_RUNS],
        ("env", {"A": True}, ("A",)),
        ("env", {"A": 10**5000}, ("A",)),
        ("cwd", "", ()),
        ("duration", -1, ()),
        ("duration", float("nan"), ()),
        ("duration", 10**400, ()),
        ("duration", True, ()),
        ("retries", -3, ()),
        ("retries", 1.5, ()),
        ("retries", True, ()),
        ("retries", {}, ()),
        ("retries", {"times": -1}, ("times",)),
        ("retries", {"times": 1, "dealy": 1}, ("dealy",)),
        ("retries", {"times": 1, "delay": "soon"}, ("delay",)),
        ("retries", {"times": 1, "backoff": 0.5}, ("backoff",)),
        ("retries", {"times": 1, "jitter": 1.5}, ("jitter",)),
        ("retries", {"times": 1, "on": []}, ("on",)),
        ("retries", {"times": 1, "on": [1, 256]}, ("on", 1)),
        ("pool", {"db": 0}, ("db",)),
        ("pool", {"db": True}, ("db",)),
        ("pool", {"a\nb": 1}, ()),
        ("allow-failure", "yes", ()),
        ("always", 1, ()),
        ("timeout", 0, ()),
        ("timeout", "never", ()),
        ("pool", 5, ()),
        ("vars", [1], ()),
        ("vars", {"x": float("inf")}, ()),
        ("vars", {"x": [{1: 2}]}, ()),
        ("vars", {"x": object()}, ()),
        ("vars", {"x": ["\udfff"]}, ()),
        ("vars", {"\udfff": 1}, ()),
        ("description", 7, ()),
    ],
)
def test_what_a_field_cannot_hold_is_an_error_at_its_place(
    field: str, value: Any, place: tuple[str | int, ...]
) -> None:
    with pytest.raises(FieldError) as caught:
        read_field(field, value)
    assert caught.value.place == place


def test_a_pause_grows_by_the_backoff_and_spreads_by_the_jitter() -> None:
    retries = Retries(5, delay=2.0, backoff=3.0, jitter=0.5)
    assert [retries.pause(failures, 0.5) for failures in (1, 2, 3)] == [2.0, 6.0, 18.0]
    assert (retries.pause(1, 0.0), retries.pause(1, 1.0)) == (1.0, 3.0)


def test_a_pause_has_an_end_after_any_number_of_failures() -> None:
    assert Retries(10**6, delay=1.0, backoff=2.0).pause(10**6, 0.5) == LONGEST


def test_free_data_that_holds_itself_does_not_hang() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert read_field("vars", {"x": circle}) == {"x": circle}


@pytest.mark.parametrize("name", ["a", "two words", "$(x)", "../..", "-rf", "👩‍🚀", "x" * 3000])
def test_names_may_be_strange(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "cannot be empty"),
        (5, "is text, in quotes"),
        (None, "is text, in quotes"),
        ("a\0", "a NUL"),
        ("a\nb", "a line break"),
        ("a\tb", "a tab"),
        ("\x1b[31m", r"the control character U\+001B"),
        ("\x85", r"the control character U\+0085"),
        ("\u2028", r"the control character U\+2028"),
        ("\ud800", r"half a surrogate pair \(U\+D800\)"),
    ],
)
def test_names_that_no_line_can_show_are_refused(name: object, why: str) -> None:
    with pytest.raises(FieldError, match=why):
        check_name(name)


def test_every_field_can_be_read() -> None:
    assert tuple(ATTRIBUTES.values()) == Definition._fields


def test_definitions_that_say_the_same_are_equal() -> None:
    assert Definition(command="make", env={"A": "b"}) == Definition(command="make", env={"A": "b"})
    assert Definition(env={}) == PLAIN
    assert Definition(retries=1) != PLAIN
