from __future__ import annotations

from itertools import pairwise

import pytest

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import WINDOW_SAMPLES, Hypothesis, Piece
from oyez.turns.partial_context import (
    CONTEXT_SAMPLES,
    LONG_SAMPLES,
    MARGIN_SAMPLES,
    WHOLE,
    excerpt,
)
from oyez.turns.segment import Wanted, WindowSettings
from oyez.turns.turn import Turn

WORD_SAMPLES = 6_400


def pieces(*texts: str) -> tuple[Piece, ...]:
    return tuple(Piece(text, (n,), (n + 1) * WORD_SAMPLES, 0.9) for n, text in enumerate(texts))


WORDS = pieces(*(f" w{n}" for n in range(30)))
LONG = 31 * WORD_SAMPLES


def test_short_audio_is_heard_as_a_whole() -> None:
    assert excerpt(WORDS, LONG_SAMPLES, "en") is WHOLE
    assert excerpt((), LONG, "en") is WHOLE
    assert excerpt(WORDS[:3], LONG, "en") is WHOLE, "there is nothing to leave out"


def test_long_audio_is_heard_from_shortly_before_the_last_confirmed_words() -> None:
    part = excerpt(WORDS, LONG, "en")
    kept = WORDS[len(part.left_out) :]
    assert part.left_out[-1].end_samples - part.start == MARGIN_SAMPLES
    heard_again = kept[-1].end_samples - part.left_out[-1].end_samples
    assert CONTEXT_SAMPLES <= heard_again < CONTEXT_SAMPLES + WORD_SAMPLES


def test_pieces_are_moved_into_the_excerpt_and_back() -> None:
    part = excerpt(WORDS, LONG, "en")
    inside = part.of(WORDS)
    assert inside[0].end_samples == MARGIN_SAMPLES + WORD_SAMPLES
    assert part.completed(Hypothesis(inside, "en")).pieces == WORDS


def test_words_are_not_cut_in_two() -> None:
    syllables = pieces(*([" be", "gin", "ning"] * 10))
    for count in range(20, 31):
        part = excerpt(syllables[:count], LONG, "en")
        assert part is WHOLE or len(part.left_out) % 3 == 0


@pytest.mark.parametrize("language", ["zh", "ja", "th"])
def test_scripts_without_spaces_are_cut_anywhere(language: str) -> None:
    part = excerpt(pieces(*"天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往"), LONG, language)
    assert part.left_out


def hear(wanted: Wanted) -> Hypothesis:
    """An engine that hears the numbered words that are whole in the audio it is given."""
    first = -(-wanted.start // WORD_SAMPLES)
    inside = tuple(
        Piece(f" {n}", (n,), (n + 1) * WORD_SAMPLES - wanted.start, 0.9)
        for n in range(first, wanted.end // WORD_SAMPLES)
    )
    assert tuple(p.text for p in wanted.prefix) == tuple(
        p.text for p in inside[: len(wanted.prefix)]
    ), "the prefix is not what is in the audio"
    return Hypothesis(inside, "en")


def test_a_partial_costs_the_same_however_long_its_window_is() -> None:
    turn, asked = Turn(0, WindowSettings(release=0.4)), list[Wanted]()
    for index in range(13 * SAMPLE_RATE // WINDOW_SAMPLES):
        for wanted in turn.feed(0.9, (index + 1) * WINDOW_SAMPLES):
            asked.append(wanted)
            turn.hear(wanted, hear(wanted))
    assert len({wanted.window for wanted in asked}) == 1
    lengths = [wanted.end - wanted.start for wanted in asked]
    assert max(lengths) <= LONG_SAMPLES + SAMPLE_RATE
    shown = [int(word) for word in (turn.text + turn.stash).split()]
    assert shown == list(range(13 * SAMPLE_RATE // WORD_SAMPLES - 1))
    for before, after in pairwise(asked):
        assert after.start >= before.start
