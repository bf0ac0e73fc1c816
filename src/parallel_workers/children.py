"""Child processes: started as sessions of their own, waited for, ended with all that they started.

Each child leads a session (`setsid`). So a prompt on the terminal fails instead of stopping the
run, Ctrl-C reaches us alone, and what the child started can be found again: all processes of the
session, whatever groups they made of themselves. A leader that has ended is not reaped before its
session has been dealt with: as long as it is a zombie, its number belongs to nobody else.

What is Linux only, with what stands in for it elsewhere: waiting with a time limit uses a pidfd (a
short sleep between looks); a session's processes are found in /proc (only the leader's own group).
To look through /proc takes a millisecond for every fifty processes of the machine, and hundreds of
children may end at once: so one look serves all threads that wait for one.
"""

import contextlib
import errno
import os
import resource
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from parallel_workers.spawning import Environment, PlainStarter, Starter, TerminalStarter

PAUSE = 0.01
"""Seconds between two looks at something that cannot be waited for."""

ROOM_PATIENCE = 5.0
"""Seconds to wait for room for a process that others, and no child of ours, would have to make."""

MANY = 250
"""From how many children on it is worth to import what starts them faster."""


def starter(null: int, expected: int, passed: Sequence[int] = ()) -> Starter:
    """Return what starts processes best.

    Args:
        null: A file descriptor that they get as standard input.
        expected: About how many will be started.
        passed: Other file descriptors that they get.
    """
    if expected < MANY or sys.platform != "linux":
        return PlainStarter(null, passed)
    from parallel_workers.libc_spawn import LibcStarter

    return LibcStarter(null, passed)


class Child(NamedTuple):
    """A child that has not been waited for.

    Attributes:
        own: What it has in its environment over that of others.
        log: The path of the file for its output.
    """

    own: Environment
    log: str


class Ended(NamedTuple):
    """How a child ended.

    Attributes:
        status: Its exit status, or minus the number of the signal that ended it.
        timed_out: Whether it was the time limit that ended it.
        cancelled: Whether somebody told it to end by `Children.end`.
        cpu: Seconds that processors worked for it, and for what it waited for.
        memory: The most bytes of memory that it, or one of those, had; None if that is unknown,
            as it is where it was less than this process has had.
    """

    status: int
    timed_out: bool
    cancelled: bool
    cpu: float
    memory: int | None


