import json
from pathlib import Path

import pytest

from parallel_workers import formats, load
from parallel_workers.env_files import LARGEST, parse, read_env_files, read_settings
from parallel_workers.errors import InvalidInput, UsageError
from tests.formats.reading import read, refused
from tests.support.program import run, write_work

SHOW = 'echo "$A $B" >> told'


def told(directory: Path) -> list[str]:
    return (directory / "told").read_text().splitlines()


def env_file(directory: Path, text: str, name: str = ".env") -> None:
    (directory / name).write_text(text)


# Lines


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("A=", ""),
        ("A= b c ", "b c"),
        ("  export A =\tb", "b"),
        ("A=b # c", "b"),
        ("A=b#c", "b#c"),
        ("A=#c", "#c"),
        ("A= # c", ""),
        ("A=$HOME/${B}", "$HOME/${B}"),
        ("A=a=b", "a=b"),
        ("A=it's", "it's"),
        ('A=a "b" c', 'a "b" c'),
        ("A=' b # c '", " b # c "),
        (r"A='a\n\"$b'", r"a\n\"$b"),
        ('A="b" # "c"', "b"),
        (r'A="a\n\t\r\"\\\$\`\q"', 'a\n\t\r"\\$`\\q'),
        ('A="it\'s # é"', "it's # é"),
        ("A=b\r", "b"),
    ],
)
def test_a_line_sets_a_variable(line: str, value: str) -> None:
    assert parse(line, ".env") == {"A": value}


