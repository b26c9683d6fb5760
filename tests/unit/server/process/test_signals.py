from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from oyez.server.process.signals import Reloader
from oyez.settings import SettingsError


async def test_one_failure_leaves_the_others_alone(caplog: pytest.LogCaptureFixture) -> None:
    reloader = Reloader()
    reloader.add("certificate", lambda: (_ for _ in ()).throw(SettingsError("tls_key: is gone")))
    reloader.add("keys", lambda: "2 keys")
    reloader.add("bug", lambda: str(1 // 0))
    with caplog.at_level(logging.INFO, "oyez"):
        await reloader.reload()
    assert [record.getMessage() for record in caplog.records] == [
        "certificate not reloaded, the old one stays in force: tls_key: is gone",
        "keys reloaded: 2 keys",
        "bug not reloaded, the old one stays in force",
    ]


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

    reloader = Reloader()
    reloader.add("slow", slow)
    reloader.reload_soon()
    reloader.reload_soon()
    await asyncio.sleep(0.05)
    release.set()
    await reloader.reload()
    assert most == [1, 1, 1]
