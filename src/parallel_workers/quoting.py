r"""How a value is quoted for the place in a shell text where it stands.

A value must never become shell syntax. To know its place is to read the text as every sh reads it,
which for all of the language is hopeless: shells differ within `$(…)`, `${…}`, here-documents and
arithmetic. So a small part of the language is read exactly, and a value within or behind anything
else is refused. That costs little: `n={name};` in front and `"$n"` in that place do the same.
Refused, too, is a value in the words of a command that would read it as shell text or arithmetic
once more (`eval`, `sh -c`), where the command is called by its name. What a text does later with a
variable that was set to a value is not followed.

In the texts here, a NUL marks the place of each value.
"""

import re
from collections.abc import Callable, Iterable

from parallel_workers.shell import BUILT_INS, split_plain

Quote = Callable[[str], str]
"""Turns a value into what can be put into the shell text in its place."""


class PlaceError(Exception):
    """There is no safe way to put values into a shell text.

    Attributes:
        at: The index in the shell text of what is to blame.
        message: What it is and what to do.
    """

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at
        self.message = message


def quotes_for(text: str) -> list[Quote]:
    r"""Return, for each NUL in a shell text, the function that quotes values for that place.

    Args:
        text: What `/bin/sh -c` is to execute, with a NUL wherever a value will stand.

    Raises:
        PlaceError: A quote is not closed, or a value stands where no quoting is sure to be safe.

    >>> bare, double, single = quotes_for("run \0 \"to \0\" 'by \0'; true")
    >>> bare("a"), double("$a"), single("it's")
    ("'a'", '"\'$a\'"', "it'\\''s")
    """
    if _is_harmless(text):
        return [_argument] * text.count("\0")
    if "\0" in text and (found := _pattern(_EVAL).search(text)):
        raise PlaceError(
            found.start(1),
            "eval reads its words again as shell text, so a value could be executed; do without it",
        )
    quotes = _Reader(text).quotes()
    return [_argument] * len(quotes) if _takes_plain_arguments(text) else quotes


# Single quotes are the one kind that all shells read alike, whatever the value and its encoding
# (in GBK a byte of a character may be a backslash). So all values that are not plain go into them.

_IS_PLAIN = re.compile(r"[A-Za-z0-9_@%:,./+=-]+").fullmatch


def _bare(value: str) -> str:
    # Also what looks harmless: a keyword, 2 before >, or A=b must not become syntax.
    return f"'{_single(value)}'"


def _single(value: str) -> str:
    return value.replace("'", r"'\''")


def _double(value: str) -> str:
    # The double quotes end, the value follows in single ones, and the double quotes begin again.
    return value if not value or _IS_PLAIN(value) else f'"{_bare(value)}"'


def _argument(value: str) -> str:
    return value if _IS_PLAIN(value) else _bare(value)


def shell_line(words: Iterable[str]) -> str:
    r"""Return the line that a person types into a shell to have these words.

    Args:
        words: Arguments as they came; in one that is no text in UTF-8, each byte of which that is
            so stands as half a surrogate pair.

    >>> print(shell_line(["ls", "a b", "d\udcff1"]))
    ls 'a b' $'d\3771'
    """
    import shlex

    return " ".join(_escaped(word) if _BYTE.search(word) else shlex.quote(word) for word in words)


_BYTE = re.compile("[\udc80-\udcff]")
"""What stands in an argument for a byte that is no text in UTF-8."""


def _escaped(word: str) -> str:
    """Return a word as the shells read it that know a way to write any byte."""

    # In octal: a shell may take more than two digits for those of a hexadecimal number.
    def octal(found: re.Match[str]) -> str:
        return f"\\{ord(found[0]) - 0xDC00:o}"

    plain = word.replace("\\", r"\\").replace("'", r"\'")
    return f"$'{_BYTE.sub(octal, plain)}'"


def _takes_plain_arguments(text: str) -> bool:
    """Tell whether `text` is one command without shell syntax, with values in its arguments only.

    There a plain value can be left as it is: it reads better, and the command may need no shell.
    """
    program = text.split(maxsplit=1)[:1]
    return "\0" not in "".join(program) and split_plain(text.replace("\0", "x")) is not None


