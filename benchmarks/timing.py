"""What the benchmarks share: whole processes, timed from outside."""

import os
import subprocess
import time
from collections.abc import Sequence


def wall(command: Sequence[str], directory: str | os.PathLike[str]) -> float:
    """Return the seconds that a command took, from its start to its end.

    It may write bytecode, as it does for whoever installed the program.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run(command, cwd=directory, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start
