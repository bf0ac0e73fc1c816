"""Marks, colours and encodings."""

import pytest

from parallel_workers.events import Outcome
from parallel_workers.reports.style import Style, choose_style
from parallel_workers.reports.terminal import Terminal

ATTEMPTED = [Outcome.SUCCEEDED, Outcome.FAILED, Outcome.TIMED_OUT, Outcome.CANCELLED]


@pytest.mark.parametrize("encoding", ["utf-8", "UTF-8", "utf8", "utf_8"])
def test_utf8_gets_signs_however_it_is_spelt(encoding: str) -> None:
    assert Style(encoding, colours=False).succeeded == "✓"


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "cp1252"])
def test_other_encodings_get_words(encoding: str) -> None:
    style = Style(encoding, colours=False)
    assert [style.mark(outcome) for outcome in ATTEMPTED] == ["ok", "FAILED", "FAILED", "CANCELLED"]
    assert style.retried == "RETRY"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_success_failure_and_interruption_can_be_told_apart_without_colours(encoding: str) -> None:
    style = Style(encoding, colours=False)
    assert len({style.mark(outcome) for outcome in ATTEMPTED}) == 3


def test_what_the_encoding_lacks_is_escaped() -> None:
    assert Style("latin-1", colours=False).encode("é 🚀 a…b") == b"\xe9 \\U0001f680 a...b"
    assert Style("utf-8", colours=False).encode("é\udcff") == b"\xc3\xa9\\udcff"


def test_escapes_count_when_text_is_fitted_into_columns() -> None:
    assert Style("ascii", colours=False).fit("🚀🚀", 5) == b"\\U000"
    assert Style("utf-8", colours=False).fit("🚀🚀", 3) == "🚀".encode()


def test_colours_are_for_terminals_whose_user_wants_them() -> None:
    terminal = Terminal(1)
    assert "\x1b" in choose_style("utf-8", terminal, {}).succeeded
    assert "\x1b" in choose_style("utf-8", terminal, {"NO_COLOR": ""}).succeeded
    assert choose_style("utf-8", terminal, {"NO_COLOR": "1"}).succeeded == "✓"
    assert choose_style("utf-8", None, {}).succeeded == "✓"
    assert choose_style(None, None, {}).succeeded == "ok"
