"""How many cores may be used: by affinity, and by the cgroups of both versions."""

import os
from pathlib import Path

import pytest

from parallel_workers.cores import cgroup_quotas, usable_cores


@pytest.fixture
def cgroups(tmp_path: Path) -> Path:
    """Where cgroups would be mounted."""
    mount = tmp_path / "cgroup"
    mount.mkdir()
    return mount


def quotas(cgroups: Path, membership: str) -> list[float]:
    file = cgroups.parent / "membership"
    file.write_text(membership)
    return list(cgroup_quotas(str(file), str(cgroups)))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_there_is_always_a_core_and_never_more_than_there_are() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def test_a_process_that_is_bound_to_one_core_uses_one() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_a_part_of_a_core_counts_as_a_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parallel_workers.cores.cgroup_quotas", lambda path: [0.2])
    assert usable_cores() == 1


def test_a_quota_above_what_there_is_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parallel_workers.cores.cgroup_quotas", lambda path: [1e6])
    assert usable_cores() == len(os.sched_getaffinity(0))


def test_all_groups_up_to_the_first_count(cgroups: Path) -> None:
    write(cgroups / "a" / "cpu.max", "400000 100000\n")
    write(cgroups / "a" / "b" / "cpu.max", "150000 100000\n")
    write(cgroups / "a" / "b" / "c" / "cpu.max", "max 100000\n")
    assert quotas(cgroups, "0::/a/b/c\n") == [1.5, 4.0]


def test_a_container_that_sees_its_own_group_as_the_first(cgroups: Path) -> None:
    write(cgroups / "cpu.max", "50000 100000\n")
    assert quotas(cgroups, "0::/\n") == [0.5]


def test_a_group_of_the_host_that_is_not_mounted_here(cgroups: Path) -> None:
    write(cgroups / "cpu.max", "200000 100000\n")
    assert quotas(cgroups, "0::/docker/0123abcd\n") == [2.0]


def test_the_first_version_has_files_of_its_own(cgroups: Path) -> None:
    write(cgroups / "cpu" / "x" / "cpu.cfs_quota_us", "300000\n")
    write(cgroups / "cpu" / "x" / "cpu.cfs_period_us", "100000\n")
    write(cgroups / "cpu" / "cpu.cfs_quota_us", "-1\n")
    write(cgroups / "cpu" / "cpu.cfs_period_us", "100000\n")
    membership = "5:memory:/x\n4:cpu,cpuacct:/x\n1:name=systemd:/x\n"
    assert quotas(cgroups, membership) == [3.0]


@pytest.mark.parametrize("text", ["", "max", "nonsense", "1 0", "-1 100000", "0 100000"])
def test_a_quota_that_says_nothing_is_none(cgroups: Path, text: str) -> None:
    write(cgroups / "cpu.max", text)
    assert quotas(cgroups, "0::/\n") == []


def test_without_cgroups_there_is_no_quota(tmp_path: Path) -> None:
    assert list(cgroup_quotas(str(tmp_path / "none"), str(tmp_path))) == []
