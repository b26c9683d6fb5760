from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from oyez.server.process.watchdog import ServiceManager
from oyez.settings import service_manager


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A service manager's address and its socket."""
    path = str(tmp_path / "notify") if request.param == "path" else f"@{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path.replace("@", "\0"))
        listening.settimeout(5.0)
        yield path, listening


async def test_what_is_told(manager: tuple[str, socket.socket]) -> None:
    address, listening = manager
    service = ServiceManager(address, watchdog_s=0.03)
    service.status("loading")
    service.ready("here")
    service.stopping("bye")
    heard = [listening.recv(1000).decode() for _ in range(3)]
    assert heard == ["STATUS=loading", "READY=1\nSTATUS=here", "STOPPING=1\nSTATUS=bye"]
    alive = asyncio.create_task(service.keep_alive())
    await asyncio.sleep(0.1)
    alive.cancel()
    assert {listening.recv(1000) for _ in range(3)} == {b"WATCHDOG=1"}


async def test_no_sign_of_life_while_the_engine_hangs(manager: tuple[str, socket.socket]) -> None:
    address, listening = manager
    is_alive = False
    service = ServiceManager(address, watchdog_s=0.03)
    keeping = asyncio.create_task(service.keep_alive(lambda: is_alive))
    await asyncio.sleep(0.1)
    listening.setblocking(False)
    with pytest.raises(BlockingIOError):
        listening.recv(1000)
    is_alive = True
    await asyncio.sleep(0.1)
    assert listening.recv(1000) == b"WATCHDOG=1"
    keeping.cancel()


async def test_without_a_manager_nothing_is_sent() -> None:
    service = ServiceManager(None, None)
    service.ready("here")
    await asyncio.wait_for(service.keep_alive(), 1.0)
    await asyncio.wait_for(ServiceManager("/nowhere", None).keep_alive(), 1.0)


def test_a_manager_that_is_gone_costs_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    ServiceManager("/nowhere/notify", None).ready("here")
    assert "NOTIFY_SOCKET was not told" in caplog.text


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, (None, None)),
        ({"NOTIFY_SOCKET": "@a", "WATCHDOG_USEC": "30000000"}, ("@a", 30.0)),
        ({"NOTIFY_SOCKET": "/a", "WATCHDOG_USEC": "3", "WATCHDOG_PID": "1"}, ("/a", None)),
        ({"NOTIFY_SOCKET": "/a", "WATCHDOG_USEC": "soon"}, ("/a", None)),
    ],
)
def test_what_the_environment_says(
    environment: dict[str, str],
    found: tuple[str | None, float | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert service_manager() == found
