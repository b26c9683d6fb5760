"""Admission: which callers may open a session now, by room, rate, and what their key allows.

For the event loop: nothing here blocks.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from time import monotonic

from oyez.accounts.ledger import Ledger
from oyez.server.access.callers import Caller, Callers, utc_now
from oyez.server.access.refusals import (
    BUSY,
    DRAINING,
    FULL,
    LEDGER_FULL,
    SHARE_USED,
    Refusal,
    too_fast,
    too_many_sessions,
    used_up,
)
from oyez.settings import Settings

RATE_WINDOW_S = 1.0


class Quotas:
    """How much audio each key may still send today (UTC)."""

    def __init__(
        self, ledger: Ledger, callers: Callers, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._ledger = ledger
        self._callers = callers
        self._clock = clock
        self._unreported_s: defaultdict[str, float] = defaultdict(float)

    @property
    def ledger_full(self) -> bool:
        """True if so much usage waits for the database that no session should begin."""
        return self._ledger.full

    def add_audio(self, caller: Caller, audio_s: float) -> None:
        """Count audio that is not in the ledger yet. A negative amount takes it off again."""
        if caller.key_id is None:
            return
        self._unreported_s[caller.key_id] += audio_s
        if self._unreported_s[caller.key_id] < 1e-6:
            del self._unreported_s[caller.key_id]

    def left_s(self, caller: Caller) -> float:
        """The seconds of audio that the caller may still send today; negative if it sent more."""
        max_s = self._callers.limits(caller).audio_s_per_day
        if max_s is None or caller.key_id is None:
            return math.inf
        used_s = self._ledger.audio_today_s(caller.key_id)
        return max_s - used_s - self._unreported_s.get(caller.key_id, 0.0)

    def check(self, caller: Caller) -> Refusal | None:
        """The refusal if the caller has used up its audio of the day, or None."""
        if self.left_s(caller) > 0:
            return None
        now = self._clock().astimezone(UTC)
        midnight = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
        wait_s = math.ceil((midnight - now).total_seconds())
        return used_up(self._callers.limits(caller).audio_s_per_day or 0.0, wait_s)


class Admission:
    """Counts the open sessions and the new ones per second, and decides about the next one."""

    def __init__(
        self,
        settings: Settings,
        callers: Callers,
        quotas: Quotas,
        load_room: Callable[[], float],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """load_room: returns how many more sessions the engine can take. clock: returns seconds
        that never go back."""
        self._max_sessions = settings.max_sessions
        self._sessions_per_second = settings.sessions_per_second
        """The rate of each key without its own, and of all callers without a key together."""
        self._reserved_share = settings.reserved_share
        """The part of the room for keys with few sessions, where there are several keys."""
        self._callers = callers
        self._quotas = quotas
        self._load_room = load_room
        self._clock = clock
        self._recent_s: defaultdict[str | None, deque[float]] = defaultdict(deque)
        self._open: Counter[str | None] = Counter()
        self.draining = False
        """True once the server shuts down: no session is admitted any more."""

    @property
    def open_sessions(self) -> int:
        return self._open.total()

    @property
    def room(self) -> int:
        """How many more sessions would be admitted now."""
        if self.draining or self._quotas.ledger_full:
            return 0
        return int(max(0, min(self._max_sessions - self.open_sessions, self._load_room())))

    def enter(self, caller: Caller) -> Refusal | None:
        """Admit a session, or return the refusal. Call `leave` when an admitted session ends."""
        refusal = self.check(caller)
        if refusal is None:
            self._recent_s[caller.key_id].append(self._clock())
            self._open[caller.key_id] += 1
        return refusal

    def enter_request(self, caller: Caller) -> Refusal | None:
        """Admit a request that is not a session, or return the refusal. It counts for the rate."""
        if self.draining:
            return DRAINING
        if self._quotas.ledger_full:
            return LEDGER_FULL
        refusal = self._quotas.check(caller) or self._check_rate(caller)
        if refusal is None:
            self._recent_s[caller.key_id].append(self._clock())
        return refusal

    def leave(self, caller: Caller) -> None:
        """Count that a session which was admitted has ended."""
        self._open[caller.key_id] -= 1
        if not self._open[caller.key_id]:
            del self._open[caller.key_id]

    def check(self, caller: Caller) -> Refusal | None:
        """The refusal if a session of this caller would not be admitted now, or None. The call
        itself does not count for the rate."""
        if self.draining:
            return DRAINING
        own_max = caller.limits.sessions
        if own_max is not None and self._open[caller.key_id] >= own_max:
            return too_many_sessions(own_max)
        if refusal := self._quotas.check(caller):
            return refusal
        if self._quotas.ledger_full:
            return LEDGER_FULL
        if self.open_sessions >= self._max_sessions:
            return FULL
        if self._load_room() < 1:
            return BUSY
        return self._check_share(caller) or self._check_rate(caller)

    def _check_share(self, caller: Caller) -> Refusal | None:
        """Keep the last part of the room for keys that have less than an equal share of it. The
        share is computed as if one more key were to come. A single key may have all of the room."""
        if not (self._reserved_share and self._callers.has_several_keys):
            return None
        room, own = self.room, self._open[caller.key_id]
        capacity = self.open_sessions + room
        other_keys = len(self._open.keys() - {caller.key_id})
        has_its_share = own * (other_keys + 2) >= capacity
        is_reserved = room - 1 < self._reserved_share * capacity
        return SHARE_USED if has_its_share and is_reserved else None

    def _check_rate(self, caller: Caller) -> Refusal | None:
        max_per_second = caller.limits.sessions_per_second or self._sessions_per_second
        now_s = self._clock()
        recent_s = self._recent_s[caller.key_id]
        while recent_s and now_s - recent_s[0] >= RATE_WINDOW_S:
            recent_s.popleft()
        if len(recent_s) >= max_per_second:
            return too_fast(max_per_second, RATE_WINDOW_S - (now_s - recent_s[0]))
        return None
