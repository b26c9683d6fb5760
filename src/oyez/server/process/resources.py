"""What the process runs with: installed packages and memory."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import resource
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from oyez.server.process.connections import Connections

MEBIBYTE = 1 << 20
TIDY_INTERVAL_S = 1.0
"""Time between two checks for memory that can be given back."""
UNTIDY_MB = 8.0
"""Memory is given back when this much more is in use than after the best tidying so far."""
FEW_CONNECTIONS = 64
"""With fewer connections than this, a full garbage collection takes a few milliseconds."""
FULL_COLLECTION = 100
"""Collections of the middle generation before a full one runs by itself. Python's default is 10."""


def outdated_packages() -> list[str]:
    """Return the required packages that are missing or have the wrong version, one line each, such
    as "aiohttp 3.14.0 (needed: >=3.14.5)". Extras are not checked.

    pip installs the right versions, but they can be changed later, and some limits that oyez
    promises need a package of a certain version. Where oyez is not installed, the list is empty.
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


def resident_mb(engine_pid: int | None = None) -> float:
    """Return the memory in use by this process and by its engine's process, in MiB. Raises OSError
    where there is no /proc."""
    pages = _resident_pages("self")
    if engine_pid is not None:
        with suppress(OSError, IndexError):  # the engine's process has just ended
            pages += _resident_pages(str(engine_pid))
    return pages * resource.getpagesize() / MEBIBYTE


def _resident_pages(pid: str) -> int:
    return int(Path("/proc", pid, "statm").read_text().split()[1])


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


async def tidy_memory(connections: Connections) -> None:
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
