"""The bodies of a plan's tasks: what an executor calls for each attempt.

A body takes nothing, returns the value of the task, and raises where the attempt failed. It may be
wrapped, by subclasses of `Wrapper` alone; an executor that cannot just call the whole goes by what
that class says, and knows no wrapper by its name.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from parallel_workers.commands import (
    Command,
    CommandRunner,
    CommandText,
    shown_command,
    words_of,
)
from parallel_workers.definition import Definition, Service
from parallel_workers.driver import Driver, clock
from parallel_workers.errors import AttemptError, CommandFailed, UsageError
from parallel_workers.events import LET_GO, CommandResult
from parallel_workers.logs import log_name
from parallel_workers.outputs import Outputs, OutputsError
from parallel_workers.plan import Plan
from parallel_workers.tasks import Arguments
from parallel_workers.wording import shorten

if TYPE_CHECKING:
    from parallel_workers.services import Services

CO_COROUTINE = 0x80
"""The flag of code that makes a coroutine; `inspect` has it, too, but takes long to import."""

Body: TypeAlias = Callable[[], Any]


def command_bodies(
    plan: Plan,
    commands: Mapping[int, CommandText],
    runner: CommandRunner,
    driver: Driver,
    outputs: Outputs,
    questions: Mapping[int, str] = MappingProxyType({}),
) -> dict[int, Body]:
    """Return the bodies of tasks that run commands.

    Args:
        plan: The plan.
        commands: By task, its command.
        runner: What runs them.
        driver: The driver of their run.
        outputs: What they pass on to each other.
        questions: By task that is to be confirmed, what somebody is asked.
    """
    attempts = _Attempts(plan, commands, runner, driver, outputs, questions)
    return {task: CommandBody(attempts.run, task) for task in commands}


class _Attempts:
    """What attempts do of tasks that run commands; the arguments are those of `command_bodies`."""

    def __init__(
        self,
        plan: Plan,
        commands: Mapping[int, CommandText],
        runner: CommandRunner,
        driver: Driver,
        outputs: Outputs,
        questions: Mapping[int, str],
    ) -> None:
        self._plan = plan
        self._commands = commands
        self._runner = runner
        self._driver = driver
        self._outputs = outputs
        self._questions = questions
        self._confirmed: set[int] = set()
        self._services = _services(runner, driver) if plan.services else None

    def run(self, task: int) -> CommandResult | None:
        """Make an attempt of a task; return None where there is nothing of a command to tell.

        Raises:
            AttemptError: It has failed.
        """
        # Prepared by the worker, not for all tasks before the first one starts.
        plan, outputs = self._plan, self._outputs
        number, definition = self._driver.attempt(task), plan.definitions[task]
        passed = {**outputs.variables(task), b"PW_OUTPUTS": outputs.begin(task, number)}
        if definition.done_if is not None:
            condition = _prepare(plan, task, definition.done_if, passed)
            if self._is_done(condition, number):
                return None
        command = _prepare(plan, task, self._commands[task], passed)
        if task in self._questions or definition.console:
            self._turn_to_person(command, number)
        if definition.service is None:
            return self._pass_on(task, self._runner.run(command, number))
        return self._bring_up(command, definition.service, number)

    def _is_done(self, condition: Command, number: int) -> bool:
        task = condition.task
        if not self._runner.holds(condition, number, "done-if"):
            self._outputs.forget(task)
            return False
        try:
            self._outputs.take(task)
        except OutputsError as error:
            why = f"done-if: outputs: {error}"
            raise self._runner.refusal(condition, number, why) from None
        self._driver.found_done(task)
        return True

    def _turn_to_person(self, command: Command, number: int) -> None:
        """Let a person know what has happened, and confirm the task if it is to be."""
        driver, task = self._driver, command.task
        driver.wait_until_told()
        if task not in self._questions or task in self._confirmed:
            return
        try:
            pointless = partial(_pointless, driver, task)
            self._runner.confirm(command, number, self._questions[task], pointless)
        except AttemptError:
            driver.forgo(task)  # the same would be asked again
            raise
        self._confirmed.add(task)
        if self._plan.console is not None and task not in self._plan.consoles:
            driver.release(task, self._plan.console)
        # The time that the answer took is not the task's.
        driver.started[task] = clock()

    def _bring_up(self, command: Command, service: Service, number: int) -> CommandResult | None:
        assert self._services is not None
        with self._services.brought_up(command.task, command, service, number) as result:
            if result is not None:
                return self._pass_on(command.task, result)
        self._driver.dismiss(command.task)
        return None

    def _pass_on(self, task: int, result: CommandResult) -> CommandResult:
        """Pass on what a command has written for those behind it.

        Raises:
            CommandFailed: It has written what cannot be passed on.
        """
        try:
            self._outputs.take(task)
        except OutputsError as error:
            result = result._replace(error=f"outputs: {error}")
            raise CommandFailed(f"{result.command}: {result.ending}", result) from None
        return result


def _pointless(driver: Driver, task: int) -> bool:
    """Return whether a task that is yet to start would not, whatever anybody says."""
    return driver.closing and task not in driver.plan.always


def _services(runner: CommandRunner, driver: Driver) -> "Services":
    from parallel_workers.services import Services

    services = Services(runner, driver.left)
    driver.supervisor = services
    return services


class CommandBody:
    """Runs a command; it starts a process of its own, so that any thread may call it.

    Args:
        run: Runs the command of a task.
        task: The task.
    """

    __slots__ = ("_run", "_task")

    def __init__(self, run: Callable[[int], CommandResult | None], task: int) -> None:
        self._run = run
        self._task = task

    def __call__(self) -> CommandResult | None:
        """Run the command; None where its task turned out to be done."""
        return self._run(self._task)


class Wrapper:
    """A body around another one, which adds what comes before that and after it, and never raises.

    Attributes:
        inner: The other body.
    """

    __slots__ = ("inner",)

    def __init__(self, inner: Body) -> None:
        self.inner = inner

    def begin(self) -> None:
        """Do what comes before the other body, in the context of the attempt."""

    def arrived(self, value: Any) -> Any:
        """Do what comes after, once the value of the other is there; return what is kept of it."""
        return value

    def sent(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return what another process is to call in place of a function, for `begin` is not there.

        If that returns a `Captured`, its text is told to `wrote`, and the attempt gets the rest.
        """
        return function

    def wrote(self, text: str) -> None:
        """Hear what an attempt in another process has written, before it is told how it ended."""

    def __call__(self) -> Any:
        """Call the other body, and do what comes before and after."""
        self.begin()
        return self.arrived(self.inner())


