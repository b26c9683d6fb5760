"""One recognition request that waits for the engine: what decides when it runs, and how it ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import product

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import Hypothesis, Purpose, RecognitionError, Request
from oyez.metrics import Metrics

CALL_COST = 0.5
"""The cost of a request besides its audio, in seconds of audio. Measured with Whisper base: about
50 ms, while a second of audio takes 110 ms."""
MAX_LENGTH_RATIO = 4
"""Jobs whose audio differs more in length do not share a batch. The answers of a batch come
together, and the short job probably has a speaker's first words."""
MAX_FINALS = 8
"""Most finals of one owner that may wait or run. With more, the owner should take no more audio
until one of them is answered; the audio then waits at the sender."""

Outcome = Hypothesis | Exception
"""The result of a job: a hypothesis, or the reason why there is none."""


class Urgency(Enum):
    """How urgent an answer is. Jobs of equal rank run by deadline, as long as no owner gets more
    than its fair share: see `Fairness`."""

    FINAL = ("final", 0)
    """The turn is over, so the client waits for its transcript."""
    SPECULATIVE = ("speculative", 0)
    """A final of a turn that is probably over. It ranks as a final from the start, because it is
    not submitted again when the turn ends; its deadline is the moment when the turn would end."""
    PARTIAL = ("partial", 1)
    """An interim result."""
    BACKGROUND = ("background", 2)
    """A job of a session whose audio arrives much faster than real time, such as a file."""

    def __init__(self, label: str, rank: int) -> None:
        self.label = label
        self.rank = rank
        """Jobs of a lower rank run first."""


class Overloaded(Exception):
    """Too many jobs are waiting. This one was refused, or removed from the queue."""


class Stopped(Exception):
    """The scheduler has been stopped before the job ran."""


class EngineLost(RecognitionError):
    """The engine ended during the call. The results of all its requests are unknown."""


class EngineUnavailable(EngineLost):
    """The engine has ended and has not restarted yet, so the call has not begun."""


@dataclass(slots=True, eq=False)
class Job:
    """One request. Jobs are compared by identity. Times are on the scheduler's clock."""

    owner: Hashable
    """The session of the job, unique among all tenants."""
    item: Hashable
    """The turn within the owner."""
    segment: Hashable
    """The segment within the turn."""
    request: Request
    urgency: Urgency
    deadline_s: float
    """When the answer is due."""
    callback: Callable[[Outcome], object]
    """Called once with the outcome, in a worker thread. It must return quickly."""
    is_replaceable: bool = False
    """Whether a newer job of the same segment replaces this one while it waits."""
    interval_s: float = 0.5
    """For a partial: the time until the next one would be requested."""
    is_realtime: bool = True
    """Whether the session's audio arrives at the speed of speech. Only then does the job count when
    the cost of a conversation is measured."""
    measures_delay: bool = True
    """Whether the job's delay shows how busy the machine is. It does not if the session waits for
    so many finals of its own that it causes the delay itself."""
    tenant: Hashable = None
    """Whose share of the engine the job uses: the key of the session. All sessions without a key
    share None."""
    submitted_s: float = 0.0
    first_requested_s: float = field(default=math.inf, init=False)
    """When the first of the partials that this job replaced was submitted, itself included. inf if
    there was none."""
    first_deadline_s: float = field(default=math.inf, init=False)
    """The deadline of that partial."""

    @property
    def key(self) -> tuple[Hashable, Hashable, Hashable]:
        """Identifies the segment: only one replaceable job of it waits at a time."""
        return (self.owner, self.item, self.segment)

    @property
    def turn(self) -> Hashable:
        """Identifies the turn among all sessions."""
        return (self.owner, self.item)

    @property
    def samples(self) -> int:
        """The length of the job's audio."""
        return len(self.request.samples)

    @property
    def cost(self) -> float:
        """The estimated cost for the engine, in seconds of audio."""
        return self.samples / SAMPLE_RATE + CALL_COST

    @property
    def is_partial(self) -> bool:
        """Whether the job is for an interim result, whatever its urgency."""
        return self.request.purpose is Purpose.PARTIAL

    @property
    def is_background(self) -> bool:
        """Whether no client waits for the answer in real time."""
        return self.urgency is Urgency.BACKGROUND

    def submit(self, now_s: float, replaced: Job | None) -> None:
        """Start to wait, in the place of `replaced` if there is one.

        A partial inherits the first request and deadline of the partials that it replaces, even if
        a speculative final was among them. Otherwise, on a busy machine or with a speaker who often
        pauses, newer partials could postpone a turn's first one for ever.
        """
        self.submitted_s = now_s
        if replaced is not None:
            self.first_requested_s = replaced.first_requested_s
            self.first_deadline_s = replaced.first_deadline_s
        if self.is_partial:
            self.first_requested_s = min(self.first_requested_s, now_s)
            self.deadline_s = self.first_deadline_s = min(self.first_deadline_s, self.deadline_s)

    def order(self) -> tuple[int, float, float]:
        """Return a sort key: jobs with lower keys are more urgent."""
        return (self.urgency.rank, self.deadline_s, self.submitted_s)

    def runs_with(self, other: Job) -> bool:
        """Return whether this job may share a batch with `other`, which is more urgent. Finals
        never wait for partials, and live jobs never wait for background jobs."""
        if self.is_partial is not other.is_partial:
            return False
        if self.is_background is not other.is_background:
            return False
        short, long = sorted((self.samples, other.samples))
        return long <= MAX_LENGTH_RATIO * max(short, SAMPLE_RATE)


