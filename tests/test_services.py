"""Services: when they are up, when they end, and what it means when they do so by themselves."""

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from parallel_workers import Outcome, RunFailed, WorkGraph
from parallel_workers.events import Event, TaskEnded
from parallel_workers.executors.worker_process import Result, WorkerProcess
from parallel_workers.starting import EXECUTORS
from tests.support import work
from tests.support.program import run, run_directory, started, until, write_work

STAYS = "exec sleep 600"
"""What stays up, and ends at once when it is told to."""

SERVER = "exec python3 -m http.server --bind 127.0.0.1 {0}"


@pytest.fixture
def port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(params=EXECUTORS)
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_real_server_is_started_used_and_ended(tmp_path: Path, port: int) -> None:
    (tmp_path / "page").write_text("hello")
    fetch = "python3 -c 'import urllib.request as r; print(r.urlopen(\"{0}\").read())'"
    tasks = {
        "web": {"command": SERVER.format(port), "service": {"port": port}},
        "fetch": {"command": fetch.format(f"http://127.0.0.1:{port}/page"), "after": ["web"]},
    }
    write_work(tmp_path, tasks)
    ended = run(tmp_path, "run", "-j1")
    assert (ended.status, ended.errors) == (0, "")
    assert "▲ web  up after" in ended.output
    assert "b'hello'" in ended.output
    assert "2 succeeded in" in ended.output
    assert not listens(port)


def test_a_service_is_up_once_its_log_says_so(tmp_path: Path) -> None:
    says = "printf 'listen'; until [ -e go ]; do sleep 0.01; done; printf 'ing at 80'; " + STAYS
    tasks = {
        "db": {"command": says, "service": {"log": "listening"}},
        "other": "touch go",
        "test": {"command": "test -e go", "after": ["db"]},
    }
    write_work(tmp_path, tasks)
    assert run(tmp_path, "run", "-j2").status == 0


def test_a_service_is_up_once_a_command_succeeds_that_knows_what_it_knows(tmp_path: Path) -> None:
    service = {"ready": 'echo asked >> asked; test "$PW_TASK $A" = "db 1" -a -e up'}
    serve = "until [ -e asked ]; do sleep 0.01; done; touch up; " + STAYS
    tasks = {
        "db": {"command": serve, "env": {"A": "1"}, "service": service},
        "test": {"command": "test -e up", "after": ["db"]},
    }
    write_work(tmp_path, tasks)
    assert run(tmp_path, "run").status == 0
    assert (tmp_path / "asked").read_text().count("asked") > 1


def test_a_service_ends_with_all_that_it_started_after_the_last_that_needs_it(
    tmp_path: Path,
) -> None:
    serve = f"trap 'echo end >> order; exit' TERM; {STAYS[5:]} & echo up; wait"
    tasks = {
        "db": {"command": serve, "service": {"log": "up"}},
        "a": {"command": "echo a >> order", "after": ["db"]},
        "b": {"command": "echo b >> order", "after": ["a", "db"]},
        "c": {"command": "until grep end order; do sleep 0.01; done", "after": ["b"]},
    }
    write_work(tmp_path, tasks)
    with started(tmp_path, "run", "-j2") as running:
        assert running.end().status == 0
        assert running.left_behind() == []
    assert (tmp_path / "order").read_text() == "a\nb\nend\n"


def test_a_service_that_does_not_heed_is_killed_and_that_is_no_failure(tmp_path: Path) -> None:
    serve = "trap '' TERM; echo up; while :; do sleep 0.05; done"
    tasks = {
        "db": {"command": serve, "service": {"log": "up"}},
        "a": {"command": "true", "after": ["db"]},
    }
    write_work(tmp_path, tasks)
    ended = run(tmp_path, "run", "--grace", "0.2")
    assert ended.status == 0
    assert "2 succeeded in" in ended.output


