"""Blocking work of a task. Nothing of it is left when the task is gone."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

THREADS = ThreadPoolExecutor(8, "file")
"""Threads for files only: a disk that hangs must not keep usage from being written."""


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a thread. If the task is cancelled meanwhile, that takes effect only once
    the call has returned: the canceller closes the file next, so nothing may be reading it then."""
    loop = asyncio.get_running_loop()
    call = loop.run_in_executor(THREADS, functools.partial(function, *args, **kwargs))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait([call])
        if not call.cancelled():
            call.exception()  # its error is not wanted any more
        raise
