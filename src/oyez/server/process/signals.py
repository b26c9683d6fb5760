"""What signals mean: SIGTERM and SIGINT stop, SIGHUP reloads, a closed terminal stops too."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable


def leave_on_stop() -> None:
    """Until `count_stops`: SIGTERM ends the process at once, exit code 0. Left to itself it would
    not end the first process of a container."""

    def leave(number: int, frame: object) -> None:
        sys.exit(0)

    signal.signal(signal.SIGTERM, leave)


def count_stops() -> asyncio.Semaphore:
    """Released once for each SIGTERM and SIGINT from now on."""
    stops = asyncio.Semaphore(0)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stops.release)
    return stops


def on_hangup(reload: Callable[[], None], stop: Callable[[], None]) -> None:
    """Call `reload` on SIGHUP, or `stop` where it means that the terminal we ran in was closed."""
    began_in_terminal = _has_terminal()

    def hung_up() -> None:
        (stop if began_in_terminal and not _has_terminal() else reload)()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
