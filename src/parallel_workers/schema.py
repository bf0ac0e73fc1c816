"""The JSON Schema of the work file: what the tables of its reader say, in the words of editors.

It refuses nothing that the reader takes. The reader refuses more: names that nothing has, circles,
and what a pattern cannot tell, such as text for more than ten years.
"""

import re
from collections.abc import Mapping

from parallel_workers.definition import (
    ATTRIBUTES,
    FIELDS,
    LIMIT,
    NAME,
    PATHS,
    Definition,
    Schema,
)
from parallel_workers.formats._matrix import MATRIX
from parallel_workers.formats.workfile import REQUIRED, SECTIONS

_ATTRIBUTE = re.compile(r"^ +(\w+): (.+(?:\n {12}.+)*)", re.MULTILINE)
_NAME: Schema = {"$ref": "#/$defs/name"}


def work_file_schema() -> Schema:
    """Return the schema of a work file, of draft 2020-12.

    >>> work_file_schema()["properties"]["tasks"]["description"]
    'Tasks by name: the command of each, a mapping of its fields, or nothing.'
    """
    sections = _sections()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Work file of parallel-workers",
        "description": "Tasks, what they do, and which of them wait for others.",
        **_mapping(
            {
                name: {"description": description, **sections[name]}
                for name, description in SECTIONS.items()
            }
        ),
        "anyOf": [{"required": [section]} for section in REQUIRED],
        "$defs": {"name": NAME, **_fields(), "task": _task()},
    }


def _mapping(properties: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _by_name(content: Schema) -> Schema:
    return {"type": "object", "propertyNames": _NAME, "additionalProperties": content}


def _list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _sections() -> dict[str, Schema]:
    return {
        "$schema": {"type": "string"},
        "env": {"$ref": "#/$defs/env"},
        "env-file": PATHS,
        "pools": _by_name(LIMIT),
        "defaults": _mapping(_references()),
        "tasks": _by_name({"$ref": "#/$defs/task"}),
        "threads": _list_of(_list_of(_list_of(_NAME))),
    }


def _references() -> dict[str, Schema]:
    return {name: {"$ref": f"#/$defs/{name}"} for name in FIELDS}


def _fields() -> dict[str, Schema]:
    descriptions = {
        name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(Definition.__doc__ or "")
    }
    return {
        # Under -OO there are no docstrings.
        name: {"description": descriptions.get(ATTRIBUTES[name], ""), **schema}
        for name, (_, schema) in FIELDS.items()
    }


def _task() -> Schema:
    """Return what a task is: all that a command is, a mapping, or nothing.

    In one schema, for of several an editor can only say that none fits.
    """
    _, command = FIELDS["command"]
    after = {
        "description": "The task, or the tasks, that must have succeeded before.",
        **NAME,
        "type": ["string", "array"],
        "items": _NAME,
    }
    return {
        "description": "A command, a mapping of fields, or nothing.",
        **command,
        **_mapping({"after": after, "matrix": MATRIX, **_references()}),
        "type": [*command["type"], "object", "null"],
    }
