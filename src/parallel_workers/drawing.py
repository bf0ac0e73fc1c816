"""A run as a notebook shows it: the graph drawn as SVG, and how each task ended.

Tasks stand in columns by position, and edges go from left to right. Where the edges of a task pass
a column they have a point in it, and a gate is a point where edges meet, so that all lines join
neighbouring columns. Points are put in such an order that few lines cross: each at the mean place
of its neighbours, column by column, there and back. Then each comes as near to its neighbours as
the others in its column allow.

Source:
    K. Sugiyama, S. Tagawa, M. Toda, "Methods for visual understanding of hierarchical system
    structures", IEEE Transactions on Systems, Man, and Cybernetics 11 (1981).
"""

import contextlib
from collections import Counter
from collections.abc import Sequence
from html import escape
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

from parallel_workers.durations import format_duration
from parallel_workers.events import Outcome
from parallel_workers.plan import Plan
from parallel_workers.wording import SHOWN_ITEMS, one_line, plural

if TYPE_CHECKING:
    from parallel_workers.run import TaskRun

MOST_TASKS = 300
"""More tasks than these are counted in a table and not drawn."""

MOST_LINES = 2000
"""Nor are graphs that would take more lines than these between neighbouring columns."""

_SWEEPS = 12
_LONGEST_NAME = 24
_LONGEST_ERROR = 200

# In pixels: the width of a character, the height of the box of a task, what a task and a line need
# of the height of a column, the distance of columns, and the margin around all.
_CHARACTER, _BOX, _ROW, _LINE, _GAP, _MARGIN = 7.3, 24, 32, 12, 44, 4


class _Look(NamedTuple):
    """How a state is shown: told apart by its sign and its word as well as by its colour."""

    word: str
    sign: str
    fill: str
    border: str
    dashes: str = "none"


# The borders have the colours of M. Okabe and K. Ito, which differ for the colour-blind, too. Boxes
# are light and their text is dark, whatever the colour of the page.
_LOOKS: dict[Outcome | None, _Look] = {
    Outcome.SUCCEEDED: _Look("succeeded", "✓", "#d3f0e6", "#009e73"),
    Outcome.CACHED: _Look("cached", "=", "#d9eefa", "#56b4e9"),
    Outcome.FAILED: _Look("failed", "✗", "#fbd5bd", "#d55e00"),
    Outcome.TIMED_OUT: _Look("timed out", "◷", "#f6dcea", "#cc79a7"),
    Outcome.CANCELLED: _Look("cancelled", "■", "#fcecc8", "#e69f00"),
    Outcome.SKIPPED: _Look("skipped", "–", "#ececec", "#8c8c8c", "4 3"),
    Outcome.PARKED: _Look("parked", "?", "#fffbe0", "#f0e442", "4 3"),
    None: _Look("to go", "○", "#ffffff", "#0072b2", "1 3"),
}


def html_of(title: str, plan: Plan, tasks: "Sequence[TaskRun]", seconds: float) -> str:
    """Return a run as HTML: counts, the drawn graph if it is not too large, and what failed.

    Args:
        title: What stands first.
        plan: The plan of the run.
        tasks: By task, what has become of it so far.
        seconds: How long the run took so far.
    """
    counts = Counter(task.outcome for task in tasks)
    layout = lay_out(plan) if plan.tasks <= MOST_TASKS else None
    parts = [
        _title(title, counts, seconds),
        _table_of_counts(counts) if layout is None else _picture(plan, layout, tasks),
        _table_of_failures([task for task in tasks if task.error is not None]),
    ]
    return f"<div>{''.join(parts)}</div>"


def _counted(counts: Counter[Outcome | None]) -> list[tuple[_Look, int]]:
    return [(look, counts[outcome]) for outcome, look in _LOOKS.items() if counts[outcome]]


def _title(title: str, counts: Counter[Outcome | None], seconds: float) -> str:
    told = ", ".join(f"{look.sign} {count:,} {look.word}" for look, count in _counted(counts))
    tasks = plural(counts.total(), "task")
    text = f"{tasks} in {format_duration(seconds)}{told and ': '}{told}"
    return f"<div><b>{escape(title)}</b> {escape(text)}</div>"


def _table_of_counts(counts: Counter[Outcome | None]) -> str:
    return _table([[f"{look.sign} {look.word}", f"{count:,}"] for look, count in _counted(counts)])


