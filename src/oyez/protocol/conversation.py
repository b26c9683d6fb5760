"""The items of a conversation, each from its first speech to exactly one `completed` or `failed`.

Items complete in the order in which they were committed, in whatever order answers come, because
clients print finals as they arrive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from oyez.audio.pcm import SAMPLE_RATE
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
from oyez.turns.word_times import Word

UNKNOWN_LANGUAGE = "en"
"""Sent while no language was asked for or detected, because the field must never be null. Where
this language is not allowed, the first allowed one is sent."""


@dataclass(slots=True)
class OpenItem:
    """An item that is not completed or failed yet."""

    id: str
    turn: Turn
    build_request: Callable[[RecognitionNeed], Request]
    """Makes a request, with its audio, of what the turn needs."""
    shown: tuple[str, str] = ("", "")
    """`text` and `stash` of the last interim event."""


@dataclass(frozen=True, slots=True)
class _Job:
    item: OpenItem
    wanted: RecognitionNeed

    @property
    def is_final(self) -> bool:
        return self.wanted.purpose is Purpose.FINAL


def _default_language(languages: Sequence[str]) -> str:
    return languages[0] if languages and UNKNOWN_LANGUAGE not in languages else UNKNOWN_LANGUAGE


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
        self._committed: deque[OpenItem] = deque()
        self._newest: OpenItem | None = None
        self._expected: Prior = uniform_over(languages)
        """The language expected after the items completed so far."""
        self._jobs: dict[int, _Job] = {}
        self._next_job = 1
        self._previous_id: str | None = None
        self._language = _default_language(languages)
        self.transcript = ""
        """All finals so far, joined; only the newest part once it is very long."""

    @property
    def open_count(self) -> int:
        """Committed items that are not completed or failed yet."""
        return len(self._committed)

    @property
    def backlog_samples(self) -> int:
        """Audio that waits for its final, without the speech that still goes on."""
        waiting = (job.wanted for job in self._jobs.values())
        held = sum(item.turn.answered_samples for item in self._committed)
        return held + sum(w.length_samples for w in waiting if w.segment.is_awaited(w))

    def needed_from(self, default: int) -> int:
        """Return the first sample that committed items may still need, or `default` if there are
        none."""
        return self._committed[0].turn.needed_from if self._committed else default

    def begin(self, turn: Turn, build_request: Callable[[RecognitionNeed], Request]) -> OpenItem:
        """Begin the item of a turn. build_request: see `OpenItem`."""
        item = OpenItem(self._new_id("item"), turn, build_request)
        self.restart(item, turn)
        self._newest = item
        return item

    def restart(self, item: OpenItem, turn: Turn) -> None:
        """Make the item about another turn, which has no audio yet."""
        item.turn = turn
        turn.guess_language_prior(
            self._committed[-1].turn.language_prior_after if self._committed else self._expected
        )
        if not self._committed:
            turn.confirm_language_prior(self._expected)

    def request(self, item: OpenItem, wanted: list[RecognitionNeed]) -> list[Effect]:
        """Have what a turn needs recognised."""
        effects: list[Effect] = []
        for want in wanted:
            job, self._next_job = self._next_job, self._next_job + 1
            self._jobs[job] = _Job(item, want)
            due_s = want.due_samples / SAMPLE_RATE
            effects.append(
                Recognise(
                    job,
                    item.id,
                    want.segment.start,
                    item.build_request(want),
                    due_s,
                    want.speculative,
                )
            )
        return effects

    def commit(self, item: OpenItem) -> list[Effect]:
        """Commit an item whose audio is complete: `committed`, `conversation.item.created`."""
        previous, self._previous_id = self._previous_id, item.id
        self._committed.append(item)
        return [
            self.send(BufferCommitted, previous_item_id=previous, item_id=item.id),
            self.send(ItemCreated, previous_item_id=previous, item=Item(id=item.id)),
            *self.complete(),
        ]

    def cancel_jobs(self, item: OpenItem) -> list[Effect]:
        """Cancel all jobs of an item."""
        return self._cancel([number for number, job in self._jobs.items() if job.item is item])

    def recognised(self, number: int, outcome: Hypothesis | Exception) -> list[Effect]:
        """Take the answer to a job. An answer to a job that was cancelled is ignored."""
        job = self._jobs.pop(number, None)
        if job is None:
            return []
        effects: list[Effect] = []
        if isinstance(outcome, Exception) and not job.is_final:
            effects.append(Count("failed_partials"))
        news = job.item.turn.on_result(job.wanted, outcome)
        if isinstance(outcome, Hypothesis):
            effects += self._superseded(number, job.wanted.segment)
        if news and not job.item.turn.settled:
            effects += self._interim(job.item)
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

    def _follow(self) -> list[Effect]:
        """Give the oldest open item its language prior, which is exact now: every item before it is
        complete."""
        first = self._committed[0] if self._committed else self._newest
        return (
            self.request(first, first.turn.confirm_language_prior(self._expected)) if first else []
        )

    def _superseded(self, number: int, window: Segment) -> list[Effect]:
        """Cancel requests about a segment that were made before the one just answered: their
        answers bring nothing new. Once the segment is settled, that holds for all requests."""
        return self._cancel(
            [
                other
                for other, job in self._jobs.items()
                if job.wanted.segment is window and (other < number or window.settled)
            ]
        )

    def _cancel(self, numbers: list[int]) -> list[Effect]:
        for number in numbers:
            del self._jobs[number]
        return [Cancel(number) for number in numbers]

    def _interim(self, item: OpenItem) -> list[Effect]:
        text, stash = item.turn.stable_text, item.turn.unstable_text
        if not text and not stash and item.shown == ("", ""):
            return []
        item.shown = (text, stash)
        self._language = item.turn.language or self._language
        return [
            self.send(
                InterimText,
                item_id=item.id,
                language=item.turn.language or self._language,
                emotion=self._emotions.guess(item.turn.latest_features),
                text=text,
                stash=stash,
            )
        ]

    def _completed(self, item: OpenItem) -> list[Effect]:
        turn = item.turn
        self._language = turn.language or self._language
        language = self._language
        emotion = self._emotions.update(turn.features) if turn.transcript else "neutral"
        effects: list[Effect] = []
        shown_text = item.shown[0]
        if not turn.transcript.startswith(shown_text):
            effects.append(Count("retractions"))
        elif item.shown != ("", "") and item.shown != (turn.transcript, ""):
            effects.append(self._last_interim(item, turn.transcript, language, emotion))
        self._keep(turn.transcript)
        effects.append(
            self.send(
                TranscriptionCompleted,
                item_id=item.id,
                language=language,
                emotion=emotion,
                transcript=turn.transcript,
            )
        )
        effects.append(_completed(item, language, emotion, turn.transcript, turn.words))
        return effects

    def _last_interim(self, item: OpenItem, transcript: str, language: str, emotion: str) -> Send:
        """Return the documented last interim event: everything in `text`, nothing in `stash`."""
        return self.send(
            InterimText,
            item_id=item.id,
            language=language,
            emotion=emotion,
            text=transcript,
            stash="",
        )

    def _failed(self, item: OpenItem, failure: Exception) -> list[Effect]:
        code = failure.code if isinstance(failure, Overload) else "InternalError"
        message = "The audio of this item could not be recognised."
        if isinstance(failure, Overload):
            message = failure.message
        detail = FailureDetail(code=code or "InternalError", message=message)
        language = item.turn.language or self._language or UNKNOWN_LANGUAGE
        return [
            Count("failed_items"),
            self.send(TranscriptionFailed, item_id=item.id, error=detail),
            _completed(item, language, "neutral", failure=failure),
        ]

    def _keep(self, final: str) -> None:
        joined = self.transcript + separator(self.transcript, final) + final
        self.transcript = joined[-self._max_transcript_chars :]

    def send(self, event: type[ServerEvent], **fields: Any) -> Send:
        """Return the effect that sends an event, with an `event_id` of its own."""
        return Send(event(event_id=self._new_id("event"), **fields))


def _completed(
    item: OpenItem,
    language: str,
    emotion: str,
    transcript: str = "",
    words: tuple[Word, ...] = (),
    failure: Exception | None = None,
) -> Completed:
    turn = item.turn
    return Completed(
        item_id=item.id,
        start_samples=turn.start,
        end_samples=turn.end,
        speech_s=turn.speech_samples / SAMPLE_RATE,
        language=language,
        emotion=emotion,
        transcript=transcript,
        words=words,
        failure=failure,
    )
