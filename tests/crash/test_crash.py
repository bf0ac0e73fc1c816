"""The runner is killed at any instant and goes on where it stood: nothing lost, nothing twice.

The harness runs a graph of commands that write down what they do, kills the runner with SIGKILL
after a random time, looks at what is left, resumes, and so on. Its seed replays a failure as far
as the machine is as quick as it was.
"""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

LAYERS, WIDTH = 6, 5

BODIES = (
    "sleep 0.0{0}",
    "true",
    "sleep 0.0{0} & wait",
    "setsid sleep 300 & sleep 0.0{0}",
    "(trap '' TERM INT HUP; setsid sleep 300 &) ; sleep 0.01",
)
"""What tasks do; some leave processes behind that would outlive them."""


def write_graph(directory: Path, chance: random.Random) -> dict[str, list[str]]:
    """Write a work file whose tasks say in `told` when they begin and end; return who waits."""
    after: dict[str, list[str]] = {}
    tasks: dict[str, object] = {}
    layer: list[str] = []
    for depth in range(LAYERS):
        names = [f"t{depth}.{place}" for place in range(WIDTH)]
        for name in names:
            after[name] = chance.sample(layer, 2) if layer else []
            body = chance.choice(BODIES).format(chance.randint(1, 5))
            command = (
                f'echo "begin {name} $PW_ATTEMPT" >> told; {body}; '
                f'echo "end {name} $PW_ATTEMPT" >> told'
            )
            tasks[name] = {"command": command, "after": after[name]}
        layer = names
    (directory / "work.json").write_text(json.dumps({"tasks": tasks}))
    return after


def run_until(directory: Path, seconds: float | None) -> tuple[int, list[dict[str, object]]]:
    """Run the graph; kill the runner after some seconds. Return its status, and what it told."""
    with (directory / "output").open("wb") as output:
        runner = subprocess.Popen(
            [sys.executable, "-m", "parallel_workers", "run", "--resume", "-j4", "--events", "-"],
            cwd=directory,
            stdout=output,
            stderr=subprocess.DEVNULL,
        )
    if seconds is not None:
        try:
            runner.wait(seconds)
        except subprocess.TimeoutExpired:
            runner.kill()
    status = runner.wait(120)
    lines = (directory / "output").read_bytes().split(b"\n")
    # The last one may be half written.
    return status, [json.loads(line) for line in lines[:-1]]


def processes_of(run: str) -> set[int]:
    """Return the processes whose environment says that they belong to a run."""
    wanted = f"PW_RUN={run}".encode()
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                environment = Path(f"/proc/{entry}/environ").read_bytes().split(b"\0")
                state = Path(f"/proc/{entry}/stat").read_bytes().rpartition(b")")[2].split()[0]
            except OSError:
                continue
            if wanted in environment and state != b"Z":
                found.add(int(entry))
    return found


def check_nothing_is_left(run: str) -> None:
    deadline = time.monotonic() + 20
    while left := processes_of(run):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.02)


def check_journal(directory: Path) -> None:
    journal = directory / ".parallel-workers" / "journal.db"
    if journal.exists():
        with sqlite3.connect(journal) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()


def check_order(told: list[list[str]], after: dict[str, list[str]]) -> None:
    """Nothing began before all that it waits for had ended once."""
    ended: set[str] = set()
    for what, name, _ in told:
        if what == "begin":
            assert set(after[name]) <= ended, name
        else:
            ended.add(name)


def told_of(directory: Path) -> list[list[str]]:
    told = directory / "told"
    return [line.split() for line in told.read_text().splitlines()] if told.exists() else []


class Crashes:
    """One graph, killed and resumed until it is done."""

    def __init__(self, directory: Path, chance: random.Random) -> None:
        self.directory = directory
        self.after = write_graph(directory, chance)
        self.chance = chance
        self.shown: dict[str, int] = {}
        self.kills = 0

    def go(self, most: int) -> None:
        """Kill it at most so often, then let it end; check what must hold after each time."""
        while True:
            seconds = self.chance.uniform(0.0, 0.9) if self.kills < most else None
            status, events = run_until(self.directory, seconds)
            if status != -signal.SIGKILL:
                assert status == 0
                break
            self.kills += 1
            if events:
                check_nothing_is_left(str(events[0]["run"]))
            self.check(events)
        self.check(events)
        # What tasks leave behind on purpose outlives a run that ends by itself; not this test.
        for pid in processes_of(str(events[0]["run"])):
            os.kill(pid, signal.SIGKILL)
        begun = {name for what, name, _ in told_of(self.directory) if what == "begin"}
        assert begun == set(self.after)
        ended = [event["task"] for event in events if event["event"] == "task_ended"]
        assert sorted(map(str, ended)) == sorted(self.after)

    def check(self, events: list[dict[str, object]]) -> None:
        told = told_of(self.directory)
        check_order(told, self.after)
        for name, begins in self.shown.items():
            now = sum(what == "begin" and other == name for what, other, _ in told)
            assert now == begins, f"{name} ran again though its end had been shown"
        for event in events:
            if event["event"] == "task_ended" and event["outcome"] == "succeeded":
                name = str(event["task"])
                begins = sum(what == "begin" and other == name for what, other, _ in told)
                self.shown[name] = begins
        check_journal(self.directory)


def crash(directory: Path, seed: int, kills: int) -> None:
    chance = random.Random(seed)
    number = 0
    while kills > 0:
        number += 1
        place = directory / f"graph{number}"
        place.mkdir()
        crashes = Crashes(place, chance)
        crashes.go(min(kills, 12))
        kills -= max(crashes.kills, 1)


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_any_instant_it_goes_on_where_it_stood(tmp_path: Path, seed: int) -> None:
    crash(tmp_path, seed, 25)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 20))
def test_killed_a_thousand_times_it_goes_on_where_it_stood(tmp_path: Path, seed: int) -> None:
    crash(tmp_path, seed, 100)
