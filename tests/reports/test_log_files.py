"""Reading logs from their start and from their end."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_workers.reports.log_files import CHUNK, chunks, last_lines


def last_lines_of(path: Path, content: bytes, count: int = 20) -> list[str]:
    path.write_bytes(content)
    return last_lines(str(path), count)


def test_a_log_is_read_to_the_size_that_it_had(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * (CHUNK + 10) + b"written afterwards")
    fd = os.open(log, os.O_RDONLY)
    assert b"".join(chunks(fd, CHUNK + 10)) == b"x" * (CHUNK + 10)
    os.close(fd)


def test_a_log_that_has_become_shorter_is_read_to_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"short")
    fd = os.open(log, os.O_RDONLY)
    assert b"".join(chunks(fd, 1000)) == b"short"
    os.close(fd)


@given(lines=st.lists(st.text("abc é🚀", max_size=30), max_size=60), count=st.integers(1, 25))
@settings(max_examples=50, deadline=None)
def test_the_last_lines_are_those_of_the_whole_text(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], count: int
) -> None:
    log = tmp_path_factory.mktemp("log") / "log"
    whole = "\n".join(lines).rstrip().split("\n")
    expected = [line.rstrip() for line in whole[-count:]] if whole != [""] else []
    assert last_lines_of(log, "\n".join(lines).encode(), count) == expected


@pytest.mark.parametrize("length", [10, 1000, 10_000])
def test_lines_are_found_however_long_they_are(tmp_path: Path, length: int) -> None:
    lines = [str(number).rjust(length, ".") for number in range(60)]
    shown = last_lines_of(tmp_path / "log", "\n".join(lines).encode())
    assert [line[-3:] for line in shown] == [line[-3:] for line in lines[-20:]]
    assert max(map(len, shown)) <= 200


def test_only_the_end_of_a_huge_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.truncate(1 << 40)
        file.seek(0, os.SEEK_END)
        file.write(b"\nthe end\n")
    assert last_lines(str(log), 1) == ["the end"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"\n\n \n", []),
        (b"no newline", ["no newline"]),
        (b"a\n\nb\n\n", ["a", "", "b"]),
        (b"dos\r\nlines\r\n", ["dos", "lines"]),
        (b"10 %\r 50 %\rdone\n", ["done"]),
        (b"\x1b[1;31merror\x1b[0m: no\x1b[K", ["error: no"]),
        (b"\x1b]0;title\x07text \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", ["text link"]),
        (b"\x1b(Bplain\x1b7", ["plain"]),
        (b"a\tb", ["a       b"]),
        (b"\xff\x00bin\x1b", [r"\xff\x00bin\x1b"]),
        (b"\x1b[2J\x1b[Hcleared", ["cleared"]),
    ],
)
def test_lines_can_be_shown_anywhere(tmp_path: Path, content: bytes, expected: list[str]) -> None:
    assert last_lines_of(tmp_path / "log", content) == expected