class Children:
    """The children of one run.

    Args:
        grace: Seconds that a child has to end by itself when it is told to.
        expected: About how many there will be.
        passed: File descriptors that they get, beside those that every program gets.
    """

    def __init__(self, grace: float, expected: int = 1, passed: Sequence[int] = ()) -> None:
        self.grace = grace
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._start = starter(self._null, expected, passed)
        self._passed = passed
        self._lock = threading.Lock()
        self._alive: dict[int, Child] = {}
        self._told: signal.Signals | None = None
        # By child that was told to end alone, when it is killed.
        self._deadlines: dict[int, float] = {}
        self._less_to_kill = threading.Condition(self._lock)
        self._kills = False
        # For how many seconds they have been stopped, and since when they are; always set as one.
        self._stopped: tuple[float, float | None] = (0.0, None)
        self._looking = threading.Lock()
        self._look_began = 0.0
        self._seen: Mapping[int, set[int]] = {}

    @property
    def ending(self) -> bool:
        """Whether all children have been told to end."""
        return self._told is not None

    @property
    def any_alive(self) -> bool:
        """Whether there is a child that has not been waited for."""
        return bool(self._alive)

    @property
    def alive(self) -> dict[int, Child]:
        """The children that have not been waited for, by process id."""
        with self._lock:
            return self._alive.copy()

    @property
    def told(self) -> signal.Signals | None:
        """The last signal that all children were told to end by; None if there was none."""
        return self._told

    def clock(self) -> float:
        """Return the seconds, from any start, in which children could run: not stopped by us."""
        stopped, since = self._stopped
        return (time.monotonic() if since is None else since) - stopped

    def close(self) -> None:
        """Let go of what is held open for children to come."""
        os.close(self._null)

    def spawn(
        self,
        program: str,
        words: tuple[str, ...],
        base: Environment,
        own: Environment,
        log: str,
        terminal: str | None = None,
    ) -> int:
        """Start a child with nothing to read, whose output and errors go into a file.

        Where the system has no room for another process now, it waits and tries again; but not for
        long while no child is running whose end would make room.

        Args:
            program: The path of the program.
            words: Its arguments, the name it is called by first.
            base: The environment that it shares with others, always the same object.
            own: What it has in its environment over that.
            log: The path of the file; there is none, or it is empty.
            terminal: The path of the terminal that it reads from and writes to instead.

        Returns:
            The process id, to be given to `wait`.

        Raises:
            OSError: It cannot be started.
        """
        start = self._start if terminal is None else TerminalStarter(terminal, self._passed)
        hopeful = time.monotonic()
        while True:
            try:
                pid = start(program, words, base, own, log)
                break
            except OSError as error:
                if error.errno != errno.EAGAIN or self.ending:
                    raise
                if self._alive:
                    hopeful = time.monotonic()
                elif time.monotonic() - hopeful > ROOM_PATIENCE:
                    raise
                time.sleep(5 * PAUSE)
        with self._lock:
            self._alive[pid] = Child(own, log)
            told = self._told
            stopped = self._stopped[1] is not None
        if told is not None:
            _signal_groups({pid}, told)
        if stopped:
            _signal_groups({pid}, signal.SIGSTOP)
        return pid

    def wait(self, pid: int, timeout: float | None) -> Ended:
        """Wait until the child has ended.

        Args:
            pid: What `spawn` returned.
            timeout: After how many seconds by `clock` it is ended, with its whole session; None
                for never.
        """
        timed_out = False
        if timeout is not None and not _ends_within(pid, timeout, self.clock):
            timed_out = bool(self.end(pid))
        else:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            alone = pid in self._deadlines
            ending = self.ending or alone
            if not ending:
                del self._alive[pid]
        if ending:
            # Whoever told it to end goes on to stronger signals until the session is empty.
            while groups := self._sessions().get(pid):
                if self._told is signal.SIGKILL:  # what was being started has escaped the first
                    _signal_groups(groups, signal.SIGKILL)
                time.sleep(PAUSE)
            with self._lock:
                del self._alive[pid]
                self._deadlines.pop(pid, None)
                self._less_to_kill.notify()
        _, status, usage = os.wait4(pid, 0)
        cpu = usage.ru_utime + usage.ru_stime
        return Ended(
            os.waitstatus_to_exitcode(status),
            timed_out,
            alone and not timed_out,
            cpu,
            _memory_of(usage),
        )

    def end(self, *pids: int) -> list[int]:
        """End children with their whole sessions: ask now, kill after the grace; return at once.

        Any thread may call this, and more than once. A child that has ended is left alone.

        Args:
            pids: What `spawn` returned for them.

        Returns:
            Those of them that are ended by this.
        """
        with self._lock:
            # Not yet reaped, or they would not be among these.
            told = [pid for pid in pids if pid in self._alive and not _has_ended(pid)]
            told = [pid for pid in told if pid not in self._deadlines]
            self._deadlines.update(dict.fromkeys(told, self.clock() + self.grace))
        if told:
            self._signal(told, signal.SIGTERM)
            self._see_to_killing()
        return told

    def tell_all(self, signum: signal.Signals) -> None:
        """Send a signal to all sessions, and to those of children that are being started.

        Args:
            signum: A signal that ends processes; children that start from now on get it too.
        """
        with self._lock:
            self._told = signum
            alive = tuple(self._alive)
        sessions = self._sessions()
        for pid in alive:
            _signal_groups(sessions.get(pid, set()) | {pid}, signum)

    def stop_all(self) -> None:
        """Stop all sessions, and those of children that are being started, and the clock."""
        with self._lock:
            stopped, since = self._stopped
            self._stopped = (stopped, time.monotonic() if since is None else since)
        self._signal(self.alive, signal.SIGSTOP)

    def continue_all(self) -> None:
        """Let all sessions go on that are stopped, by us or by others, and the clock."""
        with self._lock:
            stopped, since = self._stopped
            if since is not None:
                self._stopped = (stopped + time.monotonic() - since, None)
        self._signal(self.alive, signal.SIGCONT)

    def _signal(self, pids: Collection[int], signum: signal.Signals) -> None:
        """Send a signal to the sessions of those of `pids` that have not been waited for."""
        sessions = self._sessions()
        # With the lock, so that none of them is reaped and its number somebody else's.
        with self._lock:
            for pid in self._alive.keys() & pids:
                _signal_groups(sessions.get(pid, set()) | {pid}, signum)

    def _see_to_killing(self) -> None:
        """Have a thread kill those told to end alone that have had their time, if none does."""
        with self._lock:
            if self._kills or not self._deadlines:
                return
            self._kills = True
        try:
            threading.Thread(target=self._kill_late, name="killer", daemon=True).start()
        except RuntimeError:  # the system allows no thread that could wait
            self._kills = False
            self._signal(self.alive.keys() & self._deadlines, signal.SIGKILL)

    def _kill_late(self) -> None:
        while late := self._next_late():
            self._signal(late, signal.SIGKILL)
            # What starts in a session while it is killed is for the next look.
            time.sleep(PAUSE)

    def _next_late(self) -> list[int]:
        """Wait for some told to end alone to have had their time; return none once all ended."""
        with self._lock:
            while self._deadlines:
                now = self.clock()
                if late := [pid for pid, due in self._deadlines.items() if due <= now]:
                    return late
                # Longer where the clock stands still meanwhile.
                self._less_to_kill.wait(max(PAUSE, min(self._deadlines.values()) - now))
            self._kills = False
        return []

    def _sessions(self) -> Mapping[int, set[int]]:
        """Return the sessions in which a process is left, as they are now, with their groups."""
        asked = time.monotonic()
        with self._looking:
            if self._look_began <= asked:
                self._look_began = time.monotonic()
                try:
                    self._seen = groups_by_session()
                except OSError:  # no /proc, or no file descriptor left to read it with
                    self._seen = self._own_groups()
            return self._seen

    def _own_groups(self) -> dict[int, set[int]]:
        """Return what is known of our children's sessions without looking for them."""
        with self._lock:
            return {pid: {pid} for pid in self._alive if not _has_ended(pid)}


