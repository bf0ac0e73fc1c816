"""Child processes, real ones: how they start, end, and are ended with all that they started."""

import contextlib
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from parallel_workers.children import Children, groups_by_session
from tests.support.program import until
from tests.support.threads import allow_threads

ENV = dict(os.environb)


@pytest.fixture
def children() -> Iterator[Children]:
    children = Children(grace=0.2)
    yield children
    children.close()


def spawn(children: Children, directory: Path, script: str, **env: str) -> int:
    """Start a shell with a script, in which $D is the directory; its log is `log` there."""
    more = {key.encode(): value.encode() for key, value in {"D": str(directory), **env}.items()}
    words = ("/bin/sh", "-c", script)
    return children.spawn("/bin/sh", words, ENV, more, str(directory / "log"))


def end_of(children: Children, directory: Path, script: str, **env: str) -> tuple[int, str]:
    """Run a script to its end; return its status and what it wrote."""
    status, _ = ended(children, spawn(children, directory, script, **env))
    return status, (directory / "log").read_text()


def ended(children: Children, pid: int, timeout: float | None = None) -> tuple[int, bool]:
    """Wait for a child; return its status, and whether it was its time limit that ended it."""
    end = children.wait(pid, timeout)
    return end.status, end.timed_out


def appears(path: Path) -> None:
    until(path.exists)


@pytest.mark.parametrize("status", [0, 1, 7, 126, 255])
def test_the_exit_status_is_told(children: Children, tmp_path: Path, status: int) -> None:
    assert end_of(children, tmp_path, f"exit {status}") == (status, "")


def test_a_signal_is_told_as_its_negative_number(children: Children, tmp_path: Path) -> None:
    assert end_of(children, tmp_path, "kill -KILL $$")[0] == -signal.SIGKILL


def test_there_is_nothing_to_read(children: Children, tmp_path: Path) -> None:
    assert end_of(children, tmp_path, "cat; readlink /proc/self/fd/0") == (0, "/dev/null\n")


def test_output_and_errors_go_into_one_file_in_order(children: Children, tmp_path: Path) -> None:
    assert end_of(children, tmp_path, "echo 1; echo 2 >&2; echo 3") == (0, "1\n2\n3\n")


