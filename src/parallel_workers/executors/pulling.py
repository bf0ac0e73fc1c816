"""What a worker does that pulls its tasks: the loop of threads, and of the caller's own thread."""

from collections.abc import Callable, Sequence

from parallel_workers.bodies import Body
from parallel_workers.driver import Driver, clock
from parallel_workers.executors.attempts import Expired

SHORT = 50e-6
"""Seconds that tasks may take so that a worker takes several at once."""

HANDFUL = 64
"""How many it takes then, if there are enough for all."""


def _never() -> bool:
    return False


def pull(driver: Driver, bodies: Sequence[Body], grow: Callable[[], bool] = _never) -> None:
    """Attempt one task after the other until the run is over.

    Args:
        driver: The driver of the run.
        bodies: By task, what an attempt does.
        grow: Called whenever there is something to do, so that other workers can be started while
            there is work for them; returns whether it wants to be called again.
    """
    started, finished, values = driver.started, driver.finished, driver.values
    copy_of_context = driver.context.copy
    hand = driver.new_hand()
    waiting, ended = hand.waiting, hand.ended
    growing = True
    task = driver.step(hand, 1)
    while task is not None:
        if growing and driver.wants_worker:
            growing = grow()
        begun = now = clock()
        count = 0
        while True:
            started[task] = now
            try:
                values[task] = copy_of_context().run(bodies[task])
            except Expired:
                driver.take_hand(hand)
                return
            except BaseException as error:  # a worker outlives whatever a task does
                finished[task] = now = clock()
                ended.append(driver.failed(task, error))
                # What waits is still to be had back, if this failure stops the run.
                break
            finished[task] = now = clock()
            ended.append(task)
            count += 1
            if not waiting:
                break
            try:
                task = waiting.popleft()
            except IndexError:  # another worker was quicker
                break
        task = driver.step(hand, HANDFUL if now - begun < SHORT * count else 1)