def test_a_service_that_ends_before_it_is_up_has_failed(tmp_path: Path) -> None:
    tasks = {
        "db": {"command": "echo no disk; exit 3", "service": {"log": "up"}},
        "a": {"command": "touch ran", "after": ["db"]},
    }
    write_work(tmp_path, tasks)
    ended = run(tmp_path, "run")
    assert ended.status == 1
    assert "✗ db  exit status 3 after" in ended.output
    assert "; before it was up\n" in ended.output
    assert "  | no disk\n" in ended.output
    assert "1 skipped because of db" in ended.output
    assert "run it again: parallel-workers run --only work.json a\n" in ended.output
    assert not (tmp_path / "ran").exists()


def test_a_service_that_ends_while_it_is_needed_has_failed_and_what_runs_may_end(
    tmp_path: Path,
) -> None:
    serve = "echo up; until [ -e running ]; do sleep 0.01; done; exit 0"
    tasks = {
        "db": {"command": serve, "service": {"log": "up"}},
        "a": {"command": "touch running; until [ -e told ]; do sleep 0.01; done", "after": ["db"]},
        "b": {"command": "touch ran", "after": ["a", "db"]},
        "c": {"command": "touch cleaned", "after": ["b"], "always": True},
    }
    write_work(tmp_path, tasks)
    with started(tmp_path, "run", "--events", "events") as running:
        running.wait_for("running")
        until(lambda: '"outcome":"failed"' in (tmp_path / "events").read_text())
        (tmp_path / "told").touch()
        ended = running.end()
    assert ended.status == 1
    assert "✗ db  exit status 0 after" in ended.output
    assert "; while it was needed\n" in ended.output
    assert "1 skipped because of db" in ended.output
    assert "2 succeeded, 1 failed, 1 skipped in" in ended.output
    assert not (tmp_path / "ran").exists()


def test_a_service_that_may_fail_is_tried_again_until_it_comes_up(tmp_path: Path) -> None:
    serve = "test -e tried || { touch tried; exit 1; }; echo up; " + STAYS
    tasks = {
        "db": {"command": serve, "service": {"log": "up"}, "retries": 1},
        "a": {"command": "true", "after": ["db"]},
    }
    write_work(tmp_path, tasks)
    ended = run(tmp_path, "run")
    assert ended.status == 0
    assert "↻ db  attempt 1: exit status 1 after" in ended.output


def test_the_timeout_of_a_service_is_one_for_coming_up(tmp_path: Path) -> None:
    tasks = {
        "slow": {"command": STAYS, "service": {"log": "up"}, "timeout": 0.1},
        "a": {"command": "true", "after": ["slow"]},
        "quick": {"command": "echo up; " + STAYS, "service": {"log": "up"}, "timeout": 0.2},
        "b": {"command": "sleep 0.4", "after": ["quick"]},
    }
    write_work(tmp_path, tasks)
    ended = run(tmp_path, "run", "-k", "-j4")
    assert ended.status == 1
    assert "✗ slow  timed out after" in ended.output
    assert "2 succeeded, 1 timed out, 1 skipped in" in ended.output


def test_a_port_that_somebody_listens_at_already_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        tasks = {
            "db": {"command": "touch ran; " + STAYS, "service": {"port": port}},
            "a": {"command": "true", "after": ["db"]},
        }
        write_work(tmp_path, tasks)
        ended = run(tmp_path, "run")
    assert ended.status == 1
    assert f"✗ db  somebody listens at port {port} already" in ended.output
    assert not (tmp_path / "ran").exists()


