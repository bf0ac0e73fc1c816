"""`run`: run a work graph."""

import os
from collections.abc import Callable, Mapping, Sequence

import click

from parallel_workers.bodies import shown_command
from parallel_workers.cli.bodies import commands_of
from parallel_workers.cli.conduct import conduct, open_events
from parallel_workers.cli.console import show
from parallel_workers.cli.inputs import (
    find_input,
    format_option,
    jobs_option,
    load_graph,
    strict_option,
)
from parallel_workers.cli.keeping import (
    Keeping,
    Prepared,
    Wishes,
    foresee,
    keep,
    keep_nothing,
)
from parallel_workers.cores import usable_cores
from parallel_workers.durations import parse_duration
from parallel_workers.errors import UsageError
from parallel_workers.frontier import Frontier
from parallel_workers.plan import Plan
from parallel_workers.state import STATE_DIRECTORY, remove_run
from parallel_workers.wording import one_line, shorten


class _RunCommand(click.Command):
    """The command, whose option --again takes all names up to the next option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take apart what was typed."""
        return super().parse_args(ctx, _repeat("--again", args))


def _repeat(option: str, args: Sequence[str]) -> list[str]:
    """Return arguments with an option before each of the words that follow it, as click wants it.

    >>> _repeat("--again", ["work.json", "--again", "a", "b", "-k"])
    ['work.json', '--again', 'a', '--again', 'b', '-k']
    """
    repeated: list[str] = []
    behind = first = False
    for place, word in enumerate(args):
        if word[:1] == "-" and not first:
            if word == "--":
                return [*repeated, *args[place:]]
            behind = first = word == option
        elif behind:
            if not first:
                repeated.append(option)
            first = False
        repeated.append(word)
    return repeated


@click.command(short_help="Run a work graph.", cls=_RunCommand)
@click.argument("file_and_tasks", nargs=-1, metavar="[FILE] [TASK]...")
@jobs_option
@click.option("-k", "--keep-going", is_flag=True, help="Go on with what no failure is before.")
@click.option(
    "--max-failures",
    type=click.IntRange(min=1),
    metavar="N",
    help="Go on like that until N tasks have failed.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Print what would run, and run nothing.")
