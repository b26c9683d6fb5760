"""The keys of settings `api_key` and `api_keys_file`, reread when the file changes."""

from __future__ import annotations

import hmac
import logging
import threading
from collections.abc import Iterable

from oyez.accounts.keys import hash_key
from oyez.settings import Settings, SettingsError

log = logging.getLogger(__name__)

Stamp = tuple[int, int, int]
"""Which file it is, when it was changed, and its size."""


class StaticKeys:
    """A snapshot that any thread may ask. Building it raises SettingsError when the file cannot be
    used."""

    def __init__(self, settings: Settings) -> None:
        self.is_configured = settings.has_key_source
        """Keys are needed, even if there is none."""
        self._settings = settings
        self._reading = threading.Lock()
        self._read_stamp = self._seen_stamp = self._file_stamp()
        self._ids_given = 0
        self._id_by_hash: dict[bytes, str] = {}
        self._id_by_hash = self._named(settings.keys())

    def __len__(self) -> int:
        return len(self._id_by_hash)

    def find(self, offered: str) -> str | None:
        """The id of the key, `static-1` and so on; None: it is none of them."""
        offered_hash = hash_key(offered)
        found = None
        # every key is compared, so that the time taken tells nothing
        for known, key_id in self._id_by_hash.items():
            if hmac.compare_digest(offered_hash, known):
                found = key_id
        return found

    def holds(self, key_id: str) -> bool:
        """Whether the key of this id still counts."""
        return key_id in self._id_by_hash.values()

    def reload(self) -> str:
        """Read the file anew: SIGHUP. Blocks. Raises SettingsError, and then the old keys stay."""
        with self._reading:
            self._read_stamp = self._file_stamp()
            self._id_by_hash = self._named(self._settings.keys())
        return f"{len(self)} static"

    def reload_if_changed(self) -> None:
        """The same, if the file is another one than it was. Blocks. A file that cannot be used is
        told in the log, once. Call it at least a second apart: a file that changed in between may
        still be half written, and whose key is missing would lose their sessions."""
        before, self._seen_stamp = self._seen_stamp, self._file_stamp()
        if self._seen_stamp in (self._read_stamp, None) or self._seen_stamp != before:
            return
        try:
            log.info("api_keys_file changed: %s", self.reload())
        except SettingsError as error:
            log.error("keys not reloaded, the old ones stay in force: %s", error)

    def _file_stamp(self) -> Stamp | None:
        try:
            found = self._settings.api_keys_file and self._settings.api_keys_file.stat()
        except OSError:
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_size) if found else None

    def _named(self, keys: Iterable[str]) -> dict[bytes, str]:
        """Hash to id. A key that was there before keeps its id, and no other key gets it."""
        named: dict[bytes, str] = {}
        for key_hash in map(hash_key, keys):
            if key_hash in named:
                continue
            if key_hash not in self._id_by_hash:
                self._ids_given += 1
            named[key_hash] = self._id_by_hash.get(key_hash, f"static-{self._ids_given}")
        return named
