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
    at_s: float
    """On the clock of `time.perf_counter`."""
    cpu_s: float
    """User and system time since the process began."""
    rss_bytes: int
    machine_cpu_s: float
    """Of all cores of the machine together, all programs, and what other guests took."""


class Meter:
    """Reads a process.

    children: count those too that are there now.
    Raises RuntimeError once the process is gone.
    """

    def __init__(self, pid: int, *, children: bool) -> None:
        process = psutil.Process(pid)
        self._processes = [process, *(process.children(recursive=True) if children else [])]
        self.readings: list[Reading] = []

    def read(self) -> Reading:
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
        """Note a reading every PERIOD_S, until cancelled."""
        while True:
            self.readings.append(self.read())
            await asyncio.sleep(PERIOD_S)

    async def idle(self, timeout_s: float) -> None:
        """Wait until the process rests, at most so long."""
        deadline_s = time.perf_counter() + timeout_s
        while time.perf_counter() < deadline_s:
            before = self.read()
            await asyncio.sleep(IDLE_WINDOW_S)
            if cpu_percent(before, self.read()) < IDLE_PERCENT:
                return


def cpu_percent(first: Reading, last: Reading) -> float:
    """In percent of one core."""
    elapsed_s = last.at_s - first.at_s
    return 100 * (last.cpu_s - first.cpu_s) / elapsed_s if elapsed_s > 0 else 0.0


def machine_percent(first: Reading, last: Reading) -> float:
    """All programs together, in percent of one core."""
    elapsed_s = last.at_s - first.at_s
    return 100 * (last.machine_cpu_s - first.machine_cpu_s) / elapsed_s if elapsed_s > 0 else 0.0


def between(readings: list[Reading], from_s: float, to_s: float) -> tuple[Reading, Reading]:
    """First and last reading of a stretch of time; of all time, if it holds fewer than two."""
    inside = [reading for reading in readings if from_s <= reading.at_s <= to_s]
    chosen = inside if len(inside) > 1 else readings
    return chosen[0], chosen[-1]


def _machine_cpu_s() -> float:
    times = psutil.cpu_times()._asdict()  # guests' time is in `user` already
    idle = {"idle", "iowait", "guest", "guest_nice"}
    return float(sum(seconds for name, seconds in times.items() if name not in idle))
