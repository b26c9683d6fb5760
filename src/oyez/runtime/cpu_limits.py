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
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    texts = [_read(group / "cpu.max") for group in _cgroups(root, "")]
    texts += [
        f"{_read(group / 'cpu.cfs_quota_us')} {_read(group / 'cpu.cfs_period_us')}"
        for group in _cgroups(root, "cpu")
    ]
    quotas = []
    for text in texts:
        match text.split():
            case [quota, period] if quota.isdigit() and period.isdigit() and int(period):
                quotas.append(int(quota) / int(period))
    return CpuShare(cores, min(quotas, default=None))


def memory_limit_bytes(root: Path = ROOT) -> int | None:
    """Return the container's memory limit, or None if there is none or it is unknown."""
    texts = [_read(group / "memory.max").strip() for group in _cgroups(root, "")]
    texts += [_read(group / "memory.limit_in_bytes").strip() for group in _cgroups(root, "memory")]
    limits = [int(text) for text in texts if text.isdigit()]
    return min((limit for limit in limits if 0 < limit < UNLIMITED_BYTES), default=None)


def memory_bytes(root: Path = ROOT) -> tuple[int | None, int | None]:
    """Return the machine's memory and how much of it is available now. None for a number that the
    system does not report."""
    found: dict[str, int] = {}
    for line in _read(root / "proc" / "meminfo").splitlines():
        match line.split():
            case [name, number, "kB"] if number.isdigit():
                found[name] = int(number) * 1024
    total = found.get("MemTotal:")
    if total is None and root == ROOT and hasattr(os, "sysconf"):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return total, found.get("MemAvailable:")


def _cgroups(root: Path, controller: str) -> list[Path]:
    """Return the directories of this process' control group and of its parents, whose limits apply
    too. controller: of version 1 of cgroups, or "" for version 2."""
    mounted = root / "sys" / "fs" / "cgroup" / controller
    for line in _read(root / "proc" / "self" / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            group = Path(path.lstrip("/"))
            return [mounted / group, *(mounted / part for part in group.parents), mounted]
    return [mounted]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
