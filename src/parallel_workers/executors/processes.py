"""Attempts execute in worker processes, which are started as they are needed.

One thread of this process coordinates: it asks the driver, gives workers their tasks, hears what
came of them, and replaces workers that are gone. While tasks are short, each worker is given
several ahead. What it has not begun is taken back from it as soon as another has nothing to do,
and is given to others if it dies; so only the task that it was running fails with it. Commands run
beside, in threads: each starts a process of its own anyway.

A worker is a new interpreter that imports the main module of this one, under another name than
`__main__`. So what a script does must stand under `if __name__ == "__main__":`. Functions, values
and exceptions travel pickled; what has no name at the top of a module, such as a lambda, travels
where cloudpickle is installed. Context variables cannot travel: in a worker they have their
defaults.
"""

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from select import POLLIN, POLLOUT, poll

from parallel_workers.bodies import Body, CommandBody, arrived, layers, refuse_coroutines
from parallel_workers.cores import usable_cores
from parallel_workers.driver import Driver, clock
from parallel_workers.errors import AttemptError, Cancelled, UsageError
from parallel_workers.executors.attempts import no_thread, timed_out
from parallel_workers.executors.beside import Beside
from parallel_workers.executors.calls import Calls
from parallel_workers.executors.wire import (
    ERROR,
    OUTPUT,
    VALUE,
    WAKEFUL,
    WITHIN,
    Wakefulness,
    unpack,
    unpack_error,
)
from parallel_workers.executors.worker_process import Result, WorkerProcess

AHEAD = 0.001
"""Seconds for which a worker is given tasks ahead, by what tasks have taken of late."""

MOST = 64
"""How many tasks a worker has at most, the running one among them."""

PATIENCE = 3.0
"""Seconds that idle workers have to end by themselves when the run is over."""

LAST_BREATH = 0.3
"""Seconds that a worker has to end that can be talked to no more."""

BOOTS = 10
"""How many workers may be gone in a row before they were ready, until no more are started."""

NO_WORKER = "no worker process can be started"


class ProcessesExecutor:
    """Runs functions in worker processes, and commands in threads beside them."""

    def start(self, driver: Driver, bodies: Sequence[Body]) -> "Processes":
        """Start the first worker, and return when it is ready.

        Raises:
            UsageError: No worker can be started, or something cannot be sent to one: a coroutine
                function, or what cannot be pickled.
        """
        _refuse_in_main()
        refuse_coroutines(driver.plan)
        calls = Calls(driver.plan, bodies)
        calls.check()
        processes = Processes(driver, bodies, calls)
        processes.start()
        return processes


def _refuse_in_main() -> None:
    """Raise if this process is just being made a worker, and runs what is for its parent to run."""
    from multiprocessing import process

    if getattr(process.current_process(), "_inheriting", False):
        raise UsageError(
            "the main module starts a run when a worker process imports it: put what it does "
            'under `if __name__ == "__main__":`'
        )


