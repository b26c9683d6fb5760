"""The conversation's items: from the first sign of speech to exactly one `completed` or `failed`.

Items complete in the order they were committed, whatever order answers come in: clients print
finals as they arrive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import EmotionTracker, Hypothesis, Purpose, Request
from oyez.engines.language_prior import Prior
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
from oyez.turns.language import uniform_over
from oyez.turns.segment import RecognitionNeed, Segment
from oyez.turns.text_style import separator
from oyez.turns.turn import Turn
from oyez.turns.word_times import Word

UNKNOWN_LANGUAGE = "en"
"""What the wire says before any language was asked for or heard; it must never be
null. The first one that is allowed, where this is not."""


@dataclass(slots=True)
class OpenItem:
    """An item that is not yet completed or failed."""

    id: str
    turn: Turn
    make: Callable[[RecognitionNeed], Request]
    """From what its turn wants to a request, with the audio."""
    shown: tuple[str, str] = ("", "")
    """`text` and `stash` of its last interim event."""


@dataclass(frozen=True, slots=True)
class _Job:
    item: OpenItem
    wanted: RecognitionNeed

    @property
    def is_final(self) -> bool:
        return self.wanted.purpose is Purpose.FINAL


def _unheard(languages: Sequence[str]) -> str:
    return languages[0] if languages and UNKNOWN_LANGUAGE not in languages else UNKNOWN_LANGUAGE


class Items:
    """All open items of a session, the jobs that run for them, and the finals so far."""

    def __init__(
        self,
        new_id: Callable[[str], str],
        emotions: EmotionTracker,
        max_transcript_chars: int,
        languages: Sequence[str] = (),
    ) -> None:
        """languages: the only ones that may be heard; none: any."""
        self._new_id = new_id
        self._emotions = emotions
        self._max_transcript_chars = max_transcript_chars
        self._committed: deque[OpenItem] = deque()
        self._newest: OpenItem | None = None
        self._expected: Prior = uniform_over(languages)
        """What language is expected behind the items completed so far."""
        self._jobs: dict[int, _Job] = {}
        self._next_job = 1
        self._previous_id: str | None = None
        self._language = _unheard(languages)
        self.transcript = ""
        """All finals so far, joined; only the newest part once it is very long."""

    @property
    def open_count(self) -> int:
        """Committed items that are not yet completed or failed."""
        return len(self._committed)

    @property
    def backlog_samples(self) -> int:
        """Audio that waits for its final, as far as speech does not go on."""
        waiting = (job.wanted for job in self._jobs.values())
        held = sum(item.turn.answered_samples for item in self._committed)
        return held + sum(w.length_samples for w in waiting if w.segment.is_awaited(w))

    def needed_from(self, default: int) -> int:
        """The first sample that committed items may still want; `default` if there is none."""
        return self._committed[0].turn.needed_from if self._committed else default

    def begin(self, turn: Turn, make: Callable[[RecognitionNeed], Request]) -> OpenItem:
        """A turn begins; its item gets its id. make: from what it wants to a request."""
        item = OpenItem(self._new_id("item"), turn, make)
        self.restart(item, turn)
        self._newest = item
        return item

    def restart(self, item: OpenItem, turn: Turn) -> None:
        """The item is about `turn` instead, which has heard nothing yet."""
        item.turn = turn
        turn.guess_language_prior(
            self._committed[-1].turn.language_prior_after if self._committed else self._expected
        )
        if not self._committed:
            turn.confirm_language_prior(self._expected)

    def request(self, item: OpenItem, wanted: list[RecognitionNeed]) -> list[Effect]:
        """Have what a turn wants recognised."""
        effects: list[Effect] = []
        for want in wanted:
            job, self._next_job = self._next_job, self._next_job + 1
            self._jobs[job] = _Job(item, want)
            due_s = want.due_samples / SAMPLE_RATE
            effects.append(
                Recognise(
                    job, item.id, want.segment.start, item.make(want), due_s, want.speculative
                )
            )
        return effects

    def commit(self, item: OpenItem) -> list[Effect]:
        """The item's audio is complete: `committed`, `conversation.item.created`."""
        previous, self._previous_id = self._previous_id, item.id
        self._committed.append(item)
        return [
            self.send(BufferCommitted, previous_item_id=previous, item_id=item.id),
            self.send(ItemCreated, previous_item_id=previous, item=Item(id=item.id)),
            *self.complete(),
        ]

    def forget(self, item: OpenItem) -> list[Effect]:
        """Nothing that runs for the item is wanted any more."""
        return self._cancel([number for number, job in self._jobs.items() if job.item is item])

    def recognised(self, number: int, outcome: Hypothesis | Exception) -> list[Effect]:
        """The answer to a job. Answers nobody waits for any more are ignored."""
        job = self._jobs.pop(number, None)
        if job is None:
            return []
        effects: list[Effect] = []
        if isinstance(outcome, Exception) and not job.is_final:
            effects.append(Count("failed_partials"))
        news = job.item.turn.on_result(job.wanted, outcome)
        if isinstance(outcome, Hypothesis):
            effects += self._overtaken(number, job.wanted.segment)
        if news and not job.item.turn.settled:
            effects += self._interim(job.item)
        return effects + self.complete()

    def complete(self) -> list[Effect]:
        """`completed` or `failed` for every item whose turn has come."""
        effects = self._follow()
        while self._committed and self._committed[0].turn.settled:
            item = self._committed.popleft()
            self._expected = item.turn.language_prior_after
            effects += self.forget(item)
            failure = item.turn.failure
            effects += self._failed(item, failure) if failure else self._completed(item)
            effects += self._follow()
        return effects

    def _follow(self) -> list[Effect]:
        """Nothing is unknown any more before the first item that is not complete."""
        first = self._committed[0] if self._committed else self._newest
        return (
            self.request(first, first.turn.confirm_language_prior(self._expected)) if first else []
        )

    def _overtaken(self, number: int, window: Segment) -> list[Effect]:
        """What was asked of a window before the job just answered can tell nothing new, if it is
        answered at all; once the window has settled, nothing can."""
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
        """The documented end of an item's interim events: all in `text`, nothing in `stash`."""
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
        """An event with its own `event_id`."""
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