class End(Enum):
    """How a job ended."""

    ANSWERED = "answered"
    REPLACED = "replaced"
    CANCELLED = "cancelled"
    EVICTED = "evicted"
    """Removed from a full queue in favour of an owner with fewer jobs, or of a final."""
    REFUSED = "refused"
    """The queue was full."""
    STOPPED = "stopped"
    GIVEN_UP = "given_up"
    """The engine did not answer in time, or an internal error lost the answer. The outcome is a
    RecognitionError."""


class Observer:
    """Notified of what the scheduler does, from any thread. Its methods must return quickly; these
    do nothing. Times are those of `time.monotonic`."""

    def ran(self, batch: Sequence[Job], began_s: float, ended_s: float) -> None:
        """Called after each call of the engine."""

    def ended(self, job: Job, end: End, now_s: float) -> None:
        """Called once for each job."""


BATCH_KINDS = (*(purpose.value for purpose in Purpose), "background")
"""What the jobs of a batch are for, as the label `kind` of metrics names it."""


class JobMetrics(Observer):
    """Updates the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        by_urgency = (metrics.jobs_waiting, metrics.job_wait, metrics.job_late)
        by_kind = (metrics.batch_run, metrics.batch_jobs, metrics.batch_audio)
        for urgency in Urgency:
            for metric in by_urgency:
                metric.labels(urgency.label)
            for end in End:
                metrics.jobs_ended.labels(urgency.label, end.value)
        for metric, kind in product(by_kind, BATCH_KINDS):
            metric.labels(kind)

    def ran(self, batch: Sequence[Job], began_s: float, ended_s: float) -> None:
        """Record a call of the engine and how long its jobs waited."""
        for job in batch:
            self._metrics.job_wait.labels(job.urgency.label).observe(began_s - job.submitted_s)
        kind = "background" if batch[0].is_background else batch[0].request.purpose.value
        self._metrics.batch_run.labels(kind).observe(ended_s - began_s)
        self._metrics.batch_jobs.labels(kind).observe(len(batch))
        self._metrics.batch_audio.labels(kind).observe(audio_s(batch))

    def ended(self, job: Job, end: End, now_s: float) -> None:
        """Record how a job ended, and how late its answer was."""
        self._metrics.jobs_ended.labels(job.urgency.label, end.value).inc()
        if end is End.ANSWERED:
            late_s = max(0.0, now_s - job.deadline_s)
            self._metrics.job_late.labels(job.urgency.label).observe(late_s)


def audio_s(jobs: Sequence[Job]) -> float:
    """Return the length of the audio of all jobs together."""
    return sum(job.samples for job in jobs) / SAMPLE_RATE
