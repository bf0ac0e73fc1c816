from typing import Any

import pytest

from parallel_workers.wording import SHOWN_NAME, shown


@pytest.mark.parametrize(
    "value", ["x" * 10**6, ["x" * 10**6] * 9, list(range(10**5)), {"k" * 10**6: 1}, [[[]] * 10**5]]
)
def test_a_large_value_is_shown_by_its_ends(value: object) -> None:
    text = shown(value)
    assert len(text) == SHOWN_NAME
    assert "…" in text


def test_the_ends_of_long_text_are_its_own() -> None:
    text = shown("begin" + "é\n" * 10**5 + "end")
    assert text.startswith('"begin')
    assert text.endswith('end"')


def test_what_no_file_holds_is_shown_as_well() -> None:
    circle: list[Any] = []
    circle.append(circle)
    for value in ({(1, 2): 3}, {None: {1}}, circle, 10**5000, b"x", "\ud800"):
        assert shown(value).isprintable()