def _is_harmless(text: str) -> bool:
    """Tell, without reading it closely, whether `text` is a program or `echo` with plain arguments.

    Options that end in c are left to the close reading, which knows the commands that they make
    read shell text.
    """
    if not _takes_plain_arguments(text):
        return False
    program, *arguments = text.split()
    return (program == "echo" or program not in BUILT_INS) and not any(
        word[0] == "-" and word[-1] == "c" for word in arguments
    )


# The part of the shell language that is read. What has no token here ends the reading. Patterns are
# compiled when they are first needed: compiling all of them takes as long as starting ten programs.


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.VERBOSE)


_NAME = r"\$[A-Za-z0-9_]+"
_EXPANSIONS = r"""
    \$[?$!\#@*-]
    | \$\{ [A-Za-z0-9_?@*!\#-] [^'"`\\${}\0]* \}
    | \$\(\( (?: [^'"`\\(){}\#\0\n] | \( [^'"`\\(){}\#\0\n]* \) )* \)\)
    # In a case, a parenthesis that closes closes nothing.
    | \$\((?!\() (?: (?!\bcase\b|<<) [^'"`\\$(){}\#\0] | \$[A-Za-z0-9_] | '[^'\0]*'
                   | "(?: [^"`\\$\0] | \$[A-Za-z0-9_] )*" )* \)
    | `(?: (?!<<) [^'"`\\$(){}\#\0] | \$[A-Za-z0-9_] )*`
"""
_BARE_TOKENS = rf"""
    (?P<value> \0 )
    | (?P<single> ' )
    | (?P<double> " )
    | (?P<hash> \# )
    | (?P<blank> [ \t]+ (?: \\\n [ \t]* )* )
    | (?P<end> [\n;&|)] | (?<!=)\((?!\() )
    # Bash expands a word behind >& twice, so that only numbers are read there.
    | (?P<redirection> <<< | <(?![<&]) | >(?!&)
                     | [<>]&[ \t]*(?:[0-9]+|-)(?![^ \t\n;&|()<>]) )
    | (?P<word>
        [^ \t\n'"`\\$;&|()<>\#\[\0]+
        | \\[^\n\0]
        | {_NAME} | {_EXPANSIONS}
        | \$(?= [ \t\n;/.,:%)] | \Z )
        | (?<![A-Za-z0-9_])\[(?!\[[ \t\n])
        | (?<=[A-Za-z0-9_])\[ [^ \t\n'"`\\$;&|()<>\[\]\0]* \]
    )
    """
_DOUBLE_TOKENS = rf"""
    (?P<value> \0 )
    | (?P<close> " )
    # A value behind $a would make the name longer.
    | (?P<word> [^"`\\$\0]+ | \\[^\n\0] | {_NAME}(?![A-Za-z0-9_\0]) | {_EXPANSIONS}
              | \$(?= [ \t\n;/.,:%)"] ) )
    """
_SINGLE_TOKENS = r"(?P<value>\0)|(?P<close>')|(?P<word>[^'\0]+)"

# What may stand in front of a command's name, and around its letters: \eval is eval.
_PREFIX = r"""\s*(?:(?:then|do|else|elif|if|while|until|time|!|\{|command|builtin)\s+
                 | \w+=\S*\s+ | \d*[<>]\S*\s+)* [\\'"]*"""
