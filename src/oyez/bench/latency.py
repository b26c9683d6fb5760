"""How long a listener waits for the first words, between results, and for the final."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.bench.load import Recording, Stream, encode, stream_all
from oyez.bench.manifest import Clip
from oyez.bench.report import format_table, machine_line, percentile
from oyez.bench.scoring import same_words
from oyez.client import Final, Interim, Started, Stopped
from oyez.files.media import read_media
from oyez.protocol.dialect import TurnDetection

DETECTION = TurnDetection()
"""The server's defaults, which the client does not change."""
LEADING_SILENCE_S = 0.5
"""Silence before every clip: prefix padding needs room before the first speech."""
TRAILING_SILENCE_S = 1.2
"""Silence after every clip, so that its last turn ends by silence as in a conversation."""


@dataclass(slots=True)
class Waits:
    """Times in milliseconds, one for each turn, and counts over all turns."""

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
    turns: int = 0
    retractions: int = 0
    """Finals that do not begin with the last `text`."""
    rewordings: int = 0
    """Finals that do not begin with the words of the last `text`."""

    def add(self, recording: Recording) -> None:
        """Add every turn of a session."""
        turns: dict[str, _Turn] = {}
        last_end_ms = 0
        for at_s, event in recording.events:
            match event:
                case Started(item_id, start_ms):
                    # A turn that begins where the last one ended has less padding or none.
                    padding_ms = DETECTION.prefix_padding_ms if start_ms > last_end_ms else 0
                    turns[item_id] = _Turn(speech_s=recording.sent_s(start_ms + padding_ms))
                case Stopped(item_id, end_ms):
                    turn = turns.setdefault(item_id, _Turn())
                    self._stop(turn, at_s)
                    last_end_ms = end_ms
                    turn.silent_s = recording.sent_s(end_ms - DETECTION.silence_duration_ms)
                case Interim(item_id, text, stash):
                    self._interim(turns.setdefault(item_id, _Turn()), at_s, text, stash)
                case Final(item_id, transcript):
                    self._final(turns.setdefault(item_id, _Turn()), at_s, transcript)

    def _stop(self, turn: _Turn, at_s: float) -> None:
        if turn.shown_s is not None:
            self.longest_gaps.append(max(turn.longest_ms, 1000 * (at_s - turn.shown_s)))
        turn.stopped_s = at_s

    def _interim(self, turn: _Turn, at_s: float, text: str, stash: str) -> None:
        if text + stash and turn.shown_s is None:
            self.first_words.append(1000 * (at_s - turn.speech_s))
        if text and not turn.text and turn.stopped_s is None:
            self.first_confirmed.append(1000 * (at_s - turn.speech_s))
        if turn.shown_s is not None and turn.stopped_s is None:
            gap_ms = 1000 * (at_s - turn.shown_s)
            turn.longest_ms = max(turn.longest_ms, gap_ms)
            self.between_interims.append(gap_ms)
        turn.shown_s = at_s if text + stash else turn.shown_s
        turn.text = text

    def _final(self, turn: _Turn, at_s: float, transcript: str) -> None:
        self.turns += 1
        self.retractions += not transcript.startswith(turn.text)
        self.rewordings += not same_words(turn.text, transcript)
        if turn.stopped_s is None:
            return
        if transcript and turn.shown_s is None:
            self.first_words.append(1000 * (at_s - turn.speech_s))
        self.final_after_stop.append(1000 * (at_s - turn.stopped_s))
        self.final_after_speech.append(1000 * (at_s - turn.silent_s))


@dataclass(slots=True)
class _Turn:
    """Times of one turn, on the clock of `time.perf_counter`; None if it has not happened."""

    speech_s: float = 0.0
    shown_s: float | None = None
    longest_ms: float = 0.0
    stopped_s: float | None = None
    silent_s: float = 0.0
    text: str = ""


async def measure(url: str, key: str | None, clips: Sequence[Clip]) -> Waits:
    """Stream the clips one after another, in their language; progress goes to stderr.

    Raises RuntimeError if a session is refused or breaks, MediaError and OSError.
    """
    waits = Waits()
    for number, clip in enumerate(clips, start=1):
        print(f"\r{number}/{len(clips)} {clip.path.name:<60.60}", end="", file=sys.stderr)
        stream = Stream(0, clip.language, 0.0, encode(_with_silence(clip)))
        (take,) = await stream_all(url, key, [stream])
        if take.broken:
            raise RuntimeError(take.broken)
        waits.add(take.recording)
    print(file=sys.stderr)
    return waits


def report(waits: Waits, clips: Sequence[Clip]) -> str:
    """Return the table as Markdown."""
    rows = [
        ["speech begins → first words", *_figures(waits.first_words)],
        ["speech begins → first confirmed text", *_figures(waits.first_confirmed)],
        ["between interim results", *_figures(waits.between_interims)],
        ["speech_stopped → completed", *_figures(waits.final_after_stop)],
        ["last speech sent → completed", *_figures(waits.final_after_speech)],
    ]
    table = format_table(["ms", "n", "p50", "p95", "max"], rows)
    audio_s = sum(clip.duration_s for clip in clips)
    return (
        f"{machine_line()}\n\n{table}\n\n"
        f"{len(clips)} clips, {audio_s:.0f} s of audio, {waits.turns} turns, one stream at a time, "
        f"packets of 100 ms. Finals that differ from confirmed text: {waits.retractions}, "
        f"in words: {waits.rewordings}."
    )


def _figures(values: Sequence[float]) -> list[object]:
    if not values:
        return [0, "–", "–", "–"]
    return [
        len(values),
        *(round(percentile(values, share)) for share in (0.5, 0.95)),
        round(max(values)),
    ]


def _with_silence(clip: Clip) -> Samples:
    before, after = (
        np.zeros(round(seconds * SAMPLE_RATE), np.float32)
        for seconds in (LEADING_SILENCE_S, TRAILING_SILENCE_S)
    )
    samples: Samples = np.concatenate([before, read_media(clip.path), after])
    return samples
