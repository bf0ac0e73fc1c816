"""The way into the program and out of it: `parallel-workers`, or `python -m parallel_workers`."""

import gc
import os


def main() -> None:
    """Run the program with the arguments of this process, and end the process."""
    # What imports and readers build is there to stay; walking through it again and again takes
    # longer than a small run. `run` turns collection on again before anything runs.
    gc.disable()
    try:
        from parallel_workers.startup import EndingAtOnce

        with EndingAtOnce():
            from parallel_workers.cli import run_program
        status = run_program()
    except KeyboardInterrupt:
        status = 130
    # All that was to be written has been; taking the interpreter apart would only take time.
    os._exit(status)


if __name__ == "__main__":
    main()