def test_a_port_at_which_we_have_reached_ourselves_is_not_that_of_a_service(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = socket.create_connection

    def reach_ourselves(address: tuple[str, int], timeout: float) -> socket.socket:
        # The system does that by chance, once in some thousand times for some ports.
        return connect(address, timeout, source_address=address)

    monkeypatch.setattr(socket, "create_connection", reach_ourselves)
    graph = WorkGraph()
    graph.add("use", int, after=[graph.add("db", command=STAYS, service={"port": port}, timeout=1)])
    run = graph.run(check=False)
    assert run.tasks["db"].outcome is Outcome.TIMED_OUT
    assert run.tasks["use"].outcome is Outcome.SKIPPED


def test_a_service_that_nobody_needs_in_this_run_does_not_start(tmp_path: Path) -> None:
    tasks = {
        "db": {"command": "touch ran; echo up; " + STAYS, "service": {"log": "up"}},
        "test": {"command": "true", "after": ["db"]},
        "lint": "true",
    }
    write_work(tmp_path, tasks)
    assert "1 succeeded in" in run(tmp_path, "run", "lint").output
    assert run(tmp_path, "run", "--skip", "test").status == 0
    assert not (tmp_path / "ran").exists()
    assert run(tmp_path, "run").status == 0
    (tmp_path / "ran").unlink()
    ended = run(tmp_path, "run", "--resume", "--explain")
    assert "db: not needed\n" in ended.output
    assert "3 cached in" in ended.output
    assert not (tmp_path / "ran").exists()


def test_a_service_does_not_start_for_what_a_failure_keeps_from_running(tmp_path: Path) -> None:
    tasks = {
        "fails": {"command": "exit 1", "duration": 9},
        "db": {"command": "touch ran; " + STAYS, "service": {"ready": "true"}},
        "test": {"command": "true", "after": ["db", "fails"]},
    }
    write_work(tmp_path, tasks)
    ended = run(tmp_path, "run", "-k", "-j1")
    assert (ended.status, "1 failed, 2 skipped in" in ended.output) == (1, True)
    assert not (tmp_path / "ran").exists()


def test_a_service_does_not_start_for_what_nobody_confirms(tmp_path: Path) -> None:
    tasks = {
        "db": {"command": "touch ran; " + STAYS, "service": {"ready": "true"}},
        "drop": {"command": "true", "after": ["db"], "confirm": "Drop all tables?"},
    }
    write_work(tmp_path, tasks)
    ended = run(tmp_path, "run")
    assert (ended.status, "1 skipped, 1 parked in" in ended.output) == (4, True)
    assert not (tmp_path / "ran").exists()
    assert run(tmp_path, "run", "--resume", "--yes").status == 0
    assert (tmp_path / "ran").exists()


def test_what_goes_on_with_a_run_has_its_services_again(tmp_path: Path) -> None:
    tasks = {
        "db": {"command": "echo x >> ran; echo up; " + STAYS, "service": {"log": "up"}},
        "a": {"command": "true", "after": ["db"]},
        "b": {"command": "test -e mended", "after": ["db"]},
    }
    write_work(tmp_path, tasks)
    assert run(tmp_path, "run", "-k").status == 1
    (tmp_path / "mended").touch()
    ended = run(tmp_path, "run", "--resume", "--explain")
    assert ended.status == 0
    assert "db: runs: b needs it\n" in ended.output
    assert "2 succeeded, 1 cached in" in ended.output
    assert (tmp_path / "ran").read_text() == "x\nx\n"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--only", "b"], 0),
        (["--from", "b"], 0),
        (["--failed"], 0),
        (["--only", "b", "--skip", "net"], 1),
    ],
)
def test_what_is_done_alone_has_its_services_all_the_same(
    tmp_path: Path, arguments: list[str], status: int
) -> None:
    # What is left out counts as done; but a service of an earlier run is not there any more.
    serve = {"command": "touch $PW_TASK.up; echo up; " + STAYS, "service": {"log": "up"}}
    tasks = {
        "unused": serve,
        "net": serve,
        "a": {"command": "touch a.ran", "after": ["unused"]},
        "db": {**serve, "after": ["net", "a"]},
        "b": {"command": "test -e net.up -a -e db.up -a -e go", "after": ["db"]},
    }
    write_work(tmp_path, tasks)
    assert run(tmp_path, "run").status == 1
    for left in [*tmp_path.glob("*.up"), tmp_path / "a.ran"]:
        left.unlink()
    (tmp_path / "go").touch()
    assert run(tmp_path, "run", *arguments).status == status
    assert not (tmp_path / "unused.up").exists()
    assert not (tmp_path / "a.ran").exists()


