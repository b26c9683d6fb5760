"""One request on its way to an engine, and what decides when it runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import Enum

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import Purpose, Request
from oyez.runtime.fairness import CALL_COST
from oyez.runtime.worker import Outcome

MAX_LENGTH_RATIO = 4
"""Jobs whose audio differs more in length do not share a batch: its answers come together, and
the short one is most likely a speaker's first words."""
MAX_FINALS = 8
"""Finals of one owner that may wait or run. Beyond, it should be fed no more until one of them is
answered: the audio then waits with whoever sends it."""


class Urgency(Enum):
    """Who waits for the answer. Of those alike in rank the earliest deadline runs first, as long as
    no owner gets more than is fair: see `fairness`."""

    FINAL = ("final", 0)
    """A turn is over: its listener waits."""
    SPECULATIVE = ("speculative", 0)
    """A final of a turn that is probably over. It ranks as a final from the start, because it is
    not submitted again when the turn ends; its deadline is the moment when the turn would end."""
    PARTIAL = ("partial", 1)
    """Interim words."""
    BACKGROUND = ("background", 2)
    """Of a session whose audio comes much faster than anybody speaks: nobody is waiting live."""

    def __init__(self, label: str, rank: int) -> None:
        self.label = label
        self.rank = rank
        """Lower runs first."""


class Overloaded(Exception):
    """Too many jobs are waiting; this one was not, or is no longer, among them."""


class Stopped(Exception):
    """The scheduler has been stopped; the job was not run."""


@dataclass(slots=True, eq=False)
class Job:
    """Compared by identity. Times are on the scheduler's clock."""

    owner: Hashable
    """Whose job it is: the session; unique among all tenants."""
    item: Hashable
    """Which turn of the owner …"""
    window: Hashable
    """… and which stretch of it."""
    request: Request
    urgency: Urgency
    deadline_s: float
    """When the answer is wanted."""
    callback: Callable[[Outcome], None]
    """Called once, from a worker thread; must be quick."""
    is_replaceable: bool = False
    """Whether anything newer of the same stretch takes its place while it waits."""
    interval_s: float = 0.5
    """Of a partial: after how long the next one would be asked for."""
    is_paced: bool = True
    """Whether the session asks as a conversation does, as fast as somebody speaks: only then does
    its work tell what a conversation needs."""
    tells_delay: bool = True
    """Whether its delay shows how the machine is doing: not if the session waits for so many other
    finals that the delay is its own doing."""
    tenant: Hashable = None
    """Whose share of the engine it takes from: the key of the session; None: of all without one."""
    submitted_s: float = 0.0
    owed_since_s: float = field(default=math.inf, init=False)
    """When the first of the partials was submitted that this one stands for; inf: for none."""
    owed_at_s: float = field(default=math.inf, init=False)
    """That partial's deadline."""

    @property
    def key(self) -> tuple[Hashable, Hashable, Hashable]:
        return (self.owner, self.item, self.window)

    @property
    def turn(self) -> Hashable:
        """Whose, and which turn."""
        return (self.owner, self.item)

    @property
    def samples(self) -> int:
        return len(self.request.samples)

    @property
    def cost(self) -> float:
        """About what it costs the engine, in seconds of audio."""
        return self.samples / SAMPLE_RATE + CALL_COST

    @property
    def is_partial(self) -> bool:
        return self.request.purpose is Purpose.PARTIAL

    @property
    def is_background(self) -> bool:
        return self.urgency is Urgency.BACKGROUND

    def submit(self, now_s: float, replaced: Job | None) -> None:
        """It begins to wait, perhaps in another's place. What listeners are owed passes on from
        partial to partial, whatever came in between: else a busy machine, or a speaker who
        pauses often, would put a turn's partials off for ever."""
        self.submitted_s = now_s
        if replaced is not None:
            self.owed_since_s, self.owed_at_s = replaced.owed_since_s, replaced.owed_at_s
        if self.is_partial:
            self.owed_since_s = min(self.owed_since_s, now_s)
            self.deadline_s = self.owed_at_s = min(self.owed_at_s, self.deadline_s)

    def order(self) -> tuple[int, float, float]:
        """How urgent it is: lower is more urgent."""
        return (self.urgency.rank, self.deadline_s, self.submitted_s)

    def runs_with(self, other: Job) -> bool:
        """Whether it may share a batch with the more urgent `other`: a final never waits for a
        partial's decoding, nor anybody live for the background."""
        if self.is_partial is not other.is_partial:
            return False
        if self.is_background is not other.is_background:
            return False
        short, long = sorted((self.samples, other.samples))
        return long <= MAX_LENGTH_RATIO * max(short, SAMPLE_RATE)
