"""How long a listener waits for the first words, between results, and for the final."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import click
import numpy as np

from oyez.audio.pcm import SAMPLE_RATE
from oyez.bench.clips import Clip, packets
from oyez.bench.load import Stream, Take, stream_all
from oyez.bench.report import format_table, machine_line, progress, spread
from oyez.bench.scoring import Counts, same_words
from oyez.bench.server import measured
from oyez.client import Failed, Final, Interim, Started, Stopped, Target
from oyez.files.media import read_media
from oyez.protocol.dialect import TurnDetection

DETECTION = TurnDetection()
"""The server's defaults, which the client does not change."""
LEADING_SILENCE_S = 0.5
"""Silence before every clip: prefix padding needs room before the first speech."""
TRAILING_SILENCE_S = 1.2
"""Silence after every clip, so that its last turn ends by silence as in a conversation."""


@dataclass(slots=True)
class _Turn:
    """One turn. Times are on the clock of `time.perf_counter`; None if it has not happened."""

    speech_s: float | None = None
    """When the first sample of speech was sent."""
    silent_s: float | None = None
    """When the last sample of speech was sent."""
    shown_s: list[float] = field(default_factory=list)
    """When interim results with words came before the turn ended."""
    words_s: float | None = None
    """When the first words came, perhaps with the final."""
    confirmed_s: float | None = None
    stopped_s: float | None = None
    final_s: float | None = None
    text: str = ""
    """The confirmed text of the last interim result."""
    transcript: str = ""
    failed: bool = False

    def show(self, at_s: float, text: str, stash: str) -> None:
        """Add an interim result."""
        if text + stash:
            self.words_s = at_s if self.words_s is None else self.words_s
            if self.stopped_s is None:
                self.shown_s.append(at_s)
        if text and not self.text and self.stopped_s is None:
            self.confirmed_s = at_s
        self.text = text

    def complete(self, at_s: float, transcript: str) -> None:
        """Add the final."""
        self.final_s, self.transcript = at_s, transcript
        if transcript and self.words_s is None and self.stopped_s is not None:
            self.words_s = at_s


@dataclass(frozen=True, slots=True)
class Outcome(Counts):
    """What came back of the turns of a session, or of many. Times are in milliseconds."""

    first_words: list[float] = field(default_factory=list)
    """From the sending of the first sample of speech to the first result that is not empty."""
    first_confirmed: list[float] = field(default_factory=list)
    """From the same sample to the first `text` that is not empty."""
    between_interims: list[float] = field(default_factory=list)
    """Between two interim results; there are several in a turn."""
    longest_gaps: list[float] = field(default_factory=list)
    """The longest of these times in each turn with words, the one up to `speech_stopped` too."""
    final_after_stop: list[float] = field(default_factory=list)
    """From the receipt of `speech_stopped` to the receipt of `completed`."""
    final_after_speech: list[float] = field(default_factory=list)
    """From the sending of the last sample of speech to the receipt of `completed`."""
    finals: list[str] = field(default_factory=list)
    failed: int = 0
    unanswered: int = 0
    """Turns that were announced, and neither completed nor failed."""
    retractions: int = 0
    """Finals that do not begin with the last `text`."""
    rewordings: int = 0
    """Finals that do not begin with the words of the last `text`."""

    @classmethod
    def of(cls, take: Take) -> Outcome:
        """Read the outcome from the events of a session."""
        every = list(_turns(take).values())
        shown = [turn for turn in every if turn.shown_s]
        final = [turn for turn in every if turn.final_s is not None]
        gaps = [
            _waits(pairwise([*turn.shown_s, turn.stopped_s]))
            for turn in shown
            if turn.stopped_s is not None
        ]
        return cls(
            first_words=_waits((turn.speech_s, turn.words_s) for turn in every),
            first_confirmed=_waits((turn.speech_s, turn.confirmed_s) for turn in every),
            between_interims=_waits(gap for turn in shown for gap in pairwise(turn.shown_s)),
            longest_gaps=[max(each) for each in gaps],
            final_after_stop=_waits((turn.stopped_s, turn.final_s) for turn in every),
            final_after_speech=_waits((turn.silent_s, turn.final_s) for turn in every),
            finals=[turn.transcript for turn in final],
            failed=sum(turn.failed for turn in every),
            unanswered=sum(turn.final_s is None and not turn.failed for turn in every),
            retractions=sum(not turn.transcript.startswith(turn.text) for turn in final),
            rewordings=sum(not same_words(turn.text, turn.transcript) for turn in final),
        )


