"""What is shown while a run goes on, on files, pipes and pseudo-terminals."""

import contextlib
import errno
import os
import termios
import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_workers.errors import NotConfirmed
from parallel_workers.events import CommandResult, Event, Outcome, ServiceReady
from parallel_workers.reports.output import Output
from parallel_workers.reports.progress import Progress
from parallel_workers.reports.style import Style
from parallel_workers.reports.terminal import Terminal
from tests.reports.made import (
    EPOCH,
    Clock,
    Logs,
    ended,
    many,
    retried,
    run_ended,
    run_started,
    skipped,
    started,
    written_to_a_file,
)
from tests.reports.screen import Pty, Screen

PLAIN = Style("utf-8", colours=False)


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pty() -> Iterator[Pty]:
    with Pty() as pty:
        yield pty


def shown(tmp_path: Path, events: Sequence[Event], style: Style = PLAIN) -> bytes:
    """Return what is written of `events` where there is no terminal."""
    return written_to_a_file(tmp_path / "out", lambda fd: Progress(Output(fd), style)(events))


def progress_on(pty: Pty, clock: Clock, *, colours: bool = False) -> Progress:
    style = Style("utf-8", colours=colours)
    return Progress(Output(pty.fd), style, Terminal(pty.fd), clock)


# --- lines and output


def test_a_success_without_output_is_one_line(tmp_path: Path, logs: Logs) -> None:
    text = shown(tmp_path, [started("build"), ended("build", result=logs.result())])
    assert text.decode() == "✓ build  1.2 s\n"


def test_words_stand_for_signs_where_they_cannot_be_encoded(tmp_path: Path, logs: Logs) -> None:
    events: list[Event] = [
        ended("café 🚀", result=logs.result()),
        ended("b", Outcome.FAILED, logs.result(status=1)),
    ]
    assert shown(tmp_path, events, Style("ascii", colours=False)) == (
        b"ok caf\\xe9 \\U0001f680  1.2 s\nFAILED b  exit status 1 after 1.2 s\n  $ make\n"
    )


def test_the_log_of_a_success_without_output_need_not_be_there(tmp_path: Path) -> None:
    result = CommandResult("make", 0, "/gone", 0)
    assert shown(tmp_path, [ended("build", result=result)]).decode() == "✓ build  1.2 s\n"


def test_output_follows_its_task_whole_and_in_order_of_ending(tmp_path: Path, logs: Logs) -> None:
    first, second = logs.result(b"1\n2\n"), logs.result(b"3\n")
    events: list[Event] = [
        started("a"),
        started("b"),
        ended("b", result=second),
        ended("a", result=first),
    ]
    assert shown(tmp_path, events).decode() == "✓ b  1.2 s\n3\n✓ a  1.2 s\n1\n2\n"


@given(outputs=st.lists(st.binary(max_size=40), max_size=5))
@settings(max_examples=50, deadline=None)
def test_output_is_passed_on_as_it_is_and_ends_with_a_line_break(
    tmp_path_factory: pytest.TempPathFactory, outputs: list[bytes]
) -> None:
    directory = tmp_path_factory.mktemp("logs")
    logs = Logs(directory)
    expected = b""
    for output in outputs:
        line_break = b"" if output.endswith(b"\n") or not output else b"\n"
        expected += "✓ t  1.2 s\n".encode() + output + line_break
    events: list[Event] = [ended("t", result=logs.result(output)) for output in outputs]
    assert shown(directory, events) == expected


def test_a_failure_shows_the_command_how_it_ended_and_the_output(
    tmp_path: Path, logs: Logs
) -> None:
    result = logs.result(b"no rule\n", status=-11, command="make\n  all")
    assert shown(tmp_path, [ended("build", Outcome.FAILED, result)]).decode() == (
        "✗ build  killed by SIGSEGV after 1.2 s\n  $ make all\nno rule\n"
    )


def test_a_cancelled_task_shows_its_output(tmp_path: Path, logs: Logs) -> None:
    result = logs.result(b"half of it", status=-2)
    assert shown(tmp_path, [ended("build", Outcome.CANCELLED, result)]).decode() == (
        "■ build  cancelled after 1.2 s\n  $ make\nhalf of it\n"
    )


