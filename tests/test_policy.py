"""What failures mean for a run as a whole."""

import pytest

from parallel_workers.errors import UsageError
from parallel_workers.policy import most_failures


@pytest.mark.parametrize(
    ("keep_going", "max_failures", "most"),
    [(False, None, 1), (True, None, None), (False, 3, 3), (True, 3, 3)],
)
def test_a_number_of_failures_goes_over_whether_to_go_on(
    keep_going: bool, max_failures: int | None, most: int | None
) -> None:
    assert most_failures(keep_going=keep_going, max_failures=max_failures) == most


def test_what_fails_fast_may_wait_for_several_failures_but_not_go_on_for_ever() -> None:
    assert most_failures(keep_going=False, max_failures=None, fail_fast=True) == 1
    assert most_failures(keep_going=False, max_failures=3, fail_fast=True) == 3
    with pytest.raises(UsageError, match="give one of them"):
        most_failures(keep_going=True, max_failures=None, fail_fast=True)
