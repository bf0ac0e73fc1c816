"""What is told at the end of a run."""

from pathlib import Path

import pytest

from parallel_workers.errors import NotConfirmed
from parallel_workers.events import CommandResult, Event, Outcome, ServiceReady
from parallel_workers.reports.style import Style
from parallel_workers.reports.summary import Summary
from tests.reports.made import (
    Logs,
    ended,
    retried,
    run_ended,
    run_started,
    skipped,
)

PLAIN = Style("utf-8", colours=False)


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


def summary_of(*events: Event, wall: float = 2.0) -> Summary:
    summary = Summary(rerun="parallel-workers run work.yaml {}".format)
    summary([run_started(len(events))])
    summary(events)
    summary([run_ended(time=wall)])
    return summary


def told(*events: Event, wall: float = 2.0) -> str:
    return summary_of(*events, wall=wall).text(PLAIN)


def test_when_all_went_well_there_is_one_line() -> None:
    assert told(ended("a"), ended("b")) == "2 succeeded in 2.0 s, speed-up 1.2\n"


def test_what_is_parked_is_told_with_its_question_and_how_to_go_on() -> None:
    parked = ended("apply", Outcome.PARKED, NotConfirmed("Apply this plan?"), attempt=0)
    events = [ended("plan"), parked._replace(seconds=0.0), skipped("report", "apply")]
    assert told(*events) == (
        "\n"
        "1 parked; --resume asks again in a terminal, --yes answers\n"
        "  apply: to be confirmed: Apply this plan?\n"
        "1 skipped because of apply\n"
        "\n"
        "1 succeeded, 1 skipped, 1 parked in 2.0 s, speed-up 0.6\n"
    )
    assert summary_of(*events).only_parked
    assert not summary_of(*events).all_succeeded
    assert not summary_of(*events, ended("lint", Outcome.FAILED)).only_parked
    assert not summary_of(*events, skipped("late", None)).only_parked


def test_nothing_to_run_is_a_line_too() -> None:
    assert told(wall=0.0) == "0 succeeded in 0 s\n"


def test_a_failure_is_told_with_all_that_it_takes_to_go_on(logs: Logs) -> None:
    result = logs.result(b"cc main.c\nmain.c:1: error\n", status=2, command="make\nall")
    assert told(ended("a"), ended("build", Outcome.FAILED, result)) == (
        "\n"
        "✗ build  exit status 2 after 1.2 s\n"
        "  $ make all\n"
        "  | cc main.c\n"
        "  | main.c:1: error\n"
        f"  its log: {result.log}\n"
        "  run it again: parallel-workers run work.yaml build\n"
        "\n"
        "1 succeeded, 1 failed in 2.0 s, speed-up 1.2\n"
    )


def test_only_the_last_twenty_lines_of_a_log_are_shown(logs: Logs) -> None:
    output = "".join(f"line {number}\n" for number in range(1, 101)).encode()
    text = told(ended("build", Outcome.FAILED, logs.result(output, status=1)))
    shown = [line for line in text.splitlines() if line.startswith("  | ")]
    assert shown == [f"  | line {number}" for number in range(81, 101)]


def test_a_failure_without_output_names_no_log() -> None:
    result = CommandResult("mkae", None, "/gone", 0, "command not found: mkae")
    assert told(ended("build", Outcome.FAILED, result, seconds=0.0)) == (
        "\n"
        "✗ build  command not found: mkae\n"
        "  $ mkae\n"
        "  no output\n"
        "  run it again: parallel-workers run work.yaml build\n"
        "\n"
        "0 succeeded, 1 failed in 2.0 s\n"
    )


def test_a_log_that_has_vanished_is_said_to_have() -> None:
    text = told(ended("build", Outcome.FAILED, CommandResult("make", 1, "/gone", 9)))
    assert "  its log cannot be read: No such file or directory: /gone\n" in text


def test_a_function_that_failed_has_neither_command_nor_log() -> None:
    assert told(ended("parse", Outcome.FAILED, ValueError("no rows"))).startswith(
        "\n✗ parse  ValueError: no rows\n  run it again: "
    )


def test_a_timeout_is_told_like_a_failure_and_counted_for_itself(logs: Logs) -> None:
    text = told(ended("slow", Outcome.TIMED_OUT, logs.result(status=-15)))
    assert "✗ slow  timed out after 1.2 s\n" in text
    assert text.endswith("0 succeeded, 1 timed out in 2.0 s, speed-up 0.6\n")


