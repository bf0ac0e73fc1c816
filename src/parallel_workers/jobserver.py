"""GNU make's jobserver: how many commands run at once, shared with `make`, `ninja` and others.

A jobserver is a pipe, or a fifo, that holds a byte for each job that may run beyond the first: a
token. Each program that takes part may run one job in any case, since whoever started it holds a
token for that. For each other job it reads a token, and writes it back when the job has ended.
Programs learn of the jobserver by the variable MAKEFLAGS. A token that is not written back is lost
to all of them, so that every way out of a run gives back what is held.
"""

import contextlib
import fcntl
import os
import re
import stat
from collections.abc import Mapping, Sequence
from select import POLLIN, poll

from parallel_workers.errors import UsageError
from parallel_workers.state import new_passing_run, remove_run

MOST = 4096
"""How many jobs can be served at most: there is room for as many tokens in any pipe."""

_AUTH = re.compile(r"(?<!\S)--jobserver-(?:auth|fds)=(\S*)")
_JOBS = re.compile(r"(?<!\S)-j ?(\d{1,9})(?!\S)")
_ABOUT_JOBS = re.compile(r"(?<!\S)(?:--jobserver-(?:auth|fds)=\S*|-j(?: ?\d+)?(?!\S))\s*")
_PIPE = re.compile(r"(\d{1,9}),(\d{1,9})")
_NOT_IN_MAKEFLAGS = re.compile(r"[\s\\$]")


class Jobserver:
    """Takes part in a jobserver.

    Args:
        reading: A file descriptor to read tokens from.
        writing: One to write them to; both best do not block, and are closed in the end.
        jobs: How many jobs may run at once, everybody's; 0 if that is not known.

    Attributes:
        jobs: As given.
        env: What our children need in their environment to take part, over what we have in ours.
        passed: The file descriptors that they need, over those that we were given.
        lost: Whether there will be no other token, for nothing can be read any more.
    """

    def __init__(self, reading: int, writing: int, jobs: int) -> None:
        self.jobs = jobs
        self.env: Mapping[bytes, bytes] = {}
        self.passed: Sequence[int] = ()
        self.lost = False
        self._reading = reading
        self._writing = writing
        self._held: list[bytes] = []

    def fileno(self) -> int:
        """Return the file descriptor that is readable while there is a token."""
        return self._reading

    def take(self) -> bool:
        """Take a token, if there is one; return whether there was."""
        token = self._read(1)
        if token:
            self._held.append(token)
        return bool(token)

    def keep(self, count: int) -> None:
        """Give back the tokens that are held beyond so many, as the bytes that they were."""
        while len(self._held) > max(0, count):
            # Nobody is left who could use it, or others have filled the pipe with what is none.
            with contextlib.suppress(OSError):
                os.write(self._writing, self._held.pop())

    def restore(self) -> None:
        """Make good what others have lost, if that is for us to do: no job of ours runs."""

    def close(self) -> None:
        """Give back all tokens, and let the jobserver go."""
        self.lost = True
        self.keep(0)
        for fd in {self._reading, self._writing}:
            os.close(fd)

    def _read(self, most: int) -> bytes:
        """Read up to so many tokens that are there now."""
        try:
            # Read only then, since the descriptor does block where it could not be opened anew.
            if self.lost or not _is_readable(self._reading):
                return b""
            tokens = os.read(self._reading, most)
        except BlockingIOError:  # somebody else was quicker
            return b""
        except OSError:
            tokens = b""
        self.lost = not tokens
        return tokens


class OwnJobserver(Jobserver):
    """Serves a jobserver to our children, and takes part in it.

    Args:
        reading: As for `Jobserver`.
        writing: Likewise.
        jobs: Likewise; at least 1.
        makeflags: The MAKEFLAGS that children get.
        passed: The file descriptors that they need; closed in the end.
        place: A directory that goes in the end; None for none.
    """

    def __init__(
        self,
        reading: int,
        writing: int,
        jobs: int,
        makeflags: str,
        *,
        passed: Sequence[int] = (),
        place: str | None = None,
    ) -> None:
        super().__init__(reading, writing, jobs)
        self.env = {b"MAKEFLAGS": os.fsencode(makeflags)}
        self.passed = passed
        self._place = place
        self._fill()

    def restore(self) -> None:
        """Fill it anew: what was killed has not written back its tokens."""
        while self._read(MOST):
            pass
        self._fill()

    def close(self) -> None:
        """Let the jobserver go; nobody can take part any more."""
        super().close()
        for fd in self.passed:
            os.close(fd)
        if self._place is not None:
            remove_run(self._place)

    def _fill(self) -> None:
        with contextlib.suppress(BlockingIOError):  # others have filled it
            os.write(self._writing, b"+" * (self.jobs - 1))


def join(makeflags: str) -> Jobserver | None:
    """Return the jobserver that MAKEFLAGS names; None if there is none for us.

    What `make` does not take for a program that takes part gets the same MAKEFLAGS, but not the
    file descriptors in it.

    Args:
        makeflags: The value of the variable.

    >>> join("k -j4 --jobserver-auth=1000,1001") is None
    True
    """
    options, _ = _halves(makeflags)
    auths = _AUTH.findall(options)
    if not auths:
        return None
    files = _open_fifo(auths[-1]) or _open_pipe(auths[-1])
    if files is None:
        return None
    numbers = _JOBS.findall(options)
    return Jobserver(*files, int(numbers[-1]) if numbers else 0)


