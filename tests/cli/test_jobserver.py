"""How many commands run at once is shared with real `make` and `ninja`, both ways."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from parallel_workers.cores import usable_cores
from tests.support.program import Ended, run, write_work

MAKE = pytest.mark.program("make")

JOB = """
echo "+ $1" >> notes
patience=1500
while test "$(grep -c + notes)" -lt "${2:-0}"; do
    patience=$((patience - 1))
    test $patience -gt 0 || exit 1
    sleep 0.01
done
sleep 0.03
echo "- $1" >> notes
"""
"""A job that notes that it begins, waits until so many have begun, and notes that it ends."""

LOST = "INTERNAL: Exiting with"
"""How make begins to tell that it has not got back all tokens."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "job").write_text(JOB)
    return tmp_path


def jobs(*names: str, begun: int = 0) -> dict[str, str]:
    """Return jobs as tasks; each ends once so many jobs have begun."""
    return {name: f"sh job {name} {begun}" for name in names}


def write_makefile(directory: Path, own: Mapping[str, str], file: str = "Makefile") -> None:
    """Write a makefile of some targets, all of which it makes.

    Args:
        directory: Where to.
        own: By target, its recipe, of one line.
        file: Its name.
    """
    rules = [f"{name}:\n\t{recipe}\n" for name, recipe in own.items()]
    (directory / file).write_text(f"all: {' '.join(own)}\n{''.join(rules)}")


def write_build_file(directory: Path, own: Mapping[str, str]) -> None:
    """Write ninja's file of some targets, with their commands."""
    rules = [f"rule {name}\n  command = {command}\n" for name, command in own.items()]
    builds = [f"build {name}: {name}\n" for name in own]
    (directory / "build.ninja").write_text("".join([*rules, *builds]))


def run_in_make(directory: Path, options: str, recipe: str, *others: str) -> Ended:
    """Let make run us.

    Args:
        directory: Where to.
        options: Those of make.
        recipe: The line that runs us; `$(RUN)` is we.
        others: The names of jobs that make has beside us.
    """
    write_makefile(directory, {"ours": recipe, **jobs(*others)})
    script = f'export RUN="$*"; exec make -s {options}'
    return run(directory, "run", before=("sh", "-c", script, "sh"))


def most_at_once(directory: Path) -> int:
    """Return how many jobs were running at once at most; all of them have ended."""
    most = running = 0
    for line in (directory / "notes").read_text().splitlines():
        running += 1 if line[0] == "+" else -1
        most = max(most, running)
    assert running == 0
    return most


def ninja(style: str) -> str:
    """Return a ninja that takes part in a jobserver of that style."""
    for path in (Path(sys.executable).with_name("ninja"), shutil.which("ninja")):
        if path is not None and Path(path).exists():
            said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
            numbers = tuple(int(number) for number in said.stdout.split(".")[:2])
            if numbers >= (1, 13) and (style == "fifo" or "jobserver-pipe" in said.stdout):
                return str(path)
    pytest.skip(f"needs ninja 1.13 with jobservers of the style {style}")


@MAKE
def test_a_run_within_make_and_make_never_run_more_than_make_may(place: Path) -> None:
    write_work(place, jobs(*"abcdef"))
    others = [f"other{number}" for number in range(20)]
    status, _, errors = run_in_make(place, "-j3", "+$(RUN)", *others)
    assert (status, errors) == (0, "")
    assert most_at_once(place) <= 3


@MAKE
def test_a_run_within_make_uses_all_that_make_may(place: Path) -> None:
    write_work(place, jobs(*"abcd", begun=4))
    status, _, errors = run_in_make(place, "-j4", "+$(RUN)")
    assert (status, errors) == (0, "")


@MAKE
@pytest.mark.parametrize("served", ["", "--jobserver pipe", "--jobserver fifo"])
def test_make_within_a_run_within_make_shares_with_both(place: Path, served: str) -> None:
    write_makefile(place, jobs("s1", "s2", "s3", "s4"), "sub.mk")
    write_work(place, {"sub": "make -f sub.mk", **jobs(*"abc")})
    others = [f"other{number}" for number in range(20)]
    status, _, errors = run_in_make(place, "-j3", f"+$(RUN) {served}", *others)
    assert (status, errors) == (0, "")
    assert most_at_once(place) <= 3


@MAKE
def test_a_number_that_was_given_wins_over_the_jobserver_of_make(place: Path) -> None:
    write_work(place, jobs(*"abcd", begun=4))
    status, _, errors = run_in_make(place, "-j2", "+$(RUN) -j4")
    assert (status, errors) == (0, "")


@MAKE
def test_a_number_that_was_given_is_shared_even_within_make(place: Path) -> None:
    write_makefile(place, jobs("s1", "s2", "s3", "s4", begun=4), "sub.mk")
    write_work(place, {"sub": "make -f sub.mk"})
    status, _, errors = run_in_make(place, "-j2", "+$(RUN) -j4 --jobserver pipe")
    assert (status, errors) == (0, "")


