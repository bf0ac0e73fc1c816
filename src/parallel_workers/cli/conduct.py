"""One run of commands from its beginning to its exit status: the parts, put together."""

import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from parallel_workers.bodies import command_bodies
from parallel_workers.children import Children
from parallel_workers.cli.attend import Attendant
from parallel_workers.cli.keeping import Keeping
from parallel_workers.cli.terminal import console_for
from parallel_workers.commands import CommandRunner, CommandText
from parallel_workers.courier import Courier
from parallel_workers.driver import Driver
from parallel_workers.errors import UsageError
from parallel_workers.events import Listener, Outcome
from parallel_workers.executors import Executor
from parallel_workers.executors.threads import ThreadsExecutor
from parallel_workers.frontier import Frontier
from parallel_workers.guardian import Guardian
from parallel_workers.outputs import Outputs
from parallel_workers.plan import Plan
from parallel_workers.policy import unconfirmed
from parallel_workers.reports.ndjson import EventLines
from parallel_workers.reports.output import Output, non_blocking
from parallel_workers.reports.progress import Progress
from parallel_workers.reports.style import choose_style
from parallel_workers.reports.summary import Summary
from parallel_workers.reports.terminal import find_terminal
from parallel_workers.shield import Shield

if TYPE_CHECKING:
    from parallel_workers.jobserver import Jobserver


class Terms(NamedTuple):
    """How a run is to go on, and to end.

    Attributes:
        jobs: How many tasks may run at once; 0 for no limit.
        most_failures: How many failures let nothing new start; None for none.
        fail_fast: Whether what runs is ended then, but for tasks that run always.
        timeout: After how many seconds the run is ended; None for never.
        grace: Seconds that a command has to end when it is told to.
        yes: Whether tasks that are to be confirmed are.
    """

    jobs: int
    most_failures: int | None
    fail_fast: bool
    timeout: float | None
    grace: float
    yes: bool


def conduct(
    plan: Plan,
    commands: Sequence[CommandText],
    terms: Terms,
    *,
    keeping: Keeping,
    passing: Outputs,
    events: Output | None,
    events_only: bool,
    rerun: Callable[[str], str],
    jobserver: "Jobserver | None" = None,
) -> int:
    """Run commands, and show what becomes of them.

    Args:
        plan: What is to be run.
        commands: By task, its command.
        terms: How the run is to go on, and to end.
        keeping: What is kept of the run, and what it goes on with.
        passing: What commands pass on to each other.
        events: Where lines of events go; None for nowhere.
        events_only: Whether standard output is for those alone.
        rerun: Returns, for the name of a task, the line that runs it again.
        jobserver: The jobserver that the run takes part in; None for none.

    Returns:
        The exit status: 0 if all succeeded, 1 if not, 3 if all succeeded and the record of it is
        incomplete, 4 if all succeeded but what has to be confirmed, 124 if its time limit ended the
        run, 128 and its number if a signal did.

    Raises:
        UsageError: The system allows no thread.
    """
    fd = sys.stderr.fileno() if events_only else sys.stdout.fileno()
    out, errors = Output(non_blocking(fd)), Output(non_blocking(sys.stderr.fileno()))
    terminal = find_terminal(fd, os.environ)
    style = choose_style(sys.stdout.encoding, terminal, os.environ)
    progress = Progress(out, style, terminal)
    asked = {} if terms.yes else plan.questions
    console = None if events_only else console_for(plan, asked, fd, progress)
    parked = {} if terms.yes or console is not None else unconfirmed(plan, keeping.done)
    summary = Summary(rerun)
    passed = () if jobserver is None else jobserver.passed
    children = Children(terms.grace, expected=plan.tasks, passed=passed)
    guardian = Guardian(keeping.run)
    outputs = [out, errors] if events is None else [out, errors, events]
    attendant = Attendant(children, guardian, progress, outputs, keeping.delay, terms.timeout)
    frontier = Frontier.of(
        plan, parked=parked, most_failures=terms.most_failures, done=keeping.done
    )
    shields = _shields(keeping, events, progress, summary)
    listeners: list[Listener] = [*shields, attendant.listen]
    driver = Driver(plan, frontier, terms.jobs, listeners, keeping.done, keeping.earlier)
    env = _environment(keeping, guardian, jobserver)
    runner = CommandRunner(children, keeping.logs, env, console)
    driver.parked = parked
    driver.on_failure = runner.cancel if terms.fail_fast else None
    given = dict(enumerate(commands))
    bodies = command_bodies(plan, given, runner, driver, passing, asked)
    # From here on only what the run itself makes is worth walking through.
    gc.freeze()
    gc.enable()
    with attendant.hearing():
        guardian.start()
        driver.begin(keeping.run)
        courier = Courier(driver)
        try:
            workers = _executor(jobserver).start(driver, list(bodies.values()))
        except UsageError:
            keeping.close(Outcome.FAILED)
            raise
        # Behind the first worker, where the system allows few threads.
        courier.start()
        ended_early = attendant.wait(driver)
        if ended_early is None:
            guardian.release()
        if not attendant.gave_up:
            workers.join()
    outcome, status = _end_of(ended_early, summary)
    # First of all, since the rest may have to wait for whoever reads it.
    keeping.close(outcome)
    if attendant.gave_up:
        if console is not None:
            console.restore()
        return status
    children.close()
    progress.close()
    out.write(style.encode(summary.text(style)))
    troubles = [shield.trouble for shield in shields if shield.trouble is not None]
    for warning in [*_warnings(attendant, out, events, guardian, keeping), *troubles]:
        errors.write(f"warning: {warning}\n".encode(sys.stderr.encoding, "backslashreplace"))
    incomplete = keeping.missing is not None or troubles
    return 3 if incomplete and status == 0 else status


