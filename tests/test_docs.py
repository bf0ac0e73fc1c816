"""The documents show what is true."""

import doctest
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_architecture_shows_the_states_that_the_frontier_has() -> None:
    diagram = runpy.run_path(str(ROOT / "docs" / "states.py"))["diagram"]()
    assert f"```mermaid\n{diagram}\n```" in (ROOT / "docs" / "architecture.md").read_text()


def test_what_the_guide_to_python_shows_is_what_happens() -> None:
    path = ROOT / "docs" / "python.md"
    failures, tests = doctest.testfile(str(path), module_relative=False)
    assert (failures, tests > 10) == (0, True)
