"""Work files: a mapping of tasks, with what they do, and what is common to them.

    env: {CC: clang}
    env-file: .env
    pools: {linker: 2}
    defaults: {retries: 1}
    tasks:
      fetch: curl -O https://example.org/data.tar
      build:
        command: make -s
        after: [fetch]
        pool: linker
    threads: [[[build], [test, lint]]]

A text in the place of a task is its command, a list is its command word by word, and nothing is a
task without one. Names that stand in `threads` only are tasks too, with what is common to all. A
task with a `matrix` is many; where tasks are named, its name stands for all of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from parallel_workers.definition import (
    FIELDS,
    PLAIN,
    Definition,
    check_name,
    read_limit,
    read_paths,
)
from parallel_workers.documents.problems import About, Findings, Problem
from parallel_workers.errors import FieldError
from parallel_workers.formats._fields import (
    check_cycles,
    check_keys,
    connect,
    find_neighbours,
    names_a_task,
    read_fields,
    settle_edges,
    task,
)
from parallel_workers.formats._format import Reader, Writer
from parallel_workers.formats._matrix import Matrices
from parallel_workers.formats._writing import describe, dump_json, enclose, refuse_too_large
from parallel_workers.formats.groups import Threads, add_threads, explain_cycle
from parallel_workers.graph import WorkGraph
from parallel_workers.wording import shown

SECTIONS = {
    "$schema": "Where the JSON Schema of work files is, for editors.",
    "env": "Variables set for the commands of all tasks.",
    "env-file": (
        "Files of more such variables, relative to this one; what is set here goes over those."
    ),
    "pools": "Pools by name: how many tasks that take a unit of it may run at once.",
    "defaults": "Fields of every task that does not say otherwise.",
    "tasks": "Tasks by name: the command of each, a mapping of its fields, or nothing.",
    "threads": (
        "Threads, which run in parallel, of groups of names. A group ends before the next one of "
        "its thread begins."
    ),
}
"""What a work file may hold at its top, and what that is."""

REQUIRED = ("tasks", "threads")
"""The sections of which a work file has at least one."""

KNOWN = ("after", "matrix", *FIELDS)
"""The fields of a task in a work file."""

MOST_COPIES = 2_000_000
"""How often variables of the file may be copied into tasks that set some of their own."""


def read(data: object, findings: Findings) -> WorkGraph:
    """Return the work graph that `data` describes; tasks first, then names in threads only.

    Args:
        data: The mapping that a work file is.
        findings: Gets all problems. With problems the graph is of no use.
    """
    if not isinstance(data, dict):
        findings.about().problem(
            f"found {shown(data)} where a mapping with tasks or threads should be"
        )
        return WorkGraph()
    reader = _Reader(data, findings)
    for name, content in reader.tasks.items():
        reader.add(name, content)
    described = len(reader.graph.names)
    threads = add_threads(reader.threads(), reader.graph, findings, ("threads",))
    reader.finish(described)
    if not findings.problems:
        check_cycles(reader.graph, findings, lambda names: _cycle(names, reader, threads))
    return reader.graph


def _cycle(names: Sequence[str], reader: "_Reader", threads: Threads) -> Problem:
    found = explain_cycle(names, reader.graph, threads)
    if found.place:
        return found._replace(place=("threads", *found.place))
    return found._replace(place=("tasks", reader.matrices.described_as(names[0])))


class _Reader:
    """What is read so far.

    Attributes:
        graph: The tasks, and in the end their edges.
        common: The fields of a task that says nothing of its own.
        after: Of each description of tasks that wait: their numbers, where to tell of it, and what
            its `after` holds.
        copies: How many variables were copied into tasks with an `env` of their own.
        matrices: The tasks with a matrix.
    """

    def __init__(self, data: Mapping[str, Any], findings: Findings) -> None:
        self.data = data
        self.findings = findings
        self.graph = WorkGraph()
        self.after: list[tuple[list[int], About, object]] = []
        self.copies = 0
        self.matrices = Matrices(self.graph)
        check_keys(data, tuple(SECTIONS), findings.about())
        if not isinstance(schema := data.get("$schema", ""), str):
            findings.about().problem(f"{shown(schema)} is no place; write it as text", "$schema")
        self.tasks = self._section("tasks")
        self._read_env_files()
        self._read_pools()
        self.common = self._read_common()
        self.common_definition = Definition(**self.common) if self.common else PLAIN

    def _section(self, name: str) -> Mapping[str, Any]:
        """Return the section of that name; nothing where it is absent, or no mapping."""
        content = self.data.get(name, {})
        if isinstance(content, dict):
            return content
        self.findings.about(name, (name,)).problem(
            f"found {shown(content)} where a mapping should be"
        )
        return {}

    def _read_env_files(self) -> None:
        if "env-file" in self.data:
            try:
                self.graph.env_files = read_paths(self.data["env-file"])
            except FieldError as error:
                self.findings.about().problem(error.message, "env-file", *error.place)

    def _read_pools(self) -> None:
        about = self.findings.about("pools", ("pools",))
        for name, limit in self._section("pools").items():
            # Known in any case, so that those who use it are not at fault.
            self.graph.pools[name] = 1
            try:
                self.graph.pools[check_name(name, "the name of a pool")] = read_limit(limit)
            except FieldError as error:
                about.problem(error.message, name)

    def _read_common(self) -> dict[str, Any]:
        """Return the fields of a task that says nothing: the defaults, over what the file sets."""
        about = self.findings.about("defaults", ("defaults",))
        defaults = self._section("defaults")
        check_keys(defaults, tuple(FIELDS), about)
        environment = {"env": self.data["env"]} if "env" in self.data else {}
        common = read_fields(environment, self.findings.about())
        own = read_fields(defaults, about)
        self._check_pool(own, about)
        return _over(common, own)

    def add(self, name: str, content: object) -> None:
        """Add the task of that name, which a document describes by `content`."""
        if not names_a_task(name, self.findings.about("tasks", ("tasks",)), name):
            return
        about = self._about(name)
        if content is None:
            content = {}
        elif isinstance(content, (str, list, tuple)):
            content = {"command": content}
        elif not isinstance(content, dict):
            self._new(name, about)
            about.problem(f"found {shown(content)}; give a command, or a mapping of fields")
            return
        check_keys(content, KNOWN, about)
        fields = read_fields(content, about)
        self._check_pool(fields, about)
        if "matrix" in content:
            numbers = self._add_matrix(name, content["matrix"], fields, about)
        else:
            numbers = [self._new(name, about)]
            self._define(numbers[0], fields)
        if "after" in content:
            self.after.append((numbers, about, content["after"]))

    def _new(self, name: str, about: About) -> int:
        """Add a task of a name that no other one should have."""
        if name in self.graph.numbers or name in self.matrices.numbers:
            about.problem(f"a matrix gives the name {shown(name)} to another task; rename one")
        return self.graph.add_plain(name)

    def _add_matrix(
        self, name: str, content: object, fields: Mapping[str, Any], about: About
    ) -> list[int]:
        """Add the tasks that a matrix becomes, and return their numbers."""
        try:
            combinations = self.matrices.combinations(name, content)
        except FieldError as error:
            about.problem(error.message, "matrix", *error.place)
            # Known in any case, so that those who wait for it are not at fault.
            return [self._new(name, about)]
        own = fields.get("env", {})
        numbers = []
        for combination in combinations:
            self.copies += len(own) + len(combination.variables)
            if self.copies > MOST_COPIES:
                break
            number = self._new(combination.name, about)
            self._define(number, {**fields, "env": {**own, **combination.variables}})
            numbers.append(number)
        if name in self.graph.numbers:
            about.problem(f"a matrix gives the name {shown(name)} to another task; rename one")
        elif numbers:
            self.matrices.add(name, numbers)
        return numbers

    def threads(self) -> object:
        """Return the threads, the tasks of a matrix in the place of its name."""
        threads = self.data.get("threads", ())
        try:
            return self.matrices.in_threads(threads)
        except FieldError as error:
            self.findings.about().problem(error.message, "threads")
            return ()

    def _about(self, name: str) -> About:
        return self.findings.about(task(name), ("tasks", name))

    def _check_pool(self, fields: Mapping[str, Any], about: About) -> None:
        for pool, units in Definition(pool=fields.get("pool")).needs.items():
            limit = self.graph.pools.get(pool)
            if limit is None:
                hint = self.findings.suggestion(pool, self.graph.pools)
                about.problem(
                    f"there is no pool {shown(pool)}{hint or '; give its limit under pools'}",
                    "pool",
                )
            elif units > limit:
                about.problem(
                    f"it needs {units:,} units of pool {shown(pool)}, which has {limit:,}; so it "
                    "could never start",
                    "pool",
                    pool,
                )

    def _define(self, number: int, fields: Mapping[str, Any]) -> None:
        definition = self.common_definition
        if "env" in fields:
            self.copies += len(self.common.get("env", ()))
        if fields and self.copies <= MOST_COPIES:
            definition = Definition(**_over(self.common, fields))
        if definition is not PLAIN:
            self.graph.definitions[number] = definition

    def finish(self, described: int) -> None:
        """Define the tasks that stand in threads only, and add the edges of all `after`.

        Args:
            described: The number of the first one that may be such a task.
        """
        if self.copies > MOST_COPIES:
            self.findings.about().problem(
                "with so many variables for all tasks, so many tasks cannot set their own; set "
                "fewer here",
                "env",
            )
        if self.common:
            for number in self.graph.numbers.values():
                if number >= described:
                    self._define(number, {})
        self._connect()

    def _connect(self) -> None:
        for numbers, about, names in self.after:
            if isinstance(names, str):
                names = [names]
            if not isinstance(names, (list, tuple)):
                about.problem(f"{shown(names)} is not a list of names", "after")
                continue
            if not numbers:
                continue
            own = self.matrices.number_of(numbers)
            found = find_neighbours(names, own, self.graph, about, "after", self.matrices.numbers)
            if len(numbers) == 1:
                before = [self.matrices.gate(number) for number in found]
            else:
                # Not through the gate of another matrix: no gate waits for a gate.
                before = [each for number in found for each in self.matrices.members(number)]
            connect(before, numbers, self.graph)
        settle_edges(self.graph)


def _over(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `own`, and those of `common` that it has not; environments merge."""
    fields = {**common, **own}
    if "env" in common and "env" in own:
        fields["env"] = {**common["env"], **own["env"]}
    return fields