def test_nothing_but_services_is_an_error_that_says_what_to_name(tmp_path: Path) -> None:
    tasks = {"db": {"command": STAYS, "service": {"port": 1}}, "a": {"after": ["db"]}}
    write_work(tmp_path, tasks)
    ended = run(tmp_path, "run", "db")
    assert ended.status == 2
    assert "error: nothing would run: db is a service" in ended.errors
    assert len(ended.errors.splitlines()) == 1


def test_of_services_alone_the_one_that_was_named_is_told(tmp_path: Path) -> None:
    serve = {"command": "exec sleep 60", "service": {"ready": "true"}}
    write_work(tmp_path, {"s1": serve, "s2": {**serve, "after": ["s1"]}})
    ended = run(tmp_path, "run", "s2")
    assert ended.status == 2
    assert "error: nothing would run: s2 is a service" in ended.errors


def test_an_interrupt_ends_services_that_are_up_and_those_that_come_up(tmp_path: Path) -> None:
    tasks = {
        "db": {"command": "echo up; " + STAYS, "service": {"log": "up"}},
        "a": {"command": "touch running; " + STAYS, "after": ["db"]},
        "never": {"command": "touch coming; " + STAYS, "service": {"ready": "false"}},
        "b": {"command": "true", "after": ["never"]},
    }
    write_work(tmp_path, tasks)
    with started(tmp_path, "run", "-j4") as running:
        running.wait_for("running", "coming")
        running.send(signal.SIGINT)
        ended = running.end()
        assert running.left_behind() == []
    assert ended.status == 130
    assert "■ a  cancelled after" in ended.output
    assert "failed" not in ended.output


def test_an_interrupt_is_told_of_the_service_and_not_of_what_asks_whether_it_is_up(
    tmp_path: Path,
) -> None:
    ready = "touch asked; sleep 77"
    tasks = {
        "db": {"command": STAYS, "service": {"ready": ready}},
        "a": {"command": "true", "after": ["db"]},
    }
    write_work(tmp_path, tasks)
    with started(tmp_path, "run") as running:
        running.wait_for("asked")
        running.send(signal.SIGINT)
        ended = running.end()
    assert ended.status == 130
    assert f"\n  $ {STAYS}\n" in ended.output
    assert "sleep 77" not in ended.output


def test_a_failure_ends_a_service_that_is_coming_up_for_nobody(tmp_path: Path) -> None:
    fails = "until [ -e coming ]; do sleep 0.01; done; exit 1"
    tasks = {
        "never": {"command": "touch coming; " + STAYS, "service": {"ready": "false"}},
        "b": {"command": "true", "after": ["never"]},
        "fails": fails,
    }
    write_work(tmp_path, tasks)
    ended = run(tmp_path, "run", "-j2", "--events", "events")
    assert ended.status == 1
    assert "1 succeeded, 1 failed, 1 skipped in" in ended.output
    assert "service_ready" not in (tmp_path / "events").read_text()
    assert "▲ never" not in ended.output


@pytest.mark.parametrize(
    ("serve", "fields", "told"),
    [
        pytest.param(STAYS, {"timeout": 0.3}, "✗ db  timed out after", id="late"),
        pytest.param(
            "until [ -e asked ]; do sleep 0.01; done; exit 3",
            {},
            "; before it was up",
            id="dead",
        ),
        pytest.param(STAYS, {}, "✓ db  ", id="unneeded"),
    ],
)
def test_nobody_waits_for_what_asks_whether_a_service_is_up(
    tmp_path: Path, serve: str, fields: dict[str, object], told: str
) -> None:
    ask = "touch asked; sleep 20; touch waited"
    tasks = {
        "db": {"command": serve, "service": {"ready": ask}, **fields},
        "use": {"command": "true", "after": ["db"]},
        "bad": "until [ -e asked ]; do sleep 0.01; done; exit 1",
    }
    write_work(tmp_path, tasks if told.startswith("✓") else tasks | {"bad": "true"})
    with started(tmp_path, "run", "-j2") as program:
        ended = program.end()
        assert program.left_behind() == []
    assert ended.status == 1
    assert told in ended.output
    assert not (tmp_path / "waited").exists()