def _shields(
    keeping: Keeping, events: Output | None, progress: Progress, summary: Summary
) -> list[Shield]:
    """Return who is told of all that happens, in the order in which they are."""
    shields: list[Shield] = []
    if keeping.journal is not None:
        # What anybody is told of is kept by then.
        shields.append(Shield(keeping.journal, "the journal"))
    if events is not None:
        shields.append(Shield(EventLines(keeping.run, events.write), "the file of events"))
    return [*shields, Shield(progress, "the terminal"), Shield(summary, "the summary")]


def _environment(
    keeping: Keeping, guardian: Guardian, jobserver: "Jobserver | None"
) -> dict[bytes, bytes]:
    """Return the environment that all commands have."""
    marks = {b"PW_RUN": keeping.run.encode(), b"PW_RUNNER": guardian.mark.encode()}
    shared = {} if jobserver is None else jobserver.env
    return {**os.environb, **shared, **marks}


def _end_of(ended_early: int | None, summary: Summary) -> tuple[Outcome, int]:
    """Return how the run has ended, and the exit status that says so.

    Args:
        ended_early: The exit status if something ended it early; else None.
        summary: What its tasks came to.
    """
    if ended_early is not None:
        return Outcome.CANCELLED, ended_early
    if summary.all_succeeded:
        return Outcome.SUCCEEDED, 0
    return (Outcome.PARKED, 4) if summary.only_parked else (Outcome.FAILED, 1)


def _executor(jobserver: "Jobserver | None") -> Executor:
    if jobserver is None:
        return ThreadsExecutor()
    from parallel_workers.executors.tokens import TokenExecutor

    return TokenExecutor(jobserver)


def open_events(file: str) -> Output:
    """Return where lines of events go; a file begins anew.

    Args:
        file: Its path; "-" for standard output.

    Raises:
        UsageError: It cannot be written.
    """
    if file == "-":
        return Output(non_blocking(sys.stdout.fileno()))
    try:
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise UsageError(f"--events {file}: cannot be written: {error.strerror}") from None
    return Output(non_blocking(fd))


def _warnings(
    attendant: Attendant,
    out: Output,
    events: Output | None,
    guardian: Guardian,
    keeping: Keeping,
) -> Iterator[str]:
    """Yield what went wrong beside the tasks, each in a line."""
    if attendant.time_over is not None:
        yield attendant.time_over
    if out.broken is not None:
        yield f"standard output could not be written to the end: {out.broken}"
    if guardian.trouble is not None:
        yield guardian.trouble
    if events is not None and events.broken is not None:
        yield f"the file of events could not be written to the end: {events.broken}"
    yield from keeping.journal.warnings if keeping.journal is not None else ()
    if keeping.missing is not None:
        yield f"not all was recorded: {keeping.missing}"
