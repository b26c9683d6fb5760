"""What the streams of a load test say."""

from __future__ import annotations

import wave
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from oyez.audio.pcm import SAMPLE_RATE
from oyez.bench.clips import (
    LEAD_S,
    MAX_OFFSET_S,
    SHORTEST_PAUSE_S,
    TAIL_S,
    Clip,
    choose,
    pieces,
    plan,
)


def clip(
    name: str,
    lang: str = "en",
    duration_s: float = 5.0,
    voice: str = "human",
    folder: Path = Path(),
) -> Clip:
    return Clip(folder / name, lang, duration_s, None, "read", voice)


def recording(folder: Path, name: str, duration_s: float) -> Clip:
    """A clip that grows louder and never is soft."""
    count = round(duration_s * SAMPLE_RATE)
    loud = np.linspace(8000, 16000, count).astype("<i2")
    loud[::2] *= -1
    with wave.open(str(folder / name), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(loud.tobytes())
    return clip(name, duration_s=duration_s, folder=folder)


LANGUAGES = {
    "en": [clip(f"en{n}", duration_s=3 + n) for n in range(8)],
    "de": [clip(f"de{n}", "de", 2 + n) for n in range(4)],
}


def test_speech_of_one_language_is_chosen_human_and_short_where_there_is_any() -> None:
    chosen = choose(
        [
            clip("silence", "none"),
            clip("many", "mul"),
            clip("sv", "sv", 60.0, "synthetic"),
            clip("long", duration_s=30.0),
            clip("robot", voice="synthetic"),
            clip("a"),
            clip("b"),
            clip("dialect", "zh-wu"),
        ]
    )
    names = {lang: [one.path.name for one in group] for lang, group in chosen.items()}
    assert names == {"en": ["a", "b"], "sv": ["sv"], "zh": ["dialect"]}
    assert next(iter(names)) == "en"


@pytest.mark.parametrize("mode", ["conversational", "nonstop"])
def test_a_stream_says_the_same_again_and_another_something_else(mode: str) -> None:
    assert plan(2, LANGUAGES, mode, 60) == plan(2, LANGUAGES, mode, 60)  # type: ignore[arg-type]
    assert plan(2, LANGUAGES, mode, 60).pieces != plan(4, LANGUAGES, mode, 60).pieces  # type: ignore[arg-type]


def test_languages_are_dealt_in_turn_and_kept() -> None:
    plans = [plan(number, LANGUAGES, "conversational", 120) for number in range(4)]
    assert [one.language for one in plans] == ["en", "de", "en", "de"]
    for one in plans:
        assert {piece.clip.language for piece in one.pieces if piece.clip} == {one.language}


def test_half_of_a_conversation_is_speech_and_nearly_all_of_nonstop() -> None:
    def share(mode: str) -> float:
        plans = [plan(number, LANGUAGES, mode, 60) for number in range(40)]  # type: ignore[arg-type]
        return sum(one.speech_s for one in plans) / sum(one.seconds for one in plans)

    assert 0.42 < share("conversational") < 0.55
    assert share("nonstop") > 0.95


def test_streams_start_apart_and_within_a_conversation() -> None:
    plans = [plan(number, LANGUAGES, "conversational", 60) for number in range(40)]
    assert len({one.offset_s for one in plans}) == 40
    assert all(0 <= one.offset_s <= MAX_OFFSET_S for one in plans)
    assert len({round(one.offset_s % 0.1, 4) for one in plans}) > 30
    begins_silent = [one.skip_s > one.pieces[0].duration_s for one in plans]
    assert 8 < sum(begins_silent) < 32


def test_pauses_last_about_as_long_as_clips() -> None:
    endless = islice(pieces([clip("a", duration_s=1.0), clip("b", duration_s=10.0)],
                            "conversational", np.random.default_rng(0)), 40)  # fmt: skip
    seen = list(endless)
    for spoken, pause in zip(seen[::2], seen[1::2], strict=True):
        assert spoken.clip and not pause.clip
        expected = (7.0, 13.0) if spoken.duration_s > 5 else (SHORTEST_PAUSE_S, 1.3)
        assert expected[0] <= pause.duration_s <= expected[1]


def test_rendered_audio_has_its_length_and_no_digital_silence(tmp_path: Path) -> None:
    clips = {"en": [recording(tmp_path, "a.wav", 2.0), recording(tmp_path, "b.wav", 3.0)]}
    planned = plan(1, clips, "conversational", 8.0)
    samples = planned.render()
    assert len(samples) == round((8.0 + LEAD_S + TAIL_S) * SAMPLE_RATE)
    np.testing.assert_array_equal(samples, planned.render())
    spoken_s = np.count_nonzero(np.abs(samples) > 0.1) / SAMPLE_RATE
    assert spoken_s == pytest.approx(planned.speech_s, abs=0.01)
    for soft in (samples[: round(LEAD_S * SAMPLE_RATE)], samples[-round(TAIL_S * SAMPLE_RATE) :]):
        level_db = 20 * np.log10(np.sqrt(np.mean(soft**2)))
        assert level_db == pytest.approx(-70, abs=1)


def test_streams_that_share_one_clip_begin_it_in_different_places(tmp_path: Path) -> None:
    clips = {"en": [recording(tmp_path, "a.wav", 2.0)]}
    first = [plan(number, clips, "nonstop", 2.0).render() for number in (0, 1, 2)]
    at = round((LEAD_S + 0.01) * SAMPLE_RATE)
    loudness = sorted(abs(float(samples[at])) for samples in first)
    assert loudness[1] - loudness[0] > 0.01 and loudness[2] - loudness[1] > 0.01


def test_a_clip_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    clips = {"en": [clip("gone.wav", folder=tmp_path)]}
    with pytest.raises(RuntimeError, match=r"gone\.wav"):
        plan(0, clips, "nonstop", 2.0).render()
