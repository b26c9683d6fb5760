"""Who may open a session, decided before the upgrade: key, rate, room, and whether we are leaving.

Event loop only; never blocks.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_plus

RATE_WINDOW_S = 1.0
ANYONE = -1
"""The caller of a server without keys: all share one rate."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An upgrade that does not happen, as HTTP tells it."""

    status: int
    code: str
    message: str
    retry_after_s: int | None = None
    reason: str = "other"
    """Why, in a word, for operators."""


INVALID_KEY = Refusal(401, "InvalidApiKey", "Invalid API-key provided.", reason="key")
BUSY = Refusal(
    503,
    "ServiceUnavailable",
    "The sessions that are open need all of the machine; try again later.",
    5,
    "busy",
)
FULL = Refusal(503, "ServiceUnavailable", "All sessions are taken; try again later.", 1, "full")
DRAINING = Refusal(503, "ServiceUnavailable", "The server is shutting down.", 5, "draining")


class Admission:
    """keys: none means that anyone is let in. clock: seconds that never go back."""

    def __init__(
        self,
        keys: Sequence[str],
        *,
        max_sessions: int,
        sessions_per_second: int,
        clock: Callable[[], float],
        load_room: Callable[[], float] = lambda: math.inf,
    ) -> None:
        """load_room: how many more sessions the engine can take."""
        self._key_hashes = [_hash(key) for key in keys]
        self._max_sessions = max_sessions
        self._sessions_per_second = sessions_per_second
        self._clock = clock
        self._load_room = load_room
        self._recent: defaultdict[int, deque[float]] = defaultdict(deque)
        self.open_sessions = 0
        self.draining = False

    def enter(self, authorization: str | None) -> Refusal | None:
        """Let a caller in, or say why not. Who was let in must `leave`."""
        if self.draining:
            return DRAINING
        caller = self._caller(authorization)
        if caller is None:
            return INVALID_KEY
        if self.open_sessions >= self._max_sessions:
            return FULL
        if self._load_room() < 1:
            return BUSY
        if wait_s := self._wait_s(caller):
            message = f"Requests rate limit exceeded: {self._sessions_per_second} per second."
            return Refusal(429, "Throttling.RateQuota", message, math.ceil(wait_s), "rate")
        self.open_sessions += 1
        return None

    @property
    def room(self) -> int:
        """How many more sessions would be let in now."""
        if self.draining:
            return 0
        return int(max(0, min(self._max_sessions - self.open_sessions, self._load_room())))

    def leave(self) -> None:
        self.open_sessions -= 1

    def _caller(self, authorization: str | None) -> int | None:
        if not self._key_hashes:
            return ANYONE
        scheme, _, key = (authorization or "").strip().partition(" ")
        offered = _hash(key.strip())
        # every key is compared, so that the time taken tells nothing
        matches = [hmac.compare_digest(offered, known) for known in self._key_hashes]
        if scheme.lower() != "bearer" or not any(matches):
            return None
        return matches.index(True)

    def _wait_s(self, caller: int) -> float:
        now_s = self._clock()
        recent = self._recent[caller]
        while recent and now_s - recent[0] >= RATE_WINDOW_S:
            recent.popleft()
        if len(recent) >= self._sessions_per_second:
            return RATE_WINDOW_S - (now_s - recent[0])
        recent.append(now_s)
        return 0.0


def query_value(query_string: str, name: str) -> str | None:
    """A query parameter, also from the broken `a=b?model=…` that SDKs make of a URL with a query.

    The last one wins: SDKs append theirs.
    """
    value = None
    for pair in re.split("[?&]", query_string):
        key, _, text = pair.partition("=")
        if unquote_plus(key) == name:
            value = unquote_plus(text)
    return value


def serves_model(name: str | None, models: Sequence[str]) -> bool:
    """Whether clients may ask for this model."""
    return name is not None and (name in models or name.startswith("qwen3-asr-flash-realtime"))


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
