"""The recognition jobs of one connection: from a session's effect to the scheduler and back."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Hashable

from oyez.engines.base import Purpose
from oyez.protocol.effects import Recognise
from oyez.protocol.errors import Overload
from oyez.runtime.job import Job, Outcome, Overloaded, Stopped, Urgency
from oyez.runtime.scheduler import Scheduler

FIRST_PARTIAL_S = 0.9
PARTIAL_S = 2.5
"""How soon a window's first partial is wanted, and a later one. It would be asked for much
earlier, but where a machine cannot keep that up, the cadence of partials is what gives."""
OWN_FINAL_S = 0.5
"""A final is due so much later for each final that its session waits for already: having to wait
for one's own requests makes the next no more urgent than those of others."""
BACKGROUND_S = 10.0
AHEAD_S = 30.0
"""Audio further ahead of the clock than this is not live: a file, not a speaker. A whole
utterance sent at once still is."""

LIVE_PATIENCE_S = 60.0
BACKGROUND_PATIENCE_S = 600.0
"""A job fails when it has waited so long in the queue and no job of its session has been answered
for so long either: the engine is lost or overloaded beyond hope. Answers to the session count,
because a large model on a slow machine may need minutes for what it has to do, and does it. The
background waits for everybody else, so it has more time."""
MOST_PATIENCE = 10
"""After so many times that long it fails in any case: its answer must have been lost."""
EXPIRY_CHECK_S = 5.0

_PACED_S = 2.0
"""Audio further ahead than this did not come as it was spoken, but all at once."""
_FEW_FINALS = 4
"""A conversation waits for fewer finals at a time, however busy the machine is …"""
_FEW_FINALS_AHEAD = 1
"""… and who sends whole utterances at once, but one after the other, for fewer than this."""

Answered = Callable[[int, Outcome], None]


class Jobs:
    """Answers arrive on the event loop, each at most once, and never after `cancel`. A job that is
    not answered in time is answered with Overload."""

    def __init__(
        self,
        scheduler: Scheduler,
        owner: str,
        answered: Answered,
        ahead_s: Callable[[], float],
        *,
        tenant: Hashable = None,
    ) -> None:
        """ahead_s: how far the session's audio is ahead of the clock. tenant: as in `Job`."""
        self._scheduler = scheduler
        self._owner = owner
        self._answered = answered
        self._ahead_s = ahead_s
        self._tenant = tenant
        self._loop = asyncio.get_running_loop()
        self._running: dict[int, Job] = {}
        self._answered_s = -math.inf
        """When the latest answer came, on the scheduler's clock."""
        self._check: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._running)

    @property
    def finals_waiting(self) -> int:
        """Finals, speculative ones too, that are not answered yet. At MAX_FINALS (`inference.job`)
        the session should not be fed."""
        return sum(not job.is_partial for job in self._running.values())

    @property
    def audio_bytes(self) -> int:
        """Memory of the audio in jobs that are not answered yet."""
        return sum(job.request.samples.nbytes for job in self._running.values())

    def submit(self, effect: Recognise) -> None:
        """Have the request recognised; too many waiting jobs are an answer too."""
        job = self._job(effect)
        self._running[effect.job] = job
        self._plan_check()
        try:
            replaced = self._scheduler.submit(job)
        except (Overloaded, Stopped) as refusal:
            self._loop.call_soon(self._arrive, effect.job, refusal)
            return
        for number in [n for n, other in self._running.items() if other is replaced]:
            del self._running[number]

    def cancel(self, number: int) -> None:
        """The answer is no longer wanted."""
        job = self._running.pop(number, None)
        if job is not None:
            self._scheduler.cancel(job)

    def cancel_all(self) -> None:
        for number in list(self._running):
            self.cancel(number)
        if self._check:
            self._check.cancel()
            self._check = None

    def release(self) -> None:
        """The session is over: forget its jobs, and whom to call."""
        self.cancel_all()
        self._answered = _ignore

    def _job(self, effect: Recognise) -> Job:
        ahead_s = self._ahead_s()
        urgency = _urgency(effect, ahead_s)
        is_partial = effect.request.purpose is Purpose.PARTIAL
        is_realtime = ahead_s <= _PACED_S
        patience_s = _patience_s(effect, urgency)
        if not is_partial:
            patience_s += OWN_FINAL_S * self.finals_waiting
        has_few = self.finals_waiting < (_FEW_FINALS if is_realtime else _FEW_FINALS_AHEAD)
        return Job(
            owner=self._owner,
            item=effect.item_id,
            segment=effect.window,
            request=effect.request,
            urgency=urgency,
            deadline_s=time.monotonic() + patience_s,
            callback=lambda outcome: self._hand_over(effect.job, outcome),
            is_replaceable=is_partial or effect.speculative,
            interval_s=effect.due_s,
            is_realtime=is_realtime and has_few,
            measures_delay=has_few,
            tenant=self._tenant,
        )

    def _hand_over(self, number: int, outcome: Outcome) -> None:
        self._loop.call_soon_threadsafe(self._arrive, number, outcome)

    def _arrive(self, number: int, outcome: Outcome) -> None:
        if self._running.pop(number, None) is None:
            return
        self._answered_s = time.monotonic()
        if isinstance(outcome, Overloaded | Stopped):
            outcome = Overload()
        self._answered(number, outcome)

    def _plan_check(self) -> None:
        if self._check is None:
            self._check = self._loop.call_later(EXPIRY_CHECK_S, self._check_expiry)

    def _check_expiry(self) -> None:
        self._check = None
        now_s = time.monotonic()
        for number, job in list(self._running.items()):
            if self._has_expired(job, now_s) and number in self._running:
                self.cancel(number)
                self._answered(number, Overload())
        if self._running:
            self._plan_check()

    def _has_expired(self, job: Job, now_s: float) -> bool:
        """What runs in the engine has not: the scheduler watches how long that takes."""
        patience_s = BACKGROUND_PATIENCE_S if job.is_background else LIVE_PATIENCE_S
        waited_s = now_s - job.submitted_s
        quiet_s = min(waited_s, now_s - self._answered_s)
        is_late = quiet_s > patience_s or waited_s > MOST_PATIENCE * patience_s
        return is_late and not self._scheduler.is_running(job)


def _urgency(effect: Recognise, ahead_s: float) -> Urgency:
    if ahead_s > AHEAD_S:
        return Urgency.BACKGROUND
    if effect.request.purpose is Purpose.PARTIAL:
        return Urgency.PARTIAL
    return Urgency.SPECULATIVE if effect.speculative else Urgency.FINAL


def _patience_s(effect: Recognise, urgency: Urgency) -> float:
    """How soon the answer is wanted."""
    if urgency is Urgency.BACKGROUND:
        return BACKGROUND_S
    if urgency is Urgency.PARTIAL:
        first_words = not effect.request.prefix and not effect.request.hint
        return FIRST_PARTIAL_S if first_words else PARTIAL_S
    return effect.due_s


def _ignore(number: int, outcome: Outcome) -> None:
    pass
