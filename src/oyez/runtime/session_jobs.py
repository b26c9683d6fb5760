"""The recognition jobs of one session: from its effects to the scheduler and back."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Hashable

from oyez.engines.base import Purpose
from oyez.protocol.effects import Recognise
from oyez.protocol.errors import Overload
from oyez.runtime.job import Job, Outcome, Overloaded, Stopped, Urgency
from oyez.runtime.scheduler import Scheduler
from oyez.runtime.session_runner import SessionRunner

FIRST_PARTIAL_S = 0.9
PARTIAL_S = 2.5
"""How soon the first partial of a segment is wanted, and a later one. The session would request it
much earlier, but on a machine that cannot keep that up partials come less often."""
OWN_FINAL_S = 0.5
"""A final is due so much later for each final that its session waits for already: waiting for
its own requests makes a session's next request no more urgent than those of other sessions."""
BACKGROUND_S = 10.0
"""How soon an answer in the background is wanted: files are served in the order they came."""
RETRY_S = 0.5
"""A patient session submits a job again after this time when the queue was full: a file is in no
hurry."""
AHEAD_S = 30.0
"""Audio further ahead of the clock than this comes from a file, not from a speaker. A whole
utterance that is sent at once still counts as live."""

LIVE_PATIENCE_S = 60.0
BACKGROUND_PATIENCE_S = 600.0
"""A job fails when it has waited so long in the queue and no job of its session has been answered
for so long either: the engine is lost or hopelessly overloaded. Answers to the session count,
because a large model on a slow machine may need minutes, and still does its work. The background
waits for all other sessions, so it has more time."""
MOST_PATIENCE = 10
"""A job fails in any case after so many times its patience: its answer must have been lost."""

_PACED_S = 2.0
"""Audio further ahead than this was sent all at once, not as it was spoken."""
_FEW_FINALS = 4
"""A conversation waits for fewer finals than this at a time, however busy the machine is."""
_FEW_FINALS_AHEAD = 1
"""A client that sends whole utterances at once, one after the other, waits for fewer finals than
this."""


class SessionJobs:
    """Implements `Recognition` with a scheduler. Answers reach the runner on the event loop, each
    at most once and never after `cancel`. `expire` answers a job whose answer does not come."""

    def __init__(
        self,
        scheduler: Scheduler,
        owner: str,
        *,
        tenant: Hashable = None,
        is_patient: bool = False,
    ) -> None:
        """owner: the session's id. tenant: as in `Job`. is_patient: the session is a file's. Its
        jobs run in the background, are submitted again when the queue is full, and wait as long as
        it takes; when the scheduler stops, the session fails."""
        self._scheduler = scheduler
        self._owner = owner
        self._tenant = tenant
        self._is_patient = is_patient
        self._loop = asyncio.get_running_loop()
        self._runner: SessionRunner | None = None
        self._jobs: dict[int, Job] = {}
        self._answered_s = -math.inf
        """When the latest answer came, on the scheduler's clock."""

    @property
    def count(self) -> int:
        return len(self._jobs)

    @property
    def finals_waiting(self) -> int:
        return sum(not job.is_partial for job in self._jobs.values())

    @property
    def audio_bytes(self) -> int:
        return sum(job.request.samples.nbytes for job in self._jobs.values())

    def submit(self, effect: Recognise, runner: SessionRunner) -> None:
        self._runner = runner
        self._jobs[effect.job] = self._job(effect, runner.ahead_s)
        self._submit(effect.job)

    def cancel(self, number: int) -> None:
        job = self._jobs.pop(number, None)
        if job is not None:
            self._scheduler.cancel(job)

    def cancel_all(self) -> None:
        for number in list(self._jobs):
            self.cancel(number)
        self._runner = None

    def expire(self) -> None:
        """Answer jobs that have waited too long with Overload. Call this every second or so, except
        for a patient session."""
        now_s = time.monotonic()
        for number, job in list(self._jobs.items()):
            if self._has_expired(job, now_s) and number in self._jobs and self._runner:
                self.cancel(number)
                self._runner.answered(number, Overload())

    def _job(self, effect: Recognise, ahead_s: float) -> Job:
        request = effect.request
        is_partial = request.purpose is Purpose.PARTIAL
        is_realtime = not self._is_patient and ahead_s <= _PACED_S
        if self._is_patient or ahead_s > AHEAD_S:
            urgency, patience_s = Urgency.BACKGROUND, BACKGROUND_S
        elif is_partial:
            has_words = request.prefix or request.hint
            urgency, patience_s = Urgency.PARTIAL, PARTIAL_S if has_words else FIRST_PARTIAL_S
        else:
            urgency = Urgency.SPECULATIVE if effect.speculative else Urgency.FINAL
            patience_s = effect.due_s
        if not is_partial and not self._is_patient:
            patience_s += OWN_FINAL_S * self.finals_waiting
        few_finals = _FEW_FINALS if is_realtime else _FEW_FINALS_AHEAD
        has_few = self._is_patient or self.finals_waiting < few_finals
        return Job(
            owner=self._owner,
            item=effect.item_id,
            segment=effect.segment,
            request=request,
            urgency=urgency,
            deadline_s=time.monotonic() + patience_s,
            callback=lambda outcome: self._loop.call_soon_threadsafe(
                self._arrive, effect.job, outcome
            ),
            is_replaceable=is_partial or effect.speculative,
            interval_s=effect.due_s,
            is_realtime=is_realtime and has_few,
            measures_delay=has_few,
            tenant=self._tenant,
        )

    def _submit(self, number: int) -> None:
        job = self._jobs.get(number)
        if job is None:
            return
        if job.is_replaceable and any(
            later > number and other.key == job.key for later, other in self._jobs.items()
        ):
            del self._jobs[number]  # while it waited to be submitted again, a newer one came
            return
        try:
            replaced = self._scheduler.submit(job)
        except (Overloaded, Stopped) as refusal:
            self._loop.call_soon(self._arrive, number, refusal)
            return
        for other in [n for n, job in self._jobs.items() if job is replaced]:
            del self._jobs[other]

    def _arrive(self, number: int, outcome: Outcome) -> None:
        if self._is_patient and isinstance(outcome, Overloaded):
            self._loop.call_later(RETRY_S, self._submit, number)
            return
        if self._jobs.pop(number, None) is None or self._runner is None:
            return
        self._answered_s = time.monotonic()
        if self._is_patient and isinstance(outcome, Stopped):
            return self._runner.fail(outcome)
        if isinstance(outcome, Overloaded | Stopped):
            outcome = Overload()
        self._runner.answered(number, outcome)

    def _has_expired(self, job: Job, now_s: float) -> bool:
        """Return whether a job has waited too long. A job that runs in the engine has not: the
        scheduler watches how long that takes."""
        patience_s = BACKGROUND_PATIENCE_S if job.is_background else LIVE_PATIENCE_S
        waited_s = now_s - job.submitted_s
        quiet_s = min(waited_s, now_s - self._answered_s)
        is_late = quiet_s > patience_s or waited_s > MOST_PATIENCE * patience_s
        return is_late and not self._scheduler.is_running(job)
