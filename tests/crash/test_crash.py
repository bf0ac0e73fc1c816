"""The runner is killed at any instant and goes on where it stood: nothing lost, nothing twice.

The harness runs a graph of commands that write down what they do, kills the runner with SIGKILL
after a random time, looks at what is left, resumes, and so on. Its seed replays a failure as far
as the machine is as quick as it was.

What is left is looked at and never touched: the journal is checked as a copy, so that to recover it
is left to the program. Processes have half a second to end. What the guardian or they themselves
have waited for a processor, which the system measures, comes to it: where a machine has too much to
do that is no fault of ours. For nothing else is there more time.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

LAYERS, WIDTH = 6, 5

PLACE = "TEST_PLACE"
"""What all processes of a graph have in their environment beside the id of a run, which another
state directory may have as well: it holds no more than ten bits beyond the second."""

TIME_TO_END = 0.5
"""Seconds that the processes of a killed run have to end."""

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


class Kill(NamedTuple):
    """That a runner was killed.

    Attributes:
        time: When, by `time.monotonic`.
        guardian: The process id of its guardian; None if there was none yet.
        queued: For how many seconds that had waited for a processor until then.
    """

    time: float
    guardian: int | None
    queued: float


class Session(NamedTuple):
    """One start of the runner, until it ended or was killed.

    Attributes:
        status: Its exit status.
        events: What it told.
        kill: How it was killed; None if it ended before.
    """

    status: int
    events: list[dict[str, object]]
    kill: Kill | None


def run_until(directory: Path, seconds: float | None) -> Session:
    """Run the graph; kill the runner after some seconds."""
    with (directory / "output").open("wb") as output:
        runner = subprocess.Popen(
            [sys.executable, "-m", "parallel_workers", "run", "--resume", "-j4", "--events", "-"],
            cwd=directory,
            env={**os.environ, PLACE: str(directory)},
            stdout=output,
            stderr=subprocess.DEVNULL,
        )
    kill = None
    if seconds is not None:
        try:
            runner.wait(seconds)
        except subprocess.TimeoutExpired:
            guardian = guardian_of(runner.pid)
            kill = Kill(time.monotonic(), guardian, queued(guardian))
            runner.kill()
    status = runner.wait(120)
    lines = (directory / "output").read_bytes().split(b"\n")
    # The last one may be half written.
    events = [json.loads(line) for line in lines[:-1]]
    return Session(status, events, kill if status == -signal.SIGKILL else None)


def guardian_of(runner: int) -> int | None:
    """Return the guardian of a runner: the child of it that is called so."""
    for child in map(int, read(f"/proc/{runner}/task/{runner}/children").split()):
        if b"guardian of run" in read(f"/proc/{child}/cmdline"):
            return child
    return None


def read(path: str) -> bytes:
    """Return what a file of the system says; nothing of a process that has ended."""
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def processes_of(run: str, directory: Path) -> set[int]:
    """Return the processes whose environment says that they belong to a run of that directory."""
    wanted = {f"PW_RUN={run}".encode(), f"{PLACE}={directory}".encode()}
    return {
        int(entry)
        for entry in os.listdir("/proc")
        if entry.isdigit()
        and wanted <= set(read(f"/proc/{entry}/environ").split(b"\0"))
        and not read(f"/proc/{entry}/stat").rpartition(b")")[2].startswith(b" Z")
    }


def queued(process: int | None) -> float:
    """Return for how many seconds a process has waited for a processor; 0 if it has ended."""
    fields = read(f"/proc/{process}/schedstat").split()
    return int(fields[1]) / 1e9 if fields else 0.0


def check_nothing_is_left(run: str, directory: Path, kill: Kill) -> None:
    """Every process of a killed run ends in time."""
    time.sleep(max(0.0, kill.time + TIME_TO_END - time.monotonic()))
    while True:
        taken = time.monotonic() - kill.time
        left = processes_of(run, directory)
        if not left:
            return
        extra = max(0.0, queued(kill.guardian) - kill.queued) + max(map(queued, left))
        assert taken < TIME_TO_END + extra, f"still there after {taken:.3f} s: {left}"
        time.sleep(0.01)


def kill_what_is_left(run: str, directory: Path) -> None:
    """Kill what tasks left behind on purpose: it outlives a run that ends by itself, not a test."""
    for pid in processes_of(run, directory):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def check_journal(directory: Path) -> None:
    """The journal is whole, as it would be recovered; it is not touched."""
    journal = directory / ".parallel-workers" / "journal.db"
    if not journal.exists():
        return
    with tempfile.TemporaryDirectory() as place:
        for path in (journal, journal.with_name(f"{journal.name}-wal")):
            if path.exists():
                shutil.copy(path, place)
        with closing(sqlite3.connect(f"{place}/{journal.name}")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


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
            session = run_until(self.directory, seconds)
            events = session.events
            if session.kill is None:
                assert session.status == 0
                break
            self.kills += 1
            if events and events[-1]["event"] == "run_ended":
                # It had ended by itself, and was killed on its way out.
                kill_what_is_left(str(events[0]["run"]), self.directory)
            elif events:
                check_nothing_is_left(str(events[0]["run"]), self.directory, session.kill)
            self.check(events)
        self.check(events)
        kill_what_is_left(str(events[0]["run"]), self.directory)
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
