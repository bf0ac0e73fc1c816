"""How long it takes to check a large file of records, against the standard library's parser alone.

    python benchmarks/load.py [N ...]

Makes files of N records with about 3 N edges in random order, both lists and the positions given,
and reads each in whole processes of either kind, one after the other in turn: `json.load` and
nothing else, and `parallel-workers check`. Times are the least of several, in seconds; memory is
the highest that `check` reached. The ratio should be at most 2.0, and not grow with N.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SIZES = (10_000, 100_000, 1_000_000)
SEED = 1
STEPS = ("build", "test", "package", "deploy")
JSON_LOAD = ["-c", "import json, sys; json.load(open(sys.argv[1], encoding='utf-8'))"]
CHECK = ["-m", "parallel_workers", "check"]


class Measured(NamedTuple):
    """What one process took: seconds from its start to its end, and its peak memory in MB."""

    seconds: float
    megabytes: float


def main() -> None:
    """Measure every size that was asked for and print a line for each."""
    sizes = [int(argument) for argument in sys.argv[1:]] or SIZES
    print(
        f"{'records':>10} {'file MB':>8} {'json.load s':>12} {'check s':>8} {'ratio':>6} {'MB':>6}"
    )
    with tempfile.TemporaryDirectory() as directory:
        for size in sizes:
            path = Path(directory, f"{size}.json")
            write_records(path, size)
            parsed, checked = measure_in_turn(path, repeats=3 if size >= 1_000_000 else 7)
            seconds = min(run.seconds for run in parsed), min(run.seconds for run in checked)
            print(
                f"{size:>10,} {path.stat().st_size / 1e6:>8.1f} {seconds[0]:>12.3f} "
                f"{seconds[1]:>8.3f} {seconds[1] / seconds[0]:>6.2f} "
                f"{max(run.megabytes for run in checked):>6.0f}",
                flush=True,
            )
            path.unlink()


def write_records(path: Path, size: int) -> None:
    """Write a file of `size` records, the same for the same size."""
    with path.open("w", encoding="utf-8") as file:
        separator = "["
        for record in records(size):
            file.write(separator + json.dumps(record))
            separator = ",\n "
        file.write("]\n")


def records(size: int) -> Iterator[dict[str, object]]:
    """Yield the records of a random graph: three ancestors each, from the twentieth before it."""
    rng = random.Random(SEED)
    names = [f"@team-{n % 97}/service-{n:06d}/{STEPS[n % len(STEPS)]}" for n in range(size)]
    rng.shuffle(names)
    reach = size // 20 + 3
    ancestors = [
        list({rng.randrange(max(0, number - reach), number) for _ in range(3)} if number else ())
        for number in range(size)
    ]
    successors: list[list[int]] = [[] for _ in names]
    positions = [0] * size
    for number, row in enumerate(ancestors):
        for ancestor in row:
            successors[ancestor].append(number)
            positions[number] = max(positions[number], positions[ancestor] + 1)
    for row in successors:
        rng.shuffle(row)
    for number in rng.sample(range(size), size):
        yield {
            "position": positions[number],
            "name": names[number],
            "successors": [names[other] for other in successors[number]],
            "ancestors": [names[other] for other in ancestors[number]],
        }


def measure_in_turn(path: Path, repeats: int) -> tuple[list[Measured], list[Measured]]:
    """Run both kinds of process on `path`, in turn, so that both meet the same machine."""
    parsed, checked = [], []
    for _ in range(repeats):
        parsed.append(measure([*JSON_LOAD, str(path)]))
        checked.append(measure([*CHECK, str(path)]))
    return parsed, checked


def measure(arguments: list[str]) -> Measured:
    """Run Python with `arguments` and return what that took."""
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(arguments)} ended with exit status {process.returncode}")
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return Measured(seconds, kilobytes / 1000)


if __name__ == "__main__":
    main()
