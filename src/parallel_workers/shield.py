"""What keeps the fault of one listener from everybody else."""

from collections.abc import Callable, Sequence

from parallel_workers.events import Event
from parallel_workers.wording import one_line


class Shield:
    """A listener that raises nothing, whatever another one does, which is not told again then.

    Args:
        listener: The other one.
        name: What it is called, to a person.

    Attributes:
        error: What it raised; None if it raised nothing.

    >>> def listen(events):
    ...     raise LookupError("no such file")
    >>> shield = Shield(listen, "the report")
    >>> shield([])
    >>> shield.trouble
    'the report was told no more, since it raised LookupError: no such file'
    """

    def __init__(self, listener: Callable[[Sequence[Event]], object], name: str) -> None:
        self._listener = listener
        self._name = name
        self.error: BaseException | None = None

    def __call__(self, events: Sequence[Event]) -> None:
        """Tell the listener."""
        if self.error is None:
            try:
                self._listener(events)
            except BaseException as error:  # whatever it is, the run goes on
                self.error = error

    @property
    def trouble(self) -> str | None:
        """What went wrong, in a line; None if nothing did."""
        if self.error is None:
            return None
        what = one_line(f"{type(self.error).__name__}: {self.error}")
        return f"{self._name} was told no more, since it raised {what}"