@click.option("-C", "--directory", metavar="DIR", help="Go to DIR first.")
@click.option("--command", "template", metavar="TEMPLATE", help="What tasks without a command run.")
@click.option("--programs", metavar="DIR", help="Tasks without a command run the file DIR/NAME.")
@click.option(
    "--recorded-commands",
    "recorded",
    is_flag=True,
    help="Tasks without a command run what FILE recorded of an earlier run.",
)
@click.option(
    "--grace",
    callback=lambda ctx, param, value: _seconds(value),
    default="5",
    show_default=True,
    metavar="SECONDS",
    help="How long a command has to end when it is told to.",
)
@click.option(
    "--state",
    metavar="DIR",
    envvar="PARALLEL_WORKERS_STATE",
    default=STATE_DIRECTORY,
    show_default=True,
    help="Where logs are kept.",
)
@click.option("--no-journal", is_flag=True, help="Keep nothing of a run that succeeds.")
@click.option("--durable", is_flag=True, help="What is shown survives a loss of power, too.")
@click.option("--events", metavar="FILE", help="Write events as lines of JSON; - for the output.")
@click.option("--resume", is_flag=True, help="Go on with the last run of FILE.")
@click.option("--resume-run", metavar="RUN", help="Go on with that run.")
@click.option(
    "--again",
    multiple=True,
    metavar="TASK...",
    help="Go on, and do the TASKs that follow, and all behind them, again.",
)
@click.option("--explain", is_flag=True, help="Say of each task why it runs, or does not.")
@format_option
@strict_option
@click.pass_context
def command(
    ctx: click.Context,
    file_and_tasks: Sequence[str],
    jobs: int | None,
    keep_going: bool,
    max_failures: int | None,
    dry_run: bool,
    directory: str | None,
    template: str | None,
    programs: str | None,
    recorded: bool,
    grace: float,
    state: str,
    no_journal: bool,
    durable: bool,
    events: str | None,
    resume: bool,
    resume_run: str | None,
    again: tuple[str, ...],
    explain: bool,
    format_name: str | None,
    strict: bool,
) -> None:
    """Run the tasks of FILE, each as soon as what it waits for is done.

    With TASKs, only those and what they need. Without FILE, the work file of this directory:
    work.yaml, work.yml, work.toml or work.json.

    \b
    Exit status: 0 all succeeded, 1 something failed, 2 wrong input or usage,
    3 all succeeded, but not all of it could be recorded,
    130, 143 or 129 ended by SIGINT, SIGTERM or SIGHUP.
    """
    what = {"--command": template, "--programs": programs, "--recorded-commands": recorded or None}
    _refuse_two(what)
    if directory is not None:
        _go_to(directory)
    path, names = _find_input(file_and_tasks, again)
    wishes = Wishes(
        state, durable, resume or resume_run is not None or bool(again), resume_run, again
    )
    if not state:
        raise UsageError("--state needs the path of a directory; it is empty")
    if wishes.resume and no_journal:
        raise UsageError("--no-journal keeps nothing to go on with; leave it or --resume out")
    graph = load_graph(path, format_name, strict)
    graph = graph.needed(names) if names else graph
    plan = Plan(graph)
    commands = commands_of(plan, template, programs, recorded)
    jobs = usable_cores() if jobs is None else jobs
    if dry_run:
        prepared, keeping = foresee(wishes, graph, plan, commands, path)
        if explain:
            _explain(prepared.plan, keeping, wishes)
        else:
            _print_order(prepared, jobs, keeping)
        return
    rerun = _rerun_line(path, {"-C": directory, "--format": format_name, **what})
    # Before anything is recorded: a run that cannot begin is none.
    stream = None if events is None else open_events(events)
    if no_journal:
        prepared, keeping = Prepared(plan, commands, []), keep_nothing()
    else:
        prepared, keeping = keep(wishes, graph, plan, commands, path, jobs)
    if explain:
        _explain(prepared.plan, keeping, wishes)
    status = conduct(
        prepared.plan,
        prepared.commands,
        keeping=keeping,
        events=stream,
        events_only=events == "-",
        jobs=jobs,
        most_failures=max_failures or (None if keep_going else 1),
        grace=grace,
        rerun=rerun,
    )
    if no_journal and status == 0:
        remove_run(keeping.place)
    ctx.exit(status)


def _explain(plan: Plan, keeping: Keeping, wishes: Wishes) -> None:
    """Print of each task why it runs, or that it does not."""
    new = "this run is the first" if wishes.resume else "--resume was not given"
    for task, name in enumerate(plan.names):
        reason = "cached" if task in keeping.done else f"runs: {keeping.reasons.get(task, new)}"
        show(f"{shorten(name, 200)}: {reason}")


def _refuse_two(what: Mapping[str, str | bool | None]) -> None:
    given = [option for option, value in what.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} both say what to run; give one of them")


def _seconds(grace: str) -> float:
    try:
        return parse_duration(grace)
    except ValueError as error:
        raise UsageError(f"--grace {grace}: {error}") from None


def _find_input(arguments: Sequence[str], again: Sequence[str]) -> tuple[str, list[str]]:
    try:
        return find_input(arguments)
    except UsageError as error:
        if again and not arguments:
            raise UsageError(f"{error}; what follows --again are names of tasks") from None
        raise


def _go_to(directory: str) -> None:
    try:
        os.chdir(directory)
    except OSError as error:
        raise UsageError(f"-C {directory}: {error.strerror}") from None


def _print_order(prepared: Prepared, jobs: int, keeping: Keeping) -> None:
    from parallel_workers.simulate import simulate

    plan = prepared.plan
    for slot in simulate(plan, jobs, frontier=Frontier.of(plan, done=keeping.done)):
        command = one_line(shown_command(prepared.commands[slot.task]), 1000)
        show(f"{plan.names[slot.task]}: {command}")


def _rerun_line(path: str, options: Mapping[str, str | bool | None]) -> Callable[[str], str]:
    """Return what gives, for the name of a task, the line that runs it again."""

    def line(name: str) -> str:
        import shlex

        words = ["parallel-workers", "run"]
        for option, value in options.items():
            if value is not None:
                words += [option] if value is True else [option, str(value)]
        # What begins with a dash would be taken for an option.
        file = f"./{path}" if path[0] == "-" and path != "-" else path
        return shlex.join([*words, file, *(["--"] if name[0] == "-" else []), name])

    return line
