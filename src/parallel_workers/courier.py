"""Telling what has happened in a thread of its own, so that no worker waits for whoever is told.

What happens within a moment is told at once: one transaction and one write for many short tasks.
A slow terminal, a reader that has stopped to read, or a journal that somebody has locked holds up
this thread, and no task.
"""

import threading

from parallel_workers.driver import Driver

MOMENT = 0.01
"""Seconds between two times of telling, while the run goes on."""


class Courier:
    """Tells the listeners of a run what has happened, until all of it is told.

    Args:
        driver: The driver of the run, which has begun, and leaves telling to this from now on.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._news = threading.Event()
        self._works = True
        self._thread = threading.Thread(target=self._carry, name="courier", daemon=True)
        driver.on_events = self._note_news

    def start(self) -> None:
        """Begin to tell; where the system allows no thread, workers do it as they would without."""
        # Of what the run began with.
        self._note_news()
        try:
            self._thread.start()
        except RuntimeError:
            self._works = False
            self._driver.deliver()

    def _note_news(self) -> None:
        if not self._works:
            self._driver.deliver()
        elif not self._news.is_set():
            self._news.set()

    def _carry(self) -> None:
        driver, news = self._driver, self._news
        over = False
        while not over:
            news.wait()
            # Before the batch is taken: what comes to be news later is for the next one.
            news.clear()
            over = driver.over.is_set()
            driver.deliver()
            driver.over.wait(MOMENT)
