"""One budget of memory for what sessions hold: input and events that wait, and audio that is needed
until its turn is answered.

Each session has an account. While a key, or all keys together, hold as much as they may, a session
is neither read from nor fed until it holds less. Every session may always have MIN_WAITING_BYTES
waiting and hold MIN_AUDIO_BYTES of audio. That is more than a speaker needs, so a client that uses
up the budget does not hold back speakers.
"""

from __future__ import annotations

from collections import Counter

SESSION_BYTES = 24 << 20
"""The most that may wait in one session: some minutes of audio that a client sends faster than it
is recognised. Reading so far ahead lets pings behind the audio be answered in time."""
MIN_WAITING_BYTES = 256 << 10
MIN_AUDIO_BYTES = 2 << 20
KEY_SHARE = 4
"""A key may hold a fourth of the budget. Callers without a key count as one, and may hold all."""


class ByteBudget:
    """The memory that all sessions share. Event loop only."""

    def __init__(self, total_bytes: int) -> None:
        self._total_bytes = total_bytes
        self._held_bytes = 0
        self._held_by_key: Counter[str | None] = Counter()

    @property
    def held_bytes(self) -> int:
        """The bytes that all sessions hold together."""
        return self._held_bytes

    def account(self, key_id: str | None) -> ByteAccount:
        """Return an account for a session of this key; None: the caller has no key."""
        return ByteAccount(self, key_id)

    def add(self, key_id: str | None, size_bytes: int) -> None:
        """Count that a session of this key holds so many bytes more; negative: fewer."""
        self._held_bytes += size_bytes
        self._held_by_key[key_id] += size_bytes
        if not self._held_by_key[key_id]:
            del self._held_by_key[key_id]

    def has_room(self, key_id: str | None) -> bool:
        """Return whether sessions of this key may hold more than every session always may."""
        share_bytes = self._total_bytes // KEY_SHARE if key_id else self._total_bytes
        is_within_share = self._held_by_key[key_id] < share_bytes
        return is_within_share and self._held_bytes < self._total_bytes


class ByteAccount:
    """The memory of one session. `ByteBudget.account` makes it; call `hold(0, 0)` at its end."""

    def __init__(self, budget: ByteBudget, key_id: str | None) -> None:
        self._budget = budget
        self._key_id = key_id
        self._waiting_bytes = 0
        self._audio_bytes = 0

    def hold(self, waiting_bytes: int, audio_bytes: int) -> None:
        """Set what the session holds now: input and events that wait, and audio that turns need."""
        before_bytes = self._waiting_bytes + self._audio_bytes
        self._waiting_bytes, self._audio_bytes = waiting_bytes, audio_bytes
        if change_bytes := waiting_bytes + audio_bytes - before_bytes:
            self._budget.add(self._key_id, change_bytes)

    @property
    def may_read(self) -> bool:
        """Whether more may be read from the client."""
        if self._waiting_bytes < MIN_WAITING_BYTES:
            return True
        return self._waiting_bytes < SESSION_BYTES and self._budget.has_room(self._key_id)

    @property
    def may_feed(self) -> bool:
        """Whether more of the waiting input may become audio of turns."""
        return self._audio_bytes < MIN_AUDIO_BYTES or self._budget.has_room(self._key_id)
