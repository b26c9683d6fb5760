"""What the process runs with: installed packages, open files and memory."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import resource
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Protocol

from packaging.requirements import Requirement

from oyez.logs import RateLimitedLogger

MEBIBYTE = 1 << 20
OWN_FILES = 128
"""Open files besides clients' connections: models, the database, pipes and libraries."""
TIDY_INTERVAL_S = 1.0
"""Time between two checks for memory that can be given back."""
UNTIDY_MB = 8.0
"""Memory is given back when this much more is in use than after the best tidying so far."""
FEW_CONNECTIONS = 64
"""With fewer connections than this, a full garbage collection takes a few milliseconds."""
FULL_COLLECTION = 100
"""Collections of the middle generation before a full one runs by itself. Python's default is 10."""
PROCESSES = Path("/proc")

log = logging.getLogger(__name__)


def outdated_packages() -> list[str]:
    """Return the required packages that are missing or have the wrong version, one line each, such
    as "aiohttp 3.14.0 (needed: >=3.14.5)".

    pip installs the right versions, but they can be changed later, and some limits that oyez
    promises need a package of a certain version. Extras are not checked. The list is empty where
    oyez runs without having been installed.
    """
    try:
        needed = [Requirement(line) for line in metadata.requires("oyez") or ()]
    except metadata.PackageNotFoundError:
        return []
    found = []
    for each in needed:
        if each.marker and not each.marker.evaluate({"extra": ""}):
            continue
        try:
            here = metadata.version(each.name)
        except metadata.PackageNotFoundError:
            found.append(f"{each.name} is missing")
            continue
        if not each.specifier.contains(here, prereleases=True):
            found.append(f"{each.name} {here} (needed: {each.specifier})")
    return found


def allow_open_files(connections: int) -> None:
    """Raise the limit of open files, as far as the system permits, to what this many connections
    need. Warns if that is not enough."""
    needed = connections + OWN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    granted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < granted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
        soft = granted
    if soft != resource.RLIM_INFINITY and soft < needed:
        log.warning(
            "at most %d files may be open, %d connections need %d, so there may be %d: raise the "
            "limit (ulimit -n, LimitNOFILE) or lower max_connections and max_sessions",
            soft,
            connections,
            needed,
            connections_that_fit(connections),
        )


def connections_that_fit(wanted: int) -> int:
    """Return how many of the wanted connections the limit of open files allows.

    `OWN_FILES` are kept back, so that files, the database and health checks have descriptors at
    any load.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return min(wanted, max(soft - OWN_FILES, soft // 2))


def resident_mb(engine_pid: int | None = None) -> float:
    """Return the memory in use by this process and by its engine's process, in MiB. Raises OSError
    where there is no /proc."""
    used_mb = _resident_mb("self")
    if engine_pid is not None:
        with suppress(OSError, IndexError):  # the engine's process has just ended
            used_mb += _resident_mb(str(engine_pid))
    return used_mb


def _resident_mb(pid: str) -> float:
    pages = int((PROCESSES / pid / "statm").read_text().split()[1])
    return pages * resource.getpagesize() / MEBIBYTE


def give_memory_back() -> None:
    """Make the C library return freed memory to the system, where it can (glibc); by itself it
    keeps most of it. This takes some milliseconds: call it in a thread."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def freeze_loaded_objects() -> None:
    """Make garbage collections cheaper; call it once everything is loaded.

    What is loaded now stays until the end, so collections need not look through it. Full
    collections would hold up the event loop for tens of milliseconds in a crowd of clients, so
    they are left to `tidy_memory`.
    """
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, FULL_COLLECTION)


class ConnectionCount(Protocol):
    """All connections, as far as `tidy_memory` needs them."""

    ended: int
    """How many have ended since the start."""

    def __len__(self) -> int:
        """Return how many are open."""


async def tidy_memory(connections: ConnectionCount) -> None:
    """Give back the memory that clients leave behind, until cancelled. Returns at once on systems
    that do not report how much memory is in use."""
    with suppress(OSError):
        tidy_mb = await asyncio.to_thread(_tidied_mb)
        seen = connections.ended
        while True:
            await asyncio.sleep(TIDY_INTERVAL_S)
            if connections.ended == seen or resident_mb() - tidy_mb < UNTIDY_MB:
                continue
            seen = connections.ended
            used_mb = await asyncio.to_thread(_tidied_mb)
            if used_mb - tidy_mb > UNTIDY_MB and len(connections) < FEW_CONNECTIONS:
                # Few clients are there to be delayed, so cycles of objects may be looked for.
                gc.collect()
                used_mb = await asyncio.to_thread(_tidied_mb)
            tidy_mb = min(tidy_mb, used_mb)


def _tidied_mb() -> float:
    give_memory_back()
    return resident_mb()


class MemoryGuard:
    """Decides whether there is memory for another session."""

    def __init__(self, max_mb: int, measure: Callable[[], float] = resident_mb) -> None:
        """Take the limit in MiB (0: no limit) and the function that measures memory in MiB."""
        self._max_mb = max_mb
        self._measure = measure
        self._seldom = RateLimitedLogger(log)

    @property
    def full(self) -> bool:
        """Whether as much memory is in use as is allowed; logged now and then."""
        # This reads from the kernel's memory, not from a disk: it takes microseconds.
        if not self._max_mb or self._measure() < self._max_mb:
            return False
        self._seldom.warning("memory above max_memory_mb: new sessions are refused")
        return True
