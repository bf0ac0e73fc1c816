"""Child processes: started as sessions of their own, waited for, ended with all that they started.

Each child leads a session (`setsid`). So a prompt on the terminal fails instead of stopping the
run, Ctrl-C reaches us alone, and what the child started can be found again: all processes of the
session, whatever groups they made of themselves. A leader that has ended is not reaped before its
session has been dealt with: as long as it is a zombie, its number belongs to nobody else.

What is Linux only, with what stands in for it elsewhere: waiting with a time limit uses a pidfd (a
short sleep between looks); a session's processes are found in /proc (only the leader's own group).
"""

import errno
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Mapping

PAUSE = 0.01
"""Seconds between two looks at something that cannot be waited for."""

_RESET = (signal.SIGPIPE, signal.SIGXFSZ)
"""The signals that Python ignores on its own account; a child must not inherit that."""


class Children:
    """The children of one run.

    Args:
        grace: Seconds that a child has to end by itself when it is told to.
    """

    def __init__(self, grace: float) -> None:
        self.grace = grace
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._lock = threading.Lock()
        self._alive: set[int] = set()
        self._told: signal.Signals | None = None

    @property
    def ending(self) -> bool:
        """Whether all children have been told to end."""
        return self._told is not None

    def close(self) -> None:
        """Let go of what is held open for children to come."""
        os.close(self._null)

    def spawn(
        self, program: str, words: tuple[str, ...], env: Mapping[bytes, bytes], log: str
    ) -> int:
        """Start a child with nothing to read, whose output and errors go into a file.

        Where the system has no room for another process now, it waits and tries again.

        Args:
            program: The path of the program.
            words: Its arguments, the name it is called by first.
            env: Its whole environment.
            log: The path of the file, which is made anew.

        Returns:
            The process id, to be given to `wait`.

        Raises:
            OSError: It cannot be started.
        """
        output = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        actions = [
            (os.POSIX_SPAWN_DUP2, self._null, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, output, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        while True:
            try:
                pid = os.posix_spawn(
                    program, words, env, file_actions=actions, setsid=True, setsigdef=_RESET
                )
                break
            except OSError as error:
                if error.errno != errno.EAGAIN or self.ending:
                    raise
                time.sleep(5 * PAUSE)
        with self._lock:
            self._alive.add(pid)
            told = self._told
        if told is not None:
            signal_session(pid, told)
        return pid

    def wait(self, pid: int, timeout: float | None) -> tuple[int, bool]:
        """Wait until the child has ended.

        Args:
            pid: What `spawn` returned.
            timeout: After how many seconds it is ended, with its whole session; None for never.

        Returns:
            Its exit status, or minus the number of the signal that ended it; and whether it was
            the time limit that ended it.
        """
        timed_out = timeout is not None and not _ends_within(pid, timeout)
        if timed_out:
            end_session(pid, self.grace)
        else:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            ending = self.ending
            if not ending:
                self._alive.discard(pid)
        if ending:
            # Whoever told them to end goes on to stronger signals until the session is empty.
            while session_members(pid):
                time.sleep(PAUSE)
            with self._lock:
                self._alive.discard(pid)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status), timed_out

    def tell_all(self, signum: signal.Signals) -> None:
        """Send a signal to all sessions, and to those of children that are being started.

        Args:
            signum: A signal that ends processes; children that start from now on get it too.
        """
        with self._lock:
            self._told = signum
            alive = tuple(self._alive)
        for pid in alive:
            signal_session(pid, signum)


def end_session(leader: int, grace: float) -> None:
    """End all processes of a session: ask, wait, and kill what is left.

    Args:
        leader: The process id of its leader, a child that has not been reaped.
        grace: Seconds between asking and killing.
    """
    signal_session(leader, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while session_members(leader):
        if time.monotonic() >= deadline:
            signal_session(leader, signal.SIGKILL)
        time.sleep(PAUSE)


def signal_session(leader: int, signum: signal.Signals) -> None:
    """Send a signal to every process of a session.

    Args:
        leader: The process id of its leader, a child that has not been reaped.
        signum: The signal.
    """
    groups = {group for _, group in session_members(leader)} | {leader}
    for group in groups:
        try:
            os.killpg(group, signum)
        except (ProcessLookupError, PermissionError):
            continue


def session_members(leader: int) -> list[tuple[int, int]]:
    """Return the processes of a session that have not ended, each with its process group.

    Args:
        leader: The process id of the session's leader, a child that has not been reaped.
    """
    if sys.platform != "linux":
        return [] if _has_ended(leader) else [(leader, leader)]
    members = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                stat = file.read()
        except OSError:
            continue
        # The name of the program, in parentheses, may hold anything; what follows is fixed.
        state, _, group, session = stat[stat.rindex(b")") + 2 :].split(None, 4)[:4]
        if int(session) == leader and state not in (b"Z", b"X"):
            members.append((int(entry), int(group)))
    return members


def group_exists(leader: int) -> bool:
    """Return whether a process is left in the group of a leader that has been reaped."""
    try:
        os.killpg(leader, 0)
    except OSError:
        return False
    return True


def _ends_within(pid: int, timeout: float) -> bool:
    """Wait until the child has ended, but not longer than `timeout` seconds; do not reap it."""
    deadline = time.monotonic() + timeout
    if sys.platform == "linux":
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            pass  # an old kernel, or no file descriptor left: look now and then
        else:
            try:
                poll = select.poll()
                poll.register(fd, select.POLLIN)
                while (left := deadline - time.monotonic()) > 0:
                    # The most that poll takes is 2³¹ milliseconds.
                    if poll.poll(min(left * 1000 + 1, 1e9)):
                        return True
                return _has_ended(pid)
            finally:
                os.close(fd)
    while not _has_ended(pid):
        if time.monotonic() >= deadline:
            return False
        time.sleep(PAUSE)
    return True


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
