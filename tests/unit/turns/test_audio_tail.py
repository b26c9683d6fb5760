from __future__ import annotations

from itertools import pairwise

import pytest

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import WINDOW_SAMPLES, Hypothesis, Piece
from oyez.turns.segment import RecognitionNeed, SegmentSettings
from oyez.turns.stabilizer import (
    CONTEXT_SAMPLES,
    WHOLE_AUDIO,
    WHOLE_SAMPLES,
    WORD_END_MARGIN_SAMPLES,
    audio_tail,
)
from oyez.turns.turn import Turn

WORD_SAMPLES = 6_400


def pieces(*texts: str) -> tuple[Piece, ...]:
    return tuple(Piece(text, (n,), (n + 1) * WORD_SAMPLES, 0.9) for n, text in enumerate(texts))


WORDS = pieces(*(f" w{n}" for n in range(30)))
LONG = 31 * WORD_SAMPLES


def test_short_audio_is_recognised_as_a_whole() -> None:
    assert audio_tail(WORDS, WHOLE_SAMPLES, "en") is WHOLE_AUDIO
    assert audio_tail((), LONG, "en") is WHOLE_AUDIO
    assert audio_tail(WORDS[:3], LONG, "en") is WHOLE_AUDIO, "there is nothing to leave out"


def test_long_audio_is_recognised_from_shortly_before_the_last_confirmed_words() -> None:
    part = audio_tail(WORDS, LONG, "en")
    kept = WORDS[len(part.omitted) :]
    assert part.omitted[-1].end_samples - part.offset_samples == WORD_END_MARGIN_SAMPLES
    heard_again = kept[-1].end_samples - part.omitted[-1].end_samples
    assert CONTEXT_SAMPLES <= heard_again < CONTEXT_SAMPLES + WORD_SAMPLES


def test_pieces_are_shifted_into_the_tail_and_back() -> None:
    part = audio_tail(WORDS, LONG, "en")
    inside = part.pieces_inside(WORDS)
    assert inside[0].end_samples == WORD_END_MARGIN_SAMPLES + WORD_SAMPLES
    assert part.completed(Hypothesis(inside, "en")).pieces == WORDS


def test_words_are_not_cut_in_two() -> None:
    syllables = pieces(*([" be", "gin", "ning"] * 10))
    for count in range(20, 31):
        part = audio_tail(syllables[:count], LONG, "en")
        assert part is WHOLE_AUDIO or len(part.omitted) % 3 == 0


@pytest.mark.parametrize("language", ["zh", "ja", "th"])
def test_scripts_without_spaces_are_cut_anywhere(language: str) -> None:
    part = audio_tail(pieces(*"天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往"), LONG, language)
    assert part.omitted


def hear(need: RecognitionNeed) -> Hypothesis:
    """An engine that hears the numbered words that are whole in the audio it is given."""
    first = -(-need.start // WORD_SAMPLES)
    inside = tuple(
        Piece(f" {n}", (n,), (n + 1) * WORD_SAMPLES - need.start, 0.9)
        for n in range(first, need.end // WORD_SAMPLES)
    )
    assert tuple(p.text for p in need.prefix) == tuple(
        p.text for p in inside[: len(need.prefix)]
    ), "the prefix is not what is in the audio"
    return Hypothesis(inside, "en")


def test_a_partial_costs_the_same_however_long_its_segment_is() -> None:
    turn, asked = Turn(0, SegmentSettings(release=0.4)), list[RecognitionNeed]()
    for index in range(13 * SAMPLE_RATE // WINDOW_SAMPLES):
        for need in turn.feed(0.9, (index + 1) * WINDOW_SAMPLES):
            asked.append(need)
            turn.on_result(need, hear(need))
    assert len({need.segment for need in asked}) == 1
    lengths = [need.end - need.start for need in asked]
    assert max(lengths) <= WHOLE_SAMPLES + SAMPLE_RATE
    shown = [int(word) for word in (turn.stable_text + turn.unstable_text).split()]
    assert shown == list(range(13 * SAMPLE_RATE // WORD_SAMPLES - 1))
    for before, after in pairwise(asked):
        assert after.start >= before.start
