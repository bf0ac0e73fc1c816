import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from parallel_workers.documents.tree import Malformed
from parallel_workers.documents.yaml_text import PARSER

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab:- #'é\n1", max_size=5),
    lambda items: st.lists(items) | st.dictionaries(st.text("abc", max_size=3), items),
)


def parse(text: str) -> Any:
    return PARSER.read(text, [])


def fault(text: str) -> tuple[int | None, str]:
    with pytest.raises(Malformed) as caught:
        parse(text)
    return caught.value.mark, caught.value.message


@given(plain, st.sampled_from([True, False, None]))
def test_what_yaml_writes_is_read(data: Any, flow: bool | None) -> None:
    assert parse(yaml.safe_dump(data, default_flow_style=flow)) == data


@given(plain)
def test_json_is_yaml(data: Any) -> None:
    assert parse(json.dumps(data)) == data


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("True", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2001-01-01", "2001-01-01"),
        ("1.5", 1.5),
        (".5e1", 5.0),
        ("1.2.3", "1.2.3"),
        ("-.inf", float("-inf")),
        ("'12'", "12"),
        ("make test # twice", "make test"),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_plain_words_mean_what_the_core_of_yaml_says(word: str, value: Any) -> None:
    assert parse(f"key: {word}") == {"key": value}


def test_keys_are_text_as_they_stand() -> None:
    assert list(parse("yes: 1\n3.10: 2\nnull: 3\n'a b': 4\n")) == ["yes", "3.10", "null", "a b"]


def test_aliases_and_merges_are_followed() -> None:
    text = (
        "base: &b {env: {A: 1}, retries: 2}\nall:\n  <<: *b\n  retries: 3\nlist: [*b, &c x, *c]\n"
    )
    base = {"env": {"A": 1}, "retries": 2}
    assert parse(text) == {
        "base": base,
        "all": {"env": {"A": 1}, "retries": 3},
        "list": [base, "x", "x"],
    }
    assert parse("[&a {x: 1}, &b {x: 2, y: 2}, {<<: [*a, *b]}]")[2] == {"x": 1, "y": 2}


def test_an_anchor_may_be_given_anew_and_lie_within_another() -> None:
    assert parse("[&a 1, *a, &a 2, *a, &b [&c 3, *c], *b, *c]") == [1, 1, 2, 2, [3, 3], [3, 3], 3]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("# nothing\n", None, "is empty; to run nothing, write []"),
        ("a:\n  - b\n c", 3, "not YAML: "),
        ("a: [1,\n", 1, "not YAML: did not find expected"),
        ("a:\n\tb: c", 2, "not YAML: found character that cannot start any token"),
        ("a: 1\nb: \x01", 2, "YAML cannot hold the character U+0001; take it out"),
        ("a: 1\n---\nb: 2", 2, "a second document begins here; a file holds one work graph"),
        ("a: !!python/object:os.system x", 1, "the tag !!python/object:os.system is not read here"),
        ("a:\n- !!str 5", 2, "the tag !!str is not read here; leave it out"),
        ("a: !mine {}", 1, "the tag !mine is not read here; leave it out"),
        ("? [a]\n: b", 1, "a key is plain text here, no list, mapping or alias"),
        ("a: &x b\n*x : c", 2, "a key is plain text here, no list, mapping or alias"),
        ("a: *x", 1, "the alias *x has no anchor &x above"),
        ("a: &x\n  b: *x", 2, "the alias *x stands within what it stands for"),
        ("a: 1\nb:\n  <<: 5", 3, "<<: 5 is no mapping to merge; give an alias"),
        ("[" * 100_000, 1, "nested more than 200 levels deep; make it flatter"),
        ("- " * 100_000, 1, "nested more than 200 levels deep; make it flatter"),
        (f"a: {'9' * 5000}", 1, "a number of 5,000 digits"),
        (f"a: 1\nb: 0x{'f' * 4000}", 2, "a number of 4,002 digits"),
        ("\t\n", None, "is empty; to run nothing, write []"),
    ],
)
def test_what_is_no_plain_yaml_is_told_with_its_line(
    text: str, line: int | None, message: str
) -> None:
    found_line, found = fault(text)
    assert found.startswith(message)
    assert found_line == line


def test_aliases_that_explode_are_refused() -> None:
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    assert fault(laughs) == (6, "aliases stand for more than 1,000,000 values; use fewer")


def test_a_key_that_stands_twice_is_told_and_the_rest_is_read() -> None:
    faults: list[Malformed] = []
    assert PARSER.read("a: 1\nb: {c: 1, c: 2}\na: 3\n", faults)
    assert [(fault.mark, fault.message) for fault in faults] == [
        (2, 'the key "c" stands twice in the same mapping; keep one'),
        (3, 'the key "a" stands twice in the same mapping; keep one'),
    ]


def test_lines_are_found_below_aliases_too() -> None:
    text = "a: &x\n  b: 1\nc:\n  d: *x\n"
    assert PARSER.find is not None
    assert PARSER.find(text, [("c", "d", "b"), ("c", "d"), ("nope",)]) == {
        (): 1,
        ("c",): 3,
        ("c", "d"): 4,
        ("c", "d", "b"): 2,
    }


def test_letters_by_alias_count_too() -> None:
    text = "- &n " + "é" * 25_000 + "\n" + "- *n\n" * 40_000
    with pytest.raises(Malformed, match="aliases stand for more than"):
        PARSER.read(text, [])


def test_thousands_of_directives_are_refused_before_anybody_looks_through_them() -> None:
    for end in ("\n", "\r\n", "\r", "\x85", "\u2028"):
        with pytest.raises(Malformed, match="75,000 directives"):
            PARSER.read(f"%TAG !abc! y{end}" * 75_000 + "---\na: b", [])
