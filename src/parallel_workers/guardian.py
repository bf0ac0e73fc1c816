"""No orphans: a process that outlives the runner when that is killed, and ends what it has left.

What a command has started can leave its group, its session and its parent, but it keeps the
environment that it was executed with, where `PW_RUNNER` is a mark that no other runner has. (The id
of the run would not do: a run that goes on after its runner was killed has the same one.) So the
guardian waits until the runner has gone, which it sees by a pipe whose other end only the runner
holds, and kills every process that bears the mark, until none is left. A death signal
(`PR_SET_PDEATHSIG`) and a subreaper reach only those that have not left.

While it waits the guardian is a shell. That is started in 0.2 ms, and takes a megabyte. Python
would take 8 ms; a fork of the runner 1 ms at best, but 48 ms at 300 MB, and all that the runner
writes to from then on would be copied. To hunt, the shell becomes Python: by itself it would need a
new process for each look, for which there may be no room; `exec` needs none.

A guardian that has been killed is started again. On Linux only; elsewhere there is none.
This file is executed by itself, and so imports nothing of ours.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Collection, Iterator

PAUSE = 0.001
"""Seconds between two looks, at first; twice as many each time the last one changed nothing."""

QUIET = 0.1
"""For how many seconds none must be found. A process that is being executed has no environment for
a moment, and one that is being started does not bear the mark yet."""

_PURPOSE = "the guardian, which ends the commands of a run that is killed,"

_SOURCE_FD = 3
"""Where the guardian has this file open, which an update may replace while the run goes on."""

_WAIT = 'cd /; trap "" HUP INT QUIT TERM; read -r line; exec "$@"'
_HUNTER = (os.path.realpath(sys.executable), "-I", "-S", f"/dev/fd/{_SOURCE_FD}")


class Guardian:
    """The guardian of one run.

    Args:
        run: The id of the run.

    Attributes:
        mark: What all processes of the run have as `PW_RUNNER` in their environment.
        trouble: What happened to it, or why there is none; None while all is well.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self.mark = os.urandom(8).hex()
        self._pid: int | None = None
        self._pipe: int | None = None
        self.trouble: str | None = None

    def start(self) -> None:
        """Start it; if that cannot be done, the run goes on without."""
        if sys.platform != "linux":
            return
        try:
            self._start()
        except OSError as error:
            self.trouble = f"{_PURPOSE} could not be started: {error.strerror}"

    def keep(self) -> None:
        """Start it again if it has ended."""
        if self._has_ended():
            self.trouble = f"{_PURPOSE} was itself killed; another was started"
            self.start()

    def release(self) -> None:
        """End it: whatever is left of the run is to live on."""
        if self._has_ended():
            self.trouble = f"{_PURPOSE} was itself killed"
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = None
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None

    def escaped(self, sessions: Collection[int]) -> list[int]:
        """Return the processes of the run that are in none of these sessions, if it can be told."""
        escaped = []
        with contextlib.suppress(OSError):
            for pid in marked(self.mark):
                with contextlib.suppress(ProcessLookupError):
                    if os.getsid(pid) not in sessions:
                        escaped.append(pid)
        return escaped

    def _has_ended(self) -> bool:
        """Return whether it was started and has ended; once it has, it is no more there to ask."""
        if self._pid is None or os.waitpid(self._pid, os.WNOHANG) == (0, 0):
            return False
        self._pid = None
        return True

    def _start(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
        with contextlib.ExitStack() as opened:
            source = os.open(__file__, os.O_RDONLY | os.O_CLOEXEC)
            opened.callback(os.close, source)
            reading, self._pipe = os.pipe()
            opened.callback(os.close, reading)
            actions: list[tuple[object, ...]] = [
                (os.POSIX_SPAWN_DUP2, reading, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, 1, 2),
                (os.POSIX_SPAWN_DUP2, source, _SOURCE_FD),
            ]
            # A spawn closes no number from the limit on. Those are of a time before it was lowered.
            limit = os.sysconf("SC_OPEN_MAX")
            for fd in _inherited():
                if fd >= limit:
                    os.set_inheritable(fd, False)
                    opened.callback(os.set_inheritable, fd, True)
                elif fd > _SOURCE_FD:
                    actions.append((os.POSIX_SPAWN_CLOSE, fd))
            name = f"parallel-workers, guardian of run {self._run}"
            words = ("sh", "-c", _WAIT, name, *_HUNTER, self.mark)
            self._pid = os.posix_spawn("/bin/sh", words, {}, file_actions=actions, setsid=True)


def _inherited() -> list[int]:
    """Return the open files that every child of ours would get: locks, pipes of other programs."""
    found = []
    for fd in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):  # the one that this list was read by
            if os.get_inheritable(fd):
                found.append(fd)
    return found


def marked(mark: str) -> Iterator[int]:
    """Yield the processes of this machine that bear a mark, as each is found.

    The newest come first: they are the likeliest to be gone soon, and to have started another.

    Those whose environment we may not read are another user's.

    Args:
        mark: What they have as `PW_RUNNER` in their environment.

    Raises:
        OSError: They cannot be found out.
    """
    entry = b"\0PW_RUNNER=%b\0" % mark.encode()
    pids = sorted((int(name) for name in os.listdir("/proc") if name.isdigit()), reverse=True)
    return (pid for pid in pids if entry in b"\0" + _environment_of(pid))


def _environment_of(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def send(signum: signal.Signals, pid: int) -> bool:
    """Send a signal to a process; return whether there was one that we may send it to."""
    try:
        os.kill(pid, signum)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def hunt(mark: str) -> None:
    """Kill every process that bears a mark, until there is none.

    All are stopped before any is killed, so that none starts another in the place of one that has
    just made room.

    Args:
        mark: The mark.
    """
    before: set[int] = set()
    pause = PAUSE
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < QUIET:
        stopped = _stop_all(mark)
        killed = {pid for pid in stopped if send(signal.SIGKILL, pid)}
        if killed:
            quiet_since = time.monotonic()
        # What the system does not let end now is looked at ever more rarely.
        pause = min(2 * pause, 1.0) if killed and killed == before else PAUSE
        before = killed
        time.sleep(pause)


def _stop_all(mark: str) -> set[int]:
    """Stop every process that bears a mark; return those."""
    stopped: set[int] = set()
    while new := {pid for pid in marked(mark) if pid not in stopped and send(signal.SIGSTOP, pid)}:
        stopped |= new
    return stopped


if __name__ == "__main__":
    hunt(sys.argv[1])
