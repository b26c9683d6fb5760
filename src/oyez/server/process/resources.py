"""What the operating system grants this process: open files and memory."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from oyez.logs import RateLimitedLogger

MEBIBYTE = 1 << 20
OWN_FILES = 128
"""Files beside clients' connections: models, the database, pipes, libraries."""
TIDY_S = 1.0
UNTIDY_MB = 8.0
"""So much more in use than after the best of all tidyings."""
FEW_CONNECTIONS = 64
"""With fewer a full garbage collection takes a few milliseconds."""
FULL_COLLECTION = 100
"""Collections of the middle generation before a full one comes by itself; Python's own is 10."""
PROCESSES = Path("/proc")

log = logging.getLogger(__name__)


def allow_open_files(connections: int) -> None:
    """Raise the limit of open files, as far as we may, to what so many connections need; warn
    where that is not enough."""
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
    """As many connections as wanted, or as the limit of open files allows with OWN_FILES kept back,
    so that files, the database and health checks have descriptors at any load."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return min(wanted, max(soft - OWN_FILES, soft // 2))


def resident_mb(engine_pid: int | None = None) -> float:
    """Memory in use by this process and that of its engine, in MiB. Raises OSError where there is
    no /proc."""
    used_mb = _resident_mb("self")
    if engine_pid is not None:
        with suppress(OSError, IndexError):  # it has just ended
            used_mb += _resident_mb(str(engine_pid))
    return used_mb


def _resident_mb(pid: str) -> float:
    pages = int((PROCESSES / pid / "statm").read_text().split()[1])
    return pages * resource.getpagesize() / MEBIBYTE


def give_memory_back() -> None:
    """Have the C library return what was freed to the system, where it can (glibc); else it keeps
    most of it for later. Takes some milliseconds; call it in a thread."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


class Crowd(Protocol):
    """All connections."""

    ended: int
    """How many have ended so far."""

    def __len__(self) -> int:
        """How many are open."""


def spare_what_stays() -> None:
    """Call it when everything is loaded. It stays until the end, so garbage collections need not
    look through it; and full collections, which would hold up the event loop for tens of
    milliseconds in a crowd of clients, are left to `tidy_memory`."""
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, FULL_COLLECTION)


async def tidy_memory(connections: Crowd) -> None:
    """Give memory back that clients leave behind, until cancelled. Returns at once on systems that
    do not tell how much memory is in use."""
    with suppress(OSError):
        tidy_mb = await asyncio.to_thread(_tidied_mb)
        seen = connections.ended
        while True:
            await asyncio.sleep(TIDY_S)
            if connections.ended == seen or resident_mb() - tidy_mb < UNTIDY_MB:
                continue
            seen = connections.ended
            used_mb = await asyncio.to_thread(_tidied_mb)
            if used_mb - tidy_mb > UNTIDY_MB and len(connections) < FEW_CONNECTIONS:
                gc.collect()
                used_mb = await asyncio.to_thread(_tidied_mb)
            tidy_mb = min(tidy_mb, used_mb)


def _tidied_mb() -> float:
    give_memory_back()
    return resident_mb()


class MemoryGuard:
    """Whether there is memory for another session."""

    def __init__(self, max_mb: int, measure: Callable[[], float] = resident_mb) -> None:
        """max_mb: 0 means that it does not matter."""
        self._max_mb = max_mb
        self._measure = measure
        self._seldom = RateLimitedLogger(log)

    @property
    def full(self) -> bool:
        # read from the kernel's memory, not from a disk: takes microseconds
        if not self._max_mb or self._measure() < self._max_mb:
            return False
        self._seldom.warning("memory above max_memory_mb: new sessions are refused")
        return True
