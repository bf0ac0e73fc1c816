"""Outputs: variables that a command passes on to the commands that come directly after it.

A command appends lines `KEY=value` to the file that `PW_OUTPUTS` names. The value is all behind the
`=` as it is, without quotes or escapes, of the last line with that key; lines of white space are
skipped. What is no such line makes the attempt fail, if anything comes after its task.

The file is made by the command, if by anybody, and is one for all attempts of a task: each begins
without it. So what is read and kept when an attempt has succeeded is what that one has written.
"""

import contextlib
import os
import re
import stat
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType

from parallel_workers.definition import check_variable
from parallel_workers.errors import FieldError
from parallel_workers.exec_limits import LONGEST, longer_than_any
from parallel_workers.graph import WorkGraph, users_of
from parallel_workers.hashing import blake2b
from parallel_workers.plan import Plan
from parallel_workers.wording import printable, shorten, shown

LARGEST = 1 << 20
"""The most bytes of outputs of one task; no system takes more than some of these as variables."""

_FILE = "write it to a file, and pass on the path of that"

_SUFFIX = b".outputs"

_LINE = re.compile(rb"([^\s=\0]+)=([^\0]*)")


class OutputsError(Exception):
    """Outputs cannot be read; the message says where and why, to a person."""


class Outputs:
    """What the commands of one run pass on.

    Args:
        plan: What is run.
        directory: The directory of the run, which is there when it is resumed.
        given: By task that an earlier run has done, what that has written; it is passed on again.
        keep: Is told of each task that has succeeded and has written something what that was;
            where it cannot be read, of nothing.
        whole: The graph of which the plan is a part, if it is one: what is left out between two
            tasks lets nothing pass.
    """

    def __init__(
        self,
        plan: Plan,
        directory: str,
        given: Mapping[int, bytes] = MappingProxyType({}),
        keep: Callable[[int, bytes], None] = lambda task, text: None,
        whole: WorkGraph | None = None,
    ) -> None:
        self._plan = plan
        self._keep = keep
        self._whole = whole
        self._directory = os.fsencode(os.path.abspath(directory))
        # By task or gate, what each of those that it waits for passes on.
        self._passed: dict[int, dict[int, Mapping[bytes, bytes]]] = {}
        # By task, what those pass on that are not in the plan.
        self._lent: dict[int, dict[bytes, bytes]] = {}
        self._go_on(given)

    def _go_on(self, given: Mapping[int, bytes]) -> None:
        """Pass on what tasks have given that are done, and forget what others have written."""
        for task, text in given.items():
            # A failed attempt may have written it, of a task that was marked as succeeded.
            with contextlib.suppress(OutputsError):
                self._pass_on(task, parse(text))
        left = _files_in(self._directory)
        # Tasks that are not in this plan may be in that of another day.
        for task in range(self._plan.tasks) if left else ():
            path = self._path(task)
            if task not in given and os.path.basename(path) in left:
                _remove(path)

    def lend(self, text: bytes, users: Collection[str]) -> None:
        """Pass on what a task has written in an earlier run that counts as done, and is left out.

        What is lent later goes over what was before, and what is passed on in this run over both.

        Args:
            text: What it has written.
            users: The names of the tasks that wait for it directly; those in the plan get it.

        Raises:
            OutputsError: It cannot be read.
        """
        variables = parse(text)
        for user in users:
            if user in self._plan.by_name:
                self._lent.setdefault(self._plan.by_name[user], {}).update(variables)

    def begin(self, task: int, attempt: int) -> bytes:
        """Return the path of the file that an attempt may write, and that does not exist.

        Args:
            task: The task.
            attempt: The number of the attempt, from 1.
        """
        if attempt > 1:
            self.forget(task)
        return self._path(task)

    def forget(self, task: int) -> None:
        """Remove what a task has written, which nobody is to get."""
        _remove(self._path(task))

    def take(self, task: int) -> None:
        """Pass on what a task that has succeeded has written, if it has.

        Raises:
            OutputsError: It cannot be read, or no command could get it.
        """
        path = self._path(task)
        # A stat that fails would raise, which costs twice as much.
        if not os.access(path, os.F_OK):
            return
        # Where nobody gets it in this run, it is no matter for this task what it is.
        text = _read(path) if self._plan.successors[task] else _readable(path)
        if text and self._plan.successors[task]:
            variables = parse(text)
            _refuse_too_long(variables)
            self._pass_on(task, variables)
        if text != b"":
            self._keep(task, text or b"")

    def _pass_on(self, task: int, variables: Mapping[bytes, bytes]) -> None:
        nodes = dict.fromkeys(self._plan.successors[task])
        while nodes:
            node, _ = nodes.popitem()
            passed = self._passed.setdefault(node, {})
            if node >= self._plan.tasks and task not in passed:
                gates = (each for each in self._plan.successors[node] if each >= self._plan.tasks)
                nodes.update(dict.fromkeys(gates))
            passed[task] = variables

    def variables(self, task: int) -> Mapping[bytes, bytes]:
        """Return what is passed on to a task; of the same variable, what comes last in the file."""
        if not self._passed and not self._lent:
            return {}
        passed: dict[int, Mapping[bytes, bytes]] = {}
        for node in (task, *self._gates.get(task, ())):
            passed.update(self._passed.get(node, {}))
        if self._whole is not None and passed:
            direct = self._directly_before(self._whole, task)
            passed = {giver: passed[giver] for giver in passed if giver in direct}
        variables = dict(self._lent.get(task, ()))
        for giver in sorted(passed, key=self._order.__getitem__) if len(passed) > 1 else passed:
            variables.update(passed[giver])
        return variables

    def _directly_before(self, whole: WorkGraph, task: int) -> set[int]:
        """Return the tasks that one waits for with no other between, also none that is left out."""
        names = whole.names
        number = whole.number(self._plan.names[task])
        found = users_of(number, self._predecessors, lambda node: names[node] is not None)
        return {
            self._plan.by_name[name]
            for node in found
            if (name := whole.name(node)) in self._plan.by_name
        }

    @cached_property
    def _predecessors(self) -> Sequence[Sequence[int]]:
        """By number in the whole, the direct predecessors."""
        return [] if self._whole is None else self._whole.predecessors()

    @cached_property
    def _gates(self) -> dict[int, list[int]]:
        """By task, the gates that it waits for."""
        gates: dict[int, list[int]] = {}
        for gate in range(self._plan.tasks, len(self._plan.successors)):
            for node in self._plan.successors[gate]:
                gates.setdefault(node, []).append(gate)
        return gates

    @cached_property
    def _order(self) -> dict[int, int]:
        """By task, its place in the file."""
        return {task: place for place, task in enumerate(self._plan.numbers)}

    def _path(self, task: int) -> bytes:
        return b"%b/%b" % (self._directory, _file_of(self._plan.names[task]))


