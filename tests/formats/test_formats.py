"""Files as a whole: found, read as bytes, told apart, refused in clear lines, never a crash."""

import gc
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from parallel_workers import formats
from parallel_workers.errors import InvalidInput, UsageError
from tests.formats.reading import edges, read, refused
from tests.formats.test_records import SCHEDULED
from tests.formats.test_workfile import TOML, YAML

# Which file, which syntax, which shape


@pytest.mark.parametrize("name", ["work.yaml", "work.yml", "work.toml", "work.json"])
def test_the_work_file_of_a_directory_is_found_by_its_name(tmp_path: Path, name: str) -> None:
    assert formats.find_work_file(tmp_path) is None
    (tmp_path / name).touch()
    assert formats.find_work_file(tmp_path) == str(tmp_path / name)


def test_work_yaml_comes_before_the_others(tmp_path: Path) -> None:
    for name in formats.WORK_FILES:
        (tmp_path / name).touch()
    assert formats.find_work_file(tmp_path) == str(tmp_path / "work.yaml")


def test_a_directory_is_no_work_file(tmp_path: Path) -> None:
    (tmp_path / "work.yaml").mkdir()
    assert formats.find_work_file(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "known"),
    [("a.json", True), ("x/b.YAML", True), ("c.yml", True), ("d.toml", True), ("json", False),
     ("build", False), ("e.json.bak", False), ("-", False)],
)  # fmt: skip
def test_suffixes_of_files_are_known(text: str, known: bool) -> None:
    assert formats.has_known_suffix(text) is known


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (SCHEDULED, "graph"),
        (f"# by hand\n  # twice\n{SCHEDULED}", "graph.txt"),
        (YAML, "graph"),
        ("- [[a], [b]]", "graph"),
        (TOML, "graph.TOML"),
    ],
)
def test_a_file_of_any_name_is_read_by_looking(tmp_path: Path, text: str, name: str) -> None:
    assert edges(read(tmp_path, text, name))


def test_standard_input_is_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_input(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    with_input(SCHEDULED)
    assert len(formats.load("-")) == 6
    with_input('[{"name": 5}]')
    with pytest.raises(InvalidInput, match=r"^standard input:1: record 1: name: 5 is not"):
        formats.load("-")


@pytest.mark.parametrize("argument", ["work.json", "-"])
def test_other_formats_are_not_imported_for_json(tmp_path: Path, argument: str) -> None:
    (tmp_path / "work.json").write_text(SCHEDULED)
    code = (
        "import sys; from parallel_workers import formats; formats.load(sys.argv[1]); "
        "print([name for name in sys.modules if name.startswith(formats.__name__ + '.')])"
    )
    words = [sys.executable, "-c", code, argument]
    done = subprocess.run(words, cwd=tmp_path, input=SCHEDULED, capture_output=True, text=True)
    assert "parallel_workers.formats.records" in done.stdout
    assert "parallel_workers.formats.dot" not in done.stdout


def test_a_closed_standard_input_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InvalidInput, match=r"^standard input: cannot be read: it is closed$"):
        formats.load("-")


EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    "name", sorted(p.name for p in EXAMPLES.iterdir() if formats.has_known_suffix(p.name))
)
def test_every_example_is_read_without_a_warning(name: str) -> None:
    assert len(formats.load(EXAMPLES / name, strict=True)) > 3


def test_a_format_can_be_forced(tmp_path: Path) -> None:
    assert refused(tmp_path, "[]", format="workfile") == [
        "work.json:1: found [] where a mapping with tasks or threads should be"
    ]
    assert refused(tmp_path, '{"tasks": {}}', format="records") == [
        'work.json:1: found {"tasks": {}} where a list of records should be'
    ]
    assert refused(tmp_path, '{"tasks": {}}', format="groups") == [
        'work.json:1: found {"tasks": {}} where a list of threads should be'
    ]
    assert len(read(tmp_path, "[]", format="groups")) == 0


def test_an_unknown_format_is_refused_before_the_file_is_read() -> None:
    with pytest.raises(UsageError, match='there is no format "xlsx"; there are records, groups, '):
        formats.load("nowhere", format="xlsx")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("42", "found 42"),
        ("null", "found null"),
        ('"a"', 'found "a"'),
        ("[1, 2]", "found a list that begins with 1"),
        ('["a"]', 'found a list that begins with "a"'),
        ("{}", "found a mapping without tasks or threads"),
        ('{"name": "a"}', "found a mapping without tasks or threads"),
    ],
)
def test_what_is_no_work_graph_is_told_what_one_looks_like(
    tmp_path: Path, text: str, found: str
) -> None:
    (problem,) = refused(tmp_path, text)
    assert problem.startswith(
        f'work.json:1: {found}; give records, [{{"name": "a", "successors": ["b"]}}, …], threads '
    )


def test_a_mapping_with_a_slip_is_told_the_nearest_word(tmp_path: Path) -> None:
    assert refused(tmp_path, "env: {}\ntask: {a: b}", "work.yaml") == [
        'work.yaml:1: found a mapping without tasks or threads; did you mean "tasks"?'
    ]


