import os
import subprocess
import sys

import pytest

from parallel_workers.exec_limits import LONGEST, longer_than_any, why_too_long

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs the limit of Linux")


def takes(env: dict[bytes, bytes]) -> bool:
    """Return whether the system starts a program with this environment."""
    try:
        subprocess.run(["/bin/sh", "-c", ":"], env=env, check=True)
    except OSError:
        return False
    return True


@on_linux
def test_the_longest_variable_is_what_the_system_takes() -> None:
    assert LONGEST is not None
    for size, too_long in ((LONGEST, None), (LONGEST + 1, LONGEST + 1)):
        value = b"x" * (size - len("BIG="))
        assert longer_than_any(b"BIG", value) == too_long
        assert takes({b"BIG": value}) == (too_long is None)


@on_linux
def test_a_variable_that_is_too_long_is_told() -> None:
    env = {b"A": b"x", b"BIG": b"x" * 200_000}
    said = f"has 200,004 bytes with its name, of at most {LONGEST:,}; pass on the path of a file"
    assert why_too_long(["true"], env) == f"BIG {said}"


@on_linux
def test_an_argument_that_is_too_long_is_told() -> None:
    said = why_too_long(["true", "é" * 100_000], {b"A": b"x"})
    assert said.startswith("an argument of it has 200,000 bytes, of at most ")


def test_what_is_too_much_together_is_told_with_its_largest_part() -> None:
    env = {b"V%d" % number: b"x" * 100_000 for number in range(9)}
    most = os.sysconf("SC_ARG_MAX")
    if sys.platform == "linux":
        most = min(most, 6 << 20)
    said = f"its arguments and environment have 900,121 bytes, of at most {most:,}; "
    assert why_too_long(["true"], env) == (f"{said}V0 has 100,003; pass on the path of a file")
    words = ["x" * 100_004, *["x" * 100_000] * 8]
    assert why_too_long(words, {b"A": b"x"}) == (
        "its arguments and environment have 900,097 bytes, of at most "
        f"{most:,}; pass on the path of a file"
    )


def test_long_names_are_cut_so_that_a_report_has_room() -> None:
    env = {b"V" * 100: b"x" * 200_000}
    assert len(why_too_long(["true"], env)) < 200
