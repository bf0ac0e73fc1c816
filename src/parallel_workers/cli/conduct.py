"""One run of commands from its beginning to its exit status: the parts, put together."""

import gc
import os
import sys
from collections.abc import Callable, Sequence

from parallel_workers.bodies import CommandText, command_bodies
from parallel_workers.children import Children
from parallel_workers.cli.attend import Attendant
from parallel_workers.cli.console import tell
from parallel_workers.commands import CommandRunner
from parallel_workers.driver import Driver
from parallel_workers.executors.threads import ThreadsExecutor
from parallel_workers.frontier import Frontier
from parallel_workers.logs import Logs
from parallel_workers.plan import Plan
from parallel_workers.reports.output import Output
from parallel_workers.reports.progress import Progress
from parallel_workers.reports.style import choose_style
from parallel_workers.reports.summary import Summary
from parallel_workers.reports.terminal import find_terminal


def conduct(
    plan: Plan,
    commands: Sequence[CommandText],
    *,
    run: str,
    logs: Logs,
    jobs: int,
    keep_going: bool,
    grace: float,
    rerun: Callable[[str], str],
) -> int:
    """Run commands, and show on standard output what becomes of them.

    Args:
        plan: What is to be run.
        commands: By task, its command.
        run: The id of the run.
        logs: Where output goes.
        jobs: How many may run at once; 0 for no limit.
        keep_going: Whether a failure leaves what does not depend on it to go on.
        grace: Seconds that a command has to end when it is told to.
        rerun: Returns, for the name of a task, the line that runs it again.

    Returns:
        The exit status: 0 if all succeeded, 1 if not, 128 and its number if a signal ended the run.

    Raises:
        UsageError: The system allows no thread.
    """
    out = Output(sys.stdout.fileno())
    terminal = find_terminal(sys.stdout.fileno(), os.environ)
    style = choose_style(sys.stdout.encoding, terminal, os.environ)
    progress = Progress(out, style, terminal)
    summary = Summary(rerun)
    children = Children(grace, expected=plan.tasks)
    attendant = Attendant(children, progress.tick)
    frontier = Frontier.of(plan, keep_going=keep_going)
    driver = Driver(plan, frontier, jobs, [progress, summary, attendant.listen])
    runner = CommandRunner(children, logs, {**os.environb, b"PW_RUN": run.encode()})
    bodies = command_bodies(plan, dict(enumerate(commands)), runner, driver.attempt)
    # From here on only what the run itself makes is worth walking through.
    gc.freeze()
    gc.enable()
    with attendant.hearing():
        driver.begin(run)
        workers = ThreadsExecutor().start(driver, list(bodies.values()))
        signum = attendant.wait(driver)
        if signum is not None and attendant.gave_up:
            return 128 + signum
        workers.join()
    children.close()
    progress.close()
    out.write(style.encode(summary.text(style)))
    if out.broken is not None:
        tell(f"warning: standard output could not be written to the end: {out.broken}")
    if signum is not None:
        return 128 + signum
    return 0 if summary.all_succeeded else 1