def _table_of_failures(failed: "Sequence[TaskRun]") -> str:
    rows = []
    for task in failed[:SHOWN_ITEMS]:
        look = _LOOKS[task.outcome]
        rows.append([f"{look.sign} {look.word}", one_line(task.name), _error_of(task)])
    if len(failed) > SHOWN_ITEMS:
        rows.append(["", f"… and {len(failed) - SHOWN_ITEMS:,} more", ""])
    return _table(rows)


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Return a table of plain text; nothing for no rows."""
    if not rows:
        return ""
    cell = '<td style="text-align:left">{}</td>'
    lines = ["".join(cell.format(escape(text)) for text in row) for row in rows]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _error_of(task: "TaskRun") -> str:
    error = task.error
    told = type(error).__name__
    # One that cannot be told must not keep the others from being told.
    with contextlib.suppress(Exception):
        told += f": {error}" if str(error) else ""
    return one_line(told, _LONGEST_ERROR)


class Layout(NamedTuple):
    """Where everything stands. A point is a task or a gate, by its number in the plan, or a place
    where the edges of one task or gate pass a column, numbered behind those.

    Attributes:
        columns: From left to right, the points of each column from top to bottom.
        lines: By point, the points of the next column that it is joined to.
        heights: By point, how far down its middle is; the uppermost one is at 0.
    """

    columns: list[list[int]]
    lines: list[list[int]]
    heights: list[float]


def lay_out(plan: Plan) -> Layout | None:
    """Return where the tasks of a plan and its edges are drawn; None if that is too much to see.

    >>> from parallel_workers.graph import WorkGraph
    >>> layout = lay_out(WorkGraph.from_predecessors({"b": ["a"], "c": ["a", "b"]}).compiled())
    >>> layout.columns, layout.lines
    ([[0], [1, 3], [2]], [[1, 3], [2], [], [2]])
    """
    found = _join(plan, _column_of(plan))
    if found is None:
        return None
    columns, lines = found
    joined = _reversed(lines)
    columns = _put_in_order(columns, lines, joined)
    return Layout(columns, lines, _heights(columns, lines, joined, plan.tasks))


def _join(plan: Plan, column_of: list[int]) -> tuple[list[list[int]], list[list[int]]] | None:
    """Return columns and lines as in `Layout`, in the order of the graph; None for too many."""
    columns: list[list[int]] = [[] for _ in range(max(column_of, default=-1) + 1)]
    for node in plan.numbers:
        columns[column_of[node]].append(node)
    lines: list[list[int]] = [[] for _ in column_of]
    count = 0
    for node, successors in enumerate(plan.successors):
        trunk = [node]  # the edges of a node share their points
        for successor in sorted(successors, key=column_of.__getitem__):
            while len(trunk) < column_of[successor] - column_of[node]:
                point = len(lines)
                lines.append([])
                lines[trunk[-1]].append(point)
                columns[column_of[node] + len(trunk)].append(point)
                trunk.append(point)
            lines[trunk[-1]].append(successor)
        count += len(trunk) - 1 + len(successors)
        if count > MOST_LINES:
            return None
    return columns, lines


def _column_of(plan: Plan) -> list[int]:
    """Return the column of each task and gate: by position, gates behind what they wait for."""
    places = [(position, 0) for position in plan.positions]
    places += [(0, 0)] * (len(plan.waits) - plan.tasks)
    waiting = plan.waits.copy()
    order = [node for node, count in enumerate(waiting) if not count]
    for node in order:  # grows while it is walked
        position, gates = places[node]
        for successor in plan.successors[node]:
            if successor >= plan.tasks:
                places[successor] = max(places[successor], (position, gates + 1))
            waiting[successor] -= 1
            if not waiting[successor]:
                order.append(successor)
    columns = {place: column for column, place in enumerate(sorted(set(places)))}
    return [columns[place] for place in places]


def _reversed(lines: list[list[int]]) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in lines]
    for point, others in enumerate(lines):
        for other in others:
            found[other].append(point)
    return found


def _put_in_order(
    columns: list[list[int]], lines: list[list[int]], joined: list[list[int]]
) -> list[list[int]]:
    """Return the columns in the order with the fewest crossings that barycenters lead to."""
    places = [0.0] * len(lines)

    def place(column: list[int]) -> None:
        for index, point in enumerate(column):
            places[point] = index - len(column) / 2

    for column in columns:
        place(column)
    best, fewest = columns, _crossings(columns, lines, places)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        columns = [column.copy() for column in columns]
        neighbours = lines if sweep % 2 else joined
        for column in reversed(columns) if sweep % 2 else columns:
            column.sort(key=lambda point: _mean(neighbours[point], places, places[point]))
            place(column)
        if (found := _crossings(columns, lines, places)) < fewest:
            best, fewest = columns, found
    return best


def _crossings(columns: list[list[int]], lines: list[list[int]], places: list[float]) -> int:
    """Return how many lines cross."""
    from bisect import bisect_right, insort

    found = 0
    for column in columns:
        ends: list[float] = []
        for point in column:
            reached = [places[other] for other in lines[point]]
            found += sum(len(ends) - bisect_right(ends, place) for place in reached)
            for place in reached:
                insort(ends, place)
    return found


def _mean(points: Sequence[int], values: Sequence[float], otherwise: float) -> float:
    return sum(values[point] for point in points) / len(points) if points else otherwise


def _heights(
    columns: list[list[int]], lines: list[list[int]], joined: list[list[int]], tasks: int
) -> list[float]:
    heights = [0.0] * len(lines)
    needs = [_ROW if point < tasks else _LINE for point in range(len(lines))]
    for sweep in range(4):
        neighbours = lines if sweep % 2 else joined
        for column in reversed(columns) if sweep % 2 else columns:
            wanted = [_mean(neighbours[point], heights, heights[point]) for point in column]
            found = _spread(wanted, [needs[point] for point in column])
            for point, height in zip(column, found, strict=True):
                heights[point] = height
    least = min(heights, default=0)
    return [height - least for height in heights]


def _spread(wanted: Sequence[float], needs: Sequence[float]) -> list[float]:
    """Return the heights nearest to those wanted (by squares) that leave room for each.

    By pooling adjacent violators: whoever is too near to the one above moves together with it.

    >>> _spread([0, 0, 100], [10, 10, 10])
    [-5.0, 5.0, 100.0]
    """
    offsets = list(accumulate((a + b) / 2 for a, b in pairwise(needs)))
    offsets = [0.0, *offsets][: len(needs)]
    pools: list[tuple[float, int]] = []  # sums of heights without offsets, and how many
    for want, offset in zip(wanted, offsets, strict=True):
        total, count = want - offset, 1
        while pools and pools[-1][0] * count >= total * pools[-1][1]:
            more, others = pools.pop()
            total, count = total + more, count + others
        pools.append((total, count))
    bases = [total / count for total, count in pools for _ in range(count)]
    return [base + offset for base, offset in zip(bases, offsets, strict=True)]


def _picture(plan: Plan, layout: Layout, tasks: "Sequence[TaskRun]") -> str:
    """Return the drawn graph as SVG, in a frame that scrolls."""
    names = [one_line(name, _LONGEST_NAME) for name in plan.names]
    lefts, rights = _sides(layout.columns, names)
    middles = [height + _ROW / 2 + _MARGIN for height in layout.heights]
    shapes = []
    for point, others in enumerate(layout.lines):
        start = f"M{rights[point]:.0f} {middles[point]:.1f}"
        ends = [(lefts[other], rights[other], middles[other]) for other in others]
        path = "".join(start + _curve(rights[point], middles[point], *end) for end in ends)
        shapes.append(f'<path d="{path}" fill="none" stroke="#888"/>' if path else "")
    for task, name in enumerate(names):
        left, right, middle = lefts[task], rights[task], middles[task]
        if plan.waits[task]:
            arrow = f"M{left:.0f} {middle:.1f}l-7 -3.5v7z"
            shapes.append(f'<path d="{arrow}" fill="#888"/>')
        shapes.append(_box(tasks[task], name, left, right, middle))
    width = max(rights, default=0) + _MARGIN
    height = max(middles, default=0) + _ROW / 2 + _MARGIN
    return (
        f'<div style="overflow-x:auto"><svg xmlns="http://www.w3.org/2000/svg" role="img" '
        'aria-label="work graph" '
        f'width="{width:.0f}" height="{height:.0f}" style="max-width:none" font-size="12" '
        f'font-family="ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace">'
        f"{''.join(shapes)}</svg></div>"
    )


def _sides(columns: list[list[int]], names: list[str]) -> tuple[list[float], list[float]]:
    """Return, by point, where its column begins and where it ends."""
    from rich.cells import cell_len

    count = sum(map(len, columns))
    lefts, rights = [0.0] * count, [0.0] * count
    left: float = _MARGIN
    for column in columns:
        widths = [_CHARACTER * (cell_len(names[task]) + 4) for task in column if task < len(names)]
        right = left + max(widths, default=0)
        for point in column:
            lefts[point], rights[point] = left, right
        left = right + _GAP
    return lefts, rights


def _curve(x: float, y: float, left: float, right: float, middle: float) -> str:
    """Return a line on to the left side of a column, and through it: a task lies over that."""
    bend = (x + left) / 2
    return f"C{bend:.0f} {y:.1f} {bend:.0f} {middle:.1f} {left:.0f} {middle:.1f}H{right:.0f}"


def _box(task: "TaskRun", name: str, left: float, right: float, middle: float) -> str:
    look = _LOOKS[task.outcome]
    baseline = f"{middle + 4:.1f}"
    return (
        f"<g><title>{escape(_told(task, look))}</title>"
        f'<rect x="{left:.0f}" y="{middle - _BOX / 2:.1f}" width="{right - left:.0f}" '
        f'height="{_BOX}" rx="5" fill="{look.fill}" stroke="{look.border}" stroke-width="2" '
        f'stroke-dasharray="{look.dashes}"/><g fill="#1a1a1a">'
        f'<text x="{left + 8:.0f}" y="{baseline}" font-weight="bold">{look.sign}</text>'
        f'<text x="{left + 8 + 2 * _CHARACTER:.0f}" y="{baseline}">{escape(name)}</text></g></g>'
    )


def _told(task: "TaskRun", look: _Look) -> str:
    """Return what is shown of a task when somebody points at it."""
    told = look.word
    if task.attempts > 1:
        told += f" at attempt {task.attempts}"
    if task.started is not None and task.finished is not None:
        told += f", {format_duration(max(0.0, task.finished - task.started))}"
    lines = [one_line(task.name, 500), told]
    if task.cause is not None:
        lines.append(f"because of {one_line(task.cause)}")
    if task.error is not None:
        lines.append(_error_of(task))
    return "\n".join(lines)
