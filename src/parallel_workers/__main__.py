"""`python -m parallel_workers` is the command line."""

from parallel_workers.cli import main

if __name__ == "__main__":
    main()
