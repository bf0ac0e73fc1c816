import pytest

from parallel_workers.documents.toml_text import MOST_PARTS, PARSER
from parallel_workers.documents.tree import Malformed


def fault(text: str) -> tuple[int | None, str]:
    with pytest.raises(Malformed) as caught:
        PARSER.read(text, [])
    return caught.value.mark, caught.value.message


def test_dates_and_times_are_text() -> None:
    text = "a = 1979-05-27\n[[b]]\nc = [07:32:00, {d = 1979-05-27T07:32:00Z}]\n"
    assert PARSER.read(text, []) == {
        "a": "1979-05-27",
        "b": [{"c": ["07:32:00", {"d": "1979-05-27T07:32:00+00:00"}]}],
    }


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a = 1\nb = [1, 2", 2, "not TOML: "),
        ("a = 1\nb = yes\nc = 2", 2, "not TOML: Invalid value"),
        ("a = 1\na = 2\n", 2, "not TOML: Cannot overwrite a value"),
        (f"a = {'[' * 100_000}", None, "nested too deep; make it flatter"),
        (f"a = 1\nb = {'9' * 5000}", 2, "a number of more than 3,500 digits"),
        (f"a = '{'f' * 10}'\nb = [0x{'f' * 4000}]", 2, "a number of more than 3,500 digits"),
        (f"a.b = [{{c = -{'1_' * 5000}1}}]", 1, "a number of more than 3,500 digits"),
        ("# nothing\n", None, "is empty; to run nothing, write [tasks]"),
        (f"x = 1\n{'a.' * 100_000}a = 1", 2, f"a key of more than {MOST_PARTS} parts"),
        ('a . b-c . "d e" . ' * 30 + "z = 1", 1, f"a key of more than {MOST_PARTS} p"),
    ],
)
def test_what_is_no_toml_is_told_with_its_line(text: str, line: int | None, message: str) -> None:
    found_line, found = fault(text)
    assert found.startswith(message)
    assert found_line == line


def test_a_text_with_many_dots_is_no_endless_key() -> None:
    assert PARSER.read(f"a = '{'...' * 100} {'b. ' * 30}'", [])
