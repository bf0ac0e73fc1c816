import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_workers.documents.json_text import PARSER
from parallel_workers.documents.tree import DEEPEST, Malformed

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('ab"\\\n\x7f é😀\u2028', max_size=5),
    lambda items: st.lists(items) | st.dictionaries(st.text("abc\n", max_size=3), items),
)  # fmt: skip


def parse(text: str) -> Any:
    return PARSER.read(text, [])


def fault(text: str) -> tuple[int | None, str]:
    """Return the line and the message of what is wrong with `text`."""
    with pytest.raises(Malformed) as caught:
        parse(text)
    mark = caught.value.mark
    return None if mark is None else PARSER.lines(text)(mark), caught.value.message


@given(plain, st.booleans(), st.sampled_from([None, 1]))
def test_what_json_writes_is_read(data: Any, ascii_only: bool, indent: int | None) -> None:
    assert parse(json.dumps(data, ensure_ascii=ascii_only, indent=indent)) == data


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("[1, 2,]", [1, 2]),
        ('{"a": 1,}', {"a": 1}),
        ("# a\n[ # b\n1 # c ]\n, # d\n] # e", [1]),
        ('["#", "a # b"]', ["#", "a # b"]),
        (r'["\ud83d\ude00\u00e9\/"]', ["😀é/"]),
        ("[-0.5e-3, 10E2, -0]", [-0.0005, 1000.0, 0]),
        ("\r\n\t[]\r\n", []),
    ],
)
def test_json_by_hand_is_read(text: str, data: Any) -> None:
    assert parse(text) == data


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", None, "is empty; to run nothing, write []"),
        ("# nothing\n", None, "is empty; to run nothing, write []"),
        ("[\n1,\n", 1, "this list never ends; close it with ]"),
        ('[\n{"a": 1\n', 2, "this object never ends; close it with }"),
        ("[\n1}", 2, "found }, but the list that begins on line 1 ends with ]"),
        ("[1]\n]", 2, 'found "]" after the end; a file holds one list or object'),
        ("[]\n[]", 2, 'found "[" after the end; a file holds one list or object'),
        ("[1\n2]", 2, "a comma is missing before 2"),
        ('{"a": 1\n"b": 2}', 2, "a comma is missing before b"),
        ("[,]", 1, 'not JSON: found ","; there is a comma too many'),
        ("[1,,]", 1, 'not JSON: found ","; there is a comma too many'),
        ('{"a"\n1}', 1, 'a colon is missing after a key; write {"key": value}'),
        ('{"a":}', 1, "found } where a value should be"),
        ("{a: 1}", 1, "not JSON: found a; a value is a list, an object, "),
        ("{1: 2}", 1, "1 is no key; a key is text in double quotes"),
        ("['a']", 1, 'not JSON: found "\'"; text stands in double quotes'),
        ("[] // x", 1, 'found "/" after the end; a file'),
        ("[/* x */]", 1, 'not JSON: found "/"; a comment begins with #'),
        ("[True]", 1, "not JSON: found True; a value is a list, an object, "),
        ("[NaN]", 1, "NaN is no number in JSON"),
        ("[-Infinity]", 1, "-Infinity is no number in JSON"),
        ("[01]", 1, "01 is no number in JSON"),
        ("[1.]", 1, "1. is no number in JSON"),
        ("[1e999]", 1, "1e999 is too large a number"),
        (f"[{'9' * 5000}]", 1, "a number of 5,000 digits"),
        ('["a\nb"]', 1, 'this text does not end in its line; close it with " or write \\n'),
        ('["a', 1, 'this text does not end in its line; close it with " or write \\n'),
        ('["a\x01"]', 1, "text cannot hold the control character U+0001; take it out"),
        (r'["\x"]', 1, r"\x is no escape; write a backslash as \\"),
        (r'["a", "\ud800"]', 1, r'"\ud800" holds half a surrogate pair; take it out'),
    ],
)
def test_what_is_no_json_is_told_with_its_line(text: str, line: int | None, message: str) -> None:
    found_line, found = fault(text)
    assert found.startswith(message)
    assert found_line == line


def test_a_key_that_stands_twice_is_told_and_the_rest_is_read() -> None:
    faults: list[Malformed] = []
    text = '[{"a": 1,\n"a": 2, "b": {"a": 3}}]'
    PARSER.read(text, faults)
    assert [(PARSER.lines(text)(fault.mark or 0), fault.message) for fault in faults] == [
        (2, 'the key "a" stands twice in the same mapping; keep one')
    ]


def test_nesting_has_an_end() -> None:
    assert parse("[" * DEEPEST + "]" * DEEPEST)
    for opening in ("[", '{"a":'):
        line, message = fault(opening * 100_000)
        assert (line, message) == (1, "nested more than 200 levels deep; make it flatter")


@given(plain)
def test_every_part_of_a_document_has_the_line_it_stands_on(data: Any) -> None:
    text = json.dumps([data], indent=1)
    places = {place for place, _ in walk([data])}
    marks = (PARSER.find or dict)(text, places)
    lines = text.split("\n")
    for place, value in walk([data]):
        line = lines[PARSER.lines(text)(marks[place]) - 1]
        begins = json.dumps(value)[:1] if isinstance(value, (list, dict)) else json.dumps(value)
        assert begins in line
        if place and isinstance(place[-1], str):
            assert line.strip().startswith(json.dumps(place[-1]))


def walk(data: Any, place: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    items = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    return [(place, data), *(pair for key, item in items for pair in walk(item, (*place, key)))]