@MAKE
def test_what_make_takes_for_no_make_runs_as_if_there_were_no_jobserver(place: Path) -> None:
    write_work(place, jobs(*"abc"))
    # Only a recipe that begins with a plus, or says $(MAKE), is that of a make.
    status, _, errors = run_in_make(place, "-j2", "$(RUN)")
    assert (status, errors) == (0, "")


@MAKE
@pytest.mark.parametrize(
    "end",
    ["true", "exit 3", "kill -KILL $$", "kill -INT $PPID", "kill -TERM $PPID", "kill -HUP $PPID"],
)
def test_make_gets_back_every_token_however_a_run_ends(place: Path, end: str) -> None:
    # Three run at once, which takes all tokens.
    others = {name: f"{job}; sleep 0.5" for name, job in jobs("a", "b", begun=3).items()}
    write_work(place, {**others, "last": f"sh job last 3 && {end}"})
    status, _, errors = run_in_make(place, "-j3", "-+$(RUN) --grace 0.2")
    assert status == 0
    assert LOST not in errors


@MAKE
def test_make_within_a_task_shares_our_number(place: Path) -> None:
    write_makefile(place, jobs("m1", "m2", "m3", "m4", "m5"))
    write_work(place, {"make": "make", "again": "make", **jobs(*"abcd")})
    status, _, errors = run(place, "run", "-j3", "--jobserver", "pipe")
    assert (status, errors) == (0, "")
    assert most_at_once(place) <= 3


@MAKE
@pytest.mark.parametrize("number", [1, 3])
def test_make_within_the_only_task_runs_as_many_as_we_may(place: Path, number: int) -> None:
    write_makefile(place, jobs("m1", "m2", "m3", begun=number))
    write_work(place, {"make": "make"})
    assert run(place, "run", f"-j{number}", "--jobserver", "pipe").status == 0
    assert most_at_once(place) == number


@MAKE
def test_tokens_of_a_make_that_was_killed_are_there_for_what_comes_next(place: Path) -> None:
    # It is killed while it holds all that there are.
    kill = "sh job kill 3; kill -KILL $$PPID"
    write_makefile(place, {**jobs("m1", "m2", begun=3), "kill": kill})
    behind = {
        name: {"command": job, "after": ["make"]} for name, job in jobs(*"abc", begun=6).items()
    }
    write_work(place, {"make": "make; test $? = 137", **behind})
    assert run(place, "run", "-j3", "--jobserver", "pipe").status == 0


def test_tokens_that_a_service_holds_are_not_given_to_others(place: Path) -> None:
    takes_all = 'fds=${MAKEFLAGS##*=}; eval "dd bs=1 count=2 of=held <&${fds%,*}"'
    service = {"command": f"{takes_all}; echo up; exec sleep 100", "service": {"log": "up"}}
    behind = {name: {"command": job, "after": ["s"]} for name, job in jobs(*"abcd").items()}
    write_work(place, {"s": service, **behind})
    assert run(place, "run", "-j3", "--jobserver", "pipe").status == 0
    assert (place / "held").read_text() == "++"
    assert most_at_once(place) == 1


@pytest.mark.parametrize("style", ["pipe", "fifo"])
def test_ninja_within_a_task_shares_our_number(place: Path, style: str) -> None:
    program = ninja(style)
    write_build_file(place, jobs("n1", "n2", "n3", "n4", "n5"))
    write_work(place, {"ninja": program, **jobs(*"abcd")})
    status, _, errors = run(place, "run", "-j3", "--jobserver", style)
    assert (status, errors) == (0, "")
    assert most_at_once(place) <= 3


@pytest.mark.parametrize("style", ["pipe", "fifo"])
def test_ninja_within_the_only_task_runs_as_many_as_we_may(place: Path, style: str) -> None:
    program = ninja(style)
    # More than it would run by itself on a few cores.
    names = [f"n{number}" for number in range(usable_cores() + 5)]
    write_build_file(place, jobs(*names, begun=len(names)))
    write_work(place, {"ninja": program})
    assert run(place, "run", f"-j{len(names)}", "--jobserver", style).status == 0


def test_of_a_fifo_nothing_is_left_behind(place: Path) -> None:
    write_work(place, {"a": 'case "$MAKEFLAGS" in *fifo:*) test -p "${MAKEFLAGS##*fifo:}" ;; esac'})
    assert run(place, "run", "--jobserver", "fifo").status == 0
    assert list((place / "tmp").iterdir()) == []


def test_without_a_limit_there_is_nothing_to_share(place: Path) -> None:
    write_work(place, {"a": "true"})
    status, _, errors = run(place, "run", "-j0", "--jobserver", "pipe")
    assert status == 2
    assert errors == "error: --jobserver pipe: -j 0 cannot be shared; give -j from 1 to 4096\n"


def test_a_dry_run_serves_no_jobserver(place: Path) -> None:
    write_work(place, {"a": "true"})
    assert run(place, "run", "-n", "-j0", "--jobserver", "fifo") == (0, "a: true\n", "")
