"""What functions print and log, kept by task.

While a run that keeps output is under way, a proxy stands in for `sys.stdout`, and one for
`sys.stderr`. Every attempt has a context of its own, in which the stream of its task is set; what
is written in that context goes there, and everything else to the stream that stood there before.

The handlers of `logging` that write to the terminal get such a proxy, too: a line of a task is kept
in the format that its handler gives it, and not shown. Where logs go to files only, a handler is
added that keeps them; where nobody configured anything, warnings go to `sys.stderr` anyway.

Only what goes through these objects is kept. What goes past them to the file descriptors (of
processes that a task starts, and from libraries in C) shows up where it always did, and so does
what the threads print that a task starts.
"""

import io
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from parallel_workers.bodies import Body, Wrapper
from parallel_workers.events import Event, RunEnded

if TYPE_CHECKING:
    import logging

    from parallel_workers.plan import Plan

KEPT = 1 << 20
"""How many bytes of a task's output are kept: the last ones."""

_stream: ContextVar[TextIO | None] = ContextVar("the stream of a task", default=None)

# Can be taken twice, for what is collected as garbage during a write may write something itself.
_writing = threading.RLock()
# Another one, for it is held while locks of `logging` are taken, under which others may write.
_switching = threading.Lock()

# What a task keeps in a process that it forks would be lost there.
os.register_at_fork(after_in_child=lambda: _stream.set(None))


class TaskOutput(io.BufferedIOBase):
    """What one task has written, over all its attempts.

    >>> output = TaskOutput()
    >>> print("broken", file=output.new_attempt())
    >>> print("done", file=output.new_attempt())
    >>> output.text.splitlines()
    ['broken', '--- attempt 2 ---', 'done']
    """

    name = "<output of a task>"

    def __init__(self) -> None:
        self._kept = bytearray()
        self._written = 0
        self._attempts = 0

    def new_attempt(self) -> TextIO:
        """Return the stream that another attempt writes to; a line parts it from what was before.

        What an attempt in another process wrote is written to it when that has ended.
        """
        self._attempts += 1
        if self._written:
            end = b"" if self._kept.endswith(b"\n") else b"\n"
            self.write(end + b"--- attempt %d ---\n" % self._attempts)
        return io.TextIOWrapper(self, "utf-8", "backslashreplace", write_through=True)

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any) -> int:
        """Keep bytes, and let go of the first ones where there are too many."""
        size = memoryview(data).nbytes
        with _writing:
            self._kept += data
            self._written += size
            if len(self._kept) > 2 * KEPT:
                del self._kept[:-KEPT]
        return size

    def close(self) -> None:
        """Do nothing: an attempt that closes its stream ends it for no other."""

    @property
    def text(self) -> str:
        """What was written; where that is too much, its end below a line that says so."""
        with _writing:
            return _as_text(bytes(self._kept[-KEPT:]), self._written)


def _as_text(kept: bytes, size: int) -> str:
    text = kept.decode(errors="replace")
    lost = size - len(kept)
    return f"--- {lost:,} bytes before this were not kept ---\n{text}" if lost else text


def text_of_log(path: str) -> str:
    """Return what is in the log of a command; of a long one its end, as of a `TaskOutput`.

    Raises:
        OSError: It cannot be read.
    """
    with open(path, "rb") as log:
        size = os.fstat(log.fileno()).st_size
        log.seek(max(0, size - KEPT))
        return _as_text(log.read(KEPT), size)


class Captured(NamedTuple):
    """What came of a body.

    Attributes:
        value: What it returned.
        error: What it raised.
        text: What it wrote.
    """

    value: Any
    error: BaseException | None
    text: str


