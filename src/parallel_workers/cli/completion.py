"""`completion`: what a shell needs to complete the verbs, options, tasks and runs of this program.

A script of a few lines for each shell hands what has been typed to this verb, and offers what that
prints. Where that is nothing, the shell completes the names of files.
"""

import os
import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import click

from parallel_workers.cli.console import show
from parallel_workers.errors import ParallelWorkersError

_SCRIPTS = {
    "bash": """\
_parallel_workers() {
    local value
    COMPREPLY=()
    while IFS= read -r value; do
        COMPREPLY+=("$value")
    done < <(COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
        parallel-workers completion bash "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
}
complete -o default -F _parallel_workers parallel-workers pw
""",
    "zsh": """\
_parallel_workers() {
    local value about
    local -a values shown
    while IFS=$'\\t' read -r value about; do
        values+=("$value")
        shown+=("$value${about:+  $about}")
    done < <(parallel-workers completion zsh \\
        "${(j: :)words[1,CURRENT-1]} $QIPREFIX$PREFIX" 2>/dev/null)
    if (( $#values )); then
        compadd -d shown -a values
    else
        _files
    fi
}
compdef _parallel_workers parallel-workers pw
""",
    "fish": """\
function __parallel_workers
    set -l found (parallel-workers completion fish (commandline -cp | string collect) 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c parallel-workers -f -a '(__parallel_workers)'
complete -c pw -w parallel-workers
""",
}


@click.command(short_help="Print what a shell needs to complete.")
@click.argument("shell", type=click.Choice(list(_SCRIPTS)))
@click.argument("line", required=False)
def command(shell: str, line: str | None) -> None:
    """Print a script that makes SHELL complete verbs, options, names of tasks and ids of runs.

    With LINE, what the script asks for: what may stand at the end of that line.

    \b
    bash, in ~/.bashrc:  eval "$(parallel-workers completion bash)"
    zsh, in ~/.zshrc behind compinit:  eval "$(parallel-workers completion zsh)"
    fish, in ~/.config/fish/config.fish:  parallel-workers completion fish | source
    """
    if line is None:
        show(_SCRIPTS[shell])
        return
    found = list(candidates(line))
    if shell == "bash":
        breaks = os.environ.get("COMP_WORDBREAKS", "")
        lines = [for_bash(each.value, line, breaks) for each in found]
    else:
        lines = [f"{each.value}\t{each.about}" if each.about else each.value for each in found]
    if lines:
        show("\n".join(lines))


class Candidate(NamedTuple):
    """What may stand at the end of a line, and a word about it, or none."""

    value: str
    about: str


def candidates(line: str) -> Iterator[Candidate]:
    """Yield what may stand at the end of a line, as whole words.

    Args:
        line: What has been typed of a command: all before the cursor.
    """
    from click.shell_completion import ShellComplete

    from parallel_workers.cli import program

    *words, last = split(line).words
    if not words or "--" in words:
        return
    option, equals, _ = last.partition("=")
    given = option + equals if equals and option.startswith("--") else ""
    try:
        items = ShellComplete(program, {}, words[0], "").get_completions(words[1:], last)
    except (ParallelWorkersError, click.ClickException, OSError):
        return
    for item in items:
        if item.type == "plain":
            yield Candidate(given + item.value, " ".join((item.help or "").split()))


class Typed(NamedTuple):
    """The words of a line as a shell has them, and the quote that the last is within, or none."""

    words: list[str]
    quote: str


def split(line: str) -> Typed:
    """Return the words of a line; the last is what is to be completed, perhaps empty.

    >>> split("run 'a b' c").words, split("run ").words, split("run 'a b")
    (['run', 'a b', 'c'], ['run', ''], Typed(words=['run', 'a b'], quote="'"))
    """
    import shlex

    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    try:
        # One by one: what comes before a quote that is still open is not lost.
        while (word := lexer.get_token()) is not None:
            words.append(word)
    except ValueError as error:
        quote = lexer.state if "quotation" in str(error) else ""  # type: ignore[attr-defined]
        # Of what a shell takes a backslash from within double quotes, shlex knows only a part.
        last = re.sub(r"\\([$`])", r"\1", lexer.token) if quote == '"' else lexer.token
        return Typed([*words, last], quote)
    begun = words and not re.search(r"(?<!\\)\s$", line)
    return Typed(words if begun else [*words, ""], "")


