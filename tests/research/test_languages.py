from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.engines.base import Hypothesis, RecognitionError, Request
from oyez.engines.fake import FakeRecogniser
from oyez.engines.vad.energy import EnergyDetector
from research.languages import Shelf, Utterance, changes, in_turn, report, rows, run, turns
from support.driver import silence, speech
from support.polyglot import ENGLISH, GERMAN, polyglot


class Polyglot(FakeRecogniser):
    def recognise(self, requests: Sequence[Request]) -> list[Hypothesis | RecognitionError]:
        return [polyglot(request) for request in requests]


def tone(seconds: float, level: float) -> Samples:
    quiet = silence(0.6)
    return np.concatenate([quiet, speech(seconds, level), quiet])


def shelf(seconds: float) -> Shelf:
    return {
        "de": [Utterance("de", tone(seconds, GERMAN)) for _ in range(6)],
        "en": [Utterance("en", tone(seconds, ENGLISH)) for _ in range(6)],
    }


def test_turns_of_a_clip_end_where_it_is_silent() -> None:
    clip = np.concatenate([silence(1), speech(1), silence(1), speech(2), silence(1)])
    found = turns(clip, EnergyDetector())
    assert len(found) == 2
    assert abs(found[1][0] - 3 * SAMPLE_RATE) < SAMPLE_RATE // 4
    assert not turns(clip[:100], EnergyDetector())


def test_sessions_are_composed_as_requested() -> None:
    random = np.random.default_rng(1)
    assert [{each.language for each in row} for row in rows(shelf(1), 1, random)] == [
        {"de"},
        {"en"},
    ]
    for before, after in changes(shelf(4), shelf(1), 2, random):
        assert len(before) == 4 and len(after) == 3
        assert before[0].language != after[0].language
    for session in in_turn(shelf(1), 1, random):
        assert session[0].language != session[1].language
        assert session[0].language == session[2].language
    assert not list(changes(shelf(4), {"de": shelf(4)["de"]}, 1, random))


def test_what_is_right_is_counted_by_place() -> None:
    shelves = {"0.5 to 2 s": shelf(0.5), "whole turns": shelf(4)}
    results = run(shelves, recogniser=Polyglot(), detector=EnergyDetector(), sessions=1)
    assert results.row["whole turns"].share(0, 0) == "100"
    assert results.change["whole turns"].share(0, 2) == "100"
    assert results.alone["0.5 to 2 s"].share(0, 5) == "100"
    assert results.change["0.5 to 2 s"].share(0, 0) == "0"
    assert "after a change" in report(results)
