"""`run`: run a work graph."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from parallel_workers.cli.bodies import commands_of
from parallel_workers.cli.completion import complete_runs, complete_tasks
from parallel_workers.cli.console import show, tell
from parallel_workers.cli.inputs import (
    find_input,
    format_option,
    jobs_option,
    load_graph,
    strict_option,
    tasks_argument,
)
from parallel_workers.cli.keeping import (
    Keeping,
    Prepared,
    Wishes,
    content_digests,
    foresee,
    keep,
    keep_nothing,
)
from parallel_workers.cli.passing import passing_of
from parallel_workers.cli.patterns import pattern_of
from parallel_workers.cli.selection import Choice, Selection, select, selection_options
from parallel_workers.commands import CommandText, shown_command
from parallel_workers.cores import usable_cores
from parallel_workers.durations import parse_duration
from parallel_workers.errors import ParallelWorkersError, UsageError
from parallel_workers.frontier import Frontier
from parallel_workers.graph import WorkGraph
from parallel_workers.plan import Plan
from parallel_workers.policy import most_failures
from parallel_workers.state import STATE_DIRECTORY, remove_run
from parallel_workers.wording import one_line, shorten

if TYPE_CHECKING:
    from parallel_workers.jobserver import Jobserver


class _RunCommand(click.Command):
    """The command, whose option --again takes all names up to the next option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take apart what was typed; what follows `--` is kept as the object of the context."""
        end = args.index("--") if "--" in args else len(args)
        ctx.obj = args[end + 1 :]
        return super().parse_args(ctx, _repeat("--again", args[:end]))

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return what the help shows of how it is used."""
        return [*super().collect_usage_pieces(ctx), "[-- ARGS]"]


def _repeat(option: str, args: Sequence[str]) -> list[str]:
    """Return arguments with an option before each of the words that follow it, as click wants it.

    >>> _repeat("--again", ["work.json", "--again", "a", "b", "-k"])
    ['work.json', '--again', 'a', '--again', 'b', '-k']
    """
    repeated: list[str] = []
    behind = first = False
    for word in args:
        if word[:1] == "-" and not first:
            behind = first = word == option
        elif behind:
            if not first:
                repeated.append(option)
            first = False
        repeated.append(word)
    return repeated


