from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
import time
from importlib import metadata

import numpy as np
import pytest

from oyez.server.lifecycle import StartupError, run_server
from oyez.server.process import resources
from oyez.server.process.connections import Connections
from oyez.server.process.resources import resident_mb
from oyez.settings import Settings
from support.waiting import eventually, stays


def test_resident_memory_is_what_is_in_use() -> None:
    before_mb = resident_mb()
    held = np.ones(100 * resources.MEBIBYTE, np.uint8)
    assert 90 < resident_mb() - before_mb < 150
    assert held[0]


def test_the_engine_s_memory_counts_too() -> None:
    alone = resident_mb()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as engine:
        time.sleep(0.2)
        both = resident_mb(engine.pid)
        engine.kill()
    assert both - alone > 3
    assert resident_mb(engine.pid) == pytest.approx(alone, abs=3), "it has just ended"


class Ending(Connections):
    """Connections that end."""

    def __init__(self, open_now: int) -> None:
        super().__init__(Settings(), lambda address: True)
        self._open_now = open_now

    def __len__(self) -> int:
        return self._open_now


@pytest.mark.parametrize(("open_now", "collected"), [(0, True), (1000, False)])
async def test_memory_is_tidied_when_connections_have_ended(
    monkeypatch: pytest.MonkeyPatch, open_now: int, collected: bool
) -> None:
    used_mb, trims, collections = [100.0], [], []
    monkeypatch.setattr(resources, "TIDY_INTERVAL_S", 0.01)
    monkeypatch.setattr(resources, "resident_mb", lambda: used_mb[0])
    monkeypatch.setattr(resources, "give_memory_back", lambda: trims.append(1))
    monkeypatch.setattr(gc, "collect", lambda: collections.append(1))
    connections = Ending(open_now)
    tidying = asyncio.create_task(resources.tidy_memory(connections))
    await eventually(lambda: len(trims) == 1)
    used_mb[0] = 200.0
    await asyncio.sleep(0.05)
    assert len(trims) == 1, "no connection has ended"
    connections.ended = 1
    await eventually(lambda: len(trims) == 2 + collected)
    await stays(lambda: (len(trims), bool(collections)) == (2 + collected, collected))
    tidying.cancel()


NEEDED = ["aiohttp>=3.14.5", "numpy>=1.26", "psycopg>=3.2; extra == 'postgres'"]


def outdated(monkeypatch: pytest.MonkeyPatch, **here: str) -> list[str]:
    def version(name: str) -> str:
        if name not in here:
            raise metadata.PackageNotFoundError(name)
        return here[name]

    monkeypatch.setattr(metadata, "requires", lambda name: NEEDED)
    monkeypatch.setattr(metadata, "version", version)
    return resources.outdated_packages()


def test_an_older_package_is_named_with_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = outdated(monkeypatch, aiohttp="3.14.0", numpy="2.4.6")
    assert found == ["aiohttp 3.14.0 (needed: >=3.14.5)"]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outdated(monkeypatch, aiohttp="3.15.0") == ["numpy is missing"]


def test_newer_packages_and_absent_extras_are_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outdated(monkeypatch, aiohttp="3.15.0rc1", numpy="1.26.0") == []


def test_nothing_is_said_where_oyez_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    assert resources.outdated_packages() == []


def test_the_server_warns_before_it_starts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        resources, "outdated_packages", lambda: ["aiohttp 3.14.0 (needed: >=3.14.5)"]
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(port=taken.getsockname()[1], database="off", engine="fake")
        with pytest.raises(StartupError):
            run_server(settings, lambda line: None)
    assert "aiohttp 3.14.0 (needed: >=3.14.5)" in caplog.text
