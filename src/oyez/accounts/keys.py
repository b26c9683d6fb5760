"""API keys: what they look like, what is kept of them, what they may do.

A key is 256 random bits and is shown once; the database keeps its SHA-256. A slow password hash
would protect nothing: nobody can try 2^256 keys, however fast the hash.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

PREFIX = "sk-oyez-"
KEY_BYTES = 32
ID_PREFIX = "key_"
ID_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without letters that look like digits: ids are read out and typed."""
ID_LENGTH = 8


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What one key may do. None: no limit of its own; the server's still hold."""

    sessions: int | None = None
    """Sessions open at once, at least 1."""
    sessions_per_second: int | None = None
    """New sessions a second, at least 1."""
    audio_s_per_day: float | None = None
    """Seconds of audio a day (UTC), above 0."""
    languages: tuple[str, ...] = ()
    """Codes of the languages that may be spoken; empty: all."""
    expires_at: datetime | None = None
    """UTC. From then on the key is not let in."""


NO_LIMITS = KeyLimits()


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key; not the key itself."""

    id: str
    """Public: fit for logs and tables."""
    name: str
    hash: bytes
    """SHA-256 of the key."""
    limits: KeyLimits
    created_at: datetime
    """UTC."""
    revoked_at: datetime | None = None
    """UTC."""

    def is_expired(self, now: datetime) -> bool:
        return self.limits.expires_at is not None and now >= self.limits.expires_at

    def is_active(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and not self.is_expired(now)


def new_key() -> str:
    """A key nobody else has: `sk-oyez-` and 43 characters of base64url."""
    random = base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES))
    return PREFIX + random.decode().rstrip("=")


def new_key_id() -> str:
    return ID_PREFIX + "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH))


def hash_key(key: str) -> bytes:
    """What is kept of a key, whatever characters a caller offers."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
