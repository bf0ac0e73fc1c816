"""Prints the diagram of task states that docs/architecture.md shows, from the frontier's table.

python docs/states.py
"""

from parallel_workers.frontier import STATES, TRANSITIONS


def diagram() -> str:
    """Return the diagram as Mermaid text."""
    lines = ["stateDiagram-v2", "    [*] --> waiting"]
    for state, targets in TRANSITIONS.items():
        lines += [f"    {STATES[state]} --> {STATES[target]}" for target in sorted(targets)]
    lines += [
        f"    {STATES[state]} --> [*]" for state, targets in TRANSITIONS.items() if not targets
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(diagram())
