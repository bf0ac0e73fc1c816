"""How many cores this process may use: what it is bound to, and what its cgroups grant."""

import math
import os
from collections.abc import Iterator


def usable_cores() -> int:
    """Return how many cores this process may use, at least 1.

    The smaller of its CPU affinity and the CPU quota of its cgroup and those above it, part of a
    core rounded up. Where the system knows neither, all cores.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limits = [cores or 1, *(math.ceil(quota) for quota in cgroup_quotas("/proc/self/cgroup"))]
    return max(1, min(limits))


def cgroup_quotas(membership: str, mount: str = "/sys/fs/cgroup") -> Iterator[float]:
    """Yield the quotas, in cores, that cgroups of both versions set for a process.

    Args:
        membership: The path of the file that says which cgroups it is in.
        mount: Where the cgroups are.
    """
    for line in _read(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            for directory in _upwards(mount, path):
                quota, _, period = _read(f"{directory}/cpu.max").partition(" ")
                yield from _quota(quota, period)
        elif "cpu" in controllers.split(","):
            for directory in _upwards(f"{mount}/cpu", path):
                quota = _read(f"{directory}/cpu.cfs_quota_us")
                yield from _quota(quota, _read(f"{directory}/cpu.cfs_period_us"))


def _upwards(mount: str, path: str) -> Iterator[str]:
    """Yield the directories of a cgroup and of all above it."""
    # In a container the path may be that of the host, of which nothing is mounted here.
    while path not in ("", "/"):
        yield mount + path
        path = os.path.dirname(path)
    yield mount


def _quota(quota: str, period: str) -> Iterator[float]:
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return  # "max", or no such file
    if cores > 0:
        yield cores


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""
