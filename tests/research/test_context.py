from __future__ import annotations

import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from oyez.bench.clips import Clip
from oyez.engines.base import Hypothesis, Info, Piece, Request
from oyez.engines.vad.energy import EnergyDetector
from research.context.__main__ import as_json, report
from research.context.measure import (
    AMONG_100,
    CONDITIONS,
    NOTHING,
    OTHERS,
    PROSE,
    TERMS,
    gather,
    run,
)

SAID = {"a": "we met Lorry there", "b": "the guillotine was built", "c": "she saw Defarge knit"}


def clip(folder: Path, name: str, loudness: float = 0.3) -> Clip:
    path = folder / f"{name}.wav"
    time_s = np.arange(32_000) / 16_000
    samples = loudness * np.sin(2 * np.pi * 200 * time_s) * (time_s < 1.5)
    with wave.open(str(path), "wb") as audio:
        audio.setparams((1, 2, 16_000, 0, "NONE", ""))
        audio.writeframes((samples * 32767).astype("<i2").tobytes())
    return Clip(path, "en", 2.0, SAID[name], "read", "")


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    return [clip(tmp_path, name) for name in SAID]


class Parrot:
    """Says the terms it is given, whatever it hears."""

    info = Info("parrot", ("en",), 16_000 * 30, 1)

    def recognise(self, requests: Sequence[Request]) -> list[Hypothesis]:
        return [
            Hypothesis((Piece(f" {r.context or 'hm'}", (1,), 16_000, 1.0),), "en") for r in requests
        ]

    def warm_up(self) -> None: ...


def test_contexts_hold_what_their_names_say(clips: list[Clip]) -> None:
    material = gather(clips)
    contexts = {name: material.context(clips[0], name) for name in CONDITIONS}
    assert contexts[NOTHING] == ("", ())
    assert contexts[TERMS] == ("Lorry", ("Lorry",))
    assert set(contexts[AMONG_100][1]) == {"Lorry", "guillotine", "Defarge"}
    assert set(contexts[OTHERS][1]) == {"guillotine", "Defarge"}
    assert "we met Lorry there" in contexts[PROSE][0]


def test_recall_and_leaks_are_counted_apart(clips: list[Clip]) -> None:
    outcomes = list(
        run(
            clips[:1],
            gather(clips),
            recogniser=Parrot(),  # type: ignore[arg-type]
            detector=EnergyDetector(),
            conditions=[TERMS, OTHERS],
        )
    )
    nothing, terms, others = outcomes
    assert (nothing.score.terms, nothing.score.recalled, nothing.leaks) == (1, 0, frozenset())
    assert (terms.score.recalled, terms.leaks) == (1, frozenset())
    assert others.leaks == {"guillotine", "Defarge"}
    assert [row["leaks"] for row in as_json(outcomes)] == [[], [], ["Defarge", "guillotine"]]
    assert "100.0" in report(outcomes)
