"""What a type checker tells users of the API."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_a_type_checker_accepts_what_is_right_and_refuses_what_is_wrong() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", HERE / "typing"],
        cwd=HERE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
