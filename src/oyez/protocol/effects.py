"""What a session asks of its runner, in order.

The session never acts: every call returns a list of effects, and the runner carries them out.
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
    """Have a request recognised, and hand the answer to `Session.recognised`."""

    job: int
    """Unique in the session."""
    item_id: str
    segment: int
    """Names the segment of the item: the sample of the session where the segment begins. A newer
    request of a segment may replace partials and speculative finals of it that still wait; they are
    never answered then. A definite final must be answered, and so must the newest request."""
    request: Request
    due_s: float
    """The answer is needed in so many seconds, if audio comes as fast as it is spoken. For a
    definite final that is 0; for a speculative one, when the turn ends if silence goes on; for a
    partial, when the next one would be requested."""
    speculative: bool = False
    """Whether it is a final that is decoded before its turn has ended."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Drop a job: its answer is no longer wanted."""

    job: int


@dataclass(frozen=True, slots=True)
class SpeechOnset:
    """Speech was detected. This follows its `speech_started`, and is not sent to the client."""

    item_id: str
    onset_samples: int
    """Where speech begins. `audio_start_ms` lies before it, by the padding."""


@dataclass(frozen=True, slots=True)
class Count:
    """Add 1 to the metric of this name."""

    name: str


@dataclass(frozen=True, slots=True)
class Close:
    """Close the socket with this code, after everything that was sent before."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Completed:
    """The result of an item, with more than the `completed` or `failed` event sent just before has.
    It is not sent to the client. Positions are samples since the session began."""

    item_id: str
    start_samples: int
    end_samples: int
    """The end of the turn, which includes the padding before speech and the silence after it."""
    speech_s: float
    """How much speech was detected in it."""
    language: str
    """As sent with the item. A failed item has the language that would have been sent."""
    emotion: str
    transcript: str = ""
    """Empty if the item failed or has no words."""
    words: tuple[Word, ...] = ()
    """The words of the transcript: their texts, joined, are the transcript."""
    failure: Exception | None = None
    """Why the item failed; None: it did not."""


Effect = Send | Recognise | Cancel | SpeechOnset | Count | Close | Completed