def test_a_function_that_raised_shows_its_exception(tmp_path: Path) -> None:
    events: list[Event] = [ended("parse", Outcome.FAILED, ValueError("no rows"))]
    assert shown(tmp_path, events).decode() == "✗ parse  ValueError: no rows\n"


def test_what_happens_while_it_is_held_is_shown_afterwards(tmp_path: Path, logs: Logs) -> None:
    def write(fd: int) -> None:
        progress = Progress(Output(fd), PLAIN)
        with progress.held():
            progress([started("a"), ended("a", result=logs.result(b"out\n"))])
            os.write(fd, b"somebody else\n")
        progress([ended("b", result=logs.result())])

    text = written_to_a_file(tmp_path / "out", write).decode()
    assert text == "somebody else\n✓ a  1.2 s\nout\n✓ b  1.2 s\n"


def test_what_has_happened_is_shown_when_it_is_closed_while_it_is_held(tmp_path: Path) -> None:
    def write(fd: int) -> None:
        progress = Progress(Output(fd), PLAIN)
        with progress.held():
            progress([ended("a")])
            progress.close()

    assert written_to_a_file(tmp_path / "out", write).decode() == "✓ a  1.2 s\n"


def test_the_status_is_away_while_it_is_held(pty: Pty, clock: Clock) -> None:
    progress = progress_on(pty, clock)
    progress([run_started(), started("a")])
    with progress.held():
        clock.now += 1.0
        assert progress.tick() is None
        assert pty.screen().rows == [""]
    clock.now += 1.0
    progress.tick()
    assert "1 running" in pty.screen().rows[-1]


def test_whoever_it_is_held_for_steps_aside_for_a_message_and_for_no_other(
    tmp_path: Path,
) -> None:
    def write(fd: int) -> None:
        progress = Progress(Output(fd), PLAIN)

        @contextlib.contextmanager
        def aside() -> Iterator[None]:
            os.write(fd, b"<")
            yield
            os.write(fd, b">")

        with progress.held(aside), progress.paused():
            os.write(fd, b"message")
        with progress.paused():
            os.write(fd, b"another")

    assert written_to_a_file(tmp_path / "out", write) == b"<message>another"


def test_output_that_has_been_seen_is_not_shown_again(tmp_path: Path, logs: Logs) -> None:
    def write(fd: int) -> None:
        progress = Progress(Output(fd), PLAIN)
        for outcome in (Outcome.FAILED, Outcome.SUCCEEDED):
            progress.seen("a")
            progress([ended("a", outcome, logs.result(b"seen\n", status=1))])
        progress([ended("a", result=logs.result(b"new\n"))])

    text = written_to_a_file(tmp_path / "out", write).decode()
    assert text == ("✗ a  exit status 1 after 1.2 s\n  $ make\n✓ a  1.2 s\n✓ a  1.2 s\nnew\n")


def test_a_service_that_is_up_and_a_task_that_was_done_have_lines(tmp_path: Path) -> None:
    events: list[Event] = [
        ServiceReady(EPOCH, "db", 1, 0.25),
        ended("made", Outcome.CACHED),
        ended("kept", Outcome.CACHED, attempt=0),
        ended("apply", Outcome.PARKED, NotConfirmed("Apply?"), attempt=0),
    ]
    text = shown(tmp_path, events).decode()
    assert text == "▲ db  up after 250 ms\n✓ made  done already\n"


def test_a_delay_before_the_next_attempt_is_told(tmp_path: Path, logs: Logs) -> None:
    event = retried("fetch", logs.result(status=1))._replace(delay=30.0)
    assert b"; trying again in 30.0 s\n" in shown(tmp_path, [event])


def test_a_forgiven_failure_says_that_it_may(tmp_path: Path, logs: Logs) -> None:
    event = ended("lint", Outcome.FAILED, logs.result(status=1))._replace(forgiven=True)
    assert b"exit status 1 after 1.2 s; it may fail\n" in shown(tmp_path, [event])


