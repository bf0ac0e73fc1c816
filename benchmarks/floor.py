"""The least that a Python program can take for commands: it starts and waits for them, no more.

No graph, no log, no record, no report: one loop of `os.posix_spawn` and `os.wait`. Other benchmarks
run it beside the real one, to tell what is ours from what is Python's and the system's.

    python benchmarks/floor.py TASKS COMMAND -jN
"""

import os
import sys


def run(tasks: int, words: list[str], jobs: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    streams = [(os.POSIX_SPAWN_DUP2, nothing, number) for number in range(3)]
    running = 0
    while tasks or running:
        if tasks and running < jobs:
            os.posix_spawn(words[0], words, os.environ, file_actions=streams, setsid=True)
            tasks -= 1
            running += 1
        else:
            os.wait()
            running -= 1


def main() -> None:
    tasks, command, jobs = sys.argv[1:]
    words = ["/bin/sh", "-c", command] if "&" in command else command.split()
    run(int(tasks), words, int(jobs.removeprefix("-j")))


if __name__ == "__main__":
    main()
