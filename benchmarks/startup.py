"""How long does a run of six tasks take beyond starting Python?

python benchmarks/startup.py [--rounds 21]
"""

import argparse
import os
import statistics
import sys
import sysconfig
import tempfile
from pathlib import Path

from timing import wall

MACHINES = Path(__file__).parents[1] / "examples" / "machines.json"
MOST = 0.060
"""The most seconds that the run may take beyond `python -c pass`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    program = os.path.join(sysconfig.get_path("scripts"), "parallel-workers")
    run = [program, "run", str(MACHINES), "--command", "echo {name}"]
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import click'": [sys.executable, "-c", "import click"],
        "run of six tasks": run,
        "  with --no-journal": [*run, "--no-journal"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(rounds + 1):
            for name, command in commands.items():
                times[name].append(wall(command, directory))
    least = statistics.median(times["python -c pass"][1:])
    print(
        f"ms, median of {rounds} rounds; a run may take {MOST * 1000:.0f} ms beyond the first row"
    )
    for name, values in times.items():
        middle = statistics.median(values[1:])
        print(f"{name:26}{middle * 1000:7.1f}  {(middle - least) * 1000:+7.1f}")


if __name__ == "__main__":
    main()