class Processes:
    """The worker processes of one run, and the thread that coordinates them.

    Args:
        driver: The driver of the run.
        bodies: By task, what an attempt does.
        calls: What workers are sent.
    """

    def __init__(self, driver: Driver, bodies: Sequence[Body], calls: Calls) -> None:
        self._driver = driver
        self._bodies = bodies
        self._calls = calls
        self._jobs = driver.jobs or len(bodies)
        self._workers: list[WorkerProcess] = []
        self._most_workers = min(self._jobs, len(bodies))
        self._most_booting = usable_cores()
        self._lost_boots = 0
        self._boot_error = ""
        self._waiting: deque[int] = deque()
        self._timed: deque[int] = deque()
        self._ended: list[int] = []
        self._under_way = 0
        self._beside = Beside(driver, bodies, self._command_ended)
        self._commands_ended: deque[int] = deque()
        # A command must not be taken ahead of its start, and only the driver knows what comes next.
        self._only_functions = None not in driver.plan.functions
        self._typical = 2 * AHEAD
        self._cancelled: set[int] = set()
        self._recalls = 0
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._poll = poll()
        self._poll.register(self._woken, POLLIN)
        self._wakefulness = Wakefulness()
        self._by_file: dict[int, WorkerProcess] = {}
        self._thread = threading.Thread(target=self._coordinate, name="processes", daemon=True)

    def start(self) -> None:
        """Start the first worker and the coordinating thread.

        Raises:
            UsageError: One of them cannot be started.
        """
        try:
            if not all(map(_is_command, self._bodies)):
                self._start_first()
            self._start_thread()
        except BaseException:
            self._close()
            raise

    def _start_thread(self) -> None:
        self._driver.on_change = self._wake
        try:
            self._thread.start()
        except RuntimeError:
            raise no_thread("beside the first") from None

    def _start_first(self) -> None:
        try:
            worker = self._start_worker()
        except OSError as error:
            raise UsageError(f"{NO_WORKER}: {error.strerror}") from None
        why = worker.wait_until_ready()
        if why is not None:
            raise UsageError(f"{NO_WORKER}: {why}")

    def cancel(self, tasks: Collection[int]) -> None:
        """Kill the workers that run one of these tasks."""
        self._cancelled.update(tasks)
        self._wake()

    def join(self) -> None:
        """Wait until all workers are gone, which is soon after the run is over."""
        self._thread.join()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # it has been woken, or is gone
            self._waker.send(b"\0")

    def _command_ended(self, code: int) -> None:
        self._commands_ended.append(code)
        self._wake()

    def _coordinate(self) -> None:
        try:
            while self._advance():
                self._place()
                self._grow()
                self._hear()
        except BaseException as error:  # rather a run that fails than one that never ends
            self._fail_all(error)
            raise
        finally:
            self._close()

    def _advance(self) -> bool:
        """Tell the driver what has ended, take what comes next; return whether there is more."""
        driver = self._driver
        while self._commands_ended:
            self._ended.append(self._commands_ended.popleft())
        ended, self._ended = self._ended, []
        self._under_way -= len(ended)
        if any(code < 0 for code in ended):
            # It may let go what has not begun; nothing is to be taken before that.
            driver.take(ended, 0)
            ended = []
        # What is cancelled was called back before, if it had not begun.
        cancelled = frozenset(self._cancelled)
        if driver.recalls != self._recalls:
            self._recalls = driver.recalls
            self._take_back_all()
        started = driver.take(ended, self._room(), ahead=not self._only_functions)
        self._under_way += len(started)
        self._queue(started)
        if cancelled:
            self._kill_workers_of(cancelled)
        return not driver.over.is_set()

    def _room(self) -> int:
        """Return how many tasks more there is a worker for; with commands, how many may run."""
        if not self._only_functions:
            return self._jobs - self._under_way
        if self._timed:  # for which some worker has to run dry
            return 0
        depth = self._depth()
        room = sum([depth - len(worker.given) for worker in self._able(depth)])
        return max(0, room - len(self._waiting))

    def _able(self, depth: int) -> list[WorkerProcess]:
        """Return the workers that can be given another task."""
        return [
            worker
            for worker in self._workers
            if worker.ready
            and worker.ending is None
            and worker.deadline is None
            and not worker.robbed
            and len(worker.given) < depth
        ]

    def _depth(self) -> int:
        """Return how many tasks a worker may have at once, the running one among them."""
        if self._driver.watched or not self._only_functions:
            return 1
        return min(MOST, 1 + int(AHEAD / self._typical))

    def _queue(self, tasks: Iterable[int]) -> None:
        timeouts = self._driver.plan.timeouts
        for task in tasks:
            if not self._only_functions and _is_command(self._bodies[task]):
                self._driver.tell_start(task)
                self._beside.attempt(task)
            elif task in timeouts:
                self._timed.append(task)
            else:
                self._waiting.append(task)

    def _take_back_all(self) -> None:
        tasks = [*self._waiting, *self._timed]
        self._waiting.clear()
        self._timed.clear()
        for worker in self._workers:
            tasks += worker.take_back(len(worker.given))
        if tasks:
            self._under_way -= len(tasks)
            self._driver.take_back(tasks)

    def _kill_workers_of(self, cancelled: Collection[int]) -> None:
        """Kill workers whose task is to be cancelled."""
        for worker in self._workers:
            if any(task in cancelled for task in worker.given) and worker.ending is None:
                worker.ending = Cancelled("cancelled")
                worker.kill()

    def _fail_all(self, error: BaseException) -> None:
        driver = self._driver
        driver.stop()
        tasks = [*self._waiting, *self._timed]
        tasks += [task for worker in self._workers for task in worker.given]
        self._beside.join()
        codes = [
            *self._ended,
            *self._commands_ended,
            *(driver.failed(task, error) for task in tasks),
        ]
        driver.take(codes, 0)

    def _place(self) -> None:
        """Give workers what waits for one; what busy ones have not begun goes to idle ones."""
        ready = [worker for worker in self._workers if worker.ready and worker.ending is None]
        idle = [worker for worker in ready if not worker.given]
        while self._timed and idle:
            worker, task = idle.pop(), self._timed.popleft()
            self._give(worker, task)
            if worker.given:
                worker.deadline = clock() + self._driver.plan.timeouts[task]
                self._flush(worker)
        if idle and not self._waiting and len(ready) > 1:
            richest = max(ready, key=_load)
            self._queue(richest.take_back(len(richest.given) // 2))
        if self._waiting:
            self._deal()

    def _deal(self) -> None:
        depth = self._depth()
        able = given_to = sorted(self._able(depth), key=_load)
        while self._waiting and able:
            for worker in able:
                if self._waiting:
                    self._give(worker, self._waiting.popleft())
            able = [worker for worker in able if len(worker.given) < depth]
        for worker in given_to:
            self._flush(worker)

    def _give(self, worker: WorkerProcess, task: int) -> None:
        driver = self._driver
        driver.tell_start(task)
        try:
            number, packed = self._calls.call(task)
        except AttemptError as error:
            driver.started[task] = driver.finished[task] = clock()
            self._ended.append(driver.failed(task, error))
            return
        if number != WITHIN and number not in worker.known:
            worker.define(number, self._calls.functions[number])
        worker.give(task, number, packed)

    def _flush(self, worker: WorkerProcess) -> None:
        if worker.flush() is worker.stuck:
            worker.stuck = not worker.stuck
            self._poll.modify(worker, POLLIN | POLLOUT if worker.stuck else POLLIN)

    def _grow(self) -> None:
        """Start workers for what waits for one, as long as there may be more."""
        ready = self._driver.ready if self._only_functions else 0
        enough = not ready and self._under_way <= len(self._workers)
        if enough or len(self._workers) >= self._most_workers:
            return
        wanted = ready + len(self._waiting) + len(self._timed)
        wanted += sum([len(worker.given) - 1 for worker in self._workers if worker.given])
        booting = sum([not worker.ready for worker in self._workers])
        more = min(wanted, self._most_booting) - booting
        for _ in range(min(more, self._most_workers - len(self._workers))):
            if self._lost_boots >= BOOTS:
                break
            try:
                self._start_worker()
            except OSError as error:
                self._boot_error = str(error.strerror)
                self._most_workers = len(self._workers)
                break
        if wanted and not self._workers:
            self._give_up()

    def _give_up(self) -> None:
        """Let the run fail: there is no worker, and there will be none."""
        driver = self._driver
        if not self._waiting and not self._timed:
            self._waiting += driver.take((), 1)
            self._under_way += 1
        task = (self._waiting or self._timed).popleft()
        driver.started[task] = driver.finished[task] = clock()
        driver.stop()
        error = AttemptError(f"{NO_WORKER}: {self._boot_error}")
        self._ended.append(driver.failed(task, error))

    def _start_worker(self) -> WorkerProcess:
        worker = WorkerProcess()
        self._workers.append(worker)
        for file in (worker.fileno(), worker.handle):
            if file is not None:
                self._by_file[file] = worker
                self._poll.register(file, POLLIN)
        return worker

    def _hear(self) -> None:
        """Wait until something happens, and hear what it was."""
        for file, event in self._events():
            worker = self._by_file.get(file)
            if worker is None:
                if file == self._woken.fileno():
                    with contextlib.suppress(BlockingIOError):
                        self._woken.recv(4096)
                continue
            if event & POLLOUT:
                self._flush(worker)
            if not self._hear_from(worker) or file == worker.handle:
                self._bury(worker)
        self._end_late()

    def _events(self) -> list[tuple[int, int]]:
        events = None
        if self._typical < WAKEFUL and not self._ended:
            events = self._wakefulness.look(lambda: self._poll.poll(0) or None)
        return events or self._poll.poll(self._pause())

    def _pause(self) -> float | None:
        """Return for how many milliseconds to wait at most; None for no limit."""
        if self._ended:
            return 0
        deadlines = [worker.deadline for worker in self._workers if worker.deadline is not None]
        # The most that poll takes is 2³¹ milliseconds.
        return min(max(0.0, min(deadlines) - clock()) * 1000 + 1, 1e9) if deadlines else None

    def _hear_from(self, worker: WorkerProcess) -> bool:
        """Hear what a worker has sent; return whether there may be more."""
        try:
            for result in worker.results():
                if worker.ready:
                    self._note(worker, result)
                elif (why := worker.says_ready(result)) is None:
                    self._lost_boots = 0
                else:
                    self._lost_boots = BOOTS
                    self._boot_error = why
        except EOFError:
            return False
        return True

    def _note(self, worker: WorkerProcess, result: Result) -> None:
        task = result.task
        if result.kind == OUTPUT:
            self._note_output(task, unpack(result.body, result.buffers))
            return
        worker.ended(task, result.finished)
        driver = self._driver
        driver.started[task] = result.started
        driver.finished[task] = result.finished
        self._typical += (min(result.finished - result.started, 10 * AHEAD) - self._typical) / 8
        self._ended.append(self._code_of(task, result))

    def _code_of(self, task: int, result: Result) -> int:
        driver, value = self._driver, None
        if result.kind == ERROR:
            return driver.failed(task, unpack_error(result.body, result.buffers))
        if result.kind == VALUE:
            try:
                value = unpack(result.body, result.buffers)
            except Exception as error:
                what = f"its value cannot be read here: {type(error).__name__}: {error}"
                return driver.failed(task, AttemptError(what))
        driver.values[task] = arrived(layers(self._bodies[task])[0], value)
        return task

    def _note_output(self, task: int, text: str) -> None:
        for wrapper in layers(self._bodies[task])[0]:
            wrapper.wrote(text)

    def _end_late(self) -> None:
        """Kill workers whose task has taken longer than it may."""
        for worker in self._workers:
            if worker.deadline is not None and clock() >= worker.deadline and not worker.ending:
                limit = self._driver.plan.timeouts[next(iter(worker.given))]
                worker.ending = timed_out(limit)
                worker.kill()

    def _bury(self, worker: WorkerProcess) -> None:
        """Do what follows from the end of a worker."""
        if worker not in self._workers:
            return
        worker.close_results()
        while self._hear_from(worker):
            pass
        self._workers.remove(worker)
        for file in (worker.fileno(), worker.handle):
            if file is not None:
                del self._by_file[file]
                self._poll.unregister(file)
        unstarted = worker.take_back(len(worker.given))
        how = worker.end(LAST_BREATH)
        if not worker.ready:
            self._lost_boots += 1
            self._boot_error = self._boot_error or f"it {how}"
        driver = self._driver
        for task in worker.given:  # one at most
            driver.started[task] = worker.since
            driver.finished[task] = clock()
            error = worker.ending or AttemptError(f"the process that ran it {how}")
            self._ended.append(driver.failed(task, error))
        self._queue(unstarted)

    def _close(self) -> None:
        self._beside.join()
        for worker in self._workers:
            if worker.ready:
                worker.dismiss()
            else:
                worker.kill()
        patience = clock() + PATIENCE
        for worker in self._workers:
            worker.end(max(0.0, patience - clock()))
        self._workers.clear()
        self._woken.close()
        self._waker.close()


def _load(worker: WorkerProcess) -> int:
    return len(worker.given)


def _is_command(body: Body) -> bool:
    return isinstance(layers(body)[1], CommandBody)
