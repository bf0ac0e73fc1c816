"""WfFormat, in which WfCommons keeps workflows and what was recorded of their runs.

    {"workflow": {
      "specification": {"tasks": [
        {"id": "split_1", "name": "split", "parents": [], "children": ["merge_2"]},
        {"id": "merge_2", "name": "merge", "parents": ["split_1"], "children": []}]},
      "execution": {"tasks": [
        {"id": "split_1", "runtimeInSeconds": 2.5,
         "command": {"program": "split", "arguments": ["-n", "4", "all.txt"]}}]}}}

A task is called by its `id`, which is unique and what `parents` and `children` hold. Its `name` and
its recorded command are kept in its `vars`; its recorded runtime is its duration. The format has
many more keys, of files, machines and their load: they say nothing of what waits for what, and are
passed over.
"""

import contextlib
from collections.abc import Sequence
from typing import Any, TypeGuard

from parallel_workers.definition import PLAIN, RECORDED_COMMAND, Definition, read_field
from parallel_workers.documents.problems import About, Findings, Place, Problem, show_place
from parallel_workers.durations import parse_duration
from parallel_workers.errors import FieldError
from parallel_workers.formats._fields import check_cycles, names_a_task, task
from parallel_workers.formats._format import Reader
from parallel_workers.formats._neighbours import Lists, connect_neighbours
from parallel_workers.graph import WorkGraph
from parallel_workers.wording import shown

# A dash is how Nextflow writes that it does not know.
_NO_PROGRAM = ("", "-")

_SPECIFICATION: Place = ("workflow", "specification", "tasks")
_EXECUTION: Place = ("workflow", "execution", "tasks")

_LISTS = Lists(after="children", before="parents")


def read(data: object, findings: Findings) -> WorkGraph:
    """Return the work graph that `data` describes.

    Tasks are numbered in the order of the specification; the successors of a task are its own
    `children`, and behind them those that only list it among their `parents`.

    Args:
        data: The mapping that a file of the format is.
        findings: Gets all problems, and warnings where a list lacks an edge that the other end
            names. With problems the graph is of no use.
    """
    reader = _Reader(findings)
    if not _fits(data):
        findings.about().problem(f"found {shown(data)} where a mapping with a workflow should be")
    elif "specification" not in data["workflow"] and "tasks" in data["workflow"]:
        _refuse_older(data, findings)
    else:
        _read_parts(data, reader)
    return reader.graph


def _read_parts(data: dict[str, Any], reader: "_Reader") -> None:
    described = _find_tasks(data, _SPECIFICATION, reader.findings)
    if described is None:
        return
    for index, entry in enumerate(described):
        reader.add(index, entry)
    if "execution" in data["workflow"]:
        recorded = _find_tasks(data, _EXECUTION, reader.findings)
        for index, entry in enumerate(recorded or ()):
            reader.add_execution(index, entry)
    reader.finish()


def _refuse_older(data: dict[str, Any], findings: Findings) -> None:
    version = data.get("schemaVersion")
    found = "without a schemaVersion" if version is None else f"of the version {shown(version)}"
    findings.about("", ("schemaVersion",)).problem(
        f"found WfFormat {found} that has its tasks in workflow.tasks; convert it to version 1.5, "
        "which has them in workflow.specification.tasks"
    )


def _find_tasks(data: object, place: Place, findings: Findings) -> Sequence[object] | None:
    """Return the list at `place`; None, and a problem, where there is something else."""
    found = data
    for depth, key in enumerate(place, 1):
        if not isinstance(found, dict) or key not in found:
            findings.about("", place[:depth]).problem(f"there is no {show_place(place[:depth])}")
            return None
        found = found[key]
    if isinstance(found, (list, tuple)):
        return found
    findings.about("", place).problem(
        f"{show_place(place)} is {shown(found)} where a list of tasks should be"
    )
    return None


