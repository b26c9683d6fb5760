"""The callers of the server: which key a caller has, and what the key allows now.

Keys come from two sources: the settings (`StaticKeys`), and the database of `Accounts`.
"""

from __future__ import annotations

import hmac
import logging
import threading
from collections.abc import Callable, Iterable
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
    """The name that the operator gave to the key."""
    limits: KeyLimits = NO_LIMITS
    """The limits of the key when the caller was let in."""
    is_static: bool = False
    """True if the key comes from the settings."""


ANONYMOUS = Caller(None, None)
"""The caller of a server without keys. All callers without a key count as one."""


class StaticKeys:
    """The keys of the settings `api_key` and `api_keys_file`. Any thread may use it.

    Raises SettingsError if the file cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.is_configured = settings.has_key_source
        """True if a setting names a source of keys, even if the source holds none."""
        self._settings = settings
        self._ids_given = 0
        self._id_by_hash: dict[bytes, str] = {}
        self.reload()

    def __len__(self) -> int:
        return len(self._id_by_hash)

    def find(self, offered: str) -> str | None:
        """The id of the key that was offered, such as `static-1`; None if the key is unknown."""
        offered_hash = hash_key(offered)
        found = None
        # Every key is compared, in constant time, so that the duration reveals nothing.
        for known, key_id in self._id_by_hash.items():
            if hmac.compare_digest(offered_hash, known):
                found = key_id
        return found

    def holds(self, key_id: str) -> bool:
        """True if the key with this id is still valid."""
        return key_id in self._id_by_hash.values()

    def reload(self) -> str:
        """Read the file again, and return a summary for the log. Blocks; one call at a time.

        Raises SettingsError if the file cannot be used; then the old keys stay.
        """
        self._id_by_hash = self._with_ids(self._settings.keys())
        return f"{len(self)} static"

    def _with_ids(self, keys: Iterable[str]) -> dict[bytes, str]:
        """Ids by hash. A known key keeps its id, and the id of a removed key is not used again."""
        ids: dict[bytes, str] = {}
        for key_hash in map(hash_key, keys):
            if key_hash in ids:
                continue
            if key_hash not in self._id_by_hash:
                self._ids_given += 1
            ids[key_hash] = self._id_by_hash.get(key_hash, f"static-{self._ids_given}")
        return ids


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
        return f"{len(self.directory.keys())} in the database"

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
    """All keys that are valid now. For the event loop: no method blocks."""

    def __init__(
        self,
        static: StaticKeys,
        directory: KeyDirectory,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._static = static
        self._directory = directory
        self._clock = clock
        self._had_keys = static.is_configured

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
        if static_id := self._static.find(offered):
            return Caller(static_id, static_id, is_static=True)
        key = self._directory.find(offered)
        if key is None:
            return INVALID_KEY
        return self._check_key(key) or Caller(key.id, key.name, key.limits)

    def check(self, caller: Caller) -> Refusal | None:
        """The refusal if the key of a caller that was let in is not valid any more, or None."""
        if caller.key_id is None:
            return None
        if caller.is_static:
            return None if self._static.holds(caller.key_id) else REVOKED_KEY
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
