"""What the pure session asks of the shell around it, in order.

The session never acts: every call returns a list of these, and the shell carries them out.
"""

from __future__ import annotations

from dataclasses import dataclass

from oyez.engines.base import Request
from oyez.protocol.server_events import ServerEvent
from oyez.turns.word_times import Word


@dataclass(frozen=True, slots=True)
class Send:
    """Write one event to the socket."""

    event: ServerEvent


@dataclass(frozen=True, slots=True)
class Recognise:
    """Have the request recognised; hand the answer to `Session.recognised(job, …)`."""

    job: int
    """Unique in the session."""
    item_id: str
    window: int
    """Which stretch of the item it is about: the sample of the session where that begins. While
    they wait, partials and speculative finals of a window may give their place to anything newer
    asked of it, and are then never answered. A definite final must be answered, and so must
    whatever was asked last."""
    request: Request
    due_s: float
    """In so many seconds the answer is needed, if audio comes as fast as it is spoken. A definite
    final: 0, it is awaited. A speculative one: when the turn ends if silence goes on. A partial:
    when the next one would be asked for."""
    speculative: bool = False
    """A final decoded before its turn has ended: less urgent than a final that is awaited."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """The answer to this job is no longer wanted; it need not be run."""

    job: int


@dataclass(frozen=True, slots=True)
class Began:
    """Speech was noticed: comes behind its `speech_started`, and is not for the wire."""

    item_id: str
    onset_samples: int
    """Where speech begins. The wire's `audio_start_ms` lies before it, by the padding."""


@dataclass(frozen=True, slots=True)
class Count:
    """Something operators want to know happened: a metric's name."""

    name: str


@dataclass(frozen=True, slots=True)
class Close:
    """Close the socket with this code after what was sent before."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Completed:
    """An item is complete: what `…completed` or `…failed`, sent just before, does not tell. It
    never goes on the wire. Positions are samples of the session, from its first one."""

    item_id: str
    start_samples: int
    end_samples: int
    """Of its turn: the padding before speech and the silence that ended it are part of it."""
    speech_s: float
    """How much speech was heard in it."""
    language: str
    """As sent with the item; of a failed one, as it would have been."""
    emotion: str
    transcript: str
    """Empty if it failed, or if nothing was said."""
    words: tuple[Word, ...]
    """Of the transcript: their texts, joined, are the transcript."""
    failure: Exception | None = None
    """Why it failed, if it did."""


Effect = Send | Recognise | Cancel | Began | Count | Close | Completed
