"""The keys of the database, at hand for the event loop."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from oyez.accounts.database import Database
from oyez.accounts.key_store import all_keys
from oyez.accounts.keys import Key, hash_key


class KeyDirectory:
    """A snapshot of all keys, empty until the first `refresh`. Any thread may ask it.

    database: None keeps it empty.
    """

    def __init__(self, database: Database | None) -> None:
        self._database = database
        self._by_hash: dict[bytes, Key] = {}
        self._by_id: dict[str, Key] = {}

    def find(self, offered: str) -> Key | None:
        """Whose key this is, revoked and expired ones too: ask `Key.is_active`.

        Keys are found by their SHA-256, which nobody can steer: the time taken tells nothing.
        """
        return self._by_hash.get(hash_key(offered))

    def get(self, key_id: str) -> Key | None:
        """What is known of this key now."""
        return self._by_id.get(key_id)

    def keys(self) -> Sequence[Key]:
        """All, oldest first."""
        return tuple(self._by_id.values())

    def has_active(self, now: datetime) -> bool:
        """Whether any key would be let in."""
        return any(key.is_active(now) for key in self._by_id.values())

    def refresh(self) -> None:
        """Read the keys anew. Blocks; raises DatabaseError and then keeps what was known."""
        if self._database is None:
            return
        known = all_keys(self._database)
        self._by_hash = {key.hash: key for key in known}
        self._by_id = {key.id: key for key in known}
