"""Ctrl-C while the program still imports its modules: it ends at once, and says nothing."""

import os
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.support.program import WORDS, run, started, write_work

SCRIPTS = Path(sysconfig.get_path("scripts"))
WAYS = [WORDS, *((str(SCRIPTS / name),) for name in ("pw", "parallel-workers"))]

PAUSES = """
import os, sys, time

class Paused:
    "Told by a file, and then for as long as another file says."

    def find_spec(self, name, path=None, target=None):
        if name == os.environ["PAUSED_AT"]:
            open("paused", "w").close()
            while not os.path.exists("go"):
                time.sleep(0.01)

class Interrupted:
    "Interrupted in a callback, out of which no exception comes."

    def find_spec(self, name, path=None, target=None):
        if name == os.environ["PAUSED_AT"]:
            import signal
            import weakref

            thing = type("Thing", (), {})()
            here = weakref.ref(thing, lambda ref: os.kill(os.getpid(), signal.SIGINT))
            del thing

sys.meta_path.insert(0, globals()[os.environ["PAUSE"]]())
"""
"""What every Python imports first that finds it: it pauses where a module is looked for."""


def pausing(directory: Path, module: str, pause: str = "Paused") -> dict[str, str]:
    """Return the environment of a program that pauses where it imports a module."""
    (directory / "sitecustomize.py").write_text(PAUSES)
    path = ":".join([str(directory), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, "PAUSED_AT": module, "PAUSE": pause}


@pytest.mark.parametrize("words", WAYS, ids=["module", "short", "long"])
@pytest.mark.parametrize(
    "module",
    ["signal", "click", "parallel_workers.errors", "parallel_workers.cli.run"],
)
def test_an_interrupt_during_the_imports_ends_the_program_silently(
    tmp_path: Path, words: tuple[str, ...], module: str
) -> None:
    write_work(tmp_path, {"a": "touch ran"})
    env = pausing(tmp_path, module)
    with started(tmp_path, "run", words=words, env=env) as program:
        program.wait_for("paused")
        program.send(signal.SIGINT)
        ended = program.end()
    assert (ended.status, ended.output, ended.errors) == (130, "", "")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("verb", ["check", "runs", "convert"])
def test_so_it_does_whatever_the_verb(tmp_path: Path, verb: str) -> None:
    env = pausing(tmp_path, f"parallel_workers.cli.{verb}")
    with started(tmp_path, verb, env=env) as program:
        program.wait_for("paused")
        program.send(signal.SIGINT)
        ended = program.end()
    assert (ended.status, ended.output, ended.errors) == (130, "", "")


@pytest.mark.parametrize("module", ["sqlite3", "parallel_workers.cli.conduct"])
def test_so_it_does_where_a_verb_imports_what_it_needs_later(tmp_path: Path, module: str) -> None:
    write_work(tmp_path, {"a": "touch ran"})
    with started(tmp_path, "run", env=pausing(tmp_path, module)) as program:
        program.wait_for("paused")
        program.send(signal.SIGINT)
        ended = program.end()
    assert (ended.status, ended.output, ended.errors) == (130, "", "")
    assert not (tmp_path / "ran").exists()


def test_it_ends_also_where_an_exception_would_be_lost(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "touch ran"})
    ended = run(tmp_path, "run", env=pausing(tmp_path, "click", "Interrupted"))
    assert (ended.status, ended.output, ended.errors) == (130, "", "")
    assert not (tmp_path / "ran").exists()


def test_an_interrupt_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "true"})
    ignoring = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")
    with started(tmp_path, "run", before=ignoring, env=pausing(tmp_path, "click")) as program:
        program.wait_for("paused")
        program.send(signal.SIGINT)
        (tmp_path / "go").touch()
        ended = program.end()
    assert (ended.status, ended.errors) == (0, "")


def test_what_the_package_offers_is_imported_only_when_it_is_asked_for() -> None:
    """So that no code of ours that takes long runs before an interrupt is heard."""
    code = (
        "import sys, parallel_workers; "
        "print([name for name in sys.modules if name.startswith('parallel_workers')], "
        "set(parallel_workers.__all__) <= set(dir(parallel_workers)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['parallel_workers'] True\n"
