"""CPU and memory as the operating system counts them."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from oyez.bench.meter import Meter, Reading, between, cpu_percent, machine_percent


def reading(at_s: float, cpu_s: float = 0.0) -> Reading:
    return Reading(at_s, cpu_s, 0, 2 * cpu_s)


def test_work_is_seen() -> None:
    meter = Meter(os.getpid(), children=False)
    before = meter.read()
    until_s = time.process_time() + 0.2
    while time.process_time() < until_s:
        pass
    after = meter.read()
    assert 0.15 < after.cpu_s - before.cpu_s < 1.0
    assert after.machine_cpu_s - before.machine_cpu_s >= 0.1
    assert after.rss_bytes > 1 << 20


def test_children_count_only_if_asked_for() -> None:
    started = [sys.executable, "-c", "print(flush=True); input()"]
    child = subprocess.Popen(started, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout
    child.stdout.readline()  # it runs, and has the memory of an interpreter
    alone, both = (Meter(os.getpid(), children=children) for children in (False, True))
    assert both.read().rss_bytes > alone.read().rss_bytes + (1 << 20)
    child.kill()
    child.wait()
    with pytest.raises(RuntimeError, match="gone"):
        both.read()


def test_percent_of_a_core() -> None:
    assert cpu_percent(reading(1, 5), reading(3, 8)) == 150
    assert machine_percent(reading(1, 5), reading(3, 8)) == 300
    assert cpu_percent(reading(1), reading(1)) == 0


def test_a_stretch_of_time() -> None:
    readings = [reading(at) for at in range(10)]
    assert between(readings, 2.5, 6.5) == (reading(3), reading(6))
    assert between(readings, 2.5, 3.5) == (reading(0), reading(9))
