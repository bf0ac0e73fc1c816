"""Events as lines of JSON."""

import json

from parallel_workers.events import (
    CommandResult,
    Outcome,
    RunEnded,
    RunStarted,
    TaskEnded,
    TaskRetried,
    TaskStarted,
)
from parallel_workers.reports.ndjson import EventLines

RESULT = CommandResult("make", 2, "logs/1.log", 7)


def test_each_event_is_a_line_with_its_facts() -> None:
    written: list[bytes] = []
    tell = EventLines("abc", written.append)
    tell([RunStarted(1.5, "abc", 2, 2.0, 4), TaskStarted(2.0, 'a "é\n', 1)])
    tell(
        [
            TaskRetried(3.0, "a", 1, Outcome.FAILED, 0.5, RESULT, 1.5),
            TaskEnded(4.0, "a", 2, Outcome.TIMED_OUT, 0.25, 1.0, ValueError("no")),
            TaskEnded(5.0, "b", 0, Outcome.SKIPPED, 0.0, 1.0, None, "a"),
            TaskEnded(5.5, "c", 1, Outcome.FAILED, 0.0, 1.0, None, None, True),
            RunEnded(6.0),
        ]
    )
    assert len(written) == 2
    common = {"run": "abc"}
    assert [json.loads(line) for line in b"".join(written).splitlines()] == [
        {"event": "run_started", "time": 1.5, "tasks": 2, "jobs": 4} | common,
        {"event": "task_started", "time": 2.0, "task": 'a "é\n', "attempt": 1} | common,
        {"event": "task_retried", "time": 3.0, "task": "a", "attempt": 1, "outcome": "failed",
         "seconds": 0.5, "status": 2, "log": "logs/1.log", "delay": 1.5} | common,
        {"event": "task_ended", "time": 4.0, "task": "a", "attempt": 2, "outcome": "timed_out",
         "seconds": 0.25} | common,
        {"event": "task_ended", "time": 5.0, "task": "b", "attempt": 0, "outcome": "skipped",
         "seconds": 0.0, "cause": "a"} | common,
        {"event": "task_ended", "time": 5.5, "task": "c", "attempt": 1, "outcome": "failed",
         "seconds": 0.0, "forgiven": True} | common,
        {"event": "run_ended", "time": 6.0} | common,
    ]  # fmt: skip
