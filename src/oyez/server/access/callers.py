"""The callers of the server: which key a caller has, and what the key allows now.

Keys come from two sources: the settings (`StaticKeys`) and the database (`KeyDirectory`).
`KeyWatch` keeps both up to date while the server runs.
"""

from __future__ import annotations

import hmac
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web

from oyez.accounts.database import DatabaseError
from oyez.accounts.keys import NO_LIMITS, Key, KeyDirectory, KeyLimits, hash_key
from oyez.server.access.refusals import EXPIRED_KEY, INVALID_KEY, NO_KEY, REVOKED_KEY, Refusal
from oyez.settings import Settings, SettingsError

FILE_INTERVAL_S = 1.0
DIRECTORY_INTERVAL_S = 2.0
"""How often the keys file and the database are checked for changed keys."""

FileState = tuple[int, int, int]
"""The inode, the time of the last change and the size of a file."""

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
        self._reading = threading.Lock()
        self._read_state = self._seen_state = self._file_state()
        self._ids_given = 0
        self._id_by_hash: dict[bytes, str] = {}
        self._id_by_hash = self._with_ids(settings.keys())

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
        """Read the file again, and return a summary for the log. Blocks.

        Raises SettingsError if the file cannot be used; then the old keys stay.
        """
        with self._reading:
            self._read_state = self._file_state()
            self._id_by_hash = self._with_ids(self._settings.keys())
        return f"{len(self)} static"

    def reload_if_changed(self) -> None:
        """Read the file again once a change of it has come to rest. Blocks.

        A changed file may still be half written, and a key that is missing from it would lose its
        sessions. So the file is read when two calls have found it in the same new state. Leave a
        second between two calls. A file that cannot be used is logged once.
        """
        before, self._seen_state = self._seen_state, self._file_state()
        if self._seen_state in (self._read_state, None) or self._seen_state != before:
            return
        try:
            log.info("api_keys_file changed: %s", self.reload())
        except SettingsError as error:
            log.error("keys not reloaded, the old ones stay in force: %s", error)

    def _file_state(self) -> FileState | None:
        try:
            found = self._settings.api_keys_file and self._settings.api_keys_file.stat()
        except OSError:
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_size) if found else None

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


class KeyWatch:
    """Reads keys again that are created, changed or revoked while the server runs.

    Each source has a thread of its own, so that a database that hangs delays neither the reading
    of the keys file nor the end of the server.
    """

    def __init__(self, static: StaticKeys, directory: KeyDirectory) -> None:
        self._static = static
        self._directory = directory
        self._stopped = threading.Event()
        self._is_failing = False

    async def run_with(self, app: web.Application) -> AsyncIterator[None]:
        """Run while the application runs. For `Application.cleanup_ctx`."""
        for interval_s, read in (
            (FILE_INTERVAL_S, self._static.reload_if_changed),
            (DIRECTORY_INTERVAL_S, self._refresh),
        ):
            threading.Thread(
                target=self._run, args=(interval_s, read), name="oyez-keys", daemon=True
            ).start()
        yield
        self._stopped.set()

    def _run(self, interval_s: float, read: Callable[[], None]) -> None:
        while not self._stopped.wait(interval_s):
            try:
                read()
            except Exception:  # no error may end the thread
                log.exception("keys could not be read")

    def _refresh(self) -> None:
        try:
            self._directory.refresh()
        except DatabaseError as error:
            if not self._is_failing:
                log.error("keys cannot be read, those known stay in force: %s", error)
            self._is_failing = True
        else:
            self._is_failing = False