def losses(graph: WorkGraph) -> list[str]:
    """Return nothing: a work file holds all that there is of `graph`."""
    return []


def write(graph: WorkGraph) -> str:
    """Return `graph` as a work file in JSON, a task a line; barriers become threads.

    Raises:
        UsageError: What tasks share would become too large, or the free data of a task is nothing
            that JSON can hold.
    """
    refuse_too_large(graph, graph.successors, "a work file", graph.definitions.values())
    after: list[list[str]] = [[] for _ in graph.names]
    for number in graph.numbers.values():
        for successor in graph.successors[number]:
            after[successor].append(graph.name(number))
    sections = []
    if graph.env_files:
        sections.append(f'"env-file": {dump_json(graph.env_files)}')
    if graph.pools:
        sections.append(f'"pools": {dump_json(graph.pools)}')
    tasks = [
        f"{dump_json(name)}: {dump_json(_content(graph, number, after[number]))}"
        for name, number in graph.numbers.items()
    ]
    sections.append(f'"tasks": {enclose("{", tasks, "}", "  ")}')
    barriers = [
        dump_json([after[gate], [graph.name(successor) for successor in graph.successors[gate]]])
        for gate, name in enumerate(graph.names)
        if name is None
    ]
    if barriers:
        sections.append(f'"threads": {enclose("[", barriers, "]", "  ")}')
    return f"{enclose('{', sections, '}')}\n"


def _content(graph: WorkGraph, number: int, after: Sequence[str]) -> object:
    fields = describe(graph.definitions.get(number, PLAIN))
    if after:
        fields["after"] = after
    return fields["command"] if list(fields) == ["command"] else fields


def _fits(data: object) -> bool:
    return isinstance(data, dict) and any(section in data for section in REQUIRED)


READER = Reader(read, _fits)
WRITER = Writer(write, losses)
