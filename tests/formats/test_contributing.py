"""The format that CONTRIBUTING.md makes works as it says there."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from parallel_workers import formats
from tests.formats.reading import edges, read, refused

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"
MOST_LINES = 30


def code() -> str:
    section = CONTRIBUTING.read_text().split("## A new format\n")[1]
    (found,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return str(found)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the format where formats are found."""
    directory = tmp_path / "formats"
    directory.mkdir()
    (directory / "table.py").write_text(code())
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(directory)])
    formats._names.cache_clear()
    yield
    formats._names.cache_clear()
    del sys.modules[f"{formats.__name__}.table"]
    monkeypatch.delattr(formats, "table")


@pytest.mark.usefixtures("table")
def test_a_file_is_read_with_the_format_that_is_shown(tmp_path: Path) -> None:
    graph = read(tmp_path, "fetch\nbuild; fetch\nlint;fetch\ntest; build lint", "work.table")
    assert edges(graph) == {
        ("fetch", "build"), ("fetch", "lint"), ("build", "test"), ("lint", "test"),
    }  # fmt: skip
    assert "table" in formats.readable()
    assert "table" not in formats.writable()
    assert formats.has_known_suffix("work.table")


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("\n\na\n\na;b\nb", "5: line 3 has that name too; rename one"),
        ("\n a\n\na\n", "4: line 2 has that name too; rename one"),
        ("a\nb; c", '2: task b: after[0]: there is no task "c"'),
        ("a\f\nb; c", '2: task b: after[0]: there is no task "c"'),
        ("a\n; a", '2: tasks: "": the name of a task cannot be empty'),
        ("x\n\na; b\nb; a", "3: these tasks wait for each other: a → b → a"),
    ],
)
def test_its_problems_tell_their_lines(tmp_path: Path, text: str, problem: str) -> None:
    assert refused(tmp_path, text, "work.table") == [f"work.table:{problem}"]


def test_it_is_short() -> None:
    lines = code().splitlines()
    assert len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= 100