def test_a_killed_runner_leaves_no_service(tmp_path: Path) -> None:
    tasks = {
        "db": {"command": "echo up; " + STAYS, "service": {"log": "up"}},
        "a": {"command": "touch running; " + STAYS, "after": ["db"]},
    }
    write_work(tmp_path, tasks)
    with started(tmp_path, "run") as running:
        running.wait_for("running")
        running.send(signal.SIGKILL)
        running.end()
        until(lambda: running.left_behind() == [])


def test_a_service_passes_on_what_it_has_chosen(tmp_path: Path) -> None:
    serve = 'echo "PORT=4242" >> "$PW_OUTPUTS"; echo up; ' + STAYS
    tasks = {
        "db": {"command": serve, "service": {"log": "up"}},
        "a": {"command": 'test "$PORT" = 4242', "after": ["db"]},
    }
    write_work(tmp_path, tasks)
    assert run(tmp_path, "run").status == 0


def test_a_service_whose_outputs_cannot_be_passed_on_fails_and_is_ended(tmp_path: Path) -> None:
    serve = 'echo "no variable" >> "$PW_OUTPUTS"; echo up; ' + STAYS
    tasks = {
        "db": {"command": serve, "service": {"log": "up"}},
        "a": {"command": "true", "after": ["db"]},
    }
    write_work(tmp_path, tasks)
    with started(tmp_path, "run") as running:
        ended = running.end()
        assert running.left_behind() == []
    assert ended.status == 1
    assert "✗ db  outputs: line 1:" in ended.output


def test_events_tell_when_a_service_is_up_and_when_it_has_ended(tmp_path: Path) -> None:
    tasks = {
        "db": {"command": "echo up; " + STAYS, "service": {"log": "up"}},
        "a": {"command": "true", "after": ["db"]},
    }
    write_work(tmp_path, tasks)
    assert run(tmp_path, "run", "--events", "events").status == 0
    lines = (tmp_path / "events").read_text().splitlines()
    told = [line.split('"event":"')[1].split('"')[0] for line in lines if '"task":"db"' in line]
    assert told == ["task_started", "service_ready", "task_ended"]
    assert run_directory(tmp_path).is_dir()


SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
"""Where Debian has the programs of PostgreSQL, the oldest version first."""


@pytest.fixture
def place_for_postgres() -> Iterator[tuple[Path, str]]:
    """A directory for a server that root may not run, and what runs a command as its owner."""
    with tempfile.TemporaryDirectory(prefix="pg") as place:
        as_owner = ""
        if os.geteuid() == 0:
            shutil.chown(place, "nobody")
            as_owner = "setpriv --reuid=nobody --clear-groups --inh-caps=-all "
        yield Path(place), as_owner


@pytest.mark.skipif(not SERVERS, reason="needs postgresql")
@pytest.mark.program("setpriv")
def test_postgresql_is_set_up_used_and_ended(
    tmp_path: Path, place_for_postgres: tuple[Path, str]
) -> None:
    place, as_owner = place_for_postgres
    server = f"{as_owner}{SERVERS[-1]}"
    psql = f"{server}/psql -v ON_ERROR_STOP=1 -h {place} postgres -c"
    tasks = {
        "init": f"{server}/initdb --no-sync -D {place}/data",
        "db": {
            "command": f"exec {server}/postgres -D {place}/data -k {place} -c listen_addresses=",
            "service": {"ready": f"{server}/pg_isready -h {place} -d postgres"},
            "after": ["init"],
        },
        "schema": {"command": f'{psql} "CREATE TABLE seen (n integer)"', "after": ["db"]},
        "insert": {"command": f'{psql} "INSERT INTO seen VALUES (7)"', "after": ["db", "schema"]},
        "select": {"command": f'{psql} "SELECT n * 6 FROM seen"', "after": ["db", "insert"]},
    }
    write_work(tmp_path, tasks)
    with started(tmp_path, "run") as running:
        ended = running.end()
        assert running.left_behind() == []
    assert (ended.status, ended.errors) == (0, "")
    assert "       42\n" in ended.output
    assert "database system is shut down" in ended.output
    assert not list(place.glob("data/postmaster.pid"))