def test_an_attempt_that_is_followed_by_another_shows_its_output(
    tmp_path: Path, logs: Logs
) -> None:
    first, second = logs.result(b"try\n", status=1), logs.result()
    events: list[Event] = [retried("fetch", first), ended("fetch", attempt=2, result=second)]
    assert shown(tmp_path, events).decode() == (
        "↻ fetch  attempt 1: exit status 1 after 1.2 s; trying again\n  $ make\ntry\n"
        "✓ fetch  1.2 s\n"
    )


def test_output_is_not_shown_again_when_the_next_attempt_never_comes(
    tmp_path: Path, logs: Logs
) -> None:
    result = logs.result(b"try\n", status=1)
    events: list[Event] = [retried("fetch", result), ended("fetch", Outcome.FAILED, result)]
    text = shown(tmp_path, events).decode()
    assert text.count("try\n") == 1
    assert text.endswith("✗ fetch  exit status 1 after 1.2 s\n  $ make\n")


def test_skipped_and_cached_tasks_have_no_line(tmp_path: Path) -> None:
    events: list[Event] = [
        skipped("a", "b"),
        skipped("c", None),
        ended("d", Outcome.CACHED, attempt=0),
    ]
    assert shown(tmp_path, events) == b""


def test_a_log_that_has_vanished_is_said_to_have(tmp_path: Path) -> None:
    result = CommandResult("make", 0, "/gone", 7)
    assert shown(tmp_path, [ended("build", result=result)]).decode() == (
        "✓ build  1.2 s\n  its log cannot be read: No such file or directory: /gone\n"
    )


def test_a_log_that_cannot_be_read_is_said_to_be_so(tmp_path: Path) -> None:
    result = CommandResult("make", 0, str(tmp_path), 7)
    assert "its log cannot be read: Is a directory" in (
        shown(tmp_path, [ended("build", result=result)]).decode()
    )


def test_a_name_of_three_thousand_characters_is_cut(tmp_path: Path, logs: Logs) -> None:
    text = shown(tmp_path, [ended("x" * 3000, result=logs.result())]).decode()
    assert "…" in text
    assert len(text) < 250


def test_a_huge_log_takes_little_memory(tmp_path: Path) -> None:
    size = 200_000_000
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.truncate(size)
    reader, writer = os.pipe()
    got = 0

    def count() -> None:
        nonlocal got
        while chunk := os.read(reader, 1 << 16):
            got += len(chunk)

    thread = threading.Thread(target=count)
    thread.start()
    tracemalloc.start()
    Progress(Output(writer), PLAIN)([ended("t", result=CommandResult("x", 0, str(log), size))])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    os.close(writer)
    thread.join()
    os.close(reader)
    assert got == size + len("✓ t  1.2 s\n\n".encode())
    assert peak < 1_000_000


# --- an output that breaks


def test_a_reader_that_has_gone_ends_the_writing_and_nothing_else(logs: Logs) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    progress = Progress(Output(writer), PLAIN)
    assert progress.broken is None
    for _ in range(3):
        progress([ended("build", result=logs.result(b"x" * 100_000))])
    progress.close()
    os.close(writer)
    assert progress.broken == os.strerror(errno.EPIPE)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_ends_the_writing_and_nothing_else(logs: Logs) -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    progress = Progress(Output(fd), PLAIN)
    progress([ended("build", result=logs.result(b"x"))])
    os.close(fd)
    assert progress.broken == os.strerror(errno.ENOSPC)


def test_there_is_no_status_to_redraw_on_a_terminal_that_has_gone(clock: Clock) -> None:
    master, fd = os.openpty()
    progress = Progress(Output(fd), PLAIN, Terminal(fd), clock)
    os.close(master)
    progress([run_started()])
    os.close(fd)
    assert progress.broken == os.strerror(errno.EIO)
    assert progress.tick() is None


# --- the status


