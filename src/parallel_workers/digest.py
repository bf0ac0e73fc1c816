"""What makes a task the same task: a fingerprint of what it does and of what comes before it.

In it: the command or the function, its arguments, the variables that are set for the task (by
itself, its file, env-files and `--set`), its directory, and the digests of its direct predecessors,
so that a change travels to all that is behind it. Not in it: how a task is run (retries, timeout,
pool, priority, jobs, executor), what it is called, its description and its free data; a template
that used those has made a command of them. Nor what predecessors pass on as outputs: these are made
anew only by a predecessor that runs again, and behind that everything runs again.

Of a function the digest sees its qualified name, its own code with the constants and the functions
defined within it, its defaults, the values in its closure, what it wraps, the object that a method
is of, and its arguments. All but code is seen as it is pickled, save that sets have no order, and
that a function among the rest counts by what is said here. It does not see what the function calls,
or reads from globals and from attributes of classes and modules. Where something cannot be pickled
there is no digest, and the task is never the same.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import CellType, CodeType, FunctionType, MappingProxyType, MethodType
from typing import TYPE_CHECKING, Any

from parallel_workers.commands import CommandText
from parallel_workers.definition import Definition
from parallel_workers.hashing import blake2b
from parallel_workers.plan import Plan
from parallel_workers.tasks import Arguments, Task, TaskGroup

if TYPE_CHECKING:
    import pickle

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


def function_content(function: Callable[..., Any]) -> bytes | None:
    """Return all that a digest holds of a function; None where some of it cannot be pickled.

    Args:
        function: What is called, without what it is called with.
    """
    if isinstance(function, MethodType):
        return _pickled((function.__func__, function.__self__))
    call = getattr(type(function), "__call__", None)  # noqa: B004 - its code is what is wanted
    own = call if isinstance(call, FunctionType) else None
    return _pickled((function, getattr(function, "__wrapped__", None), own))


def arguments_content(arguments: Arguments) -> bytes | None:
    """Return all that a digest holds of arguments; None where some of it cannot be pickled.

    Args:
        arguments: What a function is called with; the tasks in it count by their own digests only.
    """
    return _pickled((arguments.args, dict(arguments.kwargs)))


def _pickled(what: Any) -> bytes | None:
    """Return a digest of anything by what it is pickled to; None if that cannot be."""
    try:
        return _digest_of(what)
    except Exception:  # whatever an object's own __reduce__ raises
        return None


def _digest_of(what: Any) -> bytes:
    sink = _Sink()
    _pickler()(sink, protocol=5).dump(what)
    return sink.hash.digest()


class _Sink:
    """What is written to it is not kept, only its digest: a value may be large."""

    def __init__(self) -> None:
        self.hash = blake2b(digest_size=SIZE)
        self.write = self.hash.update


@cache
def _pickler() -> type["pickle.Pickler"]:
    """Return what pickles for a digest; made when it is needed, for pickle takes time to import."""
    import pickle

    class Pickler(pickle.Pickler):
        """Pickles what has no order, or cannot be pickled by itself, in a form that can be told."""

        def __init__(self, sink: _Sink, protocol: int) -> None:
            super().__init__(sink, protocol)
            self._seen: dict[FunctionType, int] = {}

        def persistent_id(self, value: Any) -> Any:
            """Return what stands for a value; None where that is pickled as it is."""
            kind = value.__class__
            if kind is FunctionType:
                # A function may be in its own closure.
                if value in self._seen:
                    return self._seen[value]
                self._seen[value] = len(self._seen)
                return _facts_of(value)
            if isinstance(value, (set, frozenset)):
                return kind.__name__, sorted(map(_digest_of, value))
            if kind is Task or kind is TaskGroup:
                return f"{kind.__name__} of {len(value.numbers)}"
            return None

    return Pickler


def _facts_of(function: FunctionType) -> tuple[Any, ...]:
    """Return all that is seen of a function."""
    return (
        *(function.__module__, function.__qualname__, repr(_code_content(function.__code__))),
        *(function.__defaults__, function.__kwdefaults__),
        [_content_of(cell) for cell in function.__closure__ or ()],
        getattr(function, "__wrapped__", None),
    )


def _content_of(cell: CellType) -> Any:
    try:
        return [cell.cell_contents]
    except ValueError:  # nothing has been assigned yet
        return []


def _code_content(code: CodeType) -> Any:
    """Return what a function's code says, without the lines and the file that it stands in."""
    constants = [_constant(each) for each in code.co_consts]
    signature = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
    names = code.co_names, code.co_varnames, code.co_freevars
    return code.co_code, code.co_exceptiontable, constants, signature, names


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
    before: dict[int, list[bytes]] = {}
    found: list[bytes] = [b""] * len(plan.successors)
    waiting = list(plan.waits)
    ready = [node for node, count in enumerate(waiting) if not count]
    for node in ready:  # grows while it is walked
        content = contents[node] if node < plan.tasks else b"gate"
        given = [found[task] for task in order[node]] if node in order else ()
        found[node] = mine = _digest(content, before.pop(node, ()), given)
        for successor in plan.successors[node]:
            if successor in before:
                before[successor].append(mine)
            else:
                before[successor] = [mine]
            waiting[successor] -= 1
            if not waiting[successor]:
                ready.append(successor)
    return found[: plan.tasks]


def _digest(content: bytes | None, before: Sequence[bytes], given: Sequence[bytes]) -> bytes:
    if content is None or b"" in before:
        return b""
    sizes = len(content).to_bytes(8), len(given).to_bytes(8)
    parts = sizes[0], content, sizes[1], *given, *sorted(before)
    return blake2b(b"".join(parts), digest_size=SIZE).digest()


def graph_digest(digests: Mapping[str, bytes]) -> bytes:
    """Return the digest of a whole graph, of those of its tasks by name."""
    parts: list[bytes] = []
    for name, digest in sorted(digests.items()):
        parts += name.encode(), b"\0", digest.rjust(SIZE, b"\0")
    return blake2b(b"".join(parts), digest_size=SIZE).digest()
