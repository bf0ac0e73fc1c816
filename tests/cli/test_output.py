"""What a run tells: output whole and unmixed, and at the end what failed."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.program import WORDS, run, run_directory, started, until, write_work


def test_output_is_whole_and_never_mixed(tmp_path: Path) -> None:
    """Eight at once write lines in pieces and in both streams, more than any buffer holds."""
    command = (
        'i=0; while [ $i -lt 400 ]; do printf $PW_TASK; printf . >&2; printf "$i\\n";'
        " i=$((i+1)); done; head -c 100000 /dev/zero | tr '\\0' $PW_TASK; echo"
    )
    tasks = list("abcdefgh")
    write_work(tmp_path, dict.fromkeys(tasks, command))
    ended = run(tmp_path, "run", "-j", "8")
    assert (ended.status, ended.errors) == (0, "")
    shown_tasks, totals = ended.output.rsplit("\n", 2)[0] + "\n", ended.output.splitlines()[-1]
    pieces = re.split(r"^✓ (\w)  .*\n", shown_tasks, flags=re.MULTILINE)
    shown = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    assert sorted(shown) == tasks
    for task, text in shown.items():
        whole = "".join(f"{task}.{number}\n" for number in range(400)) + task * 100_000 + "\n"
        assert text == whole
    assert totals.startswith("8 succeeded")


def test_output_comes_in_order_of_ending(tmp_path: Path) -> None:
    first, second = "touch b.told; echo a", "until [ -e a.shown ]; do sleep 0.02; done; echo b"
    write_work(tmp_path, {"b": second, "a": first})
    output = tmp_path / "output"
    with output.open("wb") as file, started(tmp_path, "run", "-j", "2", stdout=file) as program:
        until(lambda: "\na\n" in output.read_text())
        assert "\nb\n" not in output.read_text()
        (tmp_path / "a.shown").touch()
        assert program.end().status == 0
    assert re.findall(r"^[ab]$", output.read_text(), flags=re.MULTILINE) == ["a", "b"]


def test_errors_and_output_of_a_command_stay_in_their_order(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "echo 1; echo 2 >&2; echo 3; echo 4 >&2"})
    ended = run(tmp_path, "run")
    assert "\n1\n2\n3\n4\n" in ended.output
    assert ended.errors == ""
    assert (run_directory(tmp_path) / "1-a.1.log").read_text() == "1\n2\n3\n4\n"


def test_output_that_is_no_text_is_shown_as_it_is(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "printf '\\377\\000\\376 end'"})
    shown = tmp_path / "shown"
    with shown.open("wb") as file:
        assert run(tmp_path, "run", stdout=file).status == 0
    assert b"\n\xff\x00\xfe end\n" in shown.read_bytes()


def test_output_into_a_pipe_has_no_status_and_no_colours(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "sleep 0.3", "b": "echo hi"})
    ended = run(tmp_path, "run", env={"TERM": "xterm-256color"})
    assert "\x1b" not in ended.output
    assert "\r" not in ended.output


def test_what_failed_is_told_again_and_last(tmp_path: Path) -> None:
    tasks = {
        "build": {"command": "seq 1 30; exit 7", "duration": 5},
        "killed": {"command": "kill -SEGV $$", "duration": 4},
        "good": {"command": "echo fine"},
        "x": {"command": "true", "after": ["build"]},
        "y": {"command": "true", "after": ["x"]},
    }
    write_work(tmp_path, tasks)
    ended = run(tmp_path, "run", "-k", "-j", "1")
    assert ended.status == 1
    log = f".parallel-workers/runs/{run_directory(tmp_path).name}"
    during, at_end = ended.output.split("\n\n", 1)
    assert "✗ build  exit status 7 after" in during
    assert "  $ seq 1 30; exit 7\n1\n2\n3\n" in during
    assert "✗ killed  killed by SIGSEGV after" in during
    expected = [
        *[r"✗ build  exit status 7 after .*", r"  \$ seq 1 30; exit 7"],
        *[rf"  \| {number}" for number in range(11, 31)],
        *[rf"  its log: {log}/1-build\.1\.log"],
        *[r"  run it again: parallel-workers run --only work\.json build", r""],
        *[r"✗ killed  killed by SIGSEGV after .*", r"  \$ kill -SEGV \$\$", r"  no output"],
        *[rf"  its log: {log}/2-killed\.1\.log"],
        *[r"  run it again: parallel-workers run --only work\.json killed", r""],
        *[r"2 skipped because of build", r""],
        *[r"1 succeeded, 2 failed, 2 skipped in .*, speed-up .*"],
    ]
    lines = at_end.splitlines()
    assert len(lines) == len(expected)
    assert [
        line for line, e in zip(lines, expected, strict=True) if not re.fullmatch(e, line)
    ] == []


def test_the_totals_are_the_last_line(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "true", "b": "true"})
    last = run(tmp_path, "run").output.splitlines()[-1]
    assert re.fullmatch(r"2 succeeded in [\d.]+ m?s, speed-up [\d.]+", last)


def test_warnings_go_to_standard_error(tmp_path: Path) -> None:
    records = '[{"name": "a", "successors": ["b"]}, {"name": "b", "ancestors": []}]'
    (tmp_path / "graph.json").write_text(records)
    ended = run(tmp_path, "run", "graph.json", "--command", "true")
    assert ended.status == 0
    assert ended.errors.startswith("warning: ")
    assert "warning" not in ended.output
    assert run(tmp_path, "run", "graph.json", "--command", "true", "--strict").status == 2


@pytest.mark.parametrize(
    ("tasks", "status"), [({"a": "echo hi"}, 0), ({"a": "echo hi", "b": "exit 9"}, 1)]
)
@pytest.mark.parametrize("redirection", [">&-", ">/dev/full", "| true"])
def test_a_run_goes_on_when_its_output_cannot_be_shown(
    tmp_path: Path, tasks: dict[str, str], status: int, redirection: str
) -> None:
    chain = {
        **tasks,
        "late": {"command": "sleep 0.1; head -c 200000 /dev/zero", "after": ["a"]},
        "last": {"command": "touch ran", "after": ["late"]},
    }
    write_work(tmp_path, chain)
    line = f'{{ "$@"; echo $? > status; }} {redirection}'
    done = subprocess.run(
        ["sh", "-c", line, "sh", *WORDS, "run", "-k", "-j", "1"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (tmp_path / "status").read_text() == f"{status}\n"
    assert (tmp_path / "ran").exists()
    assert "Traceback" not in done.stderr
    if redirection == ">/dev/full":
        assert "warning: standard output could not be written to the end" in done.stderr
