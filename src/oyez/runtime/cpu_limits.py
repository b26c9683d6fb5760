"""The cores and memory that this process may use, within the limits of its container."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
UNLIMITED_BYTES = 1 << 60
"""Version 1 of cgroups expresses "no limit" as a number larger than any memory."""


@dataclass(frozen=True, slots=True)
class CpuShare:
    """The processor time that this process may use."""

    cores: int
    """The number of cores that this process may run on."""
    quota: float | None
    """The container's limit in seconds of one core's time per second. None if there is no limit."""

    @property
    def usable(self) -> int:
        """The number of threads that can run at the same time, at least 1."""
        if self.quota is None:
            return self.cores
        return max(1, min(self.cores, math.floor(self.quota + 0.5)))


def cpu_share(root: Path = ROOT) -> CpuShare:
    """Return the share of this process. root: of the file system, for tests."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return CpuShare(cores, _cpu_quota(root))


def memory_limit_bytes(root: Path = ROOT) -> int | None:
    """Return the container's memory limit, or None if there is none or it is unknown."""
    limits = [
        *_numbers(root, "", "memory.max"),
        *_numbers(root, "memory", "memory.limit_in_bytes"),
    ]
    known = [limit for limit in limits if 0 < limit < UNLIMITED_BYTES]
    return min(known, default=None)


def memory_bytes(root: Path = ROOT) -> tuple[int | None, int | None]:
    """Return the machine's memory and how much of it is available now. None for a number that the
    system does not report."""
    found: dict[str, int] = {}
    for line in _read(root / "proc" / "meminfo").splitlines():
        name, _, value = line.partition(":")
        number, _, unit = value.strip().partition(" ")
        if unit == "kB" and number.isdigit():
            found[name] = int(number) * 1024
    total = found.get("MemTotal")
    if total is None and root == ROOT and hasattr(os, "sysconf"):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return total, found.get("MemAvailable")


def _cpu_quota(root: Path) -> float | None:
    """Return the lowest of the limits for this process and its parent groups."""
    quotas = []
    for directory in _cgroups(root, ""):
        quota, _, period = _read(directory / "cpu.max").strip().partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            quotas.append(int(quota) / int(period))
    for directory in _cgroups(root, "cpu"):
        quota = _read(directory / "cpu.cfs_quota_us").strip()
        period = _read(directory / "cpu.cfs_period_us").strip()
        if quota.isdigit() and period.isdigit() and int(period):
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _numbers(root: Path, controller: str, name: str) -> list[int]:
    texts = (_read(directory / name).strip() for directory in _cgroups(root, controller))
    return [int(text) for text in texts if text.isdigit()]


def _cgroups(root: Path, controller: str) -> list[Path]:
    """Return the directories of this process' control group and of its parents.

    controller: of version 1 of cgroups, or "" for version 2.
    """
    mounted = root / "sys" / "fs" / "cgroup" / controller
    for line in _read(root / "proc" / "self" / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers.split(",") == [controller] or (
            controller and controller in controllers.split(",")
        ):
            group = mounted / path.lstrip("/")
            above = [mounted, *(mounted / part for part in Path(path.lstrip("/")).parents)]
            return list(dict.fromkeys([group, *above]))
    return [mounted]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
