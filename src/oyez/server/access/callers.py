"""Who is calling: anyone, a key of the settings, or a key of the database.

Event loop; never blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from oyez.accounts.directory import KeyDirectory
from oyez.accounts.keys import NO_LIMITS, Key, KeyLimits
from oyez.server.access.refusals import EXPIRED_KEY, INVALID_KEY, NO_KEY, REVOKED_KEY, Refusal
from oyez.server.access.static_keys import StaticKeys


@dataclass(frozen=True, slots=True)
class Caller:
    key_id: str | None
    """Fit for logs; None: anyone."""
    name: str | None
    """Of the key, as its owner named it."""
    limits: KeyLimits = NO_LIMITS
    """When it came in."""
    is_static: bool = False


ANYONE = Caller(None, None)
"""The caller of a server without keys: all are one. Who may be it: `anonymous`."""


def now() -> datetime:
    return datetime.now(UTC)


class Callers:
    """Knows every key that counts at the moment."""

    def __init__(
        self,
        static: StaticKeys,
        directory: KeyDirectory,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._static = static
        self._directory = directory
        self._clock = clock
        self._had_keys = static.is_configured

    @property
    def need_keys(self) -> bool:
        """Whether a key is needed: one was ever made, or the settings name a place for them. That
        none counts any more must not let in everybody."""
        self._had_keys = self._had_keys or self._directory.has_any()
        return self._had_keys

    @property
    def has_several_keys(self) -> bool:
        """Whether more than one key is let in."""
        now, keys = self._clock(), self._directory.keys()
        return len(self._static) + sum(key.is_active(now) for key in keys) > 1

    @property
    def has_active(self) -> bool:
        """Whether there is a key that would be let in."""
        return bool(self._static) or self._directory.has_active(self._clock())

    def find(self, offered: str | None) -> Caller | Refusal:
        """Whose key this is, or why it is none; ANYONE where there are no keys."""
        if not self.need_keys:
            return ANYONE
        if not offered:
            return NO_KEY
        if static_id := self._static.find(offered):
            return Caller(static_id, static_id, is_static=True)
        key = self._directory.find(offered)
        if key is None:
            return INVALID_KEY
        return self._objection(key) or Caller(key.id, key.name, key.limits)

    def objection(self, caller: Caller) -> Refusal | None:
        """Why a caller that was let in may not go on; None: it may."""
        if caller.key_id is None:
            return None
        if caller.is_static:
            return None if self._static.holds(caller.key_id) else REVOKED_KEY
        key = self._directory.get(caller.key_id)
        return self._objection(key) if key else REVOKED_KEY

    def limits(self, caller: Caller) -> KeyLimits:
        """What the caller may do now: limits can change while a session is open."""
        key = self._directory.get(caller.key_id) if caller.key_id else None
        return key.limits if key else caller.limits

    def _objection(self, key: Key) -> Refusal | None:
        if key.revoked_at is not None:
            return REVOKED_KEY
        return EXPIRED_KEY if key.is_expired(self._clock()) else None
