from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from oyez.accounts.database import DatabaseError
from oyez.accounts.keys import KeyDirectory
from oyez.server.access import callers
from oyez.server.access.callers import KeyWatch, StaticKeys
from oyez.settings import Settings
from support.keys import own_key
from support.server import eventually


class CountingKeys(StaticKeys):
    def __init__(self) -> None:
        super().__init__(Settings(api_key=own_key("a")))
        self.count = 0

    def reload_if_changed(self) -> None:
        self.count += 1
        if self.count == 2:
            raise ZeroDivisionError("a bug")


class FlakyDirectory(KeyDirectory):
    def __init__(self) -> None:
        super().__init__(None)
        self.is_away = False
        self.count = 0
        self.may_answer = threading.Event()
        self.may_answer.set()

    def refresh(self) -> None:
        self.count += 1
        self.may_answer.wait()
        if self.is_away:
            raise DatabaseError("database x: gone")


@asynccontextmanager
async def watching(keys: StaticKeys, directory: KeyDirectory) -> AsyncIterator[None]:
    context = KeyWatch(keys, directory).run_with(web.Application())
    await anext(context)
    yield
    await anext(context, None)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "DIRECTORY_INTERVAL_S", 0.01)
    monkeypatch.setattr(callers, "FILE_INTERVAL_S", 0.01)


async def test_each_outage_of_the_database_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    directory = FlakyDirectory()

    async def asked_again() -> None:
        seen = directory.count
        await eventually(lambda: directory.count > seen + 3)

    async with watching(CountingKeys(), directory):
        for _ in range(2):
            directory.is_away = True
            await asked_again()
            directory.is_away = False
            await asked_again()
    assert caplog.text.count("database x: gone") == 2


async def test_a_database_that_hangs_and_a_bug_stop_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    keys, directory = CountingKeys(), FlakyDirectory()
    directory.may_answer.clear()
    async with watching(keys, directory):
        await eventually(lambda: keys.count > 5)
    assert "a bug" in caplog.text
    assert directory.count <= 1
    directory.may_answer.set()


async def test_nothing_is_read_after_the_end() -> None:
    keys = CountingKeys()
    async with watching(keys, FlakyDirectory()):
        await eventually(lambda: keys.count > 1)
    await eventually(lambda: not any(t.name == "oyez-keys" for t in threading.enumerate()))