def _file_of(task: str) -> bytes:
    # Numbers of tasks are others when a run is resumed, and names need not fit a file.
    return blake2b(task.encode(), digest_size=12).hexdigest().encode() + _SUFFIX


def _files_in(directory: bytes) -> set[bytes]:
    """Return what tasks have written into a directory, if that is there."""
    try:
        return {file for file in os.listdir(directory) if file.endswith(_SUFFIX)}
    except OSError:
        return set()


def _remove(path: bytes) -> None:
    try:
        os.unlink(path)
    except OSError:
        if os.path.isdir(path):
            import shutil

            shutil.rmtree(path, ignore_errors=True)


def written_in(directory: str, plan: Plan, done: Collection[int]) -> dict[int, bytes]:
    """Return, by task of those that are done, what that has written into the directory of a run.

    Args:
        directory: The directory; it need not be there.
        plan: What is run.
        done: The tasks that are done.
    """
    place = os.fsencode(os.path.abspath(directory))
    left = _files_in(place)
    files = {task: _file_of(plan.names[task]) for task in (done if left else ())}
    texts = {task: _readable(place + b"/" + file) for task, file in files.items() if file in left}
    return {task: text for task, text in texts.items() if text is not None}


def _readable(path: bytes) -> bytes | None:
    """Return what a task has written; None where that cannot be read."""
    try:
        return _read(path)
    except OutputsError:
        return None


def _read(path: bytes) -> bytes:
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise OutputsError("what PW_OUTPUTS names is no file any more")
        with open(path, "rb") as file:
            text = file.read(LARGEST)
    except OSError as error:
        raise OutputsError(error.strerror) from None
    if found.st_size > LARGEST:
        raise OutputsError(
            f"{found.st_size:,} bytes, of which {_longest_in(text)} has the most, where a task can "
            f"pass on {LARGEST:,}; {_FILE}"
        )
    return text


def _longest_in(text: bytes) -> str:
    """Return the variable that has the longest of some lines, as messages show it."""
    return _told(max(text.split(b"\n"), key=len).partition(b"=")[0])


def _told(variable: bytes) -> str:
    return shorten(printable(variable.decode(errors="replace")))


def _refuse_too_long(variables: Mapping[bytes, bytes]) -> None:
    """Refuse what no command could get.

    Raises:
        OutputsError: One of the variables is too long.
    """
    for variable, value in variables.items():
        if size := longer_than_any(variable, value):
            raise OutputsError(
                f"{_told(variable)} has {size:,} bytes with its name, where a variable can have "
                f"{LONGEST:,}; {_FILE}"
            )


def parse(text: bytes) -> dict[bytes, bytes]:
    r"""Return the variables that outputs set.

    Raises:
        OutputsError: Some line sets none.

    >>> parse(b"VERSION=1.2\nNOTE=a = b\n")
    {b'VERSION': b'1.2', b'NOTE': b'a = b'}
    """
    variables = {}
    for number, line in enumerate(text.split(b"\n"), 1):
        if not line.strip():
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise OutputsError(f"line {number}: {_why_not(line)}")
        try:
            check_variable(found[1].decode(errors="replace"))
        except FieldError as error:
            raise OutputsError(f"line {number}: {error.message}") from None
        variables[found[1]] = found[2]
    return variables


def _why_not(line: bytes) -> str:
    what = shown(line.decode(errors="replace"))
    if b"\0" in line:
        return f"{what} holds a NUL, which no variable can"
    if b"=" not in line:
        return f"{what} sets no variable; write KEY=value, all on one line"
    return f"{what} names no variable; write KEY=value, the key without white space"
