"""The keys of the database, at hand for the event loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from oyez.accounts.database import Database
from oyez.accounts.key_store import all_keys
from oyez.accounts.keys import Key, hash_key


class _Known(NamedTuple):
    """All keys at one moment."""

    by_hash: Mapping[bytes, Key]
    by_id: Mapping[str, Key]


class KeyDirectory:
    """A snapshot of all keys, empty until the first `refresh`. Any thread may ask it.

    database: None keeps it empty.
    """

    def __init__(self, database: Database | None) -> None:
        self._database = database
        self._known = _Known({}, {})

    def find(self, offered: str) -> Key | None:
        """Whose key this is, revoked and expired ones too: ask `Key.is_active`.

        Keys are found by their SHA-256, which nobody can steer: the time taken tells nothing.
        """
        return self._known.by_hash.get(hash_key(offered))

    def get(self, key_id: str) -> Key | None:
        """What is known of this key now."""
        return self._known.by_id.get(key_id)

    def keys(self) -> Sequence[Key]:
        """All, oldest first."""
        return tuple(self._known.by_id.values())

    def has_any(self) -> bool:
        """Whether a key was ever made, revoked and expired ones included: none is deleted."""
        return bool(self._known.by_id)

    def has_active(self, now: datetime) -> bool:
        """Whether any key would be let in."""
        return any(key.is_active(now) for key in self._known.by_id.values())

    def refresh(self) -> None:
        """Read the keys anew. Blocks; raises DatabaseError and then keeps what was known."""
        if self._database is None:
            return
        self._take(all_keys(self._database))

    def _take(self, keys: Sequence[Key]) -> None:
        # both at once: a new key that has a hash and no id yet would count as revoked
        self._known = _Known({key.hash: key for key in keys}, {key.id: key for key in keys})