def serve(style: str, jobs: int, makeflags: str) -> Jobserver:
    """Return a jobserver that we serve to our children.

    Args:
        style: "pipe", which they know by the numbers of two file descriptors, or "fifo", which
            they know by its path.
        jobs: How many jobs may run at once, everybody's.
        makeflags: The MAKEFLAGS that we have; children get whatever else it says.

    Raises:
        UsageError: It cannot be served.
    """
    if not 1 <= jobs <= MOST:
        raise UsageError(
            f"--jobserver {style}: -j {jobs} cannot be shared; give -j from 1 to {MOST}"
        )
    try:
        return (_serve_fifo if style == "fifo" else _serve_pipe)(jobs, makeflags)
    except OSError as error:
        raise UsageError(
            f"--jobserver {style}: it cannot be served: {error.strerror}; leave the option out"
        ) from None


def _serve_pipe(jobs: int, makeflags: str) -> Jobserver:
    reading, writing = os.pipe()
    flags = _with_jobserver(makeflags, jobs, f"{reading},{writing}")
    own = _opened_anew(reading, os.O_RDONLY), _opened_anew(writing, os.O_WRONLY)
    return OwnJobserver(*own, jobs, flags, passed=(reading, writing))


def _serve_fifo(jobs: int, makeflags: str) -> Jobserver:
    place = os.path.abspath(new_passing_run()[1])
    path = f"{place}/jobserver"
    try:
        if _NOT_IN_MAKEFLAGS.search(path):
            raise UsageError(
                "--jobserver fifo: MAKEFLAGS cannot hold a path with a blank, $ or backslash: "
                f"{path}; name another directory in TMPDIR, or use --jobserver pipe"
            )
        os.mkfifo(path, 0o600)
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, UsageError):
        remove_run(place)
        raise
    flags = _with_jobserver(makeflags, jobs, f"fifo:{path}")
    return OwnJobserver(fd, fd, jobs, flags, place=place)


def _halves(makeflags: str) -> tuple[str, str]:
    """Return the options of MAKEFLAGS, and the variables with what sets them apart."""
    options, dashes, variables = f" {makeflags} ".partition(" -- ")
    return options.strip(), f"{dashes}{variables}".rstrip()


def _with_jobserver(makeflags: str, jobs: int, auth: str) -> str:
    """Return MAKEFLAGS with another jobserver in it.

    >>> _with_jobserver("", 4, "5,6")
    ' -j4 --jobserver-auth=5,6'
    >>> _with_jobserver("ks -j8 --jobserver-auth=3,4 -- CC=cc", 4, "5,6")
    'ks -j4 --jobserver-auth=5,6 -- CC=cc'
    """
    options, variables = _halves(makeflags)
    others = _ABOUT_JOBS.sub("", options).strip()
    return f"{others} -j{jobs} --jobserver-auth={auth}{variables}"


def _open_fifo(auth: str) -> tuple[int, int] | None:
    """Return the fifo that MAKEFLAGS names, to read from and to write to."""
    if not auth.startswith("fifo:"):
        return None
    path = auth.removeprefix("fifo:")
    try:
        if not stat.S_ISFIFO(os.stat(path).st_mode):
            return None
        # Opened for both it can be opened, and stays open, whoever else has it open.
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    return fd, fd


def _open_pipe(auth: str) -> tuple[int, int] | None:
    """Return, as descriptors of our own, the ends of the pipe that MAKEFLAGS names."""
    match = _PIPE.fullmatch(auth)
    if match is None:
        return None
    reading, writing = int(match[1]), int(match[2])
    try:
        if not _is_given(reading, writing):
            return None
        return _opened_anew(reading, os.O_RDONLY), _opened_anew(writing, os.O_WRONLY)
    except OSError:  # not open
        return None


def _is_given(reading: int, writing: int) -> bool:
    """Return whether these are the ends of a pipe that was left to us by who started us.

    By chance other files have these numbers, or files of ours; of those nothing is inherited.

    Raises:
        OSError: One of them is not open.
    """
    modes = [fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE for fd in (reading, writing)]
    return (
        os.get_inheritable(reading)
        and os.get_inheritable(writing)
        and modes[0] != os.O_WRONLY
        and modes[1] != os.O_RDONLY
        and stat.S_ISFIFO(os.fstat(reading).st_mode)
        and os.path.samestat(os.fstat(reading), os.fstat(writing))
    )


def _opened_anew(fd: int, mode: int) -> int:
    """Return a descriptor of the same pipe that does not block, while `fd` does for all others.

    Args:
        fd: One end of the pipe.
        mode: Whether that is to read from or to write to.

    Where the system offers no way to that, the one returned blocks, too.
    """
    try:
        return os.open(f"/proc/self/fd/{fd}", mode | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return os.dup(fd)


def _is_readable(fd: int) -> bool:
    look = poll()
    look.register(fd, POLLIN)
    return bool(look.poll(0))