def test_without_a_terminal_there_is_no_status_and_no_escape_code(
    tmp_path: Path, logs: Logs
) -> None:
    def write(fd: int) -> None:
        progress = Progress(Output(fd), PLAIN)
        progress([run_started(), started("a")])
        assert progress.tick() is None
        progress([ended("a", result=logs.result(b"red\n")), run_ended()])
        progress.close()

    assert written_to_a_file(tmp_path / "out", write).decode() == "✓ a  1.2 s\nred\n"


def test_the_status_is_the_last_line_and_goes_when_the_run_has_ended(
    pty: Pty, clock: Clock, logs: Logs
) -> None:
    progress = progress_on(pty, clock)
    progress([run_started(2), started("a"), started("b")])
    assert pty.screen().rows == ["0 of 2 done, 2 running; oldest 0 s: a"]
    clock.now += 1
    progress([ended("a", result=logs.result(b"out\n"))])
    assert pty.screen().rows == [
        "✓ a  1.2 s",
        "out",
        "1 of 2 done, 1 running; oldest 1.0 s: b",
    ]
    clock.now += 1
    progress([ended("b", result=logs.result()), run_ended()])
    assert pty.screen().rows == ["✓ a  1.2 s", "out", "✓ b  1.2 s", ""]
    assert pty.screen().plain
    assert progress.tick() is None


def test_a_tick_brings_the_status_up_to_date(pty: Pty, clock: Clock) -> None:
    progress = progress_on(pty, clock)
    progress([run_started(1), started("a")])
    clock.now += 5
    progress.tick()
    assert pty.screen().rows == ["0 of 1 done, 1 running; oldest 5.0 s: a"]


def test_lines_wait_for_the_next_drawing_and_no_longer(pty: Pty, clock: Clock, logs: Logs) -> None:
    progress = progress_on(pty, clock)
    progress([run_started(2), started("a")])
    progress([ended("a", result=logs.result())])
    assert len(pty.screen().rows) == 1
    left = progress.tick()
    assert left is not None
    clock.now += left
    progress.tick()
    assert pty.screen().rows == ["✓ a  1.2 s", "1 of 2 done"]


def test_the_status_is_drawn_at_most_ten_times_a_second(pty: Pty, clock: Clock) -> None:
    progress = progress_on(pty, clock)
    begin = clock.now
    progress([run_started(1000)])
    for event in many(1000):
        progress([event])
        clock.now = max(clock.now, begin + event.time - EPOCH)
        progress.tick()
    progress.close()
    assert 5 <= pty.written().count(b" done") <= 11


def test_nothing_is_lost_or_left_behind_whenever_it_is_closed(
    pty: Pty, clock: Clock, logs: Logs
) -> None:
    progress = progress_on(pty, clock)
    progress([run_started(3), started("a"), started("b")])
    progress([ended("a", result=logs.result(b"no line break"))])
    progress.close()
    progress.close()
    screen = pty.screen()
    assert screen.rows == ["✓ a  1.2 s", "no line break", ""]
    assert screen.plain
    assert screen.column == 0
    assert progress.tick() is None


def test_what_comes_after_closing_is_still_shown(pty: Pty, clock: Clock, logs: Logs) -> None:
    progress = progress_on(pty, clock)
    progress([run_started(1), started("a")])
    progress.close()
    progress([ended("a", result=logs.result())])
    assert pty.screen().rows == ["✓ a  1.2 s", ""]


def test_the_status_makes_way_for_messages_of_others(pty: Pty, clock: Clock, logs: Logs) -> None:
    progress = progress_on(pty, clock)
    progress([run_started(2), started("a")])
    progress([ended("a", result=logs.result())])
    with progress.paused():
        os.write(pty.fd, b"warning: slow\n")
    clock.now += 1
    progress.tick()
    assert pty.screen().rows == ["✓ a  1.2 s", "warning: slow", "1 of 2 done"]


