"""How much audio a key may still send today (UTC). Event loop only; never blocks."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta

from oyez.accounts.ledger import Ledger
from oyez.server.access.callers import Caller, Callers
from oyez.server.access.refusals import Refusal

QUOTA_CODE = "Throttling.AllocationQuota"


class Quotas:
    """clock: the time, with time zone."""

    def __init__(self, ledger: Ledger, callers: Callers, clock: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._callers = callers
        self._clock = clock
        self._untold_s: defaultdict[str, float] = defaultdict(float)

    @property
    def unrecorded(self) -> bool:
        """So much usage waits for the database that no session should begin."""
        return self._ledger.full

    def heard(self, caller: Caller, audio_s: float) -> None:
        """Audio came in that the ledger has not been told of yet; negative: now it has."""
        if caller.key_id is None:
            return
        self._untold_s[caller.key_id] += audio_s
        if self._untold_s[caller.key_id] < 1e-6:
            del self._untold_s[caller.key_id]

    def left_s(self, caller: Caller) -> float:
        """How much more the caller may send before midnight; below 0: it has sent more."""
        most_s = self._callers.limits(caller).audio_s_per_day
        if most_s is None or caller.key_id is None:
            return math.inf
        used_s = self._ledger.audio_today_s(caller.key_id)
        return most_s - used_s - self._untold_s.get(caller.key_id, 0.0)

    def refusal(self, caller: Caller) -> Refusal | None:
        """What a caller is told that has used up its day; None: it has not."""
        if self.left_s(caller) > 0:
            return None
        now = self._clock().astimezone(UTC)
        midnight = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
        wait_s = math.ceil((midnight - now).total_seconds())
        return used_up(self._callers.limits(caller).audio_s_per_day or 0.0, wait_s)


def used_up(most_s: float, wait_s: int) -> Refusal:
    message = f"This API key may send {most_s:g} s of audio a day; it may again at 00:00 UTC."
    return Refusal(429, QUOTA_CODE, message, wait_s, "quota")