def groups_by_session() -> dict[int, set[int]]:
    """Return the process groups of each session of this machine in which a process has not ended.

    Raises:
        OSError: They cannot be found out.
    """
    found: dict[int, set[int]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                stat = file.read()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        # The name of the program, in parentheses, may hold anything; what follows is fixed.
        state, _, group, session = stat[stat.rindex(b")") + 2 :].split(None, 4)[:4]
        if state not in (b"Z", b"X"):
            found.setdefault(int(session), set()).add(int(group))
    return found


def _signal_groups(groups: Iterable[int], signum: signal.Signals) -> None:
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signum)


def _memory_of(usage: resource.struct_rusage) -> int | None:
    """Return the most memory of a process and what it waited for, in bytes, if it can be told.

    Linux counts the memory of the parent, too: the child shares it until it is another program.
    """
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if sys.platform == "darwin":
        return usage.ru_maxrss
    return usage.ru_maxrss * 1024 if usage.ru_maxrss > own else None


def _ends_within(pid: int, timeout: float, clock: Callable[[], float]) -> bool:
    """Wait until the child has ended, but no longer than `timeout` seconds; do not reap it."""
    deadline = clock() + timeout
    if sys.platform == "linux":
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            pass  # an old kernel, or no file descriptor left: look now and then
        else:
            try:
                poll = select.poll()
                poll.register(fd, select.POLLIN)
                while (left := deadline - clock()) > 0:
                    # The most that poll takes is 2³¹ milliseconds.
                    if poll.poll(min(left * 1000 + 1, 1e9)):
                        return True
                return _has_ended(pid)
            finally:
                os.close(fd)
    while not _has_ended(pid):
        if clock() >= deadline:
            return False
        time.sleep(PAUSE)
    return True


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
