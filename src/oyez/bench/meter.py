"""CPU and memory of a process as the operating system counts them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import psutil

PERIOD_S = 0.25
IDLE_PERCENT = 5.0
IDLE_WINDOW_S = 0.5


@dataclass(frozen=True, slots=True)
class Reading:
    """The counters of a process at one moment."""

    at_s: float
    """The time of the reading, on the clock of `time.perf_counter`."""
    cpu_s: float
    """The user and system time that the process has used since it began."""
    rss_bytes: int
    machine_cpu_s: float
    """The time that all programs and other guests have used on all cores of the machine."""


class Meter:
    """Reads the counters of a process.

    children: whether to add the processes that it has started by now. Every method raises
    RuntimeError if the process is gone.
    """

    def __init__(self, pid: int, *, children: bool) -> None:
        process = psutil.Process(pid)
        self._processes = [process, *(process.children(recursive=True) if children else [])]
        self.readings: list[Reading] = []

    def read(self) -> Reading:
        """Read the counters now."""
        cpu_s, rss_bytes = 0.0, 0
        try:
            for process in self._processes:
                with process.oneshot():
                    times = process.cpu_times()
                    cpu_s += times.user + times.system
                    rss_bytes += process.memory_info().rss
        except psutil.NoSuchProcess as error:
            raise RuntimeError("the process that was measured is gone") from error
        return Reading(time.perf_counter(), cpu_s, rss_bytes, _machine_cpu_s())

    async def watch(self) -> None:
        """Add a reading to `readings` every PERIOD_S, until the task is cancelled."""
        while True:
            self.readings.append(self.read())
            await asyncio.sleep(PERIOD_S)

    async def idle(self, timeout_s: float) -> None:
        """Wait until the process uses hardly any time, at most `timeout_s`."""
        deadline_s = time.perf_counter() + timeout_s
        while time.perf_counter() < deadline_s:
            before = self.read()
            await asyncio.sleep(IDLE_WINDOW_S)
            if cpu_percent(before, self.read()) < IDLE_PERCENT:
                return


def cpu_percent(first: Reading, last: Reading) -> float:
    """Return the processor time between two readings, in percent of one core."""
    elapsed_s = last.at_s - first.at_s
    return 100 * (last.cpu_s - first.cpu_s) / elapsed_s if elapsed_s > 0 else 0.0


def machine_percent(first: Reading, last: Reading) -> float:
    """Return the processor time of all programs together, in percent of one core."""
    elapsed_s = last.at_s - first.at_s
    return 100 * (last.machine_cpu_s - first.machine_cpu_s) / elapsed_s if elapsed_s > 0 else 0.0


def between(readings: list[Reading], from_s: float, to_s: float) -> tuple[Reading, Reading]:
    """Return the first and the last reading of a stretch of time.

    If it holds fewer than two, these are the first and the last of all readings.
    """
    inside = [reading for reading in readings if from_s <= reading.at_s <= to_s]
    chosen = inside if len(inside) > 1 else readings
    return chosen[0], chosen[-1]


def _machine_cpu_s() -> float:
    times = psutil.cpu_times()._asdict()
    # The time of guests is part of the user time already.
    idle = {"idle", "iowait", "guest", "guest_nice"}
    return float(sum(seconds for name, seconds in times.items() if name not in idle))