def inherited() -> set[str]:
    """Return the file descriptors that every program started by this process has."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.get_inheritable(int(fd)):
                found.add(fd)
    return found


def test_nothing_of_ours_is_open_in_a_child(children: Children, tmp_path: Path) -> None:
    read, write = os.pipe()
    _, text = end_of(children, tmp_path, "ls /proc/$$/fd")
    os.close(read)
    os.close(write)
    # Whoever started the tests may have left something open for all that they start.
    assert set(text.split()) == {"0", "1", "2", *inherited()}


def test_a_child_leads_a_session_without_a_terminal(children: Children, tmp_path: Path) -> None:
    script = "set -- $(cut -d' ' -f1,5,6,7 /proc/$$/stat); [ $1 = $2 ] && [ $1 = $3 ] && echo $4"
    assert end_of(children, tmp_path, script) == (0, "0\n")


def test_a_pipe_whose_reader_has_gone_ends_the_writer_quietly(
    children: Children, tmp_path: Path
) -> None:
    """Python ignores SIGPIPE; a child that inherits that complains."""
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    assert end_of(children, tmp_path, "yes | head -1") == (0, "y\n")


def test_what_cannot_be_started_is_an_error(children: Children, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        children.spawn("/none", ("none",), {}, {}, str(tmp_path / "log"))
    with pytest.raises(FileNotFoundError):
        children.spawn("/bin/true", ("true",), {}, {}, str(tmp_path / "none" / "log"))


def test_a_child_within_its_time_limit_is_left_alone(children: Children, tmp_path: Path) -> None:
    assert ended(children, spawn(children, tmp_path, "exit 3"), 60) == (3, False)


def test_a_limit_longer_than_the_system_can_wait_is_no_limit(
    children: Children, tmp_path: Path
) -> None:
    assert ended(children, spawn(children, tmp_path, "exit 3"), 10 * 366 * 86400.0) == (3, False)


def test_a_child_beyond_its_time_limit_is_told_to_end(children: Children, tmp_path: Path) -> None:
    assert ended(children, spawn(children, tmp_path, "sleep 60"), 0.1) == (-signal.SIGTERM, True)


def test_a_child_that_ends_in_its_own_way_when_told_has_timed_out(
    children: Children, tmp_path: Path
) -> None:
    script = "trap 'exit 0' TERM; touch $D/up; while :; do sleep 0.02; done"
    pid = spawn(children, tmp_path, script)
    appears(tmp_path / "up")
    assert ended(children, pid, 0.01) == (0, True)


@pytest.mark.parametrize(
    "starter",
    [
        pytest.param("({0}) &", id="in its group"),
        pytest.param("timeout 300 sh -c '{0}' &", id="in a group of its own"),
    ],
)
def test_a_time_limit_ends_all_that_a_child_started(
    children: Children, tmp_path: Path, starter: str
) -> None:
    stubborn = 'trap "" TERM INT; touch $D/up; while :; do sleep 0.02; done'
    pid = spawn(children, tmp_path, starter.format(stubborn) + " wait")
    appears(tmp_path / "up")
    assert pid in groups_by_session()
    assert ended(children, pid, 0.01) == (-signal.SIGTERM, True)
    assert pid not in groups_by_session()


def test_a_child_that_stopped_itself_is_killed(children: Children, tmp_path: Path) -> None:
    pid = spawn(children, tmp_path, "touch $D/up; kill -STOP $$")
    appears(tmp_path / "up")
    assert ended(children, pid, 0.01) == (-signal.SIGKILL, True)


def test_what_a_child_leaves_in_the_background_is_not_waited_for(
    children: Children, tmp_path: Path
) -> None:
    script = "while [ ! -e $D/go ]; do sleep 0.02; done & echo $!"
    status, text = end_of(children, tmp_path, script)
    assert status == 0
    os.kill(int(text), 0)  # it is still there
    (tmp_path / "go").touch()
    until(lambda: not Path(f"/proc/{int(text)}").exists())


def test_all_children_are_told_and_each_is_waited_for(children: Children, tmp_path: Path) -> None:
    pids = []
    for number in range(5):
        directory = tmp_path / str(number)
        directory.mkdir()
        pids.append(spawn(children, directory, "touch $D/up; sleep 60"))
        appears(directory / "up")
    assert not children.ending
    children.tell_all(signal.SIGTERM)
    assert children.ending
    assert [ended(children, pid) for pid in pids] == [(-signal.SIGTERM, False)] * 5
    assert groups_by_session().keys() & set(pids) == set()


def test_a_child_that_starts_after_all_were_told_is_told_too(
    children: Children, tmp_path: Path
) -> None:
    children.tell_all(signal.SIGTERM)
    pid = spawn(children, tmp_path, "sleep 60")
    assert ended(children, pid) == (-signal.SIGTERM, False)


def test_a_session_is_waited_for_until_it_is_empty_once_all_were_told(
    children: Children, tmp_path: Path
) -> None:
    script = "(trap '' TERM INT; touch $D/up; while :; do sleep 0.02; done) & wait"
    pid = spawn(children, tmp_path, script)
    appears(tmp_path / "up")
    children.tell_all(signal.SIGTERM)
    ends: list[tuple[int, bool]] = []
    waiter = threading.Thread(target=lambda: ends.append(ended(children, pid)))
    waiter.start()
    until(lambda: _state(pid) == "Z")
    assert waiter.is_alive()
    children.tell_all(signal.SIGKILL)
    waiter.join(20)
    assert ends == [(-signal.SIGTERM, False)]
    assert pid not in groups_by_session()


def test_sessions_are_told_apart_whatever_their_programs_are_called(
    children: Children, tmp_path: Path
) -> None:
    program = tmp_path / ") S 1 (x\n"
    program.symlink_to("/bin/sleep")
    pid = children.spawn(str(program), ("sleep", "60"), ENV, {}, str(tmp_path / "log"))
    assert groups_by_session()[pid] == {pid}
    children.tell_all(signal.SIGKILL)
    children.wait(pid, None)


def count_looks(
    monkeypatch: pytest.MonkeyPatch, others: Sequence[threading.Thread]
) -> list[threading.Thread]:
    """Return a list that gets who looks at the sessions: this thread or one of some others."""
    looks: list[threading.Thread] = []
    counted = {threading.current_thread(), *others}

    def look() -> dict[int, set[int]]:
        if threading.current_thread() in counted:
            looks.append(threading.current_thread())
        return groups_by_session()

    monkeypatch.setattr("parallel_workers.children.groups_by_session", look)
    return looks


def test_many_threads_share_one_look_at_the_sessions(
    children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks are counted, since time would say nothing on a busy machine."""
    pids = [spawn(children, tmp_path, "trap '' TERM; sleep 60") for _ in range(40)]
    waiters = [threading.Thread(target=children.wait, args=(pid, None)) for pid in pids]
    looks = count_looks(monkeypatch, waiters)
    children.tell_all(signal.SIGKILL)
    assert len(looks) == 1
    for waiter in waiters:
        waiter.start()
    for waiter in waiters:
        waiter.join(20)
    assert len(looks) < 40


