"""`--programs`: which file a task runs, and which it must not."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from parallel_workers.errors import InvalidInput, UsageError
from parallel_workers.programs import find_programs
from tests.support.shells import make_program


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with programs, and others outside of it; its path too short to be cut."""
    with tempfile.TemporaryDirectory(prefix="p") as name:
        above = Path(name).resolve()
        (above / "programs" / "a").mkdir(parents=True)
        for program in ("programs/build", "programs/a/b", "outside", "programs-too"):
            make_program(above / program, "true")
        yield above / "programs"


def problems_of(directory: Path, *names: str) -> list[str]:
    with pytest.raises(InvalidInput) as refused:
        find_programs(directory, names)
    return refused.value.problems


def test_a_task_runs_the_file_of_its_name(directory: Path) -> None:
    assert find_programs(directory, ["build", "a/b"]) == {
        "build": directory / "build",
        "a/b": directory / "a" / "b",
    }


def test_a_path_is_absolute_so_that_it_holds_in_every_directory(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(directory.parent)
    assert find_programs(Path("programs"), ["a/b"]) == {"a/b": directory / "a" / "b"}


def test_names_of_all_kinds_are_names_of_files(directory: Path) -> None:
    names = ["-rf", "a b", "$(reboot)", "it's", "🙂", "@scope", "~"]
    for name in names:
        make_program(directory / name, "true")
    assert find_programs(directory, names) == {name: directory / name for name in names}


def test_a_name_that_leads_out_is_refused(directory: Path) -> None:
    outside = directory.parent / "outside"
    (directory / "link").symlink_to(outside)
    (directory / "up").symlink_to(directory.parent)
    (directory / "chain").symlink_to("link")
    (directory / "dangling").symlink_to("../nowhere")
    names = [
        "../outside",
        "a/../../outside",
        "../programs-too",
        "a/../up/outside",
        str(outside),
        str(directory / "build"),
        "//build",
        "link",
        "up/outside",
        "up/programs/../outside",
        "chain",
        "dangling",
        "..",
    ]
    assert problems_of(directory, *names) == [
        f"task {name}: leads out of {directory}" for name in names
    ]


def test_links_and_dots_that_stay_inside_are_followed(directory: Path) -> None:
    (directory / "again").symlink_to("a/b")
    (directory / "same").symlink_to("a")
    names = ["again", "same/b", "a/../build", "./build", "a//b"]
    assert set(find_programs(directory, names)) == set(names)


def test_a_link_is_called_by_its_own_name(directory: Path) -> None:
    (directory / "again").symlink_to("build")
    assert find_programs(directory, ["again"])["again"].name == "again"


def test_the_directory_itself_may_be_a_link(directory: Path) -> None:
    link = directory.parent / "link"
    link.symlink_to(directory)
    assert find_programs(link, ["a/b"])["a/b"].samefile(directory / "a" / "b")


def test_all_that_cannot_be_executed_are_listed_at_once(directory: Path) -> None:
    (directory / "text").write_text("true")
    os.mkfifo(directory / "pipe")
    (directory / "loop").symlink_to("loop")
    names = ["build", "missing", "x/y", "build/x", "a", "text", "pipe", "loop", "../outside", "."]
    problems = problems_of(directory, *names)
    assert problems == [
        f"task missing: there is no file {directory}/missing",
        f"task x/y: there is no file {directory}/x/y",
        f"task build/x: there is no file {directory}/build/x",
        f"task a: {directory}/a is a directory",
        f"task text: {directory}/text is not executable; allow it with chmod +x",
        f"task pipe: {directory}/pipe is not a regular file",
        f"task loop: {directory}/loop cannot be looked at: Too many levels of symbolic links",
        f"task ../outside: leads out of {directory}",
        f"task .: {directory}/. is a directory",
    ]


def test_a_name_too_long_for_a_file_is_a_missing_file(directory: Path) -> None:
    (problem,) = problems_of(directory, "x" * 3000)
    assert "there is no file" in problem
    assert len(problem) < 300


def test_no_tasks_need_no_programs(directory: Path) -> None:
    assert find_programs(directory, []) == {}


@pytest.mark.parametrize("name", ["nowhere", "outside"])
def test_a_directory_that_is_none_is_refused(directory: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"directory of programs does not exist: .*{name}"):
        find_programs(directory.parent / name, [])
