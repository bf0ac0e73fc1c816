"""The calls of a plan's functions, as worker processes get them."""

from collections.abc import Callable, Mapping, Sequence
from pickle import dumps
from types import BuiltinFunctionType, FunctionType
from typing import Any

from parallel_workers.bodies import Body, FunctionBody, first_callers, layers
from parallel_workers.errors import AttemptError, UsageError
from parallel_workers.executors.wire import LARGE, WITHIN, Packed, by_value_pickler, pack
from parallel_workers.executors.worker_process import main_is_importable
from parallel_workers.plan import Plan
from parallel_workers.wording import shorten

PLAIN = frozenset([int, float, bool, str, bytes, complex, type(None)])
"""Types of which everything can be pickled."""

NUMBERS = frozenset([int, float, bool, type(None)])

NO_ARGUMENTS = Packed([], 0, 0)

_OF_MAIN = b"\x8c\x08__main__"
"""What is in the pickle of what has its name in the main module."""


class Calls:
    """Makes the calls of a plan.

    Args:
        plan: The plan.
        bodies: By task, what an attempt does.

    Attributes:
        functions: By number, what workers are sent of a function; others are sent in each call.
    """

    def __init__(self, plan: Plan, bodies: Sequence[Body]) -> None:
        self.functions: list[bytes] = []
        self._plan = plan
        self._bodies = bodies
        self._by_value = not main_is_importable()
        self._numbers: dict[int, int] = {}

    def check(self) -> None:
        """Raise if it is known already that something cannot be sent to another process.

        Raises:
            UsageError: It names the task, and what of it.
        """
        plan = self._plan
        for task in first_callers(plan):
            function = plan.functions[task]
            if function is not None:
                self._add(task, function)
        for task, arguments in plan.arguments.items():
            args, kwargs = arguments.filled(_nothing)
            if kwargs or not PLAIN.issuperset(map(type, args)):
                try:
                    self._pack((args, kwargs))
                except Exception as error:
                    what, error = self._culprit(args, kwargs, error)
                    raise self._refusal(task, what, error, "") from None

    def _add(self, task: int, function: Callable[..., Any]) -> None:
        advice = "; define it at the top of a module"
        try:
            pickled = b"".join(self._pack(function).chunks)
        except Exception as error:
            raise self._refusal(task, "its function", error, advice) from None
        if self._by_value and _OF_MAIN in pickled and by_value_pickler() is None:
            why = "the main module is no file that another process could import"
            raise self._refusal(task, "its function", UsageError(why), advice)
        if isinstance(function, (FunctionType, BuiltinFunctionType)):
            self._numbers[id(function)] = len(self.functions)
            self.functions.append(pickled)

    def _refusal(self, task: int, what: str, error: Exception, advice: str) -> UsageError:
        if by_value_pickler() is None:
            advice += f"{', or' if advice else ';'} install cloudpickle"
        name = shorten(self._plan.names[task])
        return UsageError(f"task {name}: {what} cannot be sent to another process: {error}{advice}")

    def _culprit(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], error: Exception
    ) -> tuple[str, Exception]:
        """Return which argument cannot be pickled, and why; what was found of all if none alone."""
        places = [(f"argument {number}", value) for number, value in enumerate(args, 1)]
        places += [(f"argument {shorten(name)}", value) for name, value in kwargs.items()]
        for place, value in places:
            try:
                self._pack(value)
            except Exception as own:
                return place, own
        return "what it is called with", error

    def call(self, task: int) -> tuple[int, Packed]:
        """Return the number of the function that a task calls, and the rest of the call.

        Raises:
            AttemptError: It cannot be sent; says what of it.
        """
        wrappers, body = layers(self._bodies[task])
        args: tuple[Any, ...] = ()
        kwargs: Mapping[str, Any] = {}
        function: Callable[..., Any] = body
        if isinstance(body, FunctionBody):
            function = body.function
            args, kwargs = body.arguments()
        for wrapper in reversed(wrappers):
            function = wrapper.sent(function)
        number = self._numbers.get(id(function), WITHIN)
        if number != WITHIN and not args and not kwargs:
            return number, NO_ARGUMENTS
        try:
            if number != WITHIN:
                if not kwargs and all(map(_is_small, args)):
                    pickled = dumps((args, kwargs), 5)
                    return number, Packed([pickled], len(pickled), 0)
                return number, self._pack((args, kwargs))
            return number, self._pack((function, args, kwargs))
        except Exception as error:
            what, error = self._culprit(args, kwargs, error)
            raise AttemptError(f"{what} cannot be sent to another process: {error}") from None

    def _pack(self, value: object) -> Packed:
        return pack(value, by_value=self._by_value)


def _is_small(value: object) -> bool:
    """Return whether a value is known to be small, and can be pickled in the quickest way."""
    kind = value.__class__
    return kind in NUMBERS or (kind is str and len(value) < LARGE // 16)  # type: ignore[arg-type]


def _nothing(number: int) -> None:
    """Stand in for the value of a task, which is not there yet."""
