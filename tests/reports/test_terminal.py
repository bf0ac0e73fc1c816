"""What is known of a terminal, and how wide text is there."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_workers.reports.terminal import cut, find_terminal
from tests.reports.screen import Pty


def test_a_terminal_tells_its_width_as_it_is_at_that_moment() -> None:
    with Pty(columns=100) as pty:
        terminal = find_terminal(pty.fd, {"TERM": "xterm"})
        assert terminal is not None
        assert terminal.width() == 100
        pty.resize(40)
        assert terminal.width() == 40


def test_a_terminal_that_does_not_know_its_width_has_eighty_columns() -> None:
    with Pty(columns=0) as pty:
        terminal = find_terminal(pty.fd, {"TERM": "xterm"})
        assert terminal is not None
        assert terminal.width() == 80


@pytest.mark.parametrize("environ", [{}, {"TERM": ""}, {"TERM": "dumb"}])
def test_a_terminal_that_nothing_is_known_of_is_none(environ: dict[str, str]) -> None:
    with Pty() as pty:
        assert find_terminal(pty.fd, environ) is None


def test_a_file_and_a_closed_descriptor_are_no_terminals(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    assert find_terminal(fd, {"TERM": "xterm"}) is None
    os.close(fd)
    assert find_terminal(fd, {"TERM": "xterm"}) is None


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("abc", 3, "abc"),
        ("abc", 2, "ab"),
        ("abc", 0, ""),
        ("abc", -1, ""),
        ("🚀🚀", 3, "🚀"),
        ("🚀🚀", 4, "🚀🚀"),
        ("é" * 3, 2, "éé"),
        ("e\u0301" * 3, 2, "e\u0301" * 2),
        ("☁\ufe0f!", 2, "☁\ufe0f"),
        ("🚀", 0, ""),
    ],
)
def test_text_is_cut_by_the_columns_that_it_takes(text: str, columns: int, expected: str) -> None:
    assert cut(text, columns) == expected


@given(st.text(st.sampled_from("ab日🚀é\u0301")), st.integers(0, 30))
def test_a_cut_is_a_start_of_the_text_and_cut_again_stays_the_same(text: str, columns: int) -> None:
    part = cut(text, columns)
    assert text.startswith(part)
    assert cut(part, columns) == part
    assert cut(text, columns + 1).startswith(part)
