"""The callers of the server: which key a caller has, and what the key allows now.

Keys come from two sources: the settings, and the database of `Accounts`.
"""

from __future__ import annotations

import hmac
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from oyez.accounts.database import OFF, DatabaseError, open_database
from oyez.accounts.keys import NO_LIMITS, Key, KeyDirectory, KeyLimits, hash_key
from oyez.accounts.ledger import Ledger
from oyez.metrics import Metrics
from oyez.server.access.refusals import EXPIRED_KEY, INVALID_KEY, NO_KEY, REVOKED_KEY, Refusal
from oyez.settings import Settings

DIRECTORY_INTERVAL_S = 2.0
"""How often the database is read for changed keys."""

DatabaseState = Literal["ok", "behind"]

log = logging.getLogger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request, as far as the server distinguishes callers."""

    key_id: str | None
    """The public id of the key, which logs may show; None for a caller without a key."""
    name: str | None
    """The name that the operator gave to the key; the id of a key of the settings."""
    limits: KeyLimits = NO_LIMITS
    """The limits of the key when the caller was let in."""


ANONYMOUS = Caller(None, None)
"""The caller of a server without keys. All callers without a key count as one."""


class Accounts:
    """The keys and the usage of a server, in a database or without one.

    Creating and closing it blocks: do this outside the event loop. Raises DatabaseError if the
    database cannot be used at the start; if it fails later, the server goes on without it.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._database = None
        if settings.database != OFF:
            self._database = open_database(settings.database, create=settings.creates_database)
        self.directory = KeyDirectory(self._database)
        self.ledger = Ledger(
            self._database,
            price_per_second=settings.price_per_second,
            currency=settings.currency,
            metrics=metrics,
        )
        self._closing = threading.Event()
        try:
            self.directory.refresh()
            self.ledger.start()
        except DatabaseError:
            self._close_database()
            raise
        # A thread of its own: a database that hangs delays neither anything else that is read
        # again nor the end of the server.
        if self._database is not None:
            threading.Thread(target=self._read_keys, name="oyez-keys", daemon=True).start()

    @property
    def state(self) -> DatabaseState | None:
        """The state of the database; None without a database."""
        if self._database is None:
            return None
        return "behind" if self.ledger.behind else "ok"

    def reload(self) -> str:
        """Read the keys of the database now, and return a summary for the log. Blocks. Raises
        DatabaseError; then those known stay."""
        self.directory.refresh()
        return f"{len(self.directory.keys())} keys"

    def close(self, timeout_s: float) -> None:
        """Write pending usage for at most `timeout_s`. The next start writes the rest."""
        self._closing.set()
        self.ledger.stop(timeout_s)
        self._close_database()

    def _close_database(self) -> None:
        if self._database is not None:
            self._database.close()

    def _read_keys(self) -> None:
        """Read the keys at regular intervals, until the end. An outage is logged once."""
        is_failing = False
        while not self._closing.wait(DIRECTORY_INTERVAL_S):
            try:
                self.directory.refresh()
                is_failing = False
            except DatabaseError as error:
                if not is_failing:
                    log.error("keys cannot be read, those known stay in force: %s", error)
                is_failing = True
            except Exception:  # no error may end the thread
                log.exception("keys could not be read")


class Callers:
    """All keys that are valid now. For the event loop: no method but `reload` blocks."""

    def __init__(
        self,
        settings: Settings,
        directory: KeyDirectory,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Read the keys of the settings. Raises SettingsError if their file cannot be used."""
        self._settings = settings
        self._directory = directory
        self._clock = clock
        self._had_keys = settings.has_key_source
        self._ids_given = 0
        self._static: dict[bytes, str] = {}
        """The ids of the keys of the settings, such as `static-1`, by the hashes of the keys."""
        self.reload()

    def reload(self) -> str:
        """Read the keys of the settings again, and return a summary for the log. Blocks; one call
        at a time, in any thread. Raises SettingsError if their file cannot be used; then the old
        keys stay.

        A known key keeps its id, and the id of a removed key is not used again.
        """
        ids: dict[bytes, str] = {}
        for key_hash in map(hash_key, self._settings.keys()):
            if key_hash not in self._static and key_hash not in ids:
                self._ids_given += 1
            ids.setdefault(key_hash, self._static.get(key_hash, f"static-{self._ids_given}"))
        self._static = ids
        return f"{len(ids)} static"

    @property
    def need_keys(self) -> bool:
        """True if callers need a key: a key was ever created, or a setting names a source of keys.

        This stays true when no key is valid any more, because the loss of the last key must not
        open the server.
        """
        self._had_keys = self._had_keys or self._directory.has_any()
        return self._had_keys

    @property
    def has_several_keys(self) -> bool:
        """True if more than one key is valid."""
        now, keys = self._clock(), self._directory.keys()
        return len(self._static) + sum(key.is_active(now) for key in keys) > 1

    @property
    def has_active(self) -> bool:
        """True if at least one key is valid."""
        return bool(self._static) or self._directory.has_active(self._clock())

    def find(self, offered: str | None) -> Caller | Refusal:
        """The caller with this key, or the refusal; ANONYMOUS on a server without keys."""
        if not self.need_keys:
            return ANONYMOUS
        if not offered:
            return NO_KEY
        offered_hash = hash_key(offered)
        # Every key is compared, in constant time, so that the duration reveals nothing.
        keys = self._static.items()
        if found := [own for known, own in keys if hmac.compare_digest(offered_hash, known)]:
            return Caller(found[0], found[0])
        key = self._directory.find(offered)
        if key is None:
            return INVALID_KEY
        return self._check_key(key) or Caller(key.id, key.name, key.limits)

    def check(self, caller: Caller) -> Refusal | None:
        """The refusal if the key of a caller that was let in is not valid any more, or None."""
        if caller.key_id is None or caller.key_id in self._static.values():
            return None
        key = self._directory.get(caller.key_id)
        return self._check_key(key) if key else REVOKED_KEY

    def limits(self, caller: Caller) -> KeyLimits:
        """The limits of the caller now. They can change while a session is open."""
        key = self._directory.get(caller.key_id) if caller.key_id else None
        return key.limits if key else caller.limits

    def _check_key(self, key: Key) -> Refusal | None:
        if key.revoked_at is not None:
            return REVOKED_KEY
        return EXPIRED_KEY if key.is_expired(self._clock()) else None
