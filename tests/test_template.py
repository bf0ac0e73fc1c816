"""`--command`: fields in braces, whose values reach the program exactly as they are."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parallel_workers.definition import Definition
from parallel_workers.errors import UsageError
from parallel_workers.shell import split_simple
from parallel_workers.template import Template, fields_of
from tests.support.shells import SHELLS, ended, make_program

FIELDS = {"name": "@app/build", "position": 3, "region": "eu west"}


def refusal(text: str, **fields: object) -> str:
    with pytest.raises(UsageError) as refused:
        Template(text).fill({**FIELDS, **fields})
    return str(refused.value)


def test_fields_are_replaced_and_quoted_for_their_place() -> None:
    template = Template("deploy {name} --to \"{region}\" --label='{region} {position}' | log")
    assert template.fill(FIELDS) == (
        "deploy '@app/build' --to \"\"'eu west'\"\" --label='eu west 3' | log"
    )


def test_a_plain_command_with_plain_values_still_needs_no_shell() -> None:
    command = Template("deploy --as {position} {name}").fill(FIELDS)
    assert split_simple(command) == ("deploy", "--as", "3", "@app/build")


def test_a_template_without_fields_is_the_command_of_every_task() -> None:
    assert Template("make all").fill(FIELDS) == "make all"
    assert Template("cat <<E | eval x\nit's\nE").fill(FIELDS) == "cat <<E | eval x\nit's\nE"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a {{}} b", "a {} b"),
        ("${{HOME}}/x", "${HOME}/x"),
        ("f() {{ run {name}; }}; f", "f() { run '@app/build'; }; f"),
        ("a {{name}}", "a {name}"),
        ("a {{{name}}}", "a {'@app/build'}"),
    ],
)
def test_doubled_braces_stand_for_braces(text: str, expected: str) -> None:
    assert Template(text).fill(FIELDS) == expected


@pytest.mark.parametrize(
    ("text", "character", "reason"),
    [
        ("a {name", 3, "the { stands alone"),
        ("a name}", 7, "the } stands alone"),
        ("a {{name}", 9, "the } stands alone"),
        ("ls -exec {} ;", 10, "{} names no field"),
        ("a \0", 3, "NUL"),
        ("{{}} 'b {name}", 6, "never closed"),
        ("{{}} $(b {name})", 10, '"$n"'),
        ("echo ${HOME}", 7, "${{…}}"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_with_the_place(
    text: str, character: int, reason: str
) -> None:
    message = refusal(text)
    assert message.startswith(f"command template, character {character}: ")
    assert reason in message


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_template_is_refused(text: str) -> None:
    assert "empty" in refusal(text)


def test_an_unknown_field_is_refused_with_the_task_the_known_ones_and_the_nearest() -> None:
    assert refusal("deploy {regoin}") == (
        'task @app/build has no field {regoin}; did you mean "region"?; it has {name}, {position}, '
        "{region}; braces of the shell's own are written {{ and }}"
    )


def test_of_many_known_fields_twenty_are_shown() -> None:
    message = refusal("a {x}", **{f"field{number}": number for number in range(100)})
    assert "{field16} and 83 more;" in message


@pytest.mark.parametrize(
    ("value", "expected"),
    [(7, "7"), (-1.5, "-1.5"), (1.0, "1.0"), (True, "true"), (False, "false"), ("", "''")],
)
def test_values_are_written_as_json_writes_them(value: object, expected: str) -> None:
    assert Template("run {value}").fill({"value": value}) == f"run {expected}"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, "null"),
        ([1], "[1]"),
        ({"a": 1}, '{"a": 1}'),
        ("a\0b", "NUL"),
        ("\ud800", "surrogate"),
    ],
)
def test_a_value_that_cannot_be_a_word_is_refused_with_the_task_and_the_field(
    value: object, found: str
) -> None:
    message = refusal("run {value}", value=value)
    assert message.startswith("task @app/build: the field {value} of the command template ")
    assert found in message


def test_messages_cut_long_names_and_escape_control_characters() -> None:
    message = refusal("run {a\x1b[31m}", name="n" * 3000)
    assert "\x1b" not in message
    assert len(message) < 400


def test_a_task_has_its_name_position_and_duration_and_its_free_data() -> None:
    definition = Definition(duration=90.0, vars={"region": "eu", "name": "x", "position": 9})
    assert fields_of("a/b", 2, definition) == {
        "name": "a/b",
        "position": 2,
        "duration": 90,
        "region": "eu",
    }
    assert fields_of("a", 0, Definition(duration=0.25))["duration"] == 0.25


def test_free_data_does_not_stand_in_for_a_duration() -> None:
    assert "duration" not in fields_of("a", 0, Definition(vars={"duration": "x"}))


# Each piece of a template with the words that the program must get for the values a and b.
PIECES: list[tuple[str, Any]] = [
    ("{a}", lambda a, b: [a]),
    ("'{a}'", lambda a, b: [a]),
    ('"{a}"', lambda a, b: [a]),
    ("{a}{b}", lambda a, b: [a + b]),
    ("pre{a}post", lambda a, b: [f"pre{a}post"]),
    ("--key={a}", lambda a, b: [f"--key={a}"]),
    ("'x {a}'{b}\" y\"", lambda a, b: [f"x {a}{b} y"]),
    ('"{a}{b} it\'s "', lambda a, b: [f"{a}{b} it's "]),
    ('"\\\\{a}\\"\'{b}\'"', lambda a, b: [f"\\{a}\"'{b}'"]),
    (r"\\{a}\'", lambda a, b: [f"\\{a}'"]),
    ("'\\{a}\\'", lambda a, b: [f"\\{a}\\"]),
    ('$HOME{a}"${{HOME}}{b}"', lambda a, b: [f"/home{a}/home{b}"]),
    ('"$(printf "%s" x)"{a}', lambda a, b: [f"x{a}"]),
    ("x#{a} \\\n {b}#", lambda a, b: [f"x#{a}", f"{b}#"]),
    ('{{{a}}} {{"{b}"}}', lambda a, b: [f"{{{a}}}", f"{{{b}}}"]),
    ("{a}; printf '%s\\0' {b}", lambda a, b: [a, b]),
    ("{a} && : # it's\nprintf '%s\\0' \"{b}\"", lambda a, b: [a, b]),
    ("{a}; n={b}; printf '%s\\0' \"$n\"", lambda a, b: [a, b]),
    ("{a}; f() {{ printf '%s\\0' \"$@\"; }}; f {b}", lambda a, b: [a, b]),
    ("{a}; sh() {{ shift 3; printf '%s\\0' \"$1\"; }}; sh -c : sh {b}", lambda a, b: [a, b]),
    ("{a}; case {b} in {b}) printf '%s\\0' y;; esac", lambda a, b: [a, "y"]),
    ('{a}; for i in {a} "{b}"; do printf \'%s\\0\' "$i"; done', lambda a, b: [a, a, b]),
]

VALUES = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
    st.text("'\"`$(){}\\!;&|<>#~*? \n\ta1=-", max_size=8),
    st.sampled_from(
        [
            "-rf",
            "../..",
            "$(exit 9)",
            "`exit 9`",
            "🙂" * 5,
            "x" * 3000,
            "\\",
            "a\\",
            "!",
            "1..3",
            "a,b",
        ]
    ),
    st.sampled_from(
        ["", " ", "\n", "done", "eval", "2", "A=b", "%s", "é\xa0", "\\'", "'\\", '"$x"']
    ),
)


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4), VALUES, VALUES)
@example(PIECES, "'\"\\", "\"'`$(exit 9)\n")
@example(PIECES, "1..3", "a,b")
@settings(max_examples=150, deadline=None)
def test_every_shell_hands_over_every_value_exactly_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[str, Any]], a: str, b: str
) -> None:
    template = Template("\n".join(f"printf '%s\\0' {text}" for text, _ in pieces))
    command = template.fill({"name": "task", "a": a, "b": b})
    words = [word for _, expected in pieces for word in expected(a, b)]
    directory = tmp_path_factory.getbasetemp()
    for shell in SHELLS:
        output, status = ended([*shell, "-c", command], directory)
        assert output.decode().split("\0")[:-1] == words, (shell, command)
        assert status == 0


@given(VALUES, VALUES)
@settings(max_examples=60, deadline=None)
def test_a_plain_command_gets_the_same_words_with_and_without_a_shell(
    tmp_path_factory: pytest.TempPathFactory, a: str, b: str
) -> None:
    directory = tmp_path_factory.getbasetemp()
    make_program(directory / "tell", "printf '%s\\0' \"$@\"")
    command = Template("tell {a} --b={b}").fill({"a": a, "b": b})
    expected = [a, f"--b={b}"]
    for words in [[*shell, "-c", command] for shell in SHELLS] + [split_simple(command)]:
        if words is not None:
            output, status = ended(words, Path(directory))
            assert output.decode().split("\0")[:-1] == expected
            assert status == 0


def test_a_value_in_the_first_word_names_a_program_whatever_it_holds(tmp_path: Path) -> None:
    template = Template("{name} a")
    for name in ["A=b", "if", "-c", "it's; exit 9", "# x", "~"]:
        make_program(tmp_path / name, "printf ran")
        for shell in SHELLS:
            assert ended([*shell, "-c", template.fill({"name": name})], tmp_path) == (b"ran", 0)
