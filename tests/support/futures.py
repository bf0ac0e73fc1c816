"""An executor as somebody else would write it, by what the docstring of `executors` says alone."""

import threading
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from parallel_workers.bodies import Body, refuse_coroutines
from parallel_workers.driver import Driver
from parallel_workers.executors.attempts import attempt, in_time


class FuturesExecutor:
    """Runs tasks in the threads of `concurrent.futures`."""

    def start(self, driver: Driver, bodies: Sequence[Body]) -> "Futures":
        refuse_coroutines(driver.plan)
        return Futures(driver, bodies)


class Futures:
    def __init__(self, driver: Driver, bodies: Sequence[Body]) -> None:
        self._driver = driver
        self._bodies = bodies
        self._ended: SimpleQueue[list[int]] = SimpleQueue()
        driver.on_change = lambda: self._ended.put([])
        self._thread = threading.Thread(target=self._serve, name="futures", daemon=True)
        self._thread.start()

    def cancel(self, tasks: Collection[int]) -> None:
        pass

    def join(self) -> None:
        self._thread.join()

    def _serve(self) -> None:
        driver, room = self._driver, self._driver.jobs or len(self._bodies)
        with ThreadPoolExecutor(max(room, 1)) as pool:
            started = driver.take([], room)
            while not driver.over.is_set():
                for task in started:
                    pool.submit(self._attempt, task)
                ended = self._ended.get()
                room += len(ended) - len(started)
                started = driver.take(ended, room)

    def _attempt(self, task: int) -> None:
        body = in_time(self._driver, task, self._bodies[task])
        self._ended.put([attempt(self._driver, task, body)])
