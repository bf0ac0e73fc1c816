"""What all tests share: what they may need beyond Python, and a list of what was left out."""

import shutil
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def missing_for(item: pytest.Item) -> str | None:
    """Return what `item` needs and this machine lacks, if anything."""
    if item.get_closest_marker("shared") and not SHARED_DATA.is_dir():
        return "../shared/data"
    for marker in item.iter_markers("program"):
        if shutil.which(marker.args[0]) is None:
            return str(marker.args[0])
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if missing := missing_for(item):
            item.add_marker(pytest.mark.skip(reason=f"needs {missing}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section("left out")
        for report in skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            terminalreporter.line(f"{report.nodeid}: {reason.removeprefix('Skipped: ')}")


@pytest.fixture
def shared_data() -> Path:
    """Real graphs that lie beside the project."""
    return SHARED_DATA
