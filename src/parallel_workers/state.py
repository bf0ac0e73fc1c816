"""The state directory: where what is kept of runs lies, a directory for each run."""

import contextlib
import errno
import os
import time
from collections.abc import Iterator

from parallel_workers.errors import StateError, UsageError

STATE_DIRECTORY = ".parallel-workers"
"""The name of the state directory, in the directory where commands run."""

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH = 1_600_000_000


def run_id(now: float, salt: int) -> str:
    """Return an id for a run that begins at `now`; ids sort by time.

    Args:
        now: Seconds since the epoch.
        salt: Tells apart the runs of one second; only its last ten bits count.

    Returns:
        Eight characters: six for the second, two for the salt.

    >>> run_id(1_700_000_000, 5) < run_id(1_700_000_001, 4)
    True
    """
    value = (int(now) - _EPOCH) << 10 | salt & 1023
    digits = []
    for _ in range(8):
        value, digit = divmod(value, 32)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def began(run: str) -> float | None:
    """Return when a run began, to the second, in seconds since the epoch; None for what is no id.

    Args:
        run: What may be the id of a run.

    >>> began(run_id(1_700_000_000, 5)), began("examples")
    (1700000000.0, None)
    """
    if len(run) != 8 or not set(run) <= set(_DIGITS):
        return None
    value = 0
    for digit in run:
        value = value * 32 + _DIGITS.index(digit)
    return float((value >> 10) + _EPOCH)


def new_run(state: str) -> tuple[str, str]:
    """Make the directory of a new run.

    Args:
        state: The state directory, which is made if it does not exist.

    Returns:
        The id of the run, and the path of its directory.

    Raises:
        StateError: The directory cannot be made.
    """
    make_state(state)
    with _reasons(state):
        return _make_unique(f"{state}/runs/")


def reopen_run(state: str, run: str) -> str:
    """See to it that the directory of a run that goes on is there, and can be written to.

    Args:
        state: The state directory.
        run: The id of the run.

    Returns:
        The path of its directory.

    Raises:
        StateError: It cannot.
    """
    place = f"{state}/runs/{run}"
    with _reasons(state):
        os.makedirs(place, mode=0o700, exist_ok=True)
        if not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, f"{place} cannot be written to")
    return place


def make_state(state: str) -> None:
    """Make a state directory, if it does not exist.

    Args:
        state: Its path.

    Raises:
        StateError: It cannot be made.
        UsageError: It has no path.
    """
    if not state:
        raise UsageError("--state needs the path of a directory; it is empty")
    with _reasons(state):
        # Not asked for before: another run may make it at this moment.
        try:
            os.makedirs(state, mode=0o700)
        except FileExistsError:
            pass
        else:
            _hide_from_git(state)
        os.makedirs(f"{state}/runs", mode=0o700, exist_ok=True)


@contextlib.contextmanager
def _reasons(state: str) -> Iterator[None]:
    """Say of what goes wrong inside what it means for the state directory."""
    try:
        yield
    except OSError as error:
        raise StateError(
            f"the state directory {state} cannot be used: {error.strerror}; "
            "name another with --state DIR, or keep nothing with --no-journal"
        ) from None


def new_passing_run() -> tuple[str, str]:
    """Make the directory of a new run of which nothing is to be kept, where such things lie.

    Returns:
        The id of the run, and the path of its directory.

    Raises:
        UsageError: The directory cannot be made.
    """
    place = os.environ.get("TMPDIR") or "/tmp"
    try:
        return _make_unique(f"{place}/parallel-workers-")
    except OSError as error:
        raise UsageError(
            f"nothing can be written to {place}: {error.strerror}; name a directory in TMPDIR"
        ) from None


def user_name() -> str:
    """Return the name of the user of this process; the number where there is no name."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def remove_run(directory: str) -> None:
    """Remove the directory of a run and the files in it; what cannot be removed stays."""
    with contextlib.suppress(OSError):
        for file in os.listdir(directory):
            os.unlink(f"{directory}/{file}")
        os.rmdir(directory)


def _make_unique(prefix: str) -> tuple[str, str]:
    while True:
        run = run_id(time.time(), int.from_bytes(os.urandom(2)))
        try:
            os.mkdir(prefix + run, mode=0o700)
        except FileExistsError:
            continue
        return run, prefix + run


def _hide_from_git(state: str) -> None:
    """Keep git from showing a directory that we made; in another's this would hide their files."""
    fd = os.open(f"{state}/.gitignore", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(b"*\n")
