"""Values in shell texts: never executed, wherever a place is found for them."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parallel_workers.quoting import PlaceError, quotes_for
from tests.support.shells import SHELLS, ended

HOSTILE = [
    "$(>hit)",
    "`>hit`",
    ";>hit;",
    "\n>hit\n",
    "&>hit&",
    "|>hit;",
    "';>hit;'",
    "';>hit;:'",
    '";>hit;"',
    '";>hit;:"',
    "\"';>hit;'\"",
    "\\';>hit;'",
    ")>hit;",
    "})>hit;",
    "}>hit;",
    "E\n>hit\n",
    "\nE\n>hit\n",
    "a[$(>hit)]",
    "a[$(>hit)]=1",
    "$((a[$(>hit)]))",
    "\\",
    "'",
    '"',
    "`",
]
"""Values that would make a file named `hit` in some place, if they were not quoted for it."""


def filled(text: str, value: str) -> str:
    """Put `value` in all places of `text`, quoted for each."""
    quotes = quotes_for(text)
    first, *literals = text.split("\0")
    return first + "".join(
        quote(value) + literal for quote, literal in zip(quotes, literals, strict=True)
    )


@pytest.mark.parametrize("value", [value for value in HOSTILE if "hit" in value])
def test_each_hostile_value_is_executed_in_some_place_without_quotes(
    value: str, tmp_path: Path
) -> None:
    places = [
        ": \0", ": '\0'", ': "\0"', ": \"'\0'\"", ": $(: \0", "(: \0", ": ${x:-\0", ": '\\\0",
        ": <<E\n\0", "echo $((\0))", "declare \0", ": `: \0", ": \\\0", "{ :; \0", "(:; { :; \0",
        ": $'\\\0'",
    ]  # fmt: skip
    for place in places:
        for shell in SHELLS:
            ended([*shell, "-c", place.replace("\0", value)], tmp_path)
    assert (tmp_path / "hit").exists()


# Without eval and the like: these read a value again by design, and are refused by their names.
PIECES = st.sampled_from(
    ["\0"] * 6
    + ["'", '"', "\\", "$", "`", "#", " ", "\n", "\t"] * 3
    + ["$(", "${", "$((", ")", "}", "))", "(", "((", "{", "[", "]", "[[ ", " ]]", "=(", "$["]
    + ["<<", "<<E", "\nE\n", "<<<", "<", ">", ";", "&", "|", "&&", ";;", "\\\n", " \\\n", "$'"]
    + ["a", ":", "x=", "$y", "${y}", "${y:-a}", "$(:)", "$(: a)", '"$(:)"', "$((1<<2))", "`:`"]
    + ["case a in ", "esac", "a) ", "if ", "then ", "fi", "for x in ", "do ", "done", "! "]
    + ["printf ", "echo ", ": ", "=", "-", "*", "~", "!"]
)
SOME_PIECES = st.lists(PIECES, max_size=7).map("".join)


@given(st.tuples(SOME_PIECES, st.just("\0"), SOME_PIECES).map("".join), st.sampled_from(HOSTILE))
@example("\"$(case x in x) echo '\0';; esac)\"", "$(>hit)")
@example('"$(: a # )\n\0)"', "$(>hit)")
@example('"$((: ) # ))\n\0 ))"', "$(>hit)")
@example(": \\ \\\n#'\n\0'", "\n>hit\n")
@example(": \\\n# '\n\0'", "$(>hit)")
@example("cat <\\\n<E\n\0\nE\n", "$(>hit)")
@example(": $'\\' \0 '", "$(>hit)")
@example(': "${y:-\'}" \0 "\'', "$(>hit)")
@example(": >&\0", "`>hit`")
@example("declare -i x=\0", "a[$(>hit)]")
@settings(max_examples=200, deadline=None)
def test_no_value_is_executed_in_any_place_that_is_found_for_it(
    tmp_path_factory: pytest.TempPathFactory, text: str, value: str
) -> None:
    try:
        command = filled(text, value)
    except PlaceError:
        return
    directory = tmp_path_factory.mktemp("run")
    for shell in SHELLS:
        ended([*shell, "-c", command], directory)
        assert not (directory / "hit").exists(), (shell, command)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("run $(echo \0)", "$(…)"),
        ('run "$(echo \0)"', "$(…)"),
        ("run $(echo 'a' \"b\" # it's) \0", "$(…)"),
        ("run `echo \0`", "`…`"),
        ("run ${x:-\0}", "${{…}}"),
        ('run "${x:-\'}" \0', "${{…}}"),
        ("run $((\0 + 1))", "arithmetic"),
        ("((x = \0))", "arithmetic"),
        ("echo $[\0]", "arithmetic"),
        ("cat <<E\n\0\nE", "here-document"),
        ("cat <<-'E'\n\0\nE", "here-document"),
        ("run $'a\0'", "$'…'"),
        ('run $"\0"', "$'…'"),
        ("run $\0", "${{…}}"),
        ('run "$\0"', "${{…}}"),
        ('run "$x\0"', "name"),
        ("run \\\0", "backslash"),
        ('run "\\\0"', "backslash"),
        ("run >&\0", ">&"),
        ('run 2>& "\0"', ">&"),
        ("run <&a\0", ">&"),
        ("run # \0", "comment"),
        ("[[ -n \0 ]]", "[[ … ]]"),
        ("x=(\0)", "array"),
        ("x[\0]=1", "array"),
        ("eval \0", "eval"),
        ("n=\0; eval run $n", "eval"),
        ("command eval run \0", "eval"),
        ("if \\eval run \0; then :; fi", "eval"),
        ("trap 'rm \0' EXIT", "trap"),
        ("a=b 2>log 'trap' \0 EXIT", "trap"),
        ("true; declare x=\0", "declare"),
        ('sh -c "run \0"', "another shell"),
        ("sudo /bin/bash -o pipefail -ec 'run \0 | cat'", "another shell"),
        ("su - deployer -c 'run \0'", "another shell"),
        ("run a\\\nb \0", "line end"),
        ("run $; \0 $= \0", "lone $"),
    ],
)
def test_a_place_where_no_quoting_is_safe_is_refused_with_its_reason(
    text: str, reason: str
) -> None:
    with pytest.raises(PlaceError) as refused:
        quotes_for(text)
    assert reason in refused.value.message
    assert text[refused.value.at] == "\0" or text[refused.value.at :].startswith("eval")


@pytest.mark.parametrize(
    "text",
    [
        'n=\0; run "$(lookup "$n")" ${n} `id -u` $((1 << 2))',
        'run "$(cat "$file" 2>/dev/null)" "${HOME}/x" \0',
        "run \0 # it's all right",
        "run a#b \0 # c",
        "# first, it's ready\nrun \0",
        "run \\\n  \0 && \\\n  stop \0",
        "case \0 in a*) run;; esac",
        "for i in 1 2; do run \0 $i || exit; done > \0.log 2>&1",
        "python eval.py \0 --trap let",
        """sh -c 'run "$1"' sh \0""",
        "grep -c \0 file",
        "run >log 2>&1 3>&- <& 0 \0; run &>\0; run 2>&1|log >\0",
        "ls file[0-9] \0; [ \0 = x ]",
        "cat <<< \0",
        "run \0 <<E\nit's\nE",
        'run "\0 costs 5$"',
    ],
)
def test_a_place_that_is_plain_to_see_is_found(text: str) -> None:
    assert len(quotes_for(text)) == text.count("\0")


@pytest.mark.parametrize(("text", "at"), [("a 'b", 2), ("a \"b '", 2), ("a '\0'' \"", 4)])
def test_a_quote_that_is_never_closed_is_refused_where_it_begins(text: str, at: int) -> None:
    with pytest.raises(PlaceError, match="never closed") as refused:
        quotes_for(text)
    assert text[refused.value.at] in "'\""
    assert refused.value.at >= at


def test_a_plain_value_stays_as_it_is_in_the_arguments_of_a_plain_command() -> None:
    assert filled("deploy --to=\0 \0", "@a/b-1") == "deploy --to=@a/b-1 @a/b-1"


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("\0 x", "eval", "'eval' x"),
        ("run \0>log", "2", "run '2'>log"),
        ("\0 make", "CC=x", "'CC=x' make"),
        ("do \0", "done", "do 'done'"),
        ("time \0", "if", "time 'if'"),
        ("run $x\0", "y", "run $x'y'"),
        ("run \0", "", "run ''"),
        ("run \0", "~", "run '~'"),
        ('run "\0"', "", 'run ""'),
    ],
)
def test_a_value_that_could_be_syntax_is_quoted(text: str, value: str, expected: str) -> None:
    assert filled(text, value) == expected


@pytest.mark.parametrize(
    "text",
    [
        "sh -c -e \0",
        "sh -c -- \0",
        '"sh" -c \0',
        "sh '-c' \0",
        "s\\h -c \0",
        "/usr/bin/rbash -c \0",
        "eva''l \0",
        "script -qc \0 /dev/null",
        "flock F -c \0",
    ],
)
def test_a_value_is_no_shell_text_however_the_shell_is_written(text: str) -> None:
    with pytest.raises(PlaceError):
        quotes_for(text)


@pytest.mark.parametrize(
    "text", ["sh -c 'echo \"$1\"' sh \0", "bash -e -c 'a b' x \0", "deploy -c \0", "ls sh \0"]
)
def test_a_value_behind_the_text_of_another_shell_is_an_argument(text: str) -> None:
    assert len(quotes_for(text)) == 1
