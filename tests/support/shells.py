"""The shells of this machine, and how they run a text."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


def _installed() -> list[list[str]]:
    candidates = [["sh"], ["dash"], ["bash", "--posix"], ["bash"], ["busybox", "sh"], ["ksh"]]
    found = []
    for program, *options in candidates:
        path = shutil.which(program)
        if path is not None:
            found.append([path, *options])
    return found


SHELLS = _installed()
"""The first words of a command line that starts a shell, for each that can be the system's sh."""


class Ended(NamedTuple):
    """How a process ended; one that could not be started has no status."""

    output: bytes
    status: int | None


def ended(words: Sequence[str], directory: Path) -> Ended:
    """Run a program to its end, with the programs of `directory` and those alone on its path."""
    try:
        process = subprocess.run(
            words,
            cwd=directory,
            env={"PATH": str(directory), "HOME": "/home", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=20,
        )
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return Ended(b"", None)
    return Ended(process.stdout, process.returncode)


def ended_by_shell(shell: Sequence[str], text: str, directory: Path) -> Ended:
    """Run `text` with `shell`; 126 and 127 are its ways to say that it started nothing."""
    output, status = ended([*shell, "-c", text], directory)
    return Ended(output, None if status in (126, 127) else status)


def make_program(path: Path, text: str) -> None:
    """Write a script for the system's sh that can be executed."""
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
