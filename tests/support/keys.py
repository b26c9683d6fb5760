"""A database with keys, beside a running server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import select

from oyez.accounts.database import Database, open_database
from oyez.accounts.keys import (
    Key,
    KeyDirectory,
    KeyLimits,
    change_limits,
    create_key,
    hash_key,
    revoke_key,
)
from oyez.accounts.schema import session_languages, sessions
from oyez.settings.checks import MIN_KEY_CHARACTERS

T = TypeVar("T")


def own_key(word: str) -> str:
    """A key made of a word, long enough to be accepted."""
    return word.ljust(MIN_KEY_CHARACTERS, ".")


class FakeDirectory(KeyDirectory):
    """Keys that a test puts in."""

    def __init__(self, *keys: Key) -> None:
        super().__init__(None)
        self.set(*keys)

    def set(self, *keys: Key) -> None:
        self._replace(keys)


def a_key(secret: str, **limits: Any) -> Key:
    """As the database would keep it."""
    made = datetime(2026, 11, 23, 12, tzinfo=UTC)
    return Key(f"key_{secret}", f"of {secret}", hash_key(secret), KeyLimits(**limits), made)


class KeyOffice:
    """What `oyez keys` does, from a test. Opens the database anew each time, as a command does."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'accounts.db'}"

    def create(self, name: str, **limits: Any) -> tuple[str, Key]:
        """Create a key. Returns it, and what is kept of it."""
        return self._do(lambda database: create_key(database, name, KeyLimits(**limits)))

    async def create_later(self, name: str, **limits: Any) -> tuple[str, Key]:
        return await asyncio.to_thread(self.create, name, **limits)

    async def revoke(self, key: Key) -> None:
        await asyncio.to_thread(self._do, lambda database: revoke_key(database, key.id))

    async def change(self, key: Key, **limits: Any) -> None:
        def change(database: Database) -> None:
            change_limits(database, key.id, KeyLimits(**limits))

        await asyncio.to_thread(self._do, change)

    def sessions(self) -> dict[str, dict[str, Any]]:
        """The rows of sessions by id, with the turns and milliseconds of speech by language."""

        def read(database: Database) -> dict[str, dict[str, Any]]:
            with database.read() as connection:
                rows = connection.execute(select(sessions)).mappings().all()
                spoken = connection.execute(select(session_languages)).mappings().all()
            found: dict[str, dict[str, Any]] = {r["id"]: {**r, "languages": {}} for r in rows}
            for row in spoken:
                languages = found[row["session_id"]]["languages"]
                languages[row["language"]] = (row["turns"], row["speech_ms"])
            return found

        return self._do(read)

    def _do(self, action: Callable[[Database], T]) -> T:
        database = open_database(self.url)
        try:
            return action(database)
        finally:
            database.close()
