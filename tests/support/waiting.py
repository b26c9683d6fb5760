"""Waiting for something to happen, and making sure that something does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def eventually(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Wait until `condition` holds. Raises TimeoutError after `timeout_s`."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - some of it changes in other threads
            await asyncio.sleep(0.002)


async def stays(condition: Callable[[], object], for_s: float = 0.1) -> None:
    """Check that `condition` holds now, and at every later moment for `for_s`."""
    end_s = time.monotonic() + for_s
    while time.monotonic() < end_s:
        assert condition(), "it has changed"
        await asyncio.sleep(0.002)
    assert condition(), "it has changed"


def wait_until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Block this thread until `condition` holds. Fails after `timeout_s`."""
    give_up_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_s, "waited too long"
        time.sleep(0.002)


def wait_while(condition: Callable[[], object], for_s: float = 0.1) -> None:
    """Block this thread for `for_s`, and check that `condition` holds all the time."""
    end_s = time.monotonic() + for_s
    while time.monotonic() < end_s:
        assert condition(), "it has changed"
        time.sleep(0.002)
