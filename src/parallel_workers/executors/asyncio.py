"""Attempts execute on an event loop: coroutines on the loop, all else in threads beside it.

Each coroutine is stepped by an `asyncio.Task` of its own. A function that is no coroutine function
is called in a thread; where it gives a coroutine, as `lambda: fetch(url)` does, that is awaited on
the loop, and what it gives is the value. Anything else that could be awaited is a value itself.

What has ended is collected until the loop comes to it, and handed to the driver at once.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from parallel_workers.bodies import Body, halves, is_coroutine_function
from parallel_workers.driver import Driver, clock
from parallel_workers.errors import Cancelled, UsageError
from parallel_workers.executors.attempts import no_thread, timed_out
from parallel_workers.executors.beside import Beside

if TYPE_CHECKING:
    from parallel_workers.run import Run


class AsyncioExecutor:
    """Runs tasks on an event loop of its own, which runs in a thread of its own.

    The loop is what `asyncio.new_event_loop` gives, so that a policy such as uvloop's counts.
    """

    def start(self, driver: Driver, bodies: Sequence[Body]) -> "OwnLoop":
        """Start the loop.

        Raises:
            UsageError: A loop runs in this thread, or the system allows no thread.
        """
        if _loop_runs_here():
            raise UsageError(
                "an event loop runs in this thread, and waiting for another would hold it up: "
                'use "await graph.run_async()", which runs the tasks on it'
            )
        return OwnLoop(driver, bodies)


class RunningLoop:
    """Runs the tasks of one run on the event loop that runs in this thread."""

    def start(self, driver: Driver, bodies: Sequence[Body]) -> "Attempts":
        """Have the loop begin as soon as it comes to it."""
        self._attempts = Attempts(driver, bodies, asyncio.get_running_loop())
        return self._attempts

    async def attend(self, run: "Run") -> None:
        """Wait for the end of the run; whoever cancels this cancels the run, which ends in order.

        Args:
            run: What was started here.

        Raises:
            CancelledError: This was cancelled; the run is over.
        """
        cancelled = None
        while not self._attempts.over.done():
            try:
                # Awaited itself, the future would be cancelled with whoever awaits it.
                await asyncio.wait([self._attempts.over])
            except asyncio.CancelledError as error:
                cancelled = error
                run.cancel()
        run.wait()
        if cancelled is not None:
            raise cancelled


class OwnLoop:
    """An event loop in a thread, for one run.

    Args:
        driver: The driver of the run.
        bodies: By task, what an attempt does.

    Raises:
        UsageError: The system allows no thread.
        KeyboardInterrupt: There was one; what had begun is cancelled.
    """

    def __init__(self, driver: Driver, bodies: Sequence[Body]) -> None:
        self._loop = asyncio.new_event_loop()
        self._attempts = Attempts(driver, bodies, self._loop)
        self._thread = threading.Thread(target=self._run, name="event loop", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._loop.close()
            raise no_thread("for the event loop") from None
        except KeyboardInterrupt:
            # The thread may have begun, and nobody will hold this to cancel it.
            driver.stop()
            self.cancel(driver.running())
            raise

    def cancel(self, tasks: Collection[int]) -> None:
        """Cancel the coroutines of these tasks."""
        self._attempts.cancel(tasks)

    def join(self) -> None:
        """Wait until the loop is closed, and all threads are gone."""
        self._thread.join()
        self._attempts.join()

    def _run(self) -> None:
        over = self._attempts.over
        over.add_done_callback(lambda _: self._loop.stop())
        # Ends also what coroutines have left running.
        with asyncio.Runner(loop_factory=lambda: self._loop):
            while not over.done():
                # What a coroutine started by itself can end the loop, but not the run.
                with contextlib.suppress(KeyboardInterrupt, SystemExit):
                    self._loop.run_forever()


class Attempts:
    """The attempts of one run on an event loop, on which all of this happens but `cancel`.

    Args:
        driver: The driver of the run.
        bodies: By task, what an attempt does.
        loop: The loop, which begins as soon as it comes to it.

    Attributes:
        over: Done when the run is over.
    """

    def __init__(
        self, driver: Driver, bodies: Sequence[Body], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._driver = driver
        self._loop = loop
        self._names = driver.plan.names
        self._most = driver.jobs or len(bodies)
        # What comes after a value waits for it to be awaited.
        self._bodies, self._arrived = _parts(bodies)
        # Many tasks call few functions, which need not be hashable.
        functions = {id(function): function for function in driver.plan.functions}
        self._coroutine_functions = {
            key for key, function in functions.items() if is_coroutine_function(function)
        }
        self._beside = Beside(driver, self._bodies_beside(), self._tell_beside)
        self._context = driver.context.copy()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._under_way = 0
        self._begun: list[int] = []
        self._returned: list[int] = []
        self._unawaited: dict[int, _Unawaited] = {}
        self._ended: list[int] = []
        self._cancelled: set[int] = set()
        self._stepping = False
        self.over: asyncio.Future[None] = loop.create_future()
        driver.on_change = partial(self._call, self._step_soon)
        self._step_soon()

    def cancel(self, tasks: Collection[int]) -> None:
        """Cancel the coroutines of these tasks. Any thread may call this."""
        self._call(self._cancel, tasks)

    def join(self) -> None:
        """Wait until the threads are gone."""
        self._beside.join()

    def _call(self, callback: Callable[..., object], *args: object) -> None:
        """Have the loop call `callback`, from whatever thread this is."""
        # A loop that is closed runs nothing of ours any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *args)

    def _cancel(self, tasks: Collection[int]) -> None:
        # A function in a thread may yet give a coroutine.
        self._cancelled.update(tasks)
        for task in self._tasks.keys() & tasks:
            self._tasks[task].cancel()
        self._step_soon()

    def _step_soon(self) -> None:
        if not self._stepping and not self._loop.is_closed():
            self._stepping = True
            # Not in the context of the attempt that calls this, for listeners are called there.
            self._loop.call_soon(self._step, context=self._context)

    def _step(self) -> None:
        """Tell the driver of what has ended, and begin what may begin."""
        driver = self._driver
        self._end_unbegun()
        ended, self._ended = self._ended, []
        self._under_way -= len(ended)
        self._begun = started = driver.take(ended, self._most - self._under_way)
        self._under_way += len(started)
        functions, copy_of_context = driver.plan.functions, driver.context.copy
        for task in started:
            if id(functions[task]) in self._coroutine_functions:
                self._begin(task, copy_of_context())
            else:
                self._beside.attempt(task)
        if self._returned:
            self._begin_returned()
        # Not before here, so that the next step follows on the first steps of all that was begun.
        self._stepping = False
        if self._begun:
            self._step_soon()
        elif driver.over.is_set() and not self.over.done():
            self.over.set_result(None)

    def _begin(self, task: int, context: Context) -> None:
        # Not by `create_task`: a factory of the user's may begin at once what is to begin later,
        # or know of no contexts.
        self._tasks[task] = asyncio.Task(
            self._attempt(task), loop=self._loop, name=self._names[task], context=context
        )

    def _end_unbegun(self) -> None:
        """End attempts that were cancelled before their first step, of which nobody else tells."""
        for task in self._begun:
            attempt = self._tasks.get(task)
            if attempt is not None and attempt.done():
                if task in self._unawaited:
                    self._unawaited.pop(task).coroutine.close()
                else:
                    self._driver.started[task] = clock()
                self._end(task, self._driver.failed(task, _cancelled()))

    async def _attempt(self, task: int) -> None:
        """Await what the coroutine function of a task gives, or what its function has given."""
        driver = self._driver
        limit = driver.plan.timeouts.get(task)
        try:
            if task in self._unawaited:
                coroutine = self._unawaited.pop(task).coroutine
            else:
                driver.started[task] = clock()
                coroutine = self._bodies[task]()
            value = await (coroutine if limit is None else _limited(coroutine, limit))
            driver.values[task] = self._arrived[task](value)
            code = task
        except asyncio.CancelledError:
            code = driver.failed(task, _cancelled())
        except BaseException as error:  # the loop outlives whatever a task does
            code = driver.failed(task, error)
        self._end(task, code)

    def _end(self, task: int, code: int) -> None:
        self._driver.finished[task] = clock()
        del self._tasks[task]
        self._ended.append(code)
        if not self._stepping:
            self._step_soon()

    def _bodies_beside(self) -> list[Body]:
        """Return, by task, what a thread is to call, where it is one that a thread attempts."""
        functions = self._driver.plan.functions
        return [
            body if functions[task] is None else partial(_call, body)
            for task, body in enumerate(self._bodies)
        ]

    def _tell_beside(self, code: int) -> None:
        self._call(self._end_beside, code)

    def _end_beside(self, code: int) -> None:
        """Note the end of an attempt in a thread, unless there is something to await."""
        value = self._driver.values[code] if code >= 0 else None
        if isinstance(value, _Unawaited):
            self._driver.values[code] = None
            self._unawaited[code] = value
            self._returned.append(code)
        else:
            if code >= 0:
                self._driver.values[code] = self._arrived[code](value)
            self._ended.append(code)
        self._step_soon()

    def _begin_returned(self) -> None:
        """Begin to await what functions in threads have given."""
        returned, self._returned = self._returned, []
        for task in returned:
            self._begin(task, self._unawaited[task].context)
            if task in self._cancelled:
                self._tasks[task].cancel()
        self._begun += returned


def _parts(bodies: Sequence[Body]) -> tuple[list[Body], list[Callable[[Any], Any]]]:
    """Return the halves of bodies, the first ones and the second ones."""
    parts = [halves(body) for body in bodies]
    return [call for call, _ in parts], [arrived for _, arrived in parts]


class _Unawaited(NamedTuple):
    """A coroutine that a function in a thread has given, and the context that it was given in."""

    coroutine: Coroutine[Any, Any, Any]
    context: Context


def _call(body: Body) -> Any:
    value = body()
    return _Unawaited(value, copy_context()) if isinstance(value, Coroutine) else value


async def _limited(coroutine: Coroutine[Any, Any, Any], seconds: float) -> Any:
    """Await `coroutine`, and cancel it where it takes longer.

    Raises:
        TimedOut: It took longer, whatever came of it then.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await coroutine
    finally:
        if limit.expired():
            raise timed_out(seconds)


def _cancelled() -> Cancelled:
    return Cancelled("its coroutine was cancelled")


def _loop_runs_here() -> bool:
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        return True
    return False
