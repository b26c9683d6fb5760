"""Blocking work of a task, of which nothing is left when the task is gone."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

THREADS = ThreadPoolExecutor(8, "file")
"""Not those of everybody: a disk that hangs must not keep usage from being written."""


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call it in a thread. If the task is cancelled meanwhile, that takes effect only once the call
    has returned: whoever cancels closes the file next, which nobody may be reading then."""
    loop = asyncio.get_running_loop()
    call = loop.run_in_executor(THREADS, functools.partial(function, *args, **kwargs))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait([call])
        if not call.cancelled():
            call.exception()  # nobody asks any more how it went
        raise
