"""Keys in the database. Everything here blocks and raises DatabaseError."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, select, update

from oyez.accounts.database import Database
from oyez.accounts.keys import NO_LIMITS, Key, KeyLimits, hash_key, new_key, new_key_id
from oyez.accounts.schema import keys
from oyez.accounts.usage import to_ms


def create_key(database: Database, name: str, limits: KeyLimits = NO_LIMITS) -> tuple[str, Key]:
    """A new key, which is not kept, and what is kept of it."""
    secret = new_key()
    key = Key(new_key_id(), name, hash_key(secret), limits, datetime.now(UTC))
    row = {"id": key.id, "name": name, "hash": key.hash, "created_at": key.created_at}
    with database.write() as connection:
        connection.execute(keys.insert().values(**row, **_columns(limits)))
    return secret, key


def all_keys(database: Database) -> list[Key]:
    """Revoked ones too, oldest first."""
    with database.read() as connection:
        rows = connection.execute(select(keys).order_by(keys.c.created_at, keys.c.id)).all()
    return [_key(row) for row in rows]


def revoke_key(database: Database, key_id: str) -> None:
    """From now on; a key that was revoked before keeps its time."""
    change = update(keys).where(keys.c.id == key_id, keys.c.revoked_at.is_(None))
    with database.write() as connection:
        connection.execute(change.values(revoked_at=datetime.now(UTC)))


def rename_key(database: Database, key_id: str, name: str) -> None:
    """Sessions that were keep the name they had."""
    with database.write() as connection:
        connection.execute(update(keys).where(keys.c.id == key_id).values(name=name))


def change_limits(database: Database, key_id: str, limits: KeyLimits) -> None:
    with database.write() as connection:
        connection.execute(update(keys).where(keys.c.id == key_id).values(**_columns(limits)))


def _columns(limits: KeyLimits) -> dict[str, Any]:
    columns = asdict(limits)
    per_day_s = columns.pop("audio_s_per_day")
    columns["audio_ms_per_day"] = None if per_day_s is None else to_ms(per_day_s)
    columns["languages"] = " ".join(limits.languages)
    return columns


def _key(row: Row[Any]) -> Key:
    per_day_ms = row.audio_ms_per_day
    limits = KeyLimits(
        sessions=row.sessions,
        sessions_per_second=row.sessions_per_second,
        audio_s_per_day=None if per_day_ms is None else per_day_ms / 1000,
        languages=tuple(row.languages.split()),
        expires_at=row.expires_at,
    )
    return Key(row.id, row.name, bytes(row.hash), limits, row.created_at, row.revoked_at)