class _Reader:
    def __init__(self, findings: Findings) -> None:
        self.graph = WorkGraph()
        self.findings = findings
        # By number: the entry in the specification, its place in that list, what it comes to, and
        # the place of what was recorded in the list of the execution.
        self.entries: list[dict[str, Any]] = []
        self.indices: list[int] = []
        self.fields: list[dict[str, Any]] = []
        self.executions: dict[int, int] = {}

    def about(self, number: int) -> About:
        place = (*_SPECIFICATION, self.indices[number])
        return self.findings.about(task(self.graph.name(number)), place)

    def add(self, index: int, entry: object) -> None:
        """Add the task that is described by an entry of the specification."""
        about = self.findings.about(f"specification, task {index + 1}", (*_SPECIFICATION, index))
        if not _has_id(entry, about):
            return
        name = entry["id"]
        about = about._replace(subject=task(name))
        if name in self.graph.numbers:
            first = self.indices[self.graph.numbers[name]]
            about.problem(f"task {first + 1} has that id too; keep or rename one", "id")
            return
        self.graph.add_plain(name)
        self.entries.append(entry)
        self.indices.append(index)
        self.fields.append({"vars": _name_of(entry, about)})

    def add_execution(self, index: int, entry: object) -> None:
        """Add what an entry of the execution says of a task."""
        about = self.findings.about(f"execution, task {index + 1}", (*_EXECUTION, index))
        if not _has_id(entry, about):
            return
        name = entry["id"]
        about = about._replace(subject=f"execution of {task(name)}")
        number = self.graph.numbers.get(name)
        if number is None:
            hint = self.findings.suggestion(name, self.graph.numbers)
            about.problem(f"the specification has no task of that id{hint}", "id")
            return
        first = self.executions.setdefault(number, index)
        if first != index:
            about.problem(f"task {first + 1} has that id too; keep one", "id")
            return
        fields = self.fields[number]
        if "runtimeInSeconds" in entry:
            fields["duration"] = _runtime(entry["runtimeInSeconds"], about)
        if "command" in entry:
            fields["vars"] |= _recorded_command(entry["command"], about)

    def finish(self) -> None:
        """Define the tasks, and connect them."""
        for number, fields in enumerate(self.fields):
            if (definition := Definition(**fields)) != PLAIN:
                self.graph.definitions[number] = definition
        connect_neighbours(self.entries, _LISTS, self.graph, self.about)
        if not self.findings.problems:
            check_cycles(self.graph, self.findings, self._cycle)

    def _cycle(self, names: Sequence[str]) -> Problem:
        return Problem("", place=self.about(self.graph.numbers[names[0]]).place)


def _has_id(entry: object, about: About) -> TypeGuard[dict[str, Any]]:
    """Tell whether an entry is an object whose id can name a task; if not, that is a problem."""
    if not isinstance(entry, dict):
        about.problem(f"found {shown(entry)} where an object with an id should be")
    elif "id" not in entry:
        about.problem("it has no id; every task needs one")
    else:
        return names_a_task(entry["id"], about, "id")
    return False


def _name_of(entry: dict[str, Any], about: About) -> dict[str, Any]:
    """Return the free data that the name of a task makes."""
    if "name" not in entry:
        return {}
    try:
        # Unlike the name of a task, it may be any text.
        return {"name": read_field("description", entry["name"])}
    except FieldError:
        about.problem(f"{shown(entry['name'])} is not a name; write it as text, in quotes", "name")
        return {}


def _runtime(value: object, about: About) -> float | None:
    with contextlib.suppress(ValueError):
        if not isinstance(value, str):
            return parse_duration(value)
    about.problem(
        f"{shown(value)} is not a runtime; give seconds, a number from 0 (at most ten years)",
        "runtimeInSeconds",
    )
    return None


def _recorded_command(value: object, about: About) -> dict[str, Any]:
    """Return the free data that a recorded command makes: a line for the shell.

    Recorders keep a whole script as the program, or `--size 5` and quotes for the shell as one
    argument; what WfCommons itself makes of them is a line, too.
    """
    if not isinstance(value, dict):
        about.problem(f"found {shown(value)} where an object with a program should be", "command")
        return {}
    program, arguments = value.get("program", ""), value.get("arguments", [])
    if not isinstance(program, str):
        about.problem(f"{shown(program)} is not a program; give text", "command", "program")
        return {}
    if not isinstance(arguments, (list, tuple)):
        about.problem(f"{shown(arguments)} is not a list of text", "command", "arguments")
        return {}
    wrong = [index for index, word in enumerate(arguments) if not isinstance(word, str)]
    for index in wrong:
        about.problem(
            f"{shown(arguments[index])} is not an argument; write it as text, in quotes",
            *("command", "arguments", index),
        )
    if wrong or program.strip() in _NO_PROGRAM:
        return {}
    line = " ".join([program, *arguments])
    try:
        return {RECORDED_COMMAND: read_field("command", line)}
    except FieldError as error:
        about.problem(error.message, "command")
        return {}


def _fits(data: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(data, dict) and isinstance(data.get("workflow"), dict)


READER = Reader(read, _fits)
