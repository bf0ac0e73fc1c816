"""Completion, in real shells: a line is typed, a tab, and what the shell made of it is run."""

import fcntl
import os
import shlex
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from parallel_workers.cli import VERBS
from tests.reports.screen import Pty
from tests.support.program import WORDS, run, until, write_work
from tests.support.shells import make_program

TASKS = {
    "build": "true",
    "@x/test": {"command": "true", "after": ["build"]},
    "@x/test two": {"command": "true", "after": ["build"]},
    "ns:lint": "true",
    "env=prod": "true",
    'it\'s "$two" x': "true",
    'quoted "`it`" x': "true",
    "-v": "true",
    "$money": "true",
    "o'clock": "true",
    "py": {"command": "true", "matrix": {"version": ["3.9", "3.10 rc"]}},
}

STARTS = {
    "bash": ["bash", "--noprofile", "--rcfile", "rc", "-i"],
    "zsh": ["zsh", "-d", "-i"],
    "fish": ["fish", "-i"],
}

RC = {"bash": "rc", "zsh": ".zshrc", "fish": ".config/fish/config.fish"}

PROMPTS = {
    "bash": "PS1='ready '",
    "zsh": "PS1='ready '",
    "fish": "function fish_prompt; echo -n 'ready '; end",
}

SCRIPTS = {
    "bash": 'eval "$(parallel-workers completion bash)"',
    "zsh": 'autoload -U compinit; compinit -u -D; eval "$(parallel-workers completion zsh)"',
    "fish": "parallel-workers completion fish | source",
}

in_every_shell = pytest.mark.parametrize(
    "shell", [pytest.param(name, marks=pytest.mark.program(name)) for name in STARTS]
)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with a work file."""
    write_work(tmp_path, TASKS)
    return tmp_path


class Shell(Pty):
    """A terminal with a shell on it, in which our program writes down the words that it gets."""

    def __init__(self, name: str, directory: Path) -> None:
        super().__init__(columns=200)
        self._name = name
        self._directory = directory
        self._words = directory / "words"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the shell, and wait until it takes what is typed."""
        programs, rc = self._directory / "programs", self._directory / RC[self._name]
        for made in (programs, rc.parent):
            made.mkdir(parents=True, exist_ok=True)
        for name in ("parallel-workers", "pw"):
            make_program(
                programs / name,
                f'[ "$1" = completion ] && exec {shlex.join(WORDS)} "$@"\n'
                "printf '%s\\n' \"$@\" > words.new; mv words.new words",
            )
        rc.write_text(f"{SCRIPTS[self._name]}\n{PROMPTS[self._name]}\n")
        self._process = subprocess.Popen(
            STARTS[self._name],
            cwd=self._directory,
            stdin=self.fd,
            stdout=self.fd,
            stderr=self.fd,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={
                "PATH": f"{programs}:{os.environ['PATH']}",
                "HOME": str(self._directory),
                "TERM": "xterm",
                "LANG": "C.UTF-8",
            },
        )
        until(lambda: b"ready" in self.written())

    def run(self, line: str) -> list[str]:
        """Type a line, in which a tab completes; return the words that the program is run with."""
        self._words.unlink(missing_ok=True)
        os.write(self._master, line.encode() + b"\n")
        until(self._words.exists)
        return self._words.read_text().splitlines()

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def shell_here(here: Path, shell: str) -> Iterator[Shell]:
    """The shell, which completes by our script."""
    found = Shell(shell, here)
    with found:
        try:
            found.start()
            yield found
        finally:
            found.end()


LINES = {
    "pl\twork.json": ["plan", "work.json"],
    "run --keep\t": ["run", "--keep-going"],
    "run bu\t": ["run", "build"],
    "run work.json bu\t": ["run", "work.json", "build"],
    "run wor\t": ["run", "work.json"],
    "run --only ns:l\t": ["run", "--only", "ns:lint"],
    "run @x/test\\ \t": ["run", "@x/test two"],
    "run --skip @x/test\\ t\t": ["run", "--skip", "@x/test two"],
    "run --from=bu\t": ["run", "--from=build"],
    "plan env=p\t": ["plan", "env=prod"],
    "list 'ns:\t": ["list", "ns:lint"],
    'list "@x/test \t': ["list", "@x/test two"],
    "list '@x/test t\t": ["list", "@x/test two"],
    "list 'it\t": ["list", 'it\'s "$two" x'],
    'list "it\t': ["list", 'it\'s "$two" x'],
    'list "qu\t': ["list", 'quoted "`it`" x'],
    'list "\\$m\t': ["list", "$money"],
    "list 'o\t": ["list", "o'clock"],
    "list --skip 'py[version=3.1\t": ["list", "--skip", "py[version=3.10 rc]"],
    "list '[\t": ["list", "[-]v"],
    "convert --to gr\t": ["convert", "--to", "groups"],
    "run build -- wor\t": ["run", "build", "--", "work.json"],
}


