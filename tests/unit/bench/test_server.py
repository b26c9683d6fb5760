"""The server that is measured, and its counters."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from oyez.bench.server import UNLIMITED, Meter, Reading, between, server_flags
from oyez.cli.serve import serve


def reading(at_s: float) -> Reading:
    return Reading(at_s, 2 * at_s, 0, 3 * at_s, 0, 4 * at_s)


def test_work_is_seen() -> None:
    meter = Meter(None)
    before = meter.read()
    until_s = time.process_time() + 0.2
    while time.process_time() < until_s:
        pass
    used = meter.read() - before
    assert 0.15 < used.own_cpu_s < 1.0
    assert used.machine_cpu_s >= 0.1
    assert (used.cpu_s, used.rss_bytes) == (0, 0) and not meter.has_server
    assert meter.read().own_rss_bytes > 1 << 20


def test_the_processes_that_a_server_has_started_count_too() -> None:
    started = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(started, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()  # it runs, and has the memory of an interpreter
        meter = Meter(os.getpid())
        now = meter.read()
        assert meter.has_server and now.rss_bytes > now.own_rss_bytes + (1 << 20)
        child.kill()
    with pytest.raises(RuntimeError, match="gone"):
        meter.read()


def test_a_stretch_of_time() -> None:
    readings = [reading(at) for at in range(10)]
    assert between(readings, 2.5, 6.5) == reading(3)
    assert between(readings, 2.5, 3.5) == reading(9)


def test_flags_of_ones_own_come_last_and_may_hold_a_value() -> None:
    flags = server_flags("fake", "base", 2, ["--max-load 0.5", "--manual-interim"])
    assert flags[:6] == ["--engine", "fake", "--model", "base", "--threads", "2"]
    assert flags[-3:] == ["--max-load", "0.5", "--manual-interim"]


def test_the_server_has_every_limit_that_is_lifted() -> None:
    known = {flag for option in serve.params for flag in option.opts}
    assert {word for word in UNLIMITED if word.startswith("--")} <= known
