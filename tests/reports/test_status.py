"""The one line that says what is going on."""

from parallel_workers.events import Outcome
from parallel_workers.reports.status import Status
from tests.reports.made import ended, retried, run_started, skipped, started


def test_it_counts_what_is_done_failed_skipped_and_running() -> None:
    status = Status(now=0.0)
    status.note([run_started(1500), *(started(name) for name in "abcd")])
    status.note([ended("a"), ended("b", Outcome.FAILED), ended("c", Outcome.TIMED_OUT)])
    status.note([skipped("x", "b"), started("e", time=0.5)])
    assert status.text(now=1.0) == (
        "3 of 1,500 done, 2 failed, 1 skipped, 2 running; oldest 1.0 s: d"
    )


def test_the_oldest_is_the_one_whose_attempt_began_first() -> None:
    status = Status(now=0.0)
    status.note([run_started(), started("a"), started("b", time=1.0)])
    assert status.text(now=3.0).endswith("oldest 3.0 s: a")
    status.note([retried("a", None)])
    assert status.text(now=3.0).endswith("1 running; oldest 2.0 s: b")
    status.note([started("a", attempt=2, time=2.0)])
    assert status.text(now=3.0).endswith("oldest 2.0 s: b")


def test_its_clock_need_not_be_that_of_the_events() -> None:
    status = Status(now=77.0)
    status.note([run_started(), started("a", time=1.0)])
    assert status.text(now=80.0).endswith("oldest 2.0 s: a")


def test_what_is_left_is_estimated_by_work_and_not_by_number_of_tasks() -> None:
    status = Status(now=0.0)
    status.note([run_started(2, work=4.0), started("a"), ended("a")])
    assert status.text(now=10.0) == "1 of 2 done, about 30 s left"


def test_there_is_no_estimate_before_it_can_mean_something() -> None:
    status = Status(now=0.0)
    status.note([run_started(1000)])
    assert "left" not in status.text(now=60.0)
    status.note([ended("a")])
    assert "left" not in status.text(now=60.0)
    status.note([ended(str(number)) for number in range(30)])
    assert "left" not in status.text(now=1.0)
    assert "left" in status.text(now=60.0)


def test_what_was_done_in_an_earlier_run_tells_nothing_about_speed() -> None:
    status = Status(now=0.0)
    status.note([run_started(4)])
    status.note([ended(name, Outcome.CACHED, attempt=0) for name in "ab"])
    assert status.text(now=10.0) == "2 of 4 done"
    status.note([ended("c")])
    assert status.text(now=10.0) == "3 of 4 done, about 10 s left"


def test_a_name_of_three_thousand_characters_is_cut() -> None:
    status = Status(now=0.0)
    status.note([run_started(), started("x" * 3000)])
    assert len(status.text(now=0.0)) < 300
