"""Alarms: told once, in order, and never early."""

import threading
import time
from collections.abc import Sequence

import pytest

from parallel_workers.alarms import Alarms
from tests.support.program import until
from tests.support.threads import allow_threads


class Bell:
    """What rings: keeps when it was told of what."""

    def __init__(self) -> None:
        self.told: list[tuple[int, float]] = []

    def __call__(self, numbers: Sequence[int]) -> None:
        self.told += [(number, time.monotonic()) for number in numbers]


def test_an_alarm_rings_once_and_not_early() -> None:
    bell = Bell()
    alarms = Alarms(bell)
    before = time.monotonic()
    alarms.set(0.05, 7)
    until(lambda: bell.told != [])
    assert [number for number, _ in bell.told] == [7]
    assert bell.told[0][1] - before >= 0.05


def test_one_that_is_set_later_can_ring_earlier() -> None:
    bell = Bell()
    alarms = Alarms(bell)
    alarms.set(0.3, 1)
    alarms.set(0.01, 2)
    until(lambda: len(bell.told) == 2)
    assert [number for number, _ in bell.told] == [2, 1]


def test_what_is_forgotten_does_not_ring_and_leaves_no_thread() -> None:
    bell = Bell()
    alarms = Alarms(bell)
    others = set(threading.enumerate())
    alarms.set(3600, 1)
    [mine] = set(threading.enumerate()) - others
    alarms.clear()
    until(lambda: not mine.is_alive())
    assert bell.told == []


def test_after_the_last_one_another_can_be_set() -> None:
    bell = Bell()
    alarms = Alarms(bell)
    for number in range(3):
        alarms.set(0, number)
        until(lambda told=number + 1: len(bell.told) == told)


def test_where_no_thread_can_be_had_it_says_so_and_is_not_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bell = Bell()
    alarms = Alarms(bell)
    with monkeypatch.context() as patch:
        allow_threads(patch, 0)
        assert not alarms.set(0.0, 1)
    assert alarms.set(0.0, 2)
    until(lambda: bell.told != [])
    assert [number for number, _ in bell.told] == [2]