def test_stopped_children_go_on_when_they_are_told_to(children: Children, tmp_path: Path) -> None:
    # A shell whose child is stopped before it is another program would wait for that (D, not T).
    script = "timeout 60 sh -c 'echo $$ > $D/part; mv $D/part $D/pid; exec sleep 60' & wait"
    pid = spawn(children, tmp_path, script)
    appears(tmp_path / "pid")
    other = int((tmp_path / "pid").read_text())  # in a group of its own
    children.stop_all()
    until(lambda: (_state(pid), _state(other)) == ("T", "T"))
    children.continue_all()
    until(lambda: (_state(pid), _state(other)) == ("S", "S"))
    children.tell_all(signal.SIGKILL)
    children.wait(pid, None)


def test_a_child_that_starts_while_all_are_stopped_is_stopped(
    children: Children, tmp_path: Path
) -> None:
    children.stop_all()
    pid = spawn(children, tmp_path, "exit 3")
    until(lambda: _state(pid) in "TZ")
    children.continue_all()
    assert ended(children, pid) == (3, False)


def test_time_for_which_children_are_stopped_is_not_counted(
    children: Children, tmp_path: Path
) -> None:
    pid = spawn(children, tmp_path, "touch $D/up; exec sleep 60")
    appears(tmp_path / "up")
    children.stop_all()
    children.stop_all()  # as a second Ctrl-Z would
    stopped_at = children.clock()
    ends: list[tuple[int, bool]] = []
    waiter = threading.Thread(target=lambda: ends.append(ended(children, pid, 0.05)))
    waiter.start()
    time.sleep(0.3)
    assert children.clock() == stopped_at
    assert (waiter.is_alive(), _state(pid)) == (True, "T")
    children.continue_all()
    waiter.join(20)
    assert ends == [(-signal.SIGTERM, True)]
    assert children.clock() > stopped_at


def test_what_a_child_and_its_children_used_is_told(children: Children, tmp_path: Path) -> None:
    much = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + 20_000_000
    script = f"import time\nx = b'x' * {much}\nwhile time.process_time() < 0.2: pass"
    pid = spawn(children, tmp_path, f'{sys.executable} -c "{script}"; true')
    end = children.wait(pid, None)
    assert end.cpu >= 0.2
    assert end.memory is not None
    assert end.memory > much


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the memory of all can be told")
def test_of_a_child_with_less_memory_than_we_had_it_is_not_told(
    children: Children, tmp_path: Path
) -> None:
    """The system tells what we had, since the child has shared it."""
    assert children.wait(spawn(children, tmp_path, "true"), None).memory is None


# One child told to end


def cancelled(children: Children, *pids: int) -> list[tuple[int, bool]]:
    """Wait for children that may have been told to end; return their statuses, and whether so."""
    ends = [children.wait(pid, None) for pid in pids]
    return [(end.status, end.cancelled) for end in ends]


def test_one_child_is_told_to_end_and_no_other(children: Children, tmp_path: Path) -> None:
    one = spawn(children, tmp_path, "exec sleep 60")
    other = spawn(children, tmp_path, "until [ -e $D/go ]; do sleep 0.02; done")
    children.end(one)
    assert cancelled(children, one) == [(-signal.SIGTERM, True)]
    assert not children.ending
    (tmp_path / "go").touch()
    assert cancelled(children, other) == [(0, False)]