class Capturing(Wrapper):
    """A body whose output is kept.

    Args:
        inner: The body of a function.

    Attributes:
        output: What its attempts have written so far.
    """

    __slots__ = ("output",)

    def __init__(self, inner: Body) -> None:
        super().__init__(inner)
        self.output = TaskOutput()

    def begin(self) -> None:
        """Keep what is written in this context from here on."""
        # Never set back: this context is that of one attempt, and a coroutine needs it for longer.
        _stream.set(self.output.new_attempt())

    def sent(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return what keeps the output of a function in another process."""
        return partial(_captured_call, function)

    def wrote(self, text: str) -> None:
        """Keep what an attempt in another process has written."""
        self.output.new_attempt().write(text)


class Capture:
    """Keeps the output of the functions of one run. A listener, which hears when the run is over.

    Args:
        plan: The plan of the run.
        bodies: By task, its body; those of functions are replaced.

    Attributes:
        outputs: By task that calls a function, its output.
    """

    def __init__(self, plan: "Plan", bodies: list[Body]) -> None:
        self.outputs: dict[int, TaskOutput] = {}
        for task, function in enumerate(plan.functions):
            if function is not None:
                bodies[task] = capturing = Capturing(bodies[task])
                self.outputs[task] = capturing.output
        self._under_way = True
        _redirection.begin()

    def __call__(self, events: Sequence[Event]) -> None:
        """Listen for the end of the run."""
        if any(isinstance(event, RunEnded) for event in events):
            self.end()

    def end(self) -> None:
        """Put the streams back, unless another run keeps output; a second call does nothing."""
        if self._under_way:
            self._under_way = False
            _redirection.end()


def captured(body: Body) -> Captured:
    r"""Call `body` in a context of its own, and keep what it writes.

    >>> captured(lambda: print("hello"))
    Captured(value=None, error=None, text='hello\n')
    """
    capturing = Capturing(body)
    _redirection.begin()
    try:
        return Captured(copy_context().run(capturing), None, capturing.output.text)
    except BaseException as error:  # the caller tells of it
        return Captured(None, error, capturing.output.text)
    finally:
        _redirection.end()


def _captured_call(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Captured:
    return captured(partial(function, *args, **kwargs))


_STREAMS = ("stdout", "stderr")


class _Proxy:
    """Stands in for a stream: the stream of a task in its context, elsewhere the one replaced."""

    def __init__(self, replaced: TextIO | None) -> None:
        self.replaced = replaced
        # A program may have no standard streams; what it prints goes nowhere.
        self._elsewhere = TaskOutput().new_attempt() if replaced is None else replaced

    def __getattr__(self, name: str) -> Any:
        return getattr(_stream.get() or self._elsewhere, name)

    def fileno(self) -> int:
        """Return that of the stream replaced, for there is no other: what uses it goes past us."""
        return self._elsewhere.fileno()


class _Redirection:
    """Has the proxies in their places while at least one run needs them."""

    def __init__(self) -> None:
        self._users = 0
        self._added: logging.Handler | None = None

    def begin(self) -> None:
        """Put proxies where there are none."""
        with _switching:
            self._users += 1
            terminal: list[TextIO | None] = [sys.__stdout__, sys.__stderr__]
            for name in _STREAMS:
                stream = getattr(sys, name)
                if not isinstance(stream, _Proxy):
                    stream = _Proxy(stream)
                    setattr(sys, name, stream)
                terminal.append(stream.replaced)
            self._redirect_logs(terminal)

    def end(self) -> None:
        """Put back what the proxies replaced, if nobody needs them; what is no proxy stays."""
        with _switching:
            self._users -= 1
            if self._users:
                return
            for name in _STREAMS:
                stream = getattr(sys, name)
                if isinstance(stream, _Proxy):
                    setattr(sys, name, stream.replaced)
            self._put_logs_back()

    def _redirect_logs(self, terminal: "Sequence[TextIO | None]") -> None:
        import logging

        for handler in _stream_handlers():
            # Not by `setStream`, which would flush: what is under the proxy is the same stream.
            if handler.stream is not None and handler.stream in terminal:
                handler.stream = _Proxy(handler.stream)
        if self._added is None and _goes_past(logging.getLogger().handlers):
            self._added = logging.StreamHandler(_Proxy(None))
            self._added.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
            logging.getLogger().addHandler(self._added)

    def _put_logs_back(self) -> None:
        import logging

        if self._added is not None:
            logging.getLogger().removeHandler(self._added)
            self._added = None
        for handler in _stream_handlers():
            if isinstance(handler.stream, _Proxy):
                handler.stream = handler.stream.replaced


_redirection = _Redirection()


def _stream_handlers() -> "Iterator[logging.StreamHandler[Any]]":
    """Yield all handlers of all loggers that write to a stream."""
    import logging

    for logger in (logging.getLogger(), *list(logging.root.manager.loggerDict.values())):
        for handler in logger.handlers if isinstance(logger, logging.Logger) else ():
            if isinstance(handler, logging.StreamHandler):
                yield handler


def _goes_past(handlers: "Sequence[logging.Handler]") -> bool:
    """Return whether there are handlers, and none of them writes to the terminal for certain."""
    import logging

    return bool(handlers) and all(
        isinstance(handler, logging.StreamHandler | logging.NullHandler)
        and not isinstance(getattr(handler, "stream", None), _Proxy)
        for handler in handlers
    )
