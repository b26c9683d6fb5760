from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import Piece, Purpose, Request
from oyez.engines.whisper_onnx.engine import choose_language


def request(language: str | None, seconds: float = 3, *, prefix: tuple[Piece, ...] = ()) -> Request:
    samples = np.zeros(int(seconds * SAMPLE_RATE), np.float32)
    return Request(samples, Purpose.FINAL, language, prefix=prefix)


ENGLISH = {"en": 0.98, "zh": 0.001, "de": 0.019}
UNSURE = {"en": 0.6, "zh": 0.001, "de": 0.399}


def test_without_a_hint_the_likeliest_language_is_written() -> None:
    assert choose_language(request(None), UNSURE, None) == "en"


def test_a_hint_is_followed() -> None:
    assert choose_language(request("de"), UNSURE, "de") == "de"
    assert choose_language(request("zh"), UNSURE, "zh") == "zh"


def test_a_hint_the_audio_plainly_contradicts_is_overruled() -> None:
    assert choose_language(request("zh"), ENGLISH, "zh") == "en"


@pytest.mark.parametrize(
    "asked",
    [request("zh", 1.5), request("zh", prefix=(Piece(" a", (1,), 0, 1.0),))],
    ids=["too short", "already promised"],
)
def test_a_hint_stands_where_it_cannot_be_judged(asked: Request) -> None:
    assert choose_language(asked, ENGLISH, "zh") == "zh"


def test_cantonese_is_judged_by_the_language_it_is_written_as() -> None:
    mandarin = {"zh": 0.99, "yue": 0.0, "en": 0.01}
    assert choose_language(request("yue"), mandarin, "zh") == "yue"


def test_a_hint_is_not_overruled_by_a_language_that_is_not_possible() -> None:
    asked = replace(request("zh"), language_prior={"zh": 0.5, "de": 0.5, "en": 0.0})
    assert choose_language(asked, ENGLISH, "zh") == "zh"
    assert choose_language(replace(asked, language=None), ENGLISH, None) == "de"
