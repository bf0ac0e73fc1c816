"""How long does a run of six tasks take beyond starting Python?

python benchmarks/startup.py [--rounds 21]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MACHINES = Path(__file__).parents[1] / "examples" / "machines.json"
MOST = 0.060
"""The most seconds that the run may take beyond `python -c pass`."""


def wall(command: list[str], directory: str) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=directory, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    run = ["-m", "parallel_workers", "run", str(MACHINES), "--command", "/bin/true"]
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import click'": [sys.executable, "-c", "import click"],
        "run of six tasks": [sys.executable, *run],
        "  with --no-journal": [sys.executable, *run, "--no-journal"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(rounds):
            for name, command in commands.items():
                times[name].append(wall(command, directory))
    least = statistics.median(times["python -c pass"])
    print(
        f"ms, median of {rounds} rounds; a run may take {MOST * 1000:.0f} ms beyond the first row"
    )
    for name, values in times.items():
        middle = statistics.median(values)
        print(f"{name:26}{middle * 1000:7.1f}  {(middle - least) * 1000:+7.1f}")


if __name__ == "__main__":
    main()
