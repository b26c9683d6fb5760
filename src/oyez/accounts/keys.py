"""API keys: how they are made, what is kept of them, and what they allow.

A key is 256 random bits and is shown once. The database keeps its SHA-256: a slow password hash
would add nothing, because 2^256 keys cannot be tried, however fast the hash is.

Functions that take a database block and raise DatabaseError.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from oyez.accounts.database import Database
from oyez.accounts.schema import keys

PREFIX = "sk-oyez-"
KEY_BYTES = 32
ID_PREFIX = "key_"
ID_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""Letters and digits that do not look alike, because people read ids aloud and type them."""
ID_LENGTH = 8


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What one key may do. None means no limit of its own; the limits of the server still hold."""

    sessions: int | None = None
    """The number of sessions that may be open at once, at least 1."""
    sessions_per_second: int | None = None
    """The number of new sessions per second, at least 1."""
    audio_s_per_day: float | None = None
    """The seconds of audio per day (UTC), above 0."""
    languages: tuple[str, ...] = ()
    """The codes of the languages that may be spoken; an empty tuple allows all."""
    expires_at: datetime | None = None
    """The time (UTC) from which the key is refused."""


NO_LIMITS = KeyLimits()


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key, without the key itself."""

    id: str
    """A public name, which logs and tables may show."""
    name: str
    hash: bytes
    """The SHA-256 of the key."""
    limits: KeyLimits
    created_at: datetime
    """In UTC."""
    revoked_at: datetime | None = None
    """In UTC; None while the key is not revoked."""

    def is_expired(self, now: datetime) -> bool:
        return self.limits.expires_at is not None and now >= self.limits.expires_at

    def is_active(self, now: datetime) -> bool:
        """True if the key is neither revoked nor expired."""
        return self.revoked_at is None and not self.is_expired(now)


def hash_key(key: str) -> bytes:
    """The SHA-256 of a key. It accepts any text that a caller may send."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def create_key(database: Database, name: str, limits: KeyLimits = NO_LIMITS) -> tuple[str, Key]:
    """Create a key. Returns the key itself, which is not kept, and what is kept of it.

    The key is `sk-oyez-` and 43 characters of base64url.
    """
    secret = PREFIX + secrets.token_urlsafe(KEY_BYTES)
    key_id = ID_PREFIX + "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH))
    key = Key(key_id, name, hash_key(secret), limits, datetime.now(UTC))
    row = {"id": key.id, "name": name, "hash": key.hash, "created_at": key.created_at}
    with database.write() as connection:
        connection.execute(keys.insert().values(**row, **_limit_columns(limits)))
    return secret, key


def all_keys(database: Database) -> list[Key]:
    """All keys, including revoked ones, oldest first."""
    with database.read() as connection:
        rows = connection.execute(sa.select(keys).order_by(keys.c.created_at, keys.c.id)).all()
    return [_key(row) for row in rows]


def revoke_key(database: Database, key_id: str) -> None:
    """Revoke a key now. A key that is already revoked keeps its time."""
    _change(database, key_id, revoked_at=sa.func.coalesce(keys.c.revoked_at, datetime.now(UTC)))


def rename_key(database: Database, key_id: str, name: str) -> None:
    """Give a key another name. Sessions already recorded keep the old name."""
    _change(database, key_id, name=name)


def change_limits(database: Database, key_id: str, limits: KeyLimits) -> None:
    """Replace all limits of a key."""
    _change(database, key_id, **_limit_columns(limits))


def _change(database: Database, key_id: str, **columns: Any) -> None:
    with database.write() as connection:
        connection.execute(sa.update(keys).where(keys.c.id == key_id).values(**columns))


def _limit_columns(limits: KeyLimits) -> dict[str, Any]:
    columns = asdict(limits)
    per_day_s = columns.pop("audio_s_per_day")
    columns["audio_ms_per_day"] = None if per_day_s is None else round(per_day_s * 1000)
    columns["languages"] = " ".join(limits.languages)
    return columns


def _key(row: sa.Row[Any]) -> Key:
    per_day_ms = row.audio_ms_per_day
    limits = KeyLimits(
        sessions=row.sessions,
        sessions_per_second=row.sessions_per_second,
        audio_s_per_day=None if per_day_ms is None else per_day_ms / 1000,
        languages=tuple(row.languages.split()),
        expires_at=row.expires_at,
    )
    return Key(row.id, row.name, bytes(row.hash), limits, row.created_at, row.revoked_at)


class KeyDirectory:
    """A snapshot of all keys in memory, which the event loop can ask without blocking.

    It is empty until the first `refresh`, and stays empty if `database` is None. Any thread may
    use it.
    """

    def __init__(self, database: Database | None) -> None:
        self._database = database
        self._replace(())

    def find(self, offered: str) -> Key | None:
        """The key that was offered, even if it is revoked or expired: check `Key.is_active`.

        Keys are found by their SHA-256. A caller cannot choose the hash, so the time that this
        takes reveals nothing about other keys.
        """
        return self._snapshot[0].get(hash_key(offered))

    def get(self, key_id: str) -> Key | None:
        """The current state of the key with this id."""
        return self._snapshot[1].get(key_id)

    def keys(self) -> Sequence[Key]:
        """All keys, oldest first."""
        return tuple(self._snapshot[1].values())

    def has_any(self) -> bool:
        """True if a key was ever created. Keys are never deleted, so revoked ones count too."""
        return bool(self._snapshot[1])

    def has_active(self, now: datetime) -> bool:
        """True if at least one key is neither revoked nor expired."""
        return any(key.is_active(now) for key in self.keys())

    def refresh(self) -> None:
        """Read the keys again. Blocks. Raises DatabaseError, and then keeps the old snapshot."""
        if self._database is not None:
            self._replace(all_keys(self._database))

    def _replace(self, found: Sequence[Key]) -> None:
        # One assignment replaces both maps. If another thread saw a new key by its hash but not
        # yet by its id, it would take the key for a revoked one.
        self._snapshot = {key.hash: key for key in found}, {key.id: key for key in found}