def layers(body: Body) -> tuple[list[Wrapper], Body]:
    """Return the wrappers of a body, the outermost first, and what is within them all."""
    wrappers: list[Wrapper] = []
    while isinstance(body, Wrapper):
        wrappers.append(body)
        body = body.inner
    return wrappers, body


def arrived(wrappers: Sequence[Wrapper], value: Any) -> Any:
    """Tell wrappers, as `layers` gives them, that the value is there; return what is kept of it."""
    for wrapper in reversed(wrappers):
        value = wrapper.arrived(value)
    return value


def halves(body: Body) -> tuple[Body, Callable[[Any], Any]]:
    """Return a body in two parts, between which its value can be awaited, or come too late.

    Returns:
        What gives the value, to be called in the context of the attempt; and what gives of that
        value what is kept, to be called once it is there.
    """
    wrappers, inner = layers(body)

    def call() -> Any:
        for wrapper in wrappers:
            wrapper.begin()
        return inner()

    return (call, partial(arrived, wrappers)) if wrappers else (body, _as_it_is)


def _as_it_is(value: Any) -> Any:
    return value


class FunctionBody:
    """Calls a function with arguments, some of which are values of other tasks.

    Args:
        function: The function.
        arguments: What it is called with.
        value_of: Gives the value of a task, by its number in the graph.
    """

    __slots__ = ("_arguments", "_value_of", "function")

    def __init__(
        self, function: Callable[..., Any], arguments: Arguments, value_of: Callable[[int], Any]
    ) -> None:
        self.function = function
        self._arguments = arguments
        self._value_of = value_of

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """Return the positional arguments and those by keyword, values in their places."""
        return self._arguments.filled(self._value_of)

    def __call__(self) -> Any:
        """Call the function."""
        args, kwargs = self._arguments.filled(self._value_of)
        return self.function(*args, **kwargs)