def is_up(path: str) -> bool:
    return Path(path).exists()


def test_functions_use_services_wherever_they_run(tmp_path: Path, place: str) -> None:
    graph = WorkGraph()
    serve = f"trap 'rm {tmp_path}/up; exit' TERM; touch {tmp_path}/up; echo up; sleep 600 & wait"
    db = graph.add("db", command=serve, service={"log": "up"})
    used = [graph.add(f"use {n}", is_up, f"{tmp_path}/up", after=[db]) for n in range(3)]
    last = graph.add("last", is_up, f"{tmp_path}/up", after=used)
    run = graph.run(on=place, jobs=2)
    assert [run[task] for task in used] == [True] * 3
    assert isinstance(run[last], bool)
    assert run.tasks["db"].outcome is Outcome.SUCCEEDED
    assert not is_up(f"{tmp_path}/up")


def test_a_service_that_dies_fails_wherever_functions_run(place: str) -> None:
    graph = WorkGraph()
    db = graph.add("db", command="exit 3", service={"log": "up"})
    graph.add("use", is_up, ".", after=[db])
    with pytest.raises(RunFailed) as failed:
        graph.run(on=place)
    assert failed.value.run.tasks["db"].outcome is Outcome.FAILED
    assert failed.value.run.tasks["use"].outcome is Outcome.SKIPPED


def test_what_waits_for_a_process_that_boots_does_not_begin_when_a_service_has_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, begun, go = (str(tmp_path / name) for name in ("used", "begun", "go"))
    says_ready, booted = WorkerProcess.says_ready, []

    def say_late(worker: WorkerProcess, result: Result) -> str | None:
        until(lambda: not booted or Path(go).exists())
        booted.append(worker)
        return says_ready(worker, result)

    def hear(events: list[Event]) -> None:
        if any(isinstance(event, TaskEnded) and event.task == "db" for event in events):
            Path(go).touch()

    monkeypatch.setattr(WorkerProcess, "says_ready", say_late)
    graph = WorkGraph()
    serve = f"echo up; until [ -e {used} ]; do sleep 0.01; done"
    db = graph.add("db", command=serve, service={"log": "up"})
    graph.add("first", work.note_and_wait, used, go, after=[db])
    graph.add("second", work.write_down, begun, "second", after=[db])
    run = graph.run(on="processes", jobs=2, keep_going=True, listen=hear, check=False)
    assert [run.tasks[name].outcome for name in ("db", "first", "second")] == [
        Outcome.FAILED,
        Outcome.SUCCEEDED,
        Outcome.SKIPPED,
    ]
    assert not Path(begun).exists()


def test_a_cancelled_run_ends_its_services(tmp_path: Path, place: str) -> None:
    if place == "inline":
        pytest.skip("nothing can cancel a run while its own thread is at it")
    graph = WorkGraph()
    db = graph.add("db", command="echo up; " + STAYS, service={"log": "up"})
    graph.add("use", command=f"touch {tmp_path}/running; " + STAYS, after=[db])
    run = graph.start(on=place)
    until((tmp_path / "running").exists)
    run.cancel()
    run.wait()
    assert run.tasks["use"].outcome is Outcome.CANCELLED
    # Whichever of the two was quicker.
    assert run.tasks["db"].outcome in (Outcome.SUCCEEDED, Outcome.CANCELLED)