@pytest.mark.parametrize("columns", [1, 2, 3, 10, 20, 39, 40, 41, 80])
@pytest.mark.parametrize("name", ["🚀" * 30, "日本語" * 10, "x" * 3000, "☁\ufe0f" * 40])
def test_the_status_never_takes_more_than_a_line(clock: Clock, columns: int, name: str) -> None:
    with Pty(columns) as pty:
        progress = progress_on(pty, clock)
        progress([run_started(2), started(name)])
        clock.now += 1
        progress.tick()
        assert len(pty.screen().rows) == 1
        # Even where a terminal takes no notice of being told not to wrap.
        wrapping = pty.written().replace(b"\x1b[?7l", b"")
        assert len(Screen(wrapping, columns).rows) == 1


def test_the_width_may_change_at_any_time(pty: Pty, clock: Clock) -> None:
    progress = progress_on(pty, clock)
    progress([run_started(2), started("a")])
    pty.resize(12)
    clock.now += 1
    progress.tick()
    assert pty.screen().rows == ["0 of 2 done"]


def test_a_terminal_that_is_stopped_does_not_hold_up_the_main_thread(
    pty: Pty, clock: Clock
) -> None:
    progress = progress_on(pty, clock)
    progress([run_started(1), started("a")])
    termios.tcflow(pty.fd, termios.TCOOFF)
    clock.now += 1
    assert progress.tick() == pytest.approx(0.1)
    termios.tcflow(pty.fd, termios.TCOON)
    progress.tick()
    assert pty.screen().rows == ["0 of 1 done, 1 running; oldest 1.0 s: a"]


def test_a_worker_that_is_held_up_does_not_hold_up_the_main_thread(pty: Pty, clock: Clock) -> None:
    progress = progress_on(pty, clock)
    progress([run_started(1)])
    clock.now += 1
    with progress.paused():
        assert progress.tick() == pytest.approx(0.1)


def test_workers_and_the_main_thread_never_disturb_each_other(pty: Pty, logs: Logs) -> None:
    clock = Clock()
    progress = progress_on(pty, clock)
    over = threading.Event()

    def tick() -> None:
        while not over.is_set():
            clock.now += 0.01
            progress.tick()

    ticking = threading.Thread(target=tick)
    ticking.start()
    progress([run_started(50)])
    expected = []
    for number in range(50):
        output = f"output of {number}"
        progress([started(f"t{number}")])
        progress([ended(f"t{number}", result=logs.result(output.encode()))])
        expected += [f"✓ t{number}  1.2 s", output]
    over.set()
    ticking.join()
    progress.close()
    assert pty.screen().rows == [*expected, ""]


# --- what the output of a command does to a terminal


@pytest.mark.parametrize(
    "output", [b"\x1b[31mred", b"\x1b[31mred\n", b"\x1b[?25lspinner\r", b"\x1b[?7l" + b"x" * 200]
)
def test_what_a_command_does_to_the_terminal_ends_with_its_output(
    pty: Pty, clock: Clock, logs: Logs, output: bytes
) -> None:
    progress = progress_on(pty, clock)
    progress([run_started(1), ended("a", result=logs.result(output)), run_ended()])
    screen = pty.screen()
    assert screen.plain
    assert screen.rows[-1] == ""
    assert output.rstrip() in pty.written()


def test_escape_codes_of_a_command_are_passed_on_where_there_is_no_terminal(
    tmp_path: Path, logs: Logs
) -> None:
    events: list[Event] = [ended("a", result=logs.result(b"\x1b[31mred\n"))]
    assert shown(tmp_path, events) == "✓ a  1.2 s\n\x1b[31mred\n".encode()


def test_an_escape_code_in_any_part_of_a_large_output_is_noticed(
    pty: Pty, clock: Clock, logs: Logs
) -> None:
    progress = progress_on(pty, clock)
    output = b"\x1b[31m" + b"x\n" * 50_000
    progress([ended("a", result=logs.result(output)), run_ended()])
    assert pty.screen().plain


def test_marks_have_colours_on_a_terminal_and_nothing_depends_on_them(
    pty: Pty, clock: Clock, logs: Logs
) -> None:
    progress = progress_on(pty, clock, colours=True)
    progress([ended("a", result=logs.result()), run_ended()])
    screen = pty.screen()
    assert screen.rows == ["✓ a  1.2 s", ""]
    assert screen.plain
    assert b"\x1b[32m" in pty.written()