@in_every_shell
def test_a_tab_completes(shell_here: Shell) -> None:
    for line, words in LINES.items():
        assert shell_here.run(f"parallel-workers {line}") == words, line


BASH_LINES = {
    "list --from='@x/test \t": ["list", "--from=@x/test two"],
    'list --from="@x/test \t': ["list", "--from=@x/test two"],
    'list "$m\t': ["list", "$money"],
    "list py[version=3.1\t": ["list", "py[version=3.10 rc]"],
    "list [\t": ["list", "[-]v"],
}
"""What other shells complete by rules of their own."""


@pytest.mark.program("bash")
@pytest.mark.parametrize("shell", ["bash"])
def test_a_tab_completes_what_bash_leaves_to_us(shell_here: Shell) -> None:
    for line, words in BASH_LINES.items():
        assert shell_here.run(f"parallel-workers {line}") == words, line


@in_every_shell
def test_a_tab_completes_the_short_name_as_well(shell_here: Shell) -> None:
    assert shell_here.run("pw run bu\t") == ["run", "build"]


@in_every_shell
def test_a_tab_completes_the_id_of_a_run(shell_here: Shell, here: Path) -> None:
    assert run(here, "run", "--state", "s").status == 0
    [run_id] = os.listdir(here / "s" / "runs")
    words = shell_here.run(f"parallel-workers show --state s {run_id[:3]}\t")
    assert words == ["show", "--state", "s", run_id]


def follow(directory: Path, line: str) -> list[str]:
    """What may follow, as it is told to a shell that shows help with it."""
    ended = run(directory, "completion", "fish", line)
    assert (ended.status, ended.errors) == (0, "")
    return ended.output.splitlines()


def test_all_verbs_are_completed(here: Path) -> None:
    assert follow(here, "parallel-workers ") == list(VERBS)


def test_options_come_with_what_they_do(here: Path) -> None:
    assert follow(here, "parallel-workers run --keep") == [
        "--keep-going\tGo on with what no failure is before."
    ]


def test_tasks_of_a_run_are_completed_from_what_was_recorded(here: Path) -> None:
    run(here, "run", "build")
    write_work(here, {"other": "true"})
    assert follow(here, "parallel-workers logs last ") == ["build"]
    assert follow(here, "parallel-workers mark last b") == ["build"]
    assert follow(here, "parallel-workers run --again ") == ["other"]
    assert follow(here, "parallel-workers run --resume-run l") == ["last"]


def test_the_name_of_a_matrix_is_completed_where_it_means_all_its_tasks(here: Path) -> None:
    run(here, "run")
    combinations = ["py[version=3.9]", "py[version=3.10 rc]"]
    assert follow(here, "parallel-workers list p") == [*combinations, "py"]
    assert follow(here, "parallel-workers mark last p") == [*combinations, "py"]
    assert follow(here, "parallel-workers logs last p") == combinations


def test_a_task_of_a_run_that_would_be_an_option_is_completed_as_a_pattern(here: Path) -> None:
    run(here, "run", "[-]v")
    for verb in ("logs", "mark"):
        assert follow(here, f"parallel-workers {verb} last ") == ["[-]v"]


def test_tasks_are_those_of_the_directory_that_is_gone_to(here: Path) -> None:
    (here / "sub").mkdir()
    write_work(here / "sub", {"below": "true"})
    assert follow(here, "parallel-workers run -C sub ") == ["below"]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "parallel-workers",
        "parallel-workers run missing.json ",
        "parallel-workers run broken.json ",
        "parallel-workers run - ",
        "parallel-workers run -C missing ",
        "parallel-workers run --grace soon -j x missing.json ",
        "parallel-workers run build -- ",
        "parallel-workers show ",
        "parallel-workers logs nope ",
        "parallel-workers list 'no\\",
    ],
)
def test_where_nothing_is_known_nothing_is_said(here: Path, line: str) -> None:
    (here / "broken.json").write_text("{")
    assert follow(here, line) == []


def test_a_shell_that_is_not_known_is_an_error(here: Path) -> None:
    ended = run(here, "completion", "tcsh")
    assert (ended.status, ended.output) == (2, "")
    assert "bash" in ended.errors