_SPECIAL = r"""([\s"'\\$`&;|<>(){}\[\]*?!#~^])"""
"""What bash wants a backslash before."""


def for_bash(value: str, line: str, breaks: str) -> str:
    r"""Return what bash puts in the place of the part that it takes for the word to complete.

    Args:
        value: The whole word.
        line: What has been typed.
        breaks: The characters at which bash breaks words; its `COMP_WORDBREAKS`.

    >>> for_bash("a:b c", "run a:", ":")
    'b\\ c'
    >>> print(for_bash("--skip=$x", 'run --skip="', ":"))
    \$x
    """
    words, quote = split(line)
    if quote:
        outside = split(line[: _opening(line, quote)]).words[-1]
        return _within(value.removeprefix(outside), quote)
    escaped, typed = (re.sub(_SPECIAL, r"\\\1", text) for text in (value, words[-1]))
    places = [typed.rfind(char) + (char != "@") for char in "@:=" if char in breaks]
    return escaped[max([0, *places]) :]


def _opening(line: str, quote: str) -> int:
    """Return where the quote begins that is open at the end of a line."""
    end = line.rindex(quote)
    # What comes behind an odd number of backslashes is no quote; within single quotes none is.
    while quote == '"' and (end - len(line[:end].rstrip("\\"))) % 2:
        end = line.rindex(quote, 0, end)
    return end


def _within(text: str, quote: str) -> str:
    if quote == "'":
        return text.replace("'", r"'\''")
    return re.sub(r'(["$`\\])', r"\\\1", text)


def complete_tasks(ctx: click.Context, param: click.Parameter, incomplete: str) -> Sequence[str]:
    """Return what to type for the tasks of the file that is meant, as far as one can be read.

    Args:
        ctx: Holds what has been typed.
        param: What is to be completed.
        incomplete: What a name begins with.
    """
    from parallel_workers import formats
    from parallel_workers.cli.inputs import find_input
    from parallel_workers.cli.patterns import pattern_of

    if directory := ctx.params.get("directory"):
        os.chdir(directory)
    path, _ = find_input(ctx.params.get("file_and_tasks") or ())
    if path == "-":
        return []
    graph = formats.load_as(path, ctx.params.get("format_name"), strict=False).graph
    names = map(pattern_of, (*graph, *graph.matrices))
    return [name for name in names if name.startswith(incomplete)]


def complete_runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> Sequence[str]:
    """Return the ids of the runs that are kept, and `last`; arguments as in `complete_tasks`."""
    from parallel_workers.history import History

    if directory := ctx.params.get("directory"):
        os.chdir(directory)
    runs = History.open(ctx.params["state"]).runs()
    return [run for run in ("last", *(each.id for each in runs)) if run.startswith(incomplete)]


def complete_recorded(ctx: click.Context, param: click.Parameter, incomplete: str) -> Sequence[str]:
    """Return what to type for tasks of the run that is meant; arguments as in `complete_tasks`."""
    from parallel_workers.cli.patterns import matrices_in, pattern_of

    names = _recorded(ctx)
    meant = map(pattern_of, (*names, *matrices_in(names)))
    return [name for name in meant if name.startswith(incomplete)]


def complete_logs(ctx: click.Context, param: click.Parameter, incomplete: str) -> Sequence[str]:
    """Return what to type for one task of the run that is meant, arguments as before."""
    from parallel_workers.cli.patterns import pattern_of

    return [name for name in map(pattern_of, _recorded(ctx)) if name.startswith(incomplete)]


def _recorded(ctx: click.Context) -> Collection[str]:
    """Return the names of the tasks of the run that is meant."""
    from parallel_workers.history import History

    history = History.open(ctx.params["state"])
    return history.task_ids(history.find_run(ctx.params["run_id"]))
