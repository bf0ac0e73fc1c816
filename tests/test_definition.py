from typing import Any

import pytest

from parallel_workers.definition import FIELDS, PLAIN, Definition, check_name, read_field
from parallel_workers.errors import FieldError


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("command", "make {all} $HOME", "make {all} $HOME"),
        ("command", ["printf", "%s", ""], ("printf", "%s", "")),
        ("env", {"PORT": 80, "EMPTY": ""}, {"PORT": "80", "EMPTY": ""}),
        ("duration", "1h 30m", 5400.0),
        ("duration", 0, 0.0),
        ("retries", 0, 0),
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
        ("env", ["A=b"], ()),
        ("env", {"A=": "b"}, ("A=",)),
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
    assert tuple(FIELDS) == Definition._fields


def test_definitions_that_say_the_same_are_equal() -> None:
    assert Definition(command="make", env={"A": "b"}) == Definition(command="make", env={"A": "b"})
    assert Definition(env={}) == PLAIN
    assert Definition(retries=1) != PLAIN