@pytest.mark.parametrize(
    "starter",
    [
        pytest.param("{0}", id="itself"),
        pytest.param("({0}) & wait", id="in its group"),
        pytest.param("timeout 300 sh -c '{0}' & wait", id="in a group of its own"),
    ],
)
def test_what_does_not_end_when_told_alone_is_killed_after_the_grace(
    children: Children, tmp_path: Path, starter: str
) -> None:
    stubborn = 'trap "" TERM; touch $D/up; while :; do sleep 0.02; done'
    pid = spawn(children, tmp_path, starter.format(stubborn))
    appears(tmp_path / "up")
    children.end(pid)
    [(status, told)] = cancelled(children, pid)
    assert (status, told) in [(-signal.SIGKILL, True), (-signal.SIGTERM, True)]
    assert pid not in groups_by_session()


def test_a_child_that_is_told_to_end_alone_has_its_grace(tmp_path: Path) -> None:
    children = Children(grace=3600)
    script = (
        "trap 'touch $D/told; until [ -e $D/go ]; do sleep 0.02; done; exit 3' TERM;"
        " touch $D/up; while :; do sleep 0.02; done"
    )
    pid = spawn(children, tmp_path, script)
    appears(tmp_path / "up")
    children.end(pid)
    appears(tmp_path / "told")
    children.end(pid)
    (tmp_path / "go").touch()
    assert cancelled(children, pid) == [(3, True)]
    until(lambda: not _killers())
    children.close()


def test_many_children_are_told_to_end_by_one_look_and_one_thread(
    children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = [spawn(children, tmp_path, "exec sleep 60") for _ in range(40)]
    looks = count_looks(monkeypatch, [])
    until(lambda: not _killers())
    children.end(*pids)
    assert len(looks) == 1
    assert len(_killers()) <= 1
    assert cancelled(children, *pids) == [(-signal.SIGTERM, True)] * 40


def test_a_child_that_has_ended_is_not_told_to_end(children: Children, tmp_path: Path) -> None:
    pid = spawn(children, tmp_path, "sleep 0.3 & exit 3")
    until(lambda: _state(pid) == "Z")
    children.end(pid)
    assert cancelled(children, pid) == [(3, False)]
    children.end(pid)
    assert not children.any_alive


def test_the_grace_of_one_child_does_not_pass_while_children_are_stopped(
    children: Children, tmp_path: Path
) -> None:
    pid = spawn(children, tmp_path, "trap '' TERM; touch $D/up; while :; do sleep 0.02; done")
    appears(tmp_path / "up")
    children.stop_all()
    children.end(pid)
    time.sleep(2 * children.grace)
    assert _state(pid) == "T"
    children.continue_all()
    assert cancelled(children, pid) == [(-signal.SIGKILL, True)]


def test_an_interrupt_goes_on_with_a_child_that_was_told_to_end_alone(tmp_path: Path) -> None:
    children = Children(grace=3600)
    pid = spawn(children, tmp_path, "trap '' TERM; touch $D/up; while :; do sleep 0.02; done")
    appears(tmp_path / "up")
    children.end(pid)
    children.tell_all(signal.SIGKILL)
    assert cancelled(children, pid) == [(-signal.SIGKILL, True)]
    children.close()


def test_without_a_thread_to_wait_for_the_grace_a_child_is_killed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = Children(grace=3600)
    pid = spawn(children, tmp_path, "trap '' TERM; touch $D/up; while :; do sleep 0.02; done")
    appears(tmp_path / "up")
    allow_threads(monkeypatch, 0)
    children.end(pid)
    assert cancelled(children, pid) == [(-signal.SIGKILL, True)]
    children.close()


def _killers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "killer"]


def test_without_a_list_of_processes_the_leaders_are_ended(
    children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_list() -> dict[int, set[int]]:
        raise OSError("too many open files")

    monkeypatch.setattr("parallel_workers.children.groups_by_session", no_list)
    pid = spawn(children, tmp_path, "touch $D/up; sleep 60")
    appears(tmp_path / "up")
    assert ended(children, pid, 0.01) == (-signal.SIGTERM, True)


def _state(pid: int) -> str:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat[stat.rindex(")") + 2]
