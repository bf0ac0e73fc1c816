"""`--programs DIR`: each task runs the executable file that has its name."""

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from parallel_workers.errors import InvalidInput, UsageError
from parallel_workers.wording import printable, shorten


def find_programs(directory: Path, names: Iterable[str]) -> dict[str, Path]:
    """Return the program of each task.

    One look at each file, and one at each directory that holds any of them.

    Args:
        directory: Where the programs lie; the task `a/b` has the file `a/b` in it.
        names: The names of the tasks.

    Returns:
        By name, an absolute path. Where it is a symbolic link, that of the link: programs that act
        by the name they are called by keep it.

    Raises:
        UsageError: There is no such directory.
        InvalidInput: A name leads out of the directory, or to nothing that can be executed; with a
            line for each such task.
    """
    if not directory.is_dir():
        raise UsageError(f"the directory of programs does not exist: {directory}")
    root = os.path.realpath(directory)
    inside = _Inside(root)
    found: dict[str, Path] = {}
    problems = []
    for name in names:
        path = os.path.join(root, name)
        problem = (
            f"leads out of {directory}" if not inside.holds(name) else _why_not_executable(path)
        )
        if problem is None:
            found[name] = Path(path)
        else:
            problems.append(f"task {printable(shorten(name))}: {problem}")
    if problems:
        raise InvalidInput(problems)
    return found


class _Inside:
    """Tells which names stay within a directory when all symbolic links are followed.

    To follow all links of a path is a system call for each of its parts; tasks share their
    directories, so those are followed once.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._prefix = root.rstrip("/") + "/"
        self._parents: dict[str, bool] = {}

    def holds(self, name: str) -> bool:
        if name.startswith("/"):
            return False
        parent, _, last = name.rpartition("/")
        path = os.path.join(self._root, name)
        if last in ("", ".", "..") or os.path.islink(path):
            return self._covers(path)
        if parent not in self._parents:
            self._parents[parent] = self._covers(os.path.join(self._root, parent))
        return self._parents[parent]

    def _covers(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self._root or real.startswith(self._prefix)


def _why_not_executable(path: str) -> str | None:
    """Return why the file at `path` cannot be a task's program, None if it can."""
    shown_path = printable(shorten(path))
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return f"there is no file {shown_path}"
        return f"{shown_path} cannot be looked at: {error.strerror}"
    if stat.S_ISDIR(mode):
        return f"{shown_path} is a directory"
    if not stat.S_ISREG(mode):
        return f"{shown_path} is not a regular file"
    if not os.access(path, os.X_OK):
        return f"{shown_path} is not executable; allow it with chmod +x"
    return None