def _turns(take: Take) -> dict[str, _Turn]:
    """Return the turns of a session by their item, in the order in which they began."""
    turns: defaultdict[str, _Turn] = defaultdict(_Turn)
    last_end_ms = 0
    for at_s, event in take.events:
        match event:
            case Started(item_id, start_ms):
                # A turn that begins where the last one ended has less padding or none.
                padding_ms = DETECTION.prefix_padding_ms if start_ms > last_end_ms else 0
                turns[item_id].speech_s = take.sent_s(start_ms + padding_ms)
            case Stopped(item_id, end_ms):
                last_end_ms = end_ms
                turns[item_id].stopped_s = at_s
                turns[item_id].silent_s = take.sent_s(end_ms - DETECTION.silence_duration_ms)
            case Interim(item_id, text, stash):
                turns[item_id].show(at_s, text, stash)
            case Final(item_id, transcript):
                turns[item_id].complete(at_s, transcript)
            case Failed(item_id):
                turns[item_id].failed = True
    return turns


def _waits(spans: Iterable[tuple[float | None, float | None]]) -> list[float]:
    """Return the milliseconds of each span of seconds that has both ends."""
    return [
        1000 * (to_s - from_s) for from_s, to_s in spans if from_s is not None and to_s is not None
    ]


def main(limit: int | None, **setup: Any) -> None:
    """Measure and print; `commands` has the options."""
    with measured(**setup) as (spoken, server):
        count = min(limit or len(spoken), len(spoken))
        # At even distances, so that every language has its share.
        clips = [spoken[index * len(spoken) // count] for index in range(count)]
        outcome = asyncio.run(measure(server.target, clips))
    click.echo(report(outcome, clips))


async def measure(target: Target, clips: Sequence[Clip]) -> Outcome:
    """Stream the clips one after another, in their language; progress goes to stderr.

    Raises RuntimeError if a session is refused or breaks, MediaError and OSError.
    """
    outcome = Outcome()
    for number, clip in enumerate(clips, start=1):
        progress(f"{number}/{len(clips)} {clip.path.name}")
        padding = (round(LEADING_SILENCE_S * SAMPLE_RATE), round(TRAILING_SILENCE_S * SAMPLE_RATE))
        samples = np.pad(read_media(clip.path), padding)
        stream = Stream(0, clip.language, 0.0, packets(samples))
        (take,) = await stream_all(target, [stream])
        if take.broken:
            raise RuntimeError(take.broken)
        outcome += Outcome.of(take)
    progress("")
    return outcome


def report(outcome: Outcome, clips: Sequence[Clip]) -> str:
    """Return the table as Markdown."""
    waits = {
        "speech begins → first words": outcome.first_words,
        "speech begins → first confirmed text": outcome.first_confirmed,
        "between interim results": outcome.between_interims,
        "speech_stopped → completed": outcome.final_after_stop,
        "last speech sent → completed": outcome.final_after_speech,
    }
    rows = [[name, len(values), *spread(values)] for name, values in waits.items()]
    audio_s = sum(clip.duration_s for clip in clips)
    return (
        f"{machine_line()}\n\n{format_table(['ms', 'n', 'p50', 'p95', 'max'], rows)}\n\n"
        f"{len(clips)} clips, {audio_s:.0f} s of audio, {len(outcome.finals)} turns, one stream at "
        f"a time, packets of 100 ms. Finals that differ from confirmed text: "
        f"{outcome.retractions}, in words: {outcome.rewordings}."
    )