def test_comments_and_empty_lines_set_nothing_and_the_last_of_the_same_counts() -> None:
    assert parse("# A=0\n\n  # B=0\nA=1\nexport=x\nA=2\n", ".env") == {"A": "2", "export": "x"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("secret", "this line sets no variable; write KEY=value"),
        ("=secret", "this line sets no variable"),
        ("A B=secret", "this line sets no variable"),
        ("'A'=secret", "this line sets no variable"),
        ('A="secret', "the quotes around the value of A do not end; end them on the same line"),
        ("A='secret", "the quotes around the value of A do not end"),
        ("A='secret'b", "the value of A goes on behind its quotes; put all of it into quotes"),
        ('A="secret" "b"', "the value of A goes on behind its quotes"),
        ("A=secret\0", "the value of a variable cannot hold a NUL character"),
        ("export PW_RUN=secret", "PW_RUN is set by the run itself, for each command; choose"),
    ],
)
def test_a_line_that_sets_none_is_told_without_what_may_be_secret(line: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(f"B=1\n{line}\n", ".env")
    (found,) = caught.value.problems
    assert found.startswith(f".env:2: {problem}")
    assert "secret" not in found


def test_a_hostile_line_is_read_in_a_moment() -> None:
    spaces = " " * LARGEST
    assert parse(f"A=b{spaces}c", ".env") == {"A": f"b{spaces}c"}
    with pytest.raises(InvalidInput):
        parse(f'A="{spaces}', ".env")


# Files


def test_a_later_file_goes_over_an_earlier_one(tmp_path: Path) -> None:
    env_file(tmp_path, "\ufeffA=1\nB=1\n", "one")
    env_file(tmp_path, "B=2\n", "two")
    assert read_env_files(["one", str(tmp_path / "two")], str(tmp_path)) == {"A": "1", "B": "2"}


def test_all_problems_of_all_files_are_told(tmp_path: Path) -> None:
    env_file(tmp_path, "A\nB=1\nC\n", "one")
    (tmp_path / "two").write_bytes(b"A=1\nB=\xff\n")
    (tmp_path / "large").write_bytes(b"A" * (LARGEST + 1))
    with pytest.raises(InvalidInput) as caught:
        read_env_files(["one", "no", ".", "two", "large"], str(tmp_path))
    short = [problem.removeprefix(f"{tmp_path}/") for problem in caught.value.problems]
    assert short == [
        "one:1: this line sets no variable; write KEY=value",
        "one:3: this line sets no variable; write KEY=value",
        "no: cannot be read: No such file or directory",
        ".: cannot be read: Is a directory",
        "two:2: not UTF-8; save the file in that encoding",
        "large: larger than 1,048,576 bytes, which no command can get",
    ]


@pytest.mark.parametrize("value", ["5", "{}", "''", "[5]", "[a, '']", "null"])
def test_what_is_no_path_is_a_problem_at_its_line(tmp_path: Path, value: str) -> None:
    (problem,) = refused(tmp_path, f"tasks: {{}}\nenv-file: {value}\n", "work.yaml")
    assert problem.startswith("work.yaml:2: env-file")


def test_a_file_that_is_not_there_is_a_problem_at_its_line(tmp_path: Path) -> None:
    (problem,) = refused(tmp_path, "tasks: {}\nenv-file: no.env\n", "work.yaml")
    assert problem == (
        f"work.yaml:2: env-file: {tmp_path}/no.env: cannot be read: No such file or directory"
    )


def test_an_env_file_stays_one_in_a_work_file_and_is_told_as_lost_elsewhere(tmp_path: Path) -> None:
    env_file(tmp_path, "A=secret")
    graph = read(tmp_path, "tasks: {a: x}\nenv-file: .env\n", "work.yaml")
    text = formats.dump(graph, "workfile")
    assert json.loads(text) == {"env-file": [".env"], "tasks": {"a": "x"}}
    assert read(tmp_path, text).env == {"A": "secret"}
    assert formats.losses(graph, "workfile") == []
    (loss,) = formats.losses(graph, "records")
    assert loss.startswith("variables of an env-file have a place in work files only")


# What is typed


def test_a_setting_is_all_behind_the_first_equals_sign() -> None:
    assert read_settings(["A=b=c", "B=", "A=d"]) == {"A": "d", "B": ""}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("A", "--set A: write --set KEY=VALUE"),
        ("=b", '--set =b: "" cannot name an environment variable'),
        ("", "--set : write --set KEY=VALUE"),
        ("A\nB", "--set A\\nB: write --set KEY=VALUE"),
        (
            "PW_TASK=b",
            "--set PW_TASK=b: PW_TASK is set by the run itself, for each command; "
            "choose another name",
        ),
        ("A=\udcff", "--set A=\\udcff: not UTF-8; give it in that encoding"),
    ],
)
def test_a_setting_that_sets_nothing_is_refused(setting: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_settings([setting])
    assert str(refused.value) == said


# By the real program


def test_what_a_task_sets_goes_over_the_file_and_what_is_typed_over_both(tmp_path: Path) -> None:
    env_file(tmp_path, "A=file\nB=file\n")
    tasks = {"a": SHOW, "b": {"command": SHOW, "env": {"A": "own"}, "after": ["a"]}}
    write_work(tmp_path, tasks, **{"env-file": ".env"})
    run(tmp_path, "run", env={"A": "outer"})
    run(tmp_path, "run", "--set", "A=typed", "--set", "B=x y")
    assert told(tmp_path) == ["file file", "own file", "typed x y", "typed x y"]


def test_the_file_lies_beside_the_work_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write_work(tmp_path / "sub", {"a": SHOW}, **{"env-file": [".env"]})
    env_file(tmp_path / "sub", "A=file\n")
    assert run(tmp_path, "run", "sub/work.json").status == 0
    assert run(tmp_path, "run", "sub/work.json", "a").status == 0
    assert told(tmp_path) == ["file ", "file "]


def test_a_work_file_that_is_written_elsewhere_finds_it_there(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    env_file(tmp_path, "A=file\n")
    write_work(tmp_path, {"a": SHOW}, **{"env-file": ".env"})
    assert run(tmp_path, "convert", "-o", "sub/moved.json").status == 0
    assert run(tmp_path, "run", "sub/moved.json").status == 0
    assert told(tmp_path) == ["file "]


def test_other_variables_make_tasks_run_again(tmp_path: Path) -> None:
    env_file(tmp_path, "A=1\n")
    write_work(tmp_path, {"a": SHOW}, **{"env-file": ".env"})
    run(tmp_path, "run")
    run(tmp_path, "run", "--resume")
    assert told(tmp_path) == ["1 "]
    env_file(tmp_path, "A=2\n")
    run(tmp_path, "run", "--resume")
    run(tmp_path, "run", "--resume", "--set", "B=x")
    run(tmp_path, "run", "--resume", "--set", "B=x")
    assert told(tmp_path) == ["1 ", "2 ", "2 x"]


def test_what_runs_a_task_again_sets_the_same(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "false"})
    ended = run(tmp_path, "run", "--set", "A=x y", "--set", "B=1")
    assert "parallel-workers run --set 'A=x y' --set B=1 --only work.json a" in ended.output


def test_a_wrong_setting_is_an_error_of_usage(tmp_path: Path) -> None:
    write_work(tmp_path, {"a": "false"})
    ended = run(tmp_path, "run", "--set", "A")
    assert (ended.status, ended.errors) == (2, "error: --set A: write --set KEY=VALUE\n")


def test_a_graph_that_a_program_loads_has_the_variables(tmp_path: Path) -> None:
    env_file(tmp_path, "A=file\n")
    write_work(tmp_path, {"a": f"echo $A >> {tmp_path}/told"}, **{"env-file": ".env"})
    graph = load(tmp_path / "work.json")
    graph.run()
    assert told(tmp_path) == ["file"]
    assert graph["a"].definition.env == {}
