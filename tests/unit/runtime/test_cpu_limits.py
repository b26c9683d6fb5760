"""Limits as a container's file system shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from oyez.runtime.cpu_limits import CpuShare, cpu_share, memory_bytes, memory_limit_bytes


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_no_limit_is_none(tmp_path: Path) -> None:
    write(tmp_path, "sys/fs/cgroup/cpu.max", "max 100000\n")
    write(tmp_path, "sys/fs/cgroup/memory.max", "max\n")
    assert cpu_share(tmp_path).quota is None
    assert memory_limit_bytes(tmp_path) is None


def test_a_container_sees_its_limits_at_the_top(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/\n")
    write(tmp_path, "sys/fs/cgroup/cpu.max", "150000 100000\n")
    write(tmp_path, "sys/fs/cgroup/memory.max", "1073741824\n")
    assert cpu_share(tmp_path).quota == 1.5
    assert memory_limit_bytes(tmp_path) == 1 << 30


def test_the_tightest_limit_of_all_groups_above_counts(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/system.slice/oyez.service\n")
    write(tmp_path, "sys/fs/cgroup/system.slice/cpu.max", "50000 100000\n")
    write(tmp_path, "sys/fs/cgroup/system.slice/oyez.service/cpu.max", "200000 100000\n")
    write(tmp_path, "sys/fs/cgroup/system.slice/oyez.service/memory.max", "2000000000\n")
    assert cpu_share(tmp_path).quota == 0.5
    assert memory_limit_bytes(tmp_path) == 2_000_000_000


def test_the_first_version_of_cgroups_is_read_too(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n0::/\n")
    write(tmp_path, "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us", "300000\n")
    write(tmp_path, "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us", "100000\n")
    write(tmp_path, "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "536870912\n")
    write(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert cpu_share(tmp_path).quota == 3.0
    assert memory_limit_bytes(tmp_path) == 536_870_912


def test_memory_is_read(tmp_path: Path) -> None:
    write(tmp_path, "proc/meminfo", "MemTotal:  2000 kB\nMemFree: 1 kB\nMemAvailable:  1000 kB\n")
    assert memory_bytes(tmp_path) == (2_048_000, 1_024_000)
    assert memory_bytes(tmp_path / "nowhere") == (None, None)


@pytest.mark.parametrize(
    ("cores", "quota", "usable"),
    [(8, None, 8), (8, 2.0, 2), (8, 1.5, 2), (8, 1.4, 1), (8, 0.2, 1), (2, 4.0, 2)],
)
def test_threads_follow_the_time_there_is(cores: int, quota: float | None, usable: int) -> None:
    assert CpuShare(cores, quota).usable == usable
