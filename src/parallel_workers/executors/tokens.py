"""Attempts execute in threads, each but the first with a token of a jobserver.

A task starts when there is a token for it, and not before: a token is asked for when a task is
ready, and the driver for a task when there is one.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Collection, Sequence
from select import POLLIN, poll
from socket import socketpair

from parallel_workers.bodies import Body, refuse_coroutines
from parallel_workers.driver import Driver
from parallel_workers.executors.attempts import no_thread
from parallel_workers.executors.beside import Beside
from parallel_workers.jobserver import Jobserver


class TokenExecutor:
    """Runs tasks in threads, each but the first with a token of a jobserver.

    Args:
        jobserver: The jobserver; it serves one run at a time.
    """

    def __init__(self, jobserver: Jobserver) -> None:
        self._jobserver = jobserver

    def start(self, driver: Driver, bodies: Sequence[Body]) -> "TokenWorkers":
        """Start the thread that takes tokens and tasks; the others follow.

        Raises:
            UsageError: The system allows no thread, or some function is a coroutine function.
        """
        refuse_coroutines(driver.plan)
        return TokenWorkers(self._jobserver, driver, bodies)


class TokenWorkers:
    """The threads of one run that takes part in a jobserver.

    Args:
        jobserver: The jobserver.
        driver: The driver of the run.
        bodies: By task, what an attempt does.

    Raises:
        UsageError: The system allows no thread.
    """

    def __init__(self, jobserver: Jobserver, driver: Driver, bodies: Sequence[Body]) -> None:
        self._jobserver = jobserver
        self._driver = driver
        self._most = driver.jobs or len(bodies)
        self._running = 0
        self._ended: deque[int] = deque()
        self._beside = Beside(driver, bodies, self._attempt_ended)
        self._woken, self._waker = socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._thread = threading.Thread(target=self._coordinate, name="jobserver", daemon=True)
        driver.on_change = self._wake
        try:
            self._thread.start()
        except RuntimeError:
            raise no_thread("beside the first") from None

    def cancel(self, tasks: Collection[int]) -> None:
        """Do nothing: no thread of Python can be ended from outside."""

    def join(self) -> None:
        """Wait until all threads are gone, save those that were given up."""
        self._thread.join()

    def _attempt_ended(self, code: int) -> None:
        self._ended.append(code)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # it has been woken, or is gone
            self._waker.send(b"\0")

    def _coordinate(self) -> None:
        while True:
            self._advance()
            if self._driver.over.is_set():
                break
            self._wait()
        self._beside.join()
        self._waker.close()
        self._woken.close()

    def _advance(self) -> None:
        """Tell of what has ended, and start what is ready, as far as there are tokens."""
        driver, jobserver = self._driver, self._jobserver
        ended = [self._ended.popleft() for _ in range(len(self._ended))]
        self._running -= len(ended)
        # Before anything else starts, so that the others have their chance.
        jobserver.keep(self._running - 1)
        driver.take(ended, 0)
        if not self._running:
            # A service that is up is no attempt, and yet may hold tokens.
            if not driver.serving:
                jobserver.restore()
            self._start(driver.take((), 1))
        while self._may_start() and jobserver.take():
            self._start(driver.take((), 1))
        jobserver.keep(self._running - 1)  # one too many, if something is not ready any more

    def _start(self, tasks: Sequence[int]) -> None:
        for task in tasks:
            self._running += 1
            self._beside.attempt(task)

    def _may_start(self) -> bool:
        """Return whether something is ready that lacks nothing but a token."""
        lost = self._jobserver.lost
        return not lost and self._driver.ready > 0 and self._running < self._most

    def _wait(self) -> None:
        """Wait until an attempt has ended, the driver has news, or there is a token to be used."""
        waiting = poll()
        waiting.register(self._woken, POLLIN)
        if self._may_start():
            waiting.register(self._jobserver, POLLIN)
        waiting.poll()
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)