_EVAL = rf"(?:^|[;&|()`\n]) {_PREFIX} (eval) (?![^\s;&|'\"])"
_READS_AGAIN = rf"{_PREFIX} (eval|trap|alias|let|declare|typeset|integer) \s"
_SHELLS = {"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "rbash", "busybox"}
_RUNS_TEXT = _SHELLS | {"su", "runuser", "script", "flock"}
"""Programs that execute the shell text that follows an option `-c`."""

_NOT_BEHIND = "a field cannot stand within or behind"
_USE_VARIABLE = 'begin with n={…}; and write "$n" there'
_UNREAD = [
    # How the text goes on where reading ended, and what to say of a value in it.
    (r"\$\0", "${…} would be the shell's; write ${{…}} for its variable, or {…} for a field"),
    (r"\\\0", "a field needs no backslash in front of it; leave it out"),
    (r"\$\w+\0", "a field here would be part of a variable's name; write ${{…}} around the name"),
    (r"\\\n", f"{_NOT_BEHIND} this line end; put a blank in front of the backslash"),
    (r"`", f"{_NOT_BEHIND} `…`; {_USE_VARIABLE}"),
    (r"\$?\(\(|\$\[", f"{_NOT_BEHIND} arithmetic, which may execute a value; put it in front"),
    (r"\$\(", f"{_NOT_BEHIND} $(…); {_USE_VARIABLE}"),
    (r"\$\{", f"{_NOT_BEHIND} ${{{{…}}}}; {_USE_VARIABLE}"),
    (r"\$['\"]", f"{_NOT_BEHIND} $'…' or $\"…\", which shells read differently; quote plainly"),
    (r"[<>]&", f"{_NOT_BEHIND} >&, which bash reads twice; write >FILE 2>&1"),
    (r"<<", f"{_NOT_BEHIND} a here-document; {_USE_VARIABLE}"),
    (r"\[\[", f"{_NOT_BEHIND} [[ … ]], which may execute a value; use [ … ]"),
    (r"[\[(]", f"{_NOT_BEHIND} an array, which may execute a value; put it in front"),
    (r"", f"{_NOT_BEHIND} a lone $; put a backslash in front of the dollar"),
]


class _Reader:
    """Reads a shell text from left to right.

    Attributes:
        text: All of it.
        command: Where the command that is being read began.
        word: Where its last word began; None between words.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.command = 0
        self.word: int | None = None

    def quotes(self) -> list[Quote]:
        found: list[Quote] = []
        bare = tokens = _pattern(_BARE_TOKENS)
        quote, opened, at = _bare, 0, 0
        while at < len(self.text):
            token = tokens.match(self.text, at)
            if token is None:
                self._refuse_values_from(at)
                return found
            kind, end = token.lastgroup, token.end()
            if tokens is bare:
                end = self._step(token)
            if kind == "value":
                self._check_command(at)
                found.append(quote)
            elif kind == "single":
                tokens, quote, opened = _pattern(_SINGLE_TOKENS), _single, at
            elif kind == "double":
                tokens, quote, opened = _pattern(_DOUBLE_TOKENS), _double, at
            elif kind == "close":
                tokens, quote = bare, _bare
            at = end
        if tokens is not bare:
            raise PlaceError(opened, f"this {self.text[opened]} is never closed")
        return found

    def _step(self, token: re.Match[str]) -> int:
        """Note where words and commands begin, and return where to read on."""
        if token.lastgroup == "hash" and self.word is None:
            return self._skip_comment(token.start())
        if token.lastgroup in ("blank", "redirection", "end"):
            self.word = None
        elif self.word is None:
            self.word = token.start()
        if token.lastgroup == "end":
            self.command = token.end()
        return token.end()

    def _skip_comment(self, at: int) -> int:
        end = self.text.find("\n", at)
        end = len(self.text) if end < 0 else end
        value = self.text.find("\0", at, end)
        if value >= 0:
            raise PlaceError(value, "a field cannot stand in a comment")
        return end

    def _check_command(self, at: int) -> None:
        """Refuse a value in the words of a command that is known to read them as shell text."""
        assert self.word is not None
        before = re.sub(r"[\\'\"]", "", self.text[self.command : self.word])
        if found := _pattern(_READS_AGAIN).match(before):
            raise PlaceError(
                at, f"a field cannot stand in the words of {found[1]}, which reads them once more"
            )
        if _expects_shell_text(before.split()):
            raise PlaceError(
                at,
                "a field cannot stand in a text that another shell reads; "
                """write sh -c '… "$1" …' sh {…}""",
            )

    def _refuse_values_from(self, at: int) -> None:
        """Refuse the values behind `at`, where something begins that is not read."""
        value = self.text.find("\0", at)
        if value < 0:
            return
        rest = self.text[at:]
        raise PlaceError(value, next(why for like, why in _UNREAD if re.match(like, rest)))


def _expects_shell_text(words: list[str]) -> bool:
    """Tell whether the word behind these would be executed by a shell.

    It would if one of them is the name of a shell, an option with a c follows, and then nothing
    but options; what stands behind the text itself is only an argument.
    """
    shells = [index for index, word in enumerate(words) if word.rpartition("/")[2] in _RUNS_TEXT]
    if not shells:
        return False
    options = words[shells[0] + 1 :]
    with_c = [index for index, word in enumerate(options) if word[0] == "-" and "c" in word]
    return bool(with_c) and all(word[0] in "-+" for word in options[with_c[0] + 1 :])
