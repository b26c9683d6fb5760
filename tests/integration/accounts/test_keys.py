from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import text

from oyez.accounts.database import Database, DatabaseError, open_database
from oyez.accounts.keys import (
    NO_LIMITS,
    KeyDirectory,
    KeyLimits,
    all_keys,
    change_limits,
    create_key,
    revoke_key,
)

EVERY_LIMIT = KeyLimits(
    sessions=2,
    sessions_per_second=3,
    audio_s_per_day=5400.25,
    languages=("en", "de"),
    expires_at=datetime(2027, 1, 31, 18, 30, 0, 123456, tzinfo=UTC),
)


def test_a_key_is_found_by_what_was_shown_once(database: Database) -> None:
    secret, key = create_key(database, "ci", EVERY_LIMIT)
    directory = KeyDirectory(database)
    assert directory.find(secret) is None  # nothing is known before the first refresh
    directory.refresh()
    assert directory.find(secret) == directory.get(key.id) == key
    assert key.limits == EVERY_LIMIT
    assert directory.find(secret + "x") is None
    assert directory.find("\udcff not even Unicode") is None


def test_keys_differ_and_hold_256_bits(database: Database) -> None:
    made = [create_key(database, "same")[0] for _ in range(20)]
    assert len(set(made)) == 20
    assert all(secret.startswith("sk-oyez-") and len(secret) == 8 + 43 for secret in made)


def test_the_database_does_not_hold_the_key(database: Database) -> None:
    secret, _ = create_key(database, "ci")
    with database.read() as connection:
        row = connection.execute(text("SELECT * FROM keys")).one()
    assert secret not in repr(row) and secret.removeprefix("sk-oyez-") not in repr(row)


def test_revoking_is_for_good_and_keeps_its_time(database: Database) -> None:
    secret, key = create_key(database, "ci")
    revoke_key(database, key.id)
    first = all_keys(database)[0].revoked_at
    time.sleep(0.002)
    revoke_key(database, key.id)
    directory = KeyDirectory(database)
    directory.refresh()
    found = directory.find(secret)
    assert found is not None and found.revoked_at == first is not None
    assert not found.is_active(datetime.now(UTC))
    assert not directory.has_active(datetime.now(UTC))


def test_limits_change_and_are_lifted(database: Database) -> None:
    _, key = create_key(database, "ci")
    change_limits(database, key.id, EVERY_LIMIT)
    assert all_keys(database)[0].limits == EVERY_LIMIT
    change_limits(database, key.id, NO_LIMITS)
    assert all_keys(database)[0].limits == NO_LIMITS


def test_expiry_is_a_moment_whatever_its_time_zone(database: Database) -> None:
    india = timezone(timedelta(hours=5, minutes=30))
    create_key(database, "ci", KeyLimits(expires_at=datetime(2027, 1, 1, 5, 30, tzinfo=india)))
    (key,) = all_keys(database)
    midnight = datetime(2027, 1, 1, tzinfo=UTC)
    assert key.limits.expires_at == midnight
    assert key.is_active(midnight - timedelta(microseconds=1))
    assert not key.is_active(midnight)


def test_a_directory_keeps_what_it_knew_when_the_database_fails(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/a.db")
    secret, key = create_key(database, "ci")
    directory = KeyDirectory(database)
    directory.refresh()
    with database.write() as connection:
        connection.execute(text("DROP TABLE keys"))
    with pytest.raises(DatabaseError, match="no such table"):
        directory.refresh()
    assert directory.find(secret) == key


def test_a_directory_without_a_database_is_empty() -> None:
    directory = KeyDirectory(None)
    directory.refresh()
    assert directory.find("any") is None
    assert list(directory.keys()) == []