@click.command(short_help="Run a work graph.", cls=_RunCommand)
@tasks_argument
@selection_options
@jobs_option
@click.option(
    "--jobserver",
    "style",
    type=click.Choice(["pipe", "fifo"]),
    help="Share the number of -j with make and ninja within tasks.",
)
@click.option(
    "--shuffle", is_flag=True, help="Take what is ready at random, to find missing edges."
)
@click.option(
    "--seed", type=click.IntRange(min=0), metavar="N", help="Shuffle as the run that printed N did."
)
@click.option("-k", "--keep-going", is_flag=True, help="Go on with what no failure is before.")
@click.option(
    "--max-failures",
    type=click.IntRange(min=1),
    metavar="N",
    help="Go on like that until N tasks have failed.",
)
@click.option(
    "--fail-fast", is_flag=True, help="When a failure stops the run, end at once what runs."
)
@click.option("--yes", is_flag=True, help="Confirm all that would be asked.")
@click.option("-n", "--dry-run", is_flag=True, help="Print what would run, and run nothing.")
@click.option("-C", "--directory", metavar="DIR", help="Go to DIR first.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set a variable for all commands, over what they set themselves; may be repeated.",
)
@click.option("--command", "template", metavar="TEMPLATE", help="What tasks without a command run.")
@click.option("--programs", metavar="DIR", help="Tasks without a command run the file DIR/NAME.")
@click.option(
    "--recorded-commands",
    "recorded",
    is_flag=True,
    help="Tasks without a command run what FILE recorded of an earlier run.",
)
@click.option(
    "--timeout",
    callback=lambda ctx, param, value: _limit(value),
    metavar="DURATION",
    help="End the whole run after that time, as by an interrupt.",
)
@click.option(
    "--grace",
    callback=lambda ctx, param, value: _seconds("--grace", value),
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
@click.option("--resume", is_flag=True, help="Go on with the last run of FILE, or of the TASKs.")
@click.option(
    "--resume-run", metavar="RUN", shell_complete=complete_runs, help="Go on with that run."
)
@click.option(
    "--again",
    multiple=True,
    metavar="TASK...",
    shell_complete=complete_tasks,
    help="Go on, and do the TASKs that follow, and all behind them, again.",
)
@click.option("--explain", is_flag=True, help="Say of each task why it runs, or does not.")
@format_option
@strict_option
@click.pass_context
def command(
    ctx: click.Context,
    file_and_tasks: Sequence[str],
    choice: Choice,
    jobs: int | None,
    style: str | None,
    shuffle: bool,
    seed: int | None,
    keep_going: bool,
    max_failures: int | None,
    fail_fast: bool,
    yes: bool,
    dry_run: bool,
    directory: str | None,
    settings: tuple[str, ...],
    template: str | None,
    programs: str | None,
    recorded: bool,
    timeout: float | None,
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

    With TASKs, only those and what they need; a TASK is a name, or a pattern of whole names such
    as 'test/*'. Without FILE, the work file of this directory: work.yaml, work.yml, work.toml or
    work.json. The commands of the TASKs get ARGS as "$@".

    \b
    Exit status: 0 all succeeded, 1 something failed, 2 wrong input or usage,
    3 all succeeded, but not all of it could be recorded, 124 ended by --timeout,
    4 all succeeded but what has to be confirmed, and nobody could be asked,
    130, 143 or 129 ended by SIGINT, SIGTERM or SIGHUP.
    """
    what = {"--command": template, "--programs": programs, "--recorded-commands": recorded or None}
    _refuse_two(what)
    most = most_failures(keep_going=keep_going, max_failures=max_failures, fail_fast=fail_fast)
    if directory is not None:
        _go_to(directory)
    path, names = _find_input(file_and_tasks, again)
    if not state:
        raise UsageError("--state needs the path of a directory; it is empty")
    goes_on = resume or resume_run is not None or bool(again)
    if goes_on and no_journal:
        raise UsageError("--no-journal keeps nothing to go on with; leave it or --resume out")
    graph = load_graph(path, format_name, strict)
    wishes = Wishes(state, durable, goes_on, resume_run, again)
    if settings:
        from parallel_workers.env_files import read_settings, set_for_all

        set_for_all(graph, read_settings(settings))
    selection = select(graph, names, choice, path, state)
    graph = selection.graph
    fill = partial(commands_of, template=template, programs=programs, recorded=recorded)
    prepared = _prepare(selection, fill, ctx.obj, _seed(seed, shuffle), journal=not no_journal)
    _refuse_nothing_but_services(prepared.plan, selection.named)
    jobs, jobserver = _jobs(ctx, jobs, None if dry_run else style)
    if dry_run:
        prepared, keeping = foresee(wishes, graph, prepared, path)
        keeping = _without_needless(prepared.plan, keeping)
        if explain:
            _explain(prepared.plan, keeping, wishes)
        else:
            _print_order(prepared, jobs, keeping)
        return
    # Neither a dry run nor completion needs the parts of a real one.
    from parallel_workers.cli.conduct import Terms, conduct, open_events

    # Before anything is recorded: a run that cannot begin is none.
    stream = None if events is None else open_events(events)
    if no_journal:
        keeping = keep_nothing()
    else:
        prepared, keeping = keep(wishes, graph, prepared, path, jobs)
    keeping = _without_needless(prepared.plan, keeping)
    if explain:
        _explain(prepared.plan, keeping, wishes)
    elsewhere = state if state != STATE_DIRECTORY else None
    given = {"-C": directory, "--state": elsewhere, "--format": format_name, "--set": settings}
    # What has succeeded is on record, so that it need not be done again for what has not.
    chosen = choice.options() if keeping.journal is None else choice.options_of_one()
    options = {**given, **what, **chosen}
    rerun = _rerun_line(path, options, selection.named, ctx.obj, prepared.plan)
    passing = passing_of(selection.whole, prepared, keeping, path, state)
    status = conduct(
        prepared.plan,
        prepared.commands,
        Terms(jobs, most, fail_fast, timeout, grace, yes),
        keeping=keeping,
        passing=passing,
        events=stream,
        events_only=events == "-",
        rerun=rerun,
        jobserver=jobserver,
    )
    if keeping.journal is None and status in (0, 3):
        remove_run(keeping.place)
    ctx.exit(status)


def _seed(seed: int | None, shuffle: bool) -> int | None:
    """Return what to shuffle tasks with, and say it; None where they are not to be shuffled."""
    if seed is None and shuffle:
        seed = int.from_bytes(os.urandom(4))
    if seed is not None:
        tell(f"shuffled; --seed {seed} takes tasks in that order again")
    return seed


def _prepare(
    selection: Selection,
    fill: Callable[[Plan], list[CommandText]],
    arguments: Sequence[str],
    seed: int | None,
    *,
    journal: bool,
) -> Prepared:
    """Return what is run.

    Args:
        selection: The tasks that are meant.
        fill: Gives, by task of a plan, its command.
        arguments: What the commands of named tasks are handed.
        seed: What tasks are shuffled with, if they are.
        journal: Whether the run is recorded, so that digests are of use.
    """
    plan = Plan(selection.graph, seed=seed)
    commands = fill(plan)
    if arguments:
        from parallel_workers.cli.arguments import hand_on

        commands = hand_on(plan, commands, selection.named, arguments)
    digests = _digests(selection.whole, plan, commands, fill) if journal else []
    return Prepared(plan, commands, digests)


def _digests(
    whole: WorkGraph,
    plan: Plan,
    commands: Sequence[CommandText],
    fill: Callable[[Plan], list[CommandText]],
) -> list[bytes]:
    """Return, by task, its digest, the same whether or not what it needs is run, too."""
    if len(whole) == plan.tasks:
        return content_digests(plan, commands)
    around = Plan(whole)
    try:
        found = fill(around)
    except ParallelWorkersError:
        # The whole cannot be run like that, so that its digests are compared with nothing.
        found = [definition.command or "" for definition in around.definitions]
    own = dict(zip(plan.names, commands, strict=True))
    contents = [own.get(name, other) for name, other in zip(around.names, found, strict=True)]
    digests = dict(zip(around.names, content_digests(around, contents), strict=True))
    return [digests[name] for name in plan.names]


def _jobs(
    ctx: click.Context, jobs: int | None, style: str | None
) -> "tuple[int, Jobserver | None]":
    """Return how many tasks may run at once, and the jobserver that shares that, if there is one.

    Args:
        ctx: What closes the jobserver in the end.
        jobs: The `-j` that was given; None if none was.
        style: The `--jobserver` that is to be served, if one is.

    Raises:
        UsageError: It cannot be served.
    """
    number = usable_cores() if jobs is None else jobs
    makeflags = os.environ.get("MAKEFLAGS", "")
    if style is None and (jobs is not None or "--jobserver-" not in makeflags):
        return number, None
    from parallel_workers.jobserver import join, serve

    # With -j somebody has said how many, and whoever has started us is not asked.
    found = join(makeflags) if jobs is None else None
    if found is None and style is not None:
        found = serve(style, number, makeflags)
    if found is None:
        return number, None
    ctx.call_on_close(found.close)
    return found.jobs, found


def _refuse_nothing_but_services(plan: Plan, named: Sequence[str]) -> None:
    if plan.services and len(plan.not_needed(())) == plan.tasks:
        # What a service that was named needs is in the plan, too.
        service = next(name for name in (*named, *plan.names) if name in plan.by_name)
        raise UsageError(
            f"nothing would run: {shorten(service)} is a service, which runs only while "
            "another task needs it; name such a task"
        )


def _without_needless(plan: Plan, keeping: Keeping) -> Keeping:
    """Return what a run goes on with, where services that nobody needs are done, too."""
    needless = plan.not_needed(keeping.done)
    return keeping._replace(done={*keeping.done, *needless}) if needless else keeping


def _explain(plan: Plan, keeping: Keeping, wishes: Wishes) -> None:
    """Print of each task why it runs, or that it does not."""
    new = "this run is the first" if wishes.resume else "--resume was not given"
    for task, name in enumerate(plan.names):
        reason = f"runs: {keeping.reasons.get(task, new)}"
        if task in keeping.done:
            reason = "not needed" if task in plan.services else "cached"
        show(f"{shorten(name, 200)}: {reason}")


def _refuse_two(what: Mapping[str, str | bool | None]) -> None:
    given = [option for option, value in what.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} both say what to run; give one of them")


def _seconds(option: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{option} {text}: {error}") from None


def _limit(text: str | None) -> float | None:
    if text is None:
        return None
    seconds = _seconds("--timeout", text)
    if not seconds:
        raise UsageError(f"--timeout {text}: no run ends in no time; leave it out for no limit")
    return seconds


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


def _rerun_line(
    path: str,
    options: Mapping[str, str | bool | Sequence[str] | None],
    named: Sequence[str],
    arguments: Sequence[str],
    plan: Plan,
) -> Callable[[str], str]:
    """Return what gives, for the name of a task, the line that runs it again."""

    def line(name: str) -> str:
        from parallel_workers.quoting import shell_line

        words = ["parallel-workers", "run"]
        for option, value in options.items():
            if value is True:
                words.append(option)
            elif value:
                for each in [value] if isinstance(value, str) else value:
                    words += [option, each]
        # What begins with a dash would be taken for an option.
        file = f"./{path}" if path[0] == "-" and path != "-" else path
        handed = ["--", *arguments] if arguments and name in named else []
        return shell_line([*words, file, pattern_of(_needs(plan, name)), *handed])

    return line


def _needs(plan: Plan, name: str) -> str:
    """Return the task to name so that a task runs: itself, or one that needs it, for a service."""
    task = plan.by_name[name]
    while task in plan.services and (users := plan.users(task)):
        task = users[0]
    return plan.names[task]