def function_bodies(plan: Plan, values: Sequence[Any]) -> list[Body | None]:
    """Return, by task, the body of the function that it calls; None where it calls none.

    Args:
        plan: The plan.
        values: By task, its value as soon as it has one.
    """
    numbers = plan.numbers

    def value_of(number: int) -> Any:
        return values[numbers[number]]

    bodies: list[Body | None] = plan.functions.copy()
    for task, arguments in plan.arguments.items():
        function = plan.functions[task]
        assert function is not None
        bodies[task] = FunctionBody(function, arguments, value_of)
    return bodies


def let_go_early(plan: Plan, bodies: list[Body], values: list[Any]) -> None:
    """Have each value let go when its last reader has run, save those of the graph's leaves.

    Args:
        plan: The plan.
        bodies: By task, its body; those of readers and of what is read by nobody are replaced.
        values: By task, its value as soon as it has one.
    """
    readers = [0] * plan.tasks
    sources: dict[int, set[int]] = {}
    for task, arguments in plan.arguments.items():
        read = {plan.numbers[number] for each in arguments.tasks for number in each.numbers}
        sources[task] = read
        for source in read:
            readers[source] += 1
    lock = threading.Lock()

    def release(task: int) -> None:
        with lock:
            for source in sources.get(task, ()):
                readers[source] -= 1
                if not readers[source]:
                    values[source] = LET_GO

    for task in range(plan.tasks):
        unread = not readers[task] and bool(plan.successors[task])
        if unread or task in sources:
            bodies[task] = Passing(bodies[task], partial(release, task), unread)


class Passing(Wrapper):
    """A body after which values are let go: its own, or those that it read.

    Args:
        inner: The other body.
        release: Lets go what it read, as far as nobody else reads it.
        unread: Whether nobody reads its own value.
    """

    __slots__ = ("_release", "_unread")

    def __init__(self, inner: Body, release: Callable[[], None], unread: bool) -> None:
        super().__init__(inner)
        self._release = release
        self._unread = unread

    def arrived(self, value: Any) -> Any:
        """Let go what need not be kept now that the value is there; return what is left of it."""
        self._release()
        return LET_GO if self._unread else value


def refuse_coroutines(plan: Plan) -> None:
    """Raise if some function would have to be awaited.

    Raises:
        UsageError: It names the task.
    """
    functions = plan.functions
    for task in first_callers(plan):
        if is_coroutine_function(functions[task]):
            raise UsageError(
                f"task {shorten(plan.names[task])} is a coroutine function, which nobody would "
                'await here: run it by run_async, or with on="asyncio"'
            )


def first_callers(plan: Plan) -> list[int]:
    """Return the first task of each function, where many tasks call few; and that of a command."""
    # A function need not be hashable. Of equal keys, a dictionary keeps the last value.
    numbers = range(plan.tasks - 1, -1, -1)
    return sorted(dict(zip(map(id, reversed(plan.functions)), numbers, strict=True)).values())


def is_coroutine_function(function: object) -> bool:
    """Return whether calling `function` gives a coroutine; also of partials and of callables.

    >>> async def fetch(): ...
    >>> is_coroutine_function(partial(fetch)), is_coroutine_function(print)
    (True, False)
    """
    while isinstance(function, partial):
        function = function.func
    code = getattr(function, "__code__", None)
    if code is None:
        code = getattr(getattr(type(function), "__call__", None), "__code__", None)  # noqa: B004
    return bool(getattr(code, "co_flags", 0) & CO_COROUTINE)


def _prepare(plan: Plan, task: int, command: CommandText, passed: Mapping[bytes, bytes]) -> Command:
    definition, name = plan.definitions[task], plan.names[task]
    return Command(
        text=shown_command(command),
        words=words_of(command),
        cwd=None if definition.cwd is None else os.path.abspath(definition.cwd),
        env=_environment(definition, name, plan.positions[task], passed),
        timeout=definition.timeout,
        log=log_name(task + 1, name),
        task=task,
        name=name,
        console=definition.console,
    )


def _environment(
    definition: Definition, name: str, position: int, passed: Mapping[bytes, bytes]
) -> dict[bytes, bytes]:
    """Return what is set for a command; what its task sets itself goes over all else.

    In UTF-8, as the file had it, whatever the locale of this process.
    """
    own = {key.encode(): value.encode() for key, value in definition.env.items()}
    return {b"PW_TASK": name.encode(), b"PW_POSITION": b"%d" % position, **passed, **own}
