"""What makes a task the same task: a fingerprint of what it does and of what comes before it.

In it: the command or the function, its arguments, the variables that the task sets, its directory,
and the digests of its direct predecessors, so that a change travels to all that is behind it. Not
in it: how a task is run (retries, timeout, pool, priority, jobs, executor), what it is called, its
description and its free data; a template that used those has made a command of them.

Of a function the digest sees its qualified name, its own code with the constants and the functions
defined within it, its defaults, what it wraps, the object that a method is of, and its arguments as
they are pickled. It does not see what the function calls, or reads from globals and closures.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import CodeType, MappingProxyType
from typing import Any

from parallel_workers.bodies import CommandText
from parallel_workers.definition import Definition
from parallel_workers.plan import Plan
from parallel_workers.tasks import Arguments, Task, TaskGroup

try:
    # What hashlib has under that name; hashlib itself takes 5 ms to import, for OpenSSL.
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

SIZE = 16
"""The bytes of a digest: enough that two tasks have the same one by chance in no run ever."""


def command_content(command: CommandText, definition: Definition) -> bytes:
    """Return all that a digest holds of a command.

    Args:
        command: What is run: text for the shell, or words.
        definition: The task's, for its variables and its directory.

    >>> command_content("make", Definition(retries=3)) == command_content("make", Definition())
    True
    """
    words = command if isinstance(command, str) else list(command)
    what = [words, sorted(definition.env.items()), os.path.abspath(definition.cwd or "")]
    return b"command" + json.dumps(what, ensure_ascii=False).encode(errors="surrogatepass")


def function_content(function: Callable[..., Any], arguments: Arguments | None) -> bytes | None:
    """Return all that a digest holds of a function; None where its arguments cannot be pickled.

    Args:
        function: What is called.
        arguments: What it is called with; the tasks in it count by their own digests only.
    """
    given: Any = None
    if arguments is not None:
        given = _without_tasks((arguments.args, dict(arguments.kwargs)))
    if isinstance(function, partial):
        inner = function_content(function.func, None)
        given = function.args, function.keywords, given
        return None if inner is None else _pickled([inner, given])
    wrapped = getattr(function, "__wrapped__", None)
    inner = function_content(wrapped, None) if callable(wrapped) else b""
    code = getattr(function, "__code__", None)
    defaults = getattr(function, "__defaults__", None), getattr(function, "__kwdefaults__", None)
    kind = type(function)
    name = getattr(function, "__qualname__", kind.__qualname__)
    where = getattr(function, "__module__", kind.__module__)
    what: list[Any] = [where, name, _code_content(code), defaults, given, inner]
    if code is None and not isinstance(function, type):
        what += [function, _code_content(getattr(type(function).__call__, "__code__", None))]
    elif (owner := getattr(function, "__self__", None)) is not None:
        what.append(owner)
    return _pickled(what)


def _pickled(what: Any) -> bytes | None:
    import pickle

    try:
        return b"function" + pickle.dumps(what, protocol=5)
    except Exception:  # whatever an object's own __reduce__ raises
        return None


def _without_tasks(value: Any) -> Any:
    """Return arguments with a mark in the place of each task."""
    if isinstance(value, (Task, TaskGroup)):
        return f"{type(value).__name__} of {len(value.numbers)}"
    if type(value) in (list, tuple):
        return type(value)(map(_without_tasks, value))
    if type(value) is dict:
        return {key: _without_tasks(item) for key, item in value.items()}
    return value


def _code_content(code: CodeType | None) -> Any:
    """Return what a function's code says, without the lines and the file that it stands in."""
    if code is None:
        return None
    constants = [_constant(each) for each in code.co_consts]
    return code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars


def _constant(value: object) -> Any:
    if isinstance(value, CodeType):
        return _code_content(value)
    # The order of a set of texts is another in each process.
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)


def digests(
    plan: Plan,
    contents: Sequence[bytes | None],
    order: Mapping[int, Sequence[int]] = MappingProxyType({}),
) -> list[bytes]:
    """Return the digest of each task.

    Args:
        plan: What is to be run.
        contents: By task, what it does; None where that cannot be told.
        order: By task, the tasks whose values it is given, in the order of its arguments.

    Returns:
        By task, `SIZE` bytes; none at all where something in or before the task cannot be told,
        so that it is never the same as anything.

    Complexity: O(tasks + edges).
    """
    before: list[list[bytes] | None] = [[] for _ in plan.successors]
    found: list[bytes] = [b""] * len(plan.successors)
    waiting = list(plan.waits)
    ready = [node for node, count in enumerate(waiting) if not count]
    for node in ready:  # grows while it is walked
        content = contents[node] if node < plan.tasks else b"gate"
        mine = _digest(content, before[node], [found[task] for task in order.get(node, ())])
        before[node] = None
        found[node] = mine
        for successor in plan.successors[node]:
            others = before[successor]
            assert others is not None
            others.append(mine)
            waiting[successor] -= 1
            if not waiting[successor]:
                ready.append(successor)
    return found[: plan.tasks]


def _digest(content: bytes | None, before: Sequence[bytes] | None, given: Sequence[bytes]) -> bytes:
    if content is None or b"" in (before or ()):
        return b""
    found = blake2b(len(content).to_bytes(8) + content, digest_size=SIZE)
    found.update(len(given).to_bytes(8))
    for digest in given:
        found.update(digest)
    for digest in sorted(before or ()):
        found.update(digest)
    return found.digest()


def graph_digest(digests: Mapping[str, bytes]) -> bytes:
    """Return the digest of a whole graph, of those of its tasks by name."""
    found = blake2b(digest_size=SIZE)
    for name, digest in sorted(digests.items()):
        found.update(f"{name}\0".encode())
        found.update(digest.rjust(SIZE, b"\0"))
    return found.digest()