def test_records_mixed_with_lists_are_told_where(tmp_path: Path) -> None:
    assert refused(tmp_path, '[{"name": "a"},\n[["b"]],\n5]') == [
        'work.json:2: record 2: found [["b"]] where an object with a name should be',
        "work.json:3: record 3: found 5 where an object with a name should be",
    ]
    (problem,) = refused(tmp_path, '[[["a"]],\n{"name": "b"}]')
    assert problem.startswith("work.json:2: thread 2: found {")


# The bytes of a file


@pytest.mark.parametrize(
    ("name", "nothing"),
    [
        ("work.json", "[]"),
        ("work.yaml", "[]"),
        ("work.toml", "[tasks]"),
        ("work.dot", '"digraph {}"'),
        ("work", "[]"),
    ],
)
@pytest.mark.parametrize("text", ["", " \n\t\n", "\ufeff", "\ufeff \n"])
def test_a_file_of_white_space_is_told_what_an_empty_graph_looks_like(
    tmp_path: Path, name: str, nothing: str, text: str
) -> None:
    assert refused(tmp_path, text, name) == [f"{name}: is empty; to run nothing, write {nothing}"]
    assert len(read(tmp_path, nothing.strip('"'), name)) == 0


@pytest.mark.parametrize("text", ["[] b", "{ [\n", '[{"name":"a"} #'])
def test_a_suffix_of_a_format_s_own_goes_over_how_the_file_begins(
    tmp_path: Path, text: str
) -> None:
    assert edges(read(tmp_path, text, "work.edges")) == {tuple(text.split())}
    (problem,) = refused(tmp_path, text, "work.dot")
    assert "where digraph should be" in problem


@pytest.mark.parametrize(
    ("text", "name"), [(SCHEDULED, "work.json"), (YAML, "work.yaml"), (TOML, "work.toml")]
)
def test_a_byte_order_mark_is_accepted(tmp_path: Path, text: str, name: str) -> None:
    assert edges(read(tmp_path, f"\ufeff{text}", name)) == edges(read(tmp_path, text, name))


@pytest.mark.parametrize("name", ["work.json", "work.yaml", "work.toml", "work"])
def test_what_is_not_utf_8_is_told_with_line_and_byte(tmp_path: Path, name: str) -> None:
    assert refused(tmp_path, b"\n\n # \xff", name) == [
        f"{name}:3: is not UTF-8: found 0xff as byte 4 of the line; save the file as UTF-8"
    ]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("missing.json", "missing.json: there is no such file"),
        (".", ".: is a directory; give a file in it"),
        ("loop", "loop: cannot be read: Too many levels of symbolic links"),
        ("plain/below", "plain/below: cannot be read: Not a directory"),
        ("/dev/zero", "/dev/zero: cannot be read: it is a device; give a file"),
        ("a\0b", "a\\x00b: cannot be read: embedded null byte"),
        ("closed", "closed: cannot be read: permission denied"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("plain").touch()
    Path("closed").touch(0o000)
    if path == "closed" and os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    with pytest.raises(InvalidInput) as caught:
        formats.load(path)
    assert caught.value.problems == [problem]


def test_faults_of_the_text_and_of_the_graph_are_told_together(tmp_path: Path) -> None:
    text = "tasks:\n  a: {retries: 1, retries: 2}\n  b: {timeout: never}\n"
    assert [problem[:14] for problem in refused(tmp_path, text, "work.yaml")] == [
        "work.yaml:2: t",
        "work.yaml:3: t",
    ]


# What users of the library rely on


def test_garbage_is_collected_afterwards_as_it_was_before(tmp_path: Path) -> None:
    read(tmp_path, SCHEDULED)
    assert gc.isenabled()
    refused(tmp_path, "42")
    assert gc.isenabled()
    gc.disable()
    try:
        read(tmp_path, SCHEDULED)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_large_file_of_records_is_read_like_a_small_one(tmp_path: Path) -> None:
    def records(count: int) -> str:
        lines = (f'{{"name": "t{n}", "ancestors": ["t{n - 1}"]}}' for n in range(1, count))
        return f'[{{"name": "t0"}}, {", ".join(lines)}]'

    large = records(3000)
    assert len(large) > formats.BULK
    graph = read(tmp_path, large)
    assert graph.topology().positions == list(range(3000))
    (problem,) = refused(tmp_path, large.replace('["t7"]', '["7t"]'))
    assert "task t8: ancestors[0]: there is no task" in problem


@pytest.mark.parametrize(("name", "data"), [("dot", "digraph { a }"), ("edges", ["a", "b"])])
def test_what_has_a_syntax_of_its_own_is_not_read_from_data(name: str, data: object) -> None:
    with pytest.raises(UsageError, match=f"^{name} is read from text only; "):
        formats.from_data(data, name)


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("[]", "work.json", "records"),
        ("[[]]", "work.yaml", "groups"),
        ("[tasks]", "work.toml", "workfile"),
        ("digraph {}", "work", "dot"),
        ("a b", "work", "edges"),
        ("[" + '{"name": "a", "vars": {"x": "' + "y" * formats.BULK + '"}}]', "x.json", "records"),
    ],
)
def test_the_format_of_a_file_is_told(tmp_path: Path, text: str, name: str, found: str) -> None:
    (tmp_path / name).write_text(text)
    assert formats.load_as(tmp_path / name, None, strict=False).format == found
