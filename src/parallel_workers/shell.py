"""Which commands need no shell.

Starting a shell that then starts the program costs twice what starting the program costs. Most
commands are plain words, which every shell would hand over unchanged; those are recognised here.
Whatever is doubtful is left to the shell, so the answer never changes what a command does.
"""

import re

# ASCII only: whether other characters are blanks depends on the shell and its locale. Left out,
# though harmless in most places: ~ and # (special where a word begins), ! and ^ (special to old
# shells), and { } [ ] (bash expands braces when it is sh, too).
_PLAIN = re.compile(r"[A-Za-z0-9_@%:,./+=\- \t]+").fullmatch

KEYWORDS = frozenset(
    """
    ! [[ ]] case coproc do done elif else esac fi for function if in namespace select then time
    until while { }
    """.split()  # noqa: SIM905 - in quotes they are hard to read
)
"""The words with which sh, bash or ksh begin or end a compound command."""

# Of dash, bash, ksh, mksh, busybox and the BSDs, with the aliases that ksh starts with. Left out
# are programs that some contain to save a process, and that do the same: sleep, cat, getconf.
BUILT_INS = frozenset(
    """
    . : [ alias autoload bg bind break builtin caller cd chdir command compgen complete compopt
    compound continue declare dirs disown echo enable enum eval exec exit export false fc fg float
    functions getopts global hash help hist history integer jobid jobs kill let local login logout
    mapfile nameref newgrp popd print printf pushd pwd r read readarray readonly redirect return
    set setvar shift shopt source stop suspend test times trap true type typeset ulimit umask
    unalias unset unsetenv setenv wait whence wordexp
    """.split()  # noqa: SIM905 - in quotes they are hard to read
)
"""The commands that some shell executes itself."""

_NOT_OF_PROGRAMS = KEYWORDS | BUILT_INS


def split_simple(command: str) -> tuple[str, ...] | None:
    """Return the words of a command that needs no shell.

    Args:
        command: Text as it is given to `/bin/sh -c`.

    Returns:
        The program and its arguments; None where a shell has to do it: the text holds shell syntax,
        more than one line or other than ASCII, or its first word is no program's name.

    >>> split_simple("cc -O2 -o main  main.c")
    ('cc', '-O2', '-o', 'main', 'main.c')
    >>> split_simple("cc *.c"), split_simple("cd src"), split_simple("A=b make")
    (None, None, None)
    """
    words = split_plain(command)
    if words is None or words[0] in _NOT_OF_PROGRAMS:
        return None
    return words


def split_plain(command: str) -> tuple[str, ...] | None:
    """Return the words of a single command without shell syntax, which may be a built-in one.

    Args:
        command: Text as it is given to `/bin/sh -c`.

    Returns:
        The words, the first of which is neither a keyword nor an assignment; else None.

    >>> split_plain("cd src"), split_plain("if true"), split_plain("A=b make")
    (('cd', 'src'), None, None)
    """
    if _PLAIN(command) is None:
        return None
    words = tuple(command.split())
    # `sh -c` takes a text that begins with - or + for options, and bash takes %1 for a job.
    if not words or words[0] in KEYWORDS or words[0][0] in "-+%" or "=" in words[0]:
        return None
    return words
