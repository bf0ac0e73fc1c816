"""How long it takes to check a large file of records, against the standard library's parser alone.

    python benchmarks/load.py [N ...]

Makes files of N records with about 3 N edges in random order, both lists and the positions given,
and reads each in whole processes of either kind, one after the other in turn: `json.load` and
nothing else, and `parallel-workers check`. Times are the least of several, in seconds, by the wall
and, since others may use the machine, of the processor; memory is the highest that `check` reached.
The ratio is of times by the wall. It should be at most 2.0, and not grow with N.
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
# Without it modules would be compiled at every start, which no user's are.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


class Measured(NamedTuple):
    """What one process took.

    Attributes:
        seconds: From its start to its end.
        cpu_seconds: Of the processor, its own and the system's for it.
        megabytes: Its peak memory.
    """

    seconds: float
    cpu_seconds: float
    megabytes: float


def main() -> None:
    """Measure every size that was asked for and print a line for each."""
    sizes = [int(argument) for argument in sys.argv[1:]] or SIZES
    print(
        f"{'records':>10} {'file MB':>8} {'json.load s':>12} {'check s':>8} {'ratio':>6} "
        f"{'json.load cpu s':>16} {'check cpu s':>12} {'MB':>6}"
    )
    with tempfile.TemporaryDirectory() as directory:
        for size in sizes:
            path = Path(directory, f"{size}.json")
            write_records(path, size)
            parsed, checked = measure_in_turn(path, repeats=3 if size >= 1_000_000 else 7)
            print(
                f"{size:>10,} {path.stat().st_size / 1e6:>8.1f} {parsed.seconds:>12.3f} "
                f"{checked.seconds:>8.3f} {checked.seconds / parsed.seconds:>6.2f} "
                f"{parsed.cpu_seconds:>16.3f} {checked.cpu_seconds:>12.3f} "
                f"{checked.megabytes:>6.0f}",
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


def measure_in_turn(path: Path, repeats: int) -> tuple[Measured, Measured]:
    """Run both kinds of process on `path`, in turn, so that both meet the same machine.

    Returns:
        The least times and the highest memory of `json.load` and of `check`. A first run of each
        is not counted.
    """
    parsed, checked = [], []
    for _ in range(1 + repeats):
        parsed.append(measure([*JSON_LOAD, str(path)]))
        checked.append(measure([*CHECK, str(path)]))
    return best(parsed[1:]), best(checked[1:])


def best(runs: list[Measured]) -> Measured:
    """Return the least times and the highest memory of `runs`."""
    seconds, cpu_seconds, megabytes = zip(*runs, strict=True)
    return Measured(min(seconds), min(cpu_seconds), max(megabytes))


def measure(arguments: list[str]) -> Measured:
    """Run Python with `arguments` and return what that took."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, env=ENVIRONMENT
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(arguments)} ended with exit status {process.returncode}")
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return Measured(seconds, usage.ru_utime + usage.ru_stime, kilobytes / 1000)


if __name__ == "__main__":
    main()
