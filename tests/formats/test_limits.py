"""What a file of a megabyte may cost: the program reads or refuses it within memory and time."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

MEMORY = 1 << 30
SECONDS = 30
"""A bound of processor time that a slow machine keeps as well; the aim is a few seconds."""

MEGABYTE = 1_000_000
E_ACUTE = "é" * 25_000

HOSTILE = {
    "reopened.dot": "digraph{subgraph s{node["
    + " ".join(f"k{n}=v" for n in range(4000))
    + "]}"
    + "".join(f"subgraph s{{a{n}}}" for n in range(50_000))
    + "}",
    "product.dot": "digraph{{" + " ".join(f"a{n}" for n in range(60_000)) + "}->{"
    + " ".join(f"b{n}" for n in range(60_000)) + "}}",
    "nested.dot": "digraph" + "{" * MEGABYTE,
    "letters.yaml": f'tasks:\n  t: &n "{E_ACUTE}"\n'
    + "".join(f"  t{n}: *n\n" for n in range(60_000)),
    "wrong.yaml": f'tasks:\n  t: &n "{E_ACUTE * 10}"\n'
    + "".join(f"  t{n}: {{after: *n}}\n" for n in range(20_000)),
    "directives.yaml": "%TAG !abc! y\n" * 75_000 + "---\ntasks: {}",
    "deep.json": "[" * MEGABYTE,
    "wrong.json": "[" + ",".join("5" for _ in range(MEGABYTE // 2)) + "]",
    "dots.toml": "[tasks]\n" + ".".join("a" for _ in range(MEGABYTE // 2)) + " = 1",
    "circle.edges": " ".join(f"{n} {n + 1}" for n in range(60_000)) + " 60000 0",
    "odd.tsort": "a " * (MEGABYTE // 2 - 1),
}  # fmt: skip


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_megabyte_is_read_or_refused_in_a_line(tmp_path: Path, name: str) -> None:
    assert len(HOSTILE[name]) < 1.2 * MEGABYTE
    (tmp_path / name).write_text(HOSTILE[name])
    ended = subprocess.run(
        [sys.executable, "-m", "parallel_workers", "check", name],
        cwd=tmp_path,
        preexec_fn=limit,
        capture_output=True,
        text=True,
    )
    assert ended.returncode in (0, 2)
    assert "Traceback" not in ended.stderr
    if ended.returncode == 2:
        assert ended.stderr.startswith(f"error: {name}:")