def test_the_skipped_are_folded_under_their_causes(logs: Logs) -> None:
    text = told(
        ended("build", Outcome.FAILED, logs.result(status=1)),
        ended("lint", Outcome.FAILED, logs.result(status=1)),
        skipped("report", "lint"),
        *(skipped(str(number), "build") for number in range(12)),
    )
    assert text.endswith(
        "\n\n12 skipped because of build\n1 skipped because of lint\n\n"
        "0 succeeded, 2 failed, 13 skipped in 2.0 s, speed-up 1.2\n"
    )


def test_an_interrupt_tells_what_was_cancelled_and_what_never_started() -> None:
    text = told(
        ended("a"),
        *(ended(name, Outcome.CANCELLED) for name in "bc"),
        *(skipped(str(number), None) for number in range(3)),
    )
    assert text == (
        "\n2 cancelled: b, c\n3 not started: interrupted\n\n"
        "1 succeeded, 2 cancelled, 3 skipped in 2.0 s, speed-up 1.9\n"
    )


def test_of_very_many_failures_twenty_are_told_and_the_others_listed(logs: Logs) -> None:
    result = logs.result(status=1)
    text = told(*(ended(f"t{number}", Outcome.FAILED, result) for number in range(1000)))
    assert text.count("run it again") == 20
    assert "\n980 more failed: t20, t21, " in text
    assert "t39, … and 960 more\n" in text
    assert len(text) < 5000


def test_of_very_many_causes_the_worst_are_told() -> None:
    text = told(
        skipped("x", "cause 29"), *(skipped(str(number), f"cause {number}") for number in range(30))
    )
    lines = text.split("\n")
    assert lines[1] == "2 skipped because of cause 29"
    assert lines[11] == "20 skipped because of 20 other tasks"


def test_what_an_earlier_run_did_counts_as_well_done() -> None:
    summary = summary_of(ended("a", Outcome.CACHED, attempt=0, seconds=0.0))
    assert summary.all_succeeded
    assert summary.text(PLAIN) == "0 succeeded, 1 cached in 2.0 s\n"


@pytest.mark.parametrize(
    "event",
    [
        ended("a", Outcome.FAILED),
        ended("a", Outcome.TIMED_OUT),
        ended("a", Outcome.CANCELLED),
        skipped("a", None),
    ],
)
def test_all_has_not_succeeded_when_one_task_has_not(event: Event) -> None:
    assert not summary_of(ended("b"), event).all_succeeded


def test_a_forgiven_failure_is_counted_and_named_and_no_failure_of_the_run(logs: Logs) -> None:
    lint = ended("lint", Outcome.FAILED, logs.result(status=1))._replace(forgiven=True)
    summary = summary_of(ended("a"), lint)
    assert summary.all_succeeded
    assert summary.text(PLAIN) == (
        "\n1 failed, as they may: lint\n\n1 succeeded, 1 allowed to fail in 2.0 s, speed-up 1.2\n"
    )


def test_every_attempt_counts_for_the_speed_up_and_none_twice() -> None:
    lasted_attempt: list[Event] = [retried("a", None), ended("a", attempt=2)]
    given_up: list[Event] = [retried("b", None), ended("b", Outcome.FAILED)]
    assert told(*lasted_attempt, wall=1.0).endswith("speed-up 2.5\n")
    assert told(*given_up, wall=1.0).endswith("speed-up 1.2\n")


def test_a_service_counts_for_the_speed_up_until_it_is_up() -> None:
    up: list[Event] = [ServiceReady(0.0, "db", 1, 0.5), ended("a"), ended("db", seconds=60.0)]
    assert told(*up, wall=1.0).endswith("speed-up 1.8\n")
    died: list[Event] = [up[0], ended("db", Outcome.FAILED, seconds=60.0)]
    assert told(*died, wall=1.0).endswith("speed-up 0.5\n")


def test_names_are_cut_where_they_are_long_but_not_in_the_line_that_runs_them(logs: Logs) -> None:
    name = "x" * 3000
    lines = told(ended(name, Outcome.FAILED, logs.result(status=1))).split("\n")
    assert len(lines[1]) < 300
    assert lines[5].endswith(name)


def test_nothing_that_a_log_holds_reaches_the_terminal_raw(logs: Logs) -> None:
    output = b"\x1b]0;title\x07\x1b[2J\x1b[31mred\x07\x00\xff\x1b"
    text = told(ended("a", Outcome.FAILED, logs.result(output, status=1)))
    assert r"  | red\x07\x00\xff\x1b" in text
    assert "\x1b" not in text
