"""Files in WfFormat of our own making, with an entry a line."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

FIRST_LINE = 3
"""The line of the first task of the specification."""

Entry = Mapping[str, Any]


def workflow(
    tasks: Sequence[object], executions: Sequence[object] = (), **fields: Any
) -> dict[str, Any]:
    """Return a workflow with much that has no meaning for us, as real ones have it.

    Args:
        tasks: Those of the specification.
        executions: Those of the execution.
        fields: Other fields of the whole.
    """
    return {
        "name": "made",
        "schemaVersion": "1.5",
        "author": {"name": "us", "email": "us@example.org"},
        "workflow": {
            "specification": {"tasks": tasks, "files": [{"id": "all.txt", "sizeInBytes": 7}]},
            "execution": {
                "makespanInSeconds": 4,
                "tasks": executions,
                "machines": [{"nodeName": "one", "cpu": {"coreCount": 2}}],
            },
        },
        **fields,
    }


def as_text(tasks: Sequence[object], executions: Sequence[object] = ()) -> str:
    """Return a workflow as text; its tasks stand a line each, from `FIRST_LINE` on."""
    return "\n".join(
        [
            '{"schemaVersion": "1.5", "workflow": {',
            '"specification": {"tasks": [',
            ",\n".join(json.dumps(entry) for entry in tasks),
            "]},",
            '"execution": {"tasks": [',
            ",\n".join(json.dumps(entry) for entry in executions),
            "]}}}",
        ]
    )
