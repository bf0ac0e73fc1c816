"""Mermaid flowcharts: pictures of a graph in documents and on the sites that draw them.

    flowchart TD
        t0["fetch"]
        t1["build"]
        t0 --> t1

They can be written only; a label is the name of its task.
"""

import re

from parallel_workers.formats._format import Writer
from parallel_workers.formats._writing import (
    edges_between_tasks,
    lost_definitions,
    refuse_too_many,
)
from parallel_workers.graph import WorkGraph

# No text can raise these limits, only who draws it.
MOST_EDGES = 500
"""How many edges Mermaid draws if its `maxEdges` is not set higher."""

MOST_CHARACTERS = 50_000
"""How long a text Mermaid reads if its `maxTextSize` is not set higher."""

# What Mermaid, HTML or Markdown take for more than itself; among spaces those at the ends, those
# behind another, and those that make a list of `1. a` or `- a`.
_ACTIVE = re.compile(r"""[!"#$%&'*:;<>?\\^`{|}~]|[^\S ]|(?<!\S)[ ]|[ ](?!\S)|(?<=[-+.)])[ ]""")


def write(graph: WorkGraph) -> str:
    """Return `graph` as a flowchart, with barriers multiplied out.

    Raises:
        UsageError: The barriers would become too many edges.
    """
    refuse_too_many(graph, "flowcharts")
    rows = edges_between_tasks(graph)
    lines = ["flowchart TD"]
    lines += [f'    t{number}["{_escape(name)}"]' for name, number in graph.numbers.items()]
    for number in graph.numbers.values():
        if rows[number]:
            lines.append(f"    t{number} --> {' & '.join(f't{other}' for other in rows[number])}")
    return "\n".join(lines) + "\n"


def _escape(name: str) -> str:
    """Return `name` as it stands in a label, so that Mermaid shows it as it is.

    >>> _escape('@ansible/run <b> "x"')
    '@ansible/run #60;b#62; #34;x#34;'
    """
    return _ACTIVE.sub(lambda found: f"#{ord(found[0])};", name)


def losses(graph: WorkGraph) -> list[str]:
    """Return a line if a flowchart cannot hold all of `graph`, and for each limit in its way.

    Raises:
        UsageError: The barriers would become too many edges.
    """
    lines = lost_definitions(graph, "flowcharts hold")
    characters = len(write(graph))
    rows = edges_between_tasks(graph)
    edges = sum(len(rows[number]) for number in graph.numbers.values())
    if edges > MOST_EDGES:
        lines.append(
            f"Mermaid draws at most {MOST_EDGES} edges unless its maxEdges is set higher; there "
            f"are {edges:,}"
        )
    if characters > MOST_CHARACTERS:
        lines.append(
            f"Mermaid reads at most {MOST_CHARACTERS:,} characters unless its maxTextSize is set "
            f"higher; there are {characters:,}"
        )
    return lines


WRITER = Writer(write, losses, suffixes=(".mmd", ".mermaid"))
