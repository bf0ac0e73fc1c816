"""The command line: one file a verb, each imported only when it is used."""

import importlib
import os
import sys
from typing import TYPE_CHECKING

import click

from parallel_workers.cli.console import tell
from parallel_workers.errors import ParallelWorkersError
from parallel_workers.startup import INTERRUPTED, EndingAtOnce

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_NAME = "parallel-workers"

VERBS = (
    *("run", "plan", "list", "check", "convert", "runs", "show", "logs", "mark", "schema"),
    "completion",
)
"""The verbs, in the order in which the help shows them; each is a module of this package."""


class _Verbs(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        with EndingAtOnce():
            module = importlib.import_module(f"parallel_workers.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the verb; an interrupt ends it with its exit status, and without a word."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            # Elsewhere click would write an empty line for it.
            raise click.exceptions.Exit(INTERRUPTED) from None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Return the verbs and options that begin so, without importing any verb."""
        from click.shell_completion import CompletionItem

        verbs = [CompletionItem(verb) for verb in VERBS if verb.startswith(incomplete)]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
)
@click.version_option(package_name="parallel-workers")
@click.pass_context
def program(ctx: click.Context) -> None:
    """Run a work graph in parallel: every task as early as it can."""
    if ctx.invoked_subcommand is None:
        tell(ctx.get_help())
        ctx.exit(2)


def run_program() -> int:
    """Run the program with the arguments of this process; return its exit status."""
    _settle_standard_files()
    try:
        return program.main(prog_name=_NAME, standalone_mode=False) or 0
    except ParallelWorkersError as error:
        tell(f"error: {error}")
    except click.ClickException as error:
        context = getattr(error, "ctx", None) or click.Context(program, info_name=_NAME)
        tell(f"error: {error.format_message()} ({context.command_path} --help tells more)")
    except MemoryError:
        tell("error: this takes more memory than there is")
    except OSError as error:
        tell(f"error: {_what_failed()}: {error.strerror}")
    except (click.Abort, KeyboardInterrupt):
        # Before anything runs; a run hears of interrupts in its own way.
        return INTERRUPTED
    return 2


def _what_failed() -> str:
    """Return what the system refused, of what nobody has said more of."""
    try:
        os.getcwd()
    except OSError:
        return "the current directory cannot be used; change to one that exists"
    return "standard output cannot be written"


def _settle_standard_files() -> None:
    """See to it that the standard files exist, and that any message can be written to them."""
    # A file opened later must not get the number of one that is closed, and be taken for it.
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
