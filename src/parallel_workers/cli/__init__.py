"""The command line: one file a verb, each imported only when it is used."""

import importlib
import os
import sys

import click

from parallel_workers.errors import ParallelWorkersError

VERBS = ("run", "plan", "check", "convert")
"""The verbs, in the order in which the help shows them; each is a module of this package."""


class _Verbs(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"parallel_workers.cli.{cmd_name}")
        command: click.Command = module.command
        return command


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="parallel-workers")
def program() -> None:
    """Run a work graph in parallel: every task as early as it can."""


def main() -> None:
    """Run the program with the arguments of this process, and end the process."""
    _settle_standard_files()
    try:
        program(prog_name="parallel-workers")
    except ParallelWorkersError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        # Before anything runs; a run hears of interrupts in its own way.
        sys.exit(130)


def _settle_standard_files() -> None:
    """See to it that the standard files exist, and that any message can be written to them."""
    # A file opened later must not get the number of one that is closed, and be taken for it.
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
