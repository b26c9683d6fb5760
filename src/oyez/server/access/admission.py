"""Who may open a session, decided before the upgrade: room, rate, and what their key allows.

Event loop only; never blocks.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from urllib.parse import unquote_plus

from oyez.server.access.callers import Caller
from oyez.server.access.quotas import Quotas
from oyez.server.access.refusals import (
    BUSY,
    DRAINING,
    FULL,
    LEDGER_FULL,
    SHARE_USED,
    Refusal,
)

RATE_WINDOW_S = 1.0
SESSION_ENDS_S = 5
"""When to try again whose sessions are all open: nobody knows when one ends."""


class Admission:
    def __init__(
        self,
        quotas: Quotas,
        *,
        max_sessions: int,
        sessions_per_second: int,
        clock: Callable[[], float],
        load_room: Callable[[], float] = lambda: math.inf,
        reserved_share: float = 0.0,
        has_several_keys: Callable[[], bool] = lambda: False,
    ) -> None:
        """sessions_per_second: of keys without a limit of their own, and of all callers without
        a key together. clock: seconds that never go back. load_room: how many more sessions the
        engine can take. reserved_share: of the sessions that fit, kept for keys that have few
        where there are several keys."""
        self._quotas = quotas
        self._max_sessions = max_sessions
        self._sessions_per_second = sessions_per_second
        self._clock = clock
        self._load_room = load_room
        self._reserved_share = reserved_share
        self._has_several_keys = has_several_keys
        self._recent: defaultdict[str | None, deque[float]] = defaultdict(deque)
        self._open: Counter[str | None] = Counter()
        self.draining = False

    @property
    def open_sessions(self) -> int:
        return self._open.total()

    def enter(self, caller: Caller) -> Refusal | None:
        """Let a caller in, or say why not. Who was let in must `leave`."""
        refusal = self.why_not(caller)
        if refusal is None:
            self._came(caller)
            self._open[caller.key_id] += 1
        return refusal

    def why_not(self, caller: Caller) -> Refusal | None:
        """Why the caller would not be let in now; None: it would be. Asking counts for nothing."""
        return (
            self._own_refusal(caller)
            or self._refusal_of_all()
            or self._share_refusal(caller)
            or self._too_fast(caller)
        )

    def refuse_request(self, caller: Caller) -> Refusal | None:
        """Why a request that is no session is not answered now; None: it may begin, and counts
        against the caller's rate."""
        if self.draining:
            return DRAINING
        if self._quotas.unrecorded:
            return LEDGER_FULL
        refusal = self._quotas.refusal(caller) or self._too_fast(caller)
        if refusal is None:
            self._came(caller)
        return refusal

    def leave(self, caller: Caller) -> None:
        self._open[caller.key_id] -= 1
        if not self._open[caller.key_id]:
            del self._open[caller.key_id]

    @property
    def room(self) -> int:
        """How many more sessions would be let in now."""
        if self.draining or self._quotas.unrecorded:
            return 0
        return int(max(0, min(self._max_sessions - self.open_sessions, self._load_room())))

    def _own_refusal(self, caller: Caller) -> Refusal | None:
        """What its key does not allow."""
        if self.draining:
            return DRAINING
        most = caller.limits.sessions
        if most is not None and self._open[caller.key_id] >= most:
            return too_many_sessions(most)
        return self._quotas.refusal(caller)

    def _refusal_of_all(self) -> Refusal | None:
        """What nobody gets now."""
        if self._quotas.unrecorded:
            return LEDGER_FULL
        if self.open_sessions >= self._max_sessions:
            return FULL
        return BUSY if self._load_room() < 1 else None

    def _share_refusal(self, caller: Caller) -> Refusal | None:
        """The last part of the room is kept for keys that have less than an equal share of it,
        counted as if one more key were to come. One key alone may have all of it."""
        if not (self._reserved_share and self._has_several_keys()):
            return None
        room, mine = self.room, self._open[caller.key_id]
        fitting = self.open_sessions + room
        others = len(self._open.keys() - {caller.key_id})
        is_large = mine * (others + 2) >= fitting
        return SHARE_USED if is_large and room - 1 < self._reserved_share * fitting else None

    def _too_fast(self, caller: Caller) -> Refusal | None:
        most = caller.limits.sessions_per_second or self._sessions_per_second
        now_s = self._clock()
        recent = self._recent[caller.key_id]
        while recent and now_s - recent[0] >= RATE_WINDOW_S:
            recent.popleft()
        if len(recent) >= most:
            return too_fast(most, RATE_WINDOW_S - (now_s - recent[0]))
        return None

    def _came(self, caller: Caller) -> None:
        self._recent[caller.key_id].append(self._clock())


def too_many_sessions(most: int) -> Refusal:
    message = f"This API key may have {most} sessions open at a time: finish one first."
    return Refusal(429, "Throttling.AllocationQuota", message, SESSION_ENDS_S, "sessions")


def too_fast(most: int, wait_s: float) -> Refusal:
    message = f"Requests rate limit exceeded: {most} per second."
    return Refusal(429, "Throttling.RateQuota", message, math.ceil(wait_s), "rate")


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
