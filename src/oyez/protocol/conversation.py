"""The items of a conversation, each from its first speech to exactly one `completed` or `failed`.

Items complete in the order in which they were committed, in whatever order answers come, because
clients print finals as they arrive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from oyez.audio.pcm import SAMPLE_RATE, SampleBuffer
from oyez.engines.base import EmotionTracker, Hypothesis, Purpose, Request
from oyez.engines.language_prior import Prior, uniform_over
from oyez.protocol.effects import Cancel, Completed, Count, Effect, Recognise, Send
from oyez.protocol.errors import Overload
from oyez.protocol.server_events import (
    BufferCommitted,
    FailureDetail,
    InterimText,
    Item,
    ItemCreated,
    ServerEvent,
    TranscriptionCompleted,
    TranscriptionFailed,
)
from oyez.turns.segment import RecognitionNeed, Segment
from oyez.turns.text_style import separator
from oyez.turns.turn import Turn

UNKNOWN_LANGUAGE = "en"
"""Sent while no language was asked for or detected, because the field must never be null. Where
this language is not allowed, the first allowed one is sent."""


@dataclass(slots=True)
class OpenItem:
    """An item that is not completed or failed yet."""

    id: str
    turn: Turn
    audio: SampleBuffer
    """The audio of the session, which has that of the turn."""
    context: str
    """Names and terms that the speaker may use."""
    shown: tuple[str, str] = ("", "")
    """`text` and `stash` of the last interim event."""


class Conversation:
    """The open items of a session, the jobs that run for them, and the finals so far."""

    def __init__(
        self,
        new_id: Callable[[str], str],
        emotions: EmotionTracker,
        max_transcript_chars: int,
        languages: Sequence[str] = (),
    ) -> None:
        """languages: the only ones that may be recognised; none: any."""
        self._new_id = new_id
        self._emotions = emotions
        self._max_transcript_chars = max_transcript_chars
        self.open: OpenItem | None = None
        """The item whose turn still gets audio."""
        self._committed: deque[OpenItem] = deque()
        self._expected: Prior = uniform_over(languages)
        """The language expected after the items completed so far."""
        self._jobs: dict[int, tuple[OpenItem, RecognitionNeed]] = {}
        self._next_job = 1
        self._previous_id: str | None = None
        is_allowed = not languages or UNKNOWN_LANGUAGE in languages
        self._language = UNKNOWN_LANGUAGE if is_allowed else languages[0]
        self.transcript = ""
        """All finals so far, joined; only the newest part once it is very long."""

    @property
    def open_count(self) -> int:
        """Committed items that are not completed or failed yet."""
        return len(self._committed)

    @property
    def backlog_samples(self) -> int:
        """Audio that waits for its final, without the speech that still goes on."""
        held = sum(item.turn.answered_samples for item in self._committed)
        wanted = (want for _, want in self._jobs.values())
        return held + sum(want.length_samples for want in wanted if want.segment.is_awaited(want))

    def needed_from(self, default: int) -> int:
        """Return the first sample that items may still need. default: what an item to come may need
        where none is open."""
        first = self.open.turn.needed_from if self.open else default
        return min(first, self._committed[0].turn.needed_from) if self._committed else first

    def begin(self, turn: Turn, audio: SampleBuffer, context: str) -> str:
        """Begin the item of a turn, which is the open one then, and return its id. audio, context:
        see `OpenItem`."""
        self.open = OpenItem(self._new_id("item"), turn, audio, context)
        self.restart(self.open, turn)
        return self.open.id

    def restart(self, item: OpenItem, turn: Turn) -> list[Effect]:
        """Make the item about another turn, which has no audio yet."""
        item.turn = turn
        turn.guess_language_prior(
            self._committed[-1].turn.language_prior_after if self._committed else self._expected
        )
        if not self._committed:
            turn.confirm_language_prior(self._expected)
        return self.cancel_jobs(item)

    def feed(self, probability: float, end: int) -> list[Effect]:
        """Feed the open turn, if there is one, with the window that ends at sample `end`."""
        item = self.open
        return self._request(item, item.turn.feed(probability, end)) if item else []

    def end(self, end: int) -> list[Effect]:
        """End the open turn at sample `end`: request its last final, and commit its item with
        `committed` and `conversation.item.created`."""
        item, self.open = self.open, None
        assert item is not None, "there is no open turn to end"
        effects = self._request(item, item.turn.close(end))
        previous, self._previous_id = self._previous_id, item.id
        self._committed.append(item)
        return [
            *effects,
            self.send(BufferCommitted, previous_item_id=previous, item_id=item.id),
            self.send(ItemCreated, previous_item_id=previous, item=Item(id=item.id)),
            *self.complete(),
        ]

    def cancel_jobs(self, item: OpenItem) -> list[Effect]:
        """Cancel all jobs of an item."""
        return self._cancel([job for job, (owner, _) in self._jobs.items() if owner is item])

    def recognised(self, number: int, outcome: Hypothesis | Exception) -> list[Effect]:
        """Take the answer to a job. An answer to a job that was cancelled is ignored."""
        if number not in self._jobs:
            return []
        item, wanted = self._jobs.pop(number)
        effects: list[Effect] = []
        if isinstance(outcome, Exception) and wanted.purpose is not Purpose.FINAL:
            effects.append(Count("failed_partials"))
        news = item.turn.on_result(wanted, outcome)
        if isinstance(outcome, Hypothesis):
            effects += self._superseded(number, wanted.segment)
        if news and not item.turn.settled:
            effects += self._interim(item)
        return effects + self.complete()

    def complete(self) -> list[Effect]:
        """Send `completed` or `failed` for every item that is settled, from the oldest on."""
        effects = self._follow()
        while self._committed and self._committed[0].turn.settled:
            item = self._committed.popleft()
            self._expected = item.turn.language_prior_after
            effects += self.cancel_jobs(item)
            failure = item.turn.failure
            effects += self._failed(item, failure) if failure else self._completed(item)
            effects += self._follow()
        return effects

    def send(self, event: type[ServerEvent], **fields: Any) -> Send:
        """Return the effect that sends an event, with an `event_id` of its own."""
        return Send(event(event_id=self._new_id("event"), **fields))

    def _request(self, item: OpenItem, wanted: list[RecognitionNeed]) -> list[Effect]:
        """Have what a turn needs recognised."""
        effects: list[Effect] = []
        for want in wanted:
            job, self._next_job = self._next_job, self._next_job + 1
            self._jobs[job] = item, want
            due_s = want.due_samples / SAMPLE_RATE
            request = Request(
                samples=item.audio.slice(want.start, want.end),
                purpose=want.purpose,
                language=want.language,
                language_prior=want.language_prior,
                context=item.context,
                prefix=want.prefix,
                hint=want.hint,
            )
            effects.append(
                Recognise(job, item.id, want.segment.start, request, due_s, want.speculative)
            )
        return effects

    def _follow(self) -> list[Effect]:
        """Give the oldest open item its language prior, which is exact now: every item before it is
        complete."""
        first = self._committed[0] if self._committed else self.open
        if first is None:
            return []
        return self._request(first, first.turn.confirm_language_prior(self._expected))

    def _superseded(self, number: int, segment: Segment) -> list[Effect]:
        """Cancel requests about a segment that were made before the one just answered: their
        answers bring nothing new. Once the segment is settled, that holds for all requests."""
        return self._cancel(
            [
                other
                for other, (_, wanted) in self._jobs.items()
                if wanted.segment is segment and (other < number or segment.settled)
            ]
        )

    def _cancel(self, numbers: list[int]) -> list[Effect]:
        for number in numbers:
            del self._jobs[number]
        return [Cancel(number) for number in numbers]

    def _interim(self, item: OpenItem) -> list[Effect]:
        turn = item.turn
        shown = turn.stable_text, turn.unstable_text
        if shown == item.shown == ("", ""):
            return []
        item.shown = shown
        self._language = turn.language or self._language
        return [self._text(item, self._emotions.guess(turn.latest_features), *shown)]

    def _text(self, item: OpenItem, emotion: str, text: str, stash: str) -> Send:
        return self.send(
            InterimText,
            item_id=item.id,
            language=item.turn.language or self._language,
            emotion=emotion,
            text=text,
            stash=stash,
        )

    def _completed(self, item: OpenItem) -> list[Effect]:
        turn = item.turn
        final = turn.transcript
        language = self._language = turn.language or self._language
        emotion = self._emotions.update(turn.features) if final else "neutral"
        effects: list[Effect] = []
        if not final.startswith(item.shown[0]):
            effects.append(Count("retractions"))
        elif item.shown not in (("", ""), (final, "")):
            # the documented last interim event: everything in `text`, nothing in `stash`
            effects.append(self._text(item, emotion, final, ""))
        joined = self.transcript + separator(self.transcript, final) + final
        self.transcript = joined[-self._max_transcript_chars :]
        return [
            *effects,
            self.send(
                TranscriptionCompleted,
                item_id=item.id,
                language=language,
                emotion=emotion,
                transcript=final,
            ),
            _result(item, language, emotion, transcript=final, words=turn.words),
        ]

    def _failed(self, item: OpenItem, failure: Exception) -> list[Effect]:
        code, message = "InternalError", "The audio of this item could not be recognised."
        if isinstance(failure, Overload):
            code, message = failure.code or code, failure.message
        detail = FailureDetail(code=code, message=message)
        language = item.turn.language or self._language
        return [
            Count("failed_items"),
            self.send(TranscriptionFailed, item_id=item.id, error=detail),
            _result(item, language, "neutral", failure=failure),
        ]


def _result(item: OpenItem, language: str, emotion: str, **result: Any) -> Completed:
    turn = item.turn
    speech_s = turn.speech_samples / SAMPLE_RATE
    return Completed(item.id, turn.start, turn.end, speech_s, language, emotion, **result)
