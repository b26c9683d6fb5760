"""The keys of the database are read again while the server runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from oyez.accounts.database import DatabaseError
from oyez.metrics import Metrics
from oyez.server.access import callers
from oyez.server.access.callers import Accounts
from oyez.settings import Settings
from support.keys import KeyOffice
from support.waiting import eventually


class Readings:
    """What happens when the keys are read."""

    def __init__(self) -> None:
        self.count = 0
        self.fault: Exception | None = None
        self.may_answer = threading.Event()
        self.may_answer.set()

    def read(self) -> None:
        self.count += 1
        self.may_answer.wait()
        if self.fault:
            raise self.fault

    async def again(self) -> None:
        seen = self.count
        await eventually(lambda: self.count > seen + 3)


@asynccontextmanager
async def opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Accounts, Readings]]:
    monkeypatch.setattr(callers, "DIRECTORY_INTERVAL_S", 0.01)
    settings = Settings(database=KeyOffice(folder).url, create_database=True)
    accounts = await asyncio.to_thread(Accounts, settings, Metrics())
    readings = Readings()
    monkeypatch.setattr(accounts.directory, "refresh", readings.read)
    yield accounts, readings
    await asyncio.to_thread(accounts.close, 5.0)


async def test_each_outage_of_the_database_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path, monkeypatch) as (_, readings):
        for _ in range(2):
            readings.fault = DatabaseError("database x: gone")
            await readings.again()
            readings.fault = None
            await readings.again()
    assert caplog.text.count("database x: gone") == 2


async def test_a_bug_does_not_end_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path, monkeypatch) as (_, readings):
        readings.fault = ZeroDivisionError("a bug")
        await readings.again()
    assert "a bug" in caplog.text


async def test_a_database_that_hangs_does_not_delay_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asyncio.timeout(5), opened(tmp_path, monkeypatch) as (_, readings):
        readings.may_answer.clear()
        seen = readings.count
        await eventually(lambda: readings.count > seen)
    readings.may_answer.set()
    await eventually(lambda: not any(t.name == "oyez-keys" for t in threading.enumerate()))
