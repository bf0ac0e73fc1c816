"""Commands that need no shell: run without one, they do what a shell does with them."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parallel_workers.shell import split_plain, split_simple
from tests.support.shells import SHELLS, ended, ended_by_shell, make_program

NEED_NO_SHELL = [
    "show",
    "show a b",
    "  show \t a  ",
    "./show a",
    "bin/show a",
    "show -rf -- --x=y +z @scope/name a:b 50% 1,2 _ .. . / //",
    "show if then cd = a=b ==",
    "missing a",
    "./missing",
    "bin",
    "bin/",
    "..",
    "@ a",
    "12 a",
    ",",
    "a:b",
]

NEED_A_SHELL = [
    "",
    "  ",
    "show 'a b'",
    'show "a"',
    "show a\\ b",
    "show $HOME",
    "show `show`",
    "show *",
    "show a?",
    "show [ab]",
    "show ~",
    "show a=~/b",
    "show {a,b}",
    "show {}",
    "show a # b",
    "show a#b",
    "show !a",
    "show a^b",
    "show a; show b",
    "show a&",
    "show a|show",
    "show >a",
    "show <a",
    "(show a)",
    "show a\nshow b",
    "show a\rb",
    "show a\vb",
    "show a\xa0b",
    "show é",
    "show a\0b",
    "a=b show",
    "a=b",
    "./a=b",
    "=",
    "-c show",
    "+x",
    "%1",
    "cd bin",
    ". show",
    ": a",
    "echo -e a",
    "true",
    "test a",
    "if",
    "time show",
    "coproc show",
    "exec show",
    "exit 3",
]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `show` and `bin/show`, which tell their arguments by output and status."""
    directory = tmp_path_factory.mktemp("programs")
    (directory / "bin").mkdir()
    for name in ("show", "bin/show"):
        make_program(directory / name, """printf '<%s>' "$0" "$@"; exit $#""")
    return directory


def assert_all_shells_do_the_same(command: str, words: tuple[str, ...], programs: Path) -> None:
    direct = ended(words, programs)
    for shell in SHELLS:
        by_shell = ended_by_shell(shell, command, programs)
        # A script is told its name as the shell found it, with the directory in front.
        plain = by_shell.output.replace(f"{programs}/".encode(), b"")
        assert (plain, by_shell.status) == (
            direct.output.replace(f"{programs}/".encode(), b""),
            direct.status,
        ), shell


@pytest.mark.parametrize("command", NEED_NO_SHELL)
def test_a_command_of_plain_words_does_the_same_without_a_shell(
    command: str, programs: Path
) -> None:
    words = split_simple(command)
    assert words is not None
    assert_all_shells_do_the_same(command, words, programs)


@pytest.mark.parametrize("command", NEED_A_SHELL)
def test_a_command_with_shell_syntax_or_a_built_in_is_left_to_the_shell(command: str) -> None:
    assert split_simple(command) is None


ODD_WORDS = st.one_of(
    st.sampled_from(["show", "a", "-n", "=", "a=b", "~", "#", "!", "{a,b}", "[a]", "*", "%1", "%"]),
    st.sampled_from([".", "..", "if", "then", "done", "cd", "r", "+", "-", "bin/show", "bin", "^"]),
    st.text("ab=:,./%@+_-~#!^*?[]{}'\"\\$`;&|<>()\t\r\v\x0b\xa0é\u2028", max_size=4),
)


@given(
    st.sampled_from(["show", "./show", "bin/show"]) | ODD_WORDS,
    st.lists(ODD_WORDS | st.text("ab=:,./%@+_-", min_size=1, max_size=4), max_size=4),
    st.sampled_from([" ", "  ", "\t", " \t"]),
)
@example("show", ["a:~", "b=~"], " ")
@example("show", ["a", "2", "1"], " ")
@settings(max_examples=150, deadline=None)
def test_whatever_runs_without_a_shell_does_what_all_shells_do(
    programs: Path, first: str, others: list[str], blank: str
) -> None:
    command = blank.join([first, *others])
    words = split_simple(command)
    if words is None:
        # Nothing to compare, but what is plain must not be sent to a shell for nothing.
        plain = all(set(word) <= set("showabin=:,./%@+_-n12") for word in others)
        assert not (first == "show" and plain)
        return
    assert_all_shells_do_the_same(command, words, programs)


@pytest.mark.program("bash")
def test_no_built_in_or_keyword_of_bash_runs_without_a_shell() -> None:
    listing = subprocess.run(
        ["bash", "-c", "compgen -b; compgen -k"], capture_output=True, text=True, check=True
    )
    names = listing.stdout.split()
    assert "cd" in names
    assert [name for name in names if split_simple(name) is not None] == []


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_no_program_that_a_shell_executes_itself_runs_without_it(shell: list[str]) -> None:
    if "busybox" in shell[0]:
        pytest.skip("busybox calls all that it holds built in, and runs it as a program would")
    directory = Path(shutil.which("env") or "/usr/bin/env").parent
    names = sorted(path.name for path in directory.iterdir() if split_simple(path.name))
    told = subprocess.run(
        [*shell, "-c", 'for n; do command -V "$n"; done', "sh", *names],
        capture_output=True,
        text=True,
    )
    answers = told.stdout.splitlines()
    assert len(answers) > 10
    assert [line for line in answers if "shell builtin" in line or "keyword" in line] == []


def test_a_built_in_command_may_be_plain_though_it_needs_a_shell() -> None:
    assert split_plain("cd src/lib") == ("cd", "src/lib")


@pytest.mark.parametrize("command", ["if a", "time a", "A=b c", "-c a", "a 'b'", "", "a\nb"])
def test_keywords_assignments_and_syntax_are_not_plain(command: str) -> None:
    assert split_plain(command) is None
