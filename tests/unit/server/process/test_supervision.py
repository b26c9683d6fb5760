from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from oyez.accounts.database import DatabaseError
from oyez.server.process import supervision
from oyez.server.process.supervision import Reloadable, ServiceManager
from oyez.settings import SettingsError, service_manager
from support.waiting import eventually


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A service manager's address and its socket."""
    path = str(tmp_path / "notify") if request.param == "path" else f"@{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path.replace("@", "\0"))
        listening.settimeout(5.0)
        yield path, listening


async def test_what_is_reported(manager: tuple[str, socket.socket]) -> None:
    address, listening = manager
    service = ServiceManager(address, watchdog_s=0.03)
    service.report("loading")
    service.report("here", "READY")
    service.report("bye", "STOPPING")
    received = [listening.recv(1000).decode() for _ in range(3)]
    assert received == ["STATUS=loading", "READY=1\nSTATUS=here", "STOPPING=1\nSTATUS=bye"]
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
    service.report("here", "READY")
    await asyncio.wait_for(service.keep_alive(), 1.0)
    await asyncio.wait_for(ServiceManager("/nowhere", None).keep_alive(), 1.0)


def test_a_manager_that_is_gone_costs_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    ServiceManager("/nowhere/notify", None).report("here")
    assert "service manager at NOTIFY_SOCKET" in caplog.text


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


async def test_a_failure_to_reload_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail(error: Exception) -> str:
        raise error

    caplog.set_level(logging.INFO, "oyez")
    await Reloadable("certificate", lambda: fail(SettingsError("tls_key: is gone"))).reload()
    await Reloadable("keys", lambda: "2 keys").reload()
    await Reloadable("bug", lambda: str(1 // 0)).reload()
    await Reloadable("more", lambda: fail(DatabaseError("database x: gone"))).reload()
    assert [record.getMessage() for record in caplog.records] == [
        "certificate not reloaded, the old one stays in force: tls_key: is gone",
        "keys reloaded: 2 keys",
        "bug not reloaded, the old one stays in force",
        "more not reloaded, the old one stays in force: database x: gone",
    ]
    assert [bool(record.exc_info) for record in caplog.records] == [False, False, True, False]


async def test_the_event_loop_goes_on_and_reloads_do_not_overlap() -> None:
    release = threading.Event()
    running: list[int] = []
    most: list[int] = []

    def slow() -> str:
        running.append(1)
        most.append(len(running))
        assert release.wait(5.0)
        running.pop()
        return ""

    reloadable = Reloadable("slow", slow)
    reloadable.reload_soon()
    reloadable.reload_soon()
    await asyncio.sleep(0.05)
    release.set()
    await reloadable.reload()
    assert most == [1, 1, 1]


@asynccontextmanager
async def watching(file: Path, readings: list[str]) -> AsyncIterator[None]:
    """This file is watched, and what is read of it is noted; "rubbish" cannot be used."""

    def read() -> str:
        readings.append(file.read_text())
        if readings[-1] == "rubbish":
            raise SettingsError("no keys")
        return "in force"

    task = asyncio.create_task(Reloadable("keys", read, file, None).watch())
    yield
    task.cancel()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(supervision, "FILES_CHECK_S", 0.02)
    (tmp_path / "file").write_text("first")
    return tmp_path


async def test_a_changed_file_is_read_once_it_stays_as_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "FILES_CHECK_S", 0.1)
    file = folder / "file"
    readings: list[str] = []
    async with watching(file, readings):
        await asyncio.sleep(0.25)
        assert readings == [], "it has not changed"
        for number in range(20):
            file.write_text("half" * number)
            await asyncio.sleep(0.02)
        assert readings == [], "it may be half written"
        file.write_text("whole")
        await eventually(lambda: readings == ["whole"])


async def test_a_file_that_cannot_be_used_is_logged_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = folder / "file"
    readings: list[str] = []
    async with watching(file, readings):
        file.write_text("rubbish")
        await eventually(lambda: readings == ["rubbish"])
        await asyncio.sleep(0.2)
        assert caplog.text.count("keys not reloaded") == 1
        file.write_text("good")
        await eventually(lambda: readings == ["rubbish", "good"])
        file.unlink()
        await eventually(lambda: caplog.text.count("keys not reloaded") == 2)
        await asyncio.sleep(0.2)
        assert caplog.text.count("keys not reloaded") == 2
        file.write_text("back again")
        await eventually(lambda: readings[-1] == "back again")


async def test_a_swapped_link_is_a_change(folder: Path) -> None:
    """As container platforms renew secrets."""
    for name in ("old", "new"):
        (folder / name).mkdir()
        (folder / name / "file").write_text(name)
    (folder / "link").symlink_to(folder / "old")
    readings: list[str] = []
    async with watching(folder / "link" / "file", readings):
        (folder / "next").symlink_to(folder / "new")
        os.replace(folder / "next", folder / "link")
        await eventually(lambda: readings == ["new"])
