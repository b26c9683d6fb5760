"""Streams brought to an even level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from oyez.engines.base import WINDOW_SAMPLES
from oyez.engines.vad.silero import INITIAL_LOUDNESS, loudness_gains
from property.strategies import cuts

_WINDOWS_PER_S = 16_000 / WINDOW_SAMPLES


def _tone(level_db: float, windows: int) -> NDArray[np.float32]:
    """[windows, WINDOW_SAMPLES] of that mean power."""
    phase = np.arange(windows * WINDOW_SAMPLES) * np.pi / 8
    tone: NDArray[np.float64] = np.sqrt(2) * 10 ** (level_db / 20) * np.sin(phase)
    return tone.astype(np.float32).reshape(windows, WINDOW_SAMPLES)


def _levels_db(windows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of each window, at the even level."""
    gains, _ = loudness_gains(windows, INITIAL_LOUDNESS)
    even = (windows * gains[:, None]).astype(np.float64)
    levels_db: NDArray[np.float64] = 10 * np.log10(np.mean(even**2, axis=1))
    return levels_db


@pytest.mark.parametrize("level_db", [0, -10, -28, -40, -55])
def test_every_level_becomes_the_same_level(level_db: float) -> None:
    assert _levels_db(_tone(level_db, 400))[-1] == pytest.approx(-28, abs=0.2)


def test_nothing_is_amplified_without_end() -> None:
    assert _levels_db(_tone(-90, 1000))[-1] == pytest.approx(-60, abs=0.1)
    gains, loudness = loudness_gains(np.zeros((1000, WINDOW_SAMPLES), np.float32), INITIAL_LOUDNESS)
    assert np.all(np.isfinite(gains)) and loudness > 0


def test_what_is_loud_counts_at_once() -> None:
    levels = _levels_db(np.concatenate([_tone(-60, 300), _tone(-5, 1)]))
    assert levels[-1] == pytest.approx(-28, abs=0.1)


def test_a_pause_does_not_make_the_room_loud() -> None:
    second = round(_WINDOWS_PER_S)
    levels = _levels_db(np.concatenate([_tone(-20, 10), _tone(-60, 2 * second)]))
    assert levels[-1] < -60


_LEVELS = st.lists(st.tuples(st.integers(1, 6), st.integers(-100, 0)), min_size=1, max_size=12)


@given(levels=_LEVELS, data=st.data())
def test_any_cut_of_a_stream_gives_the_same_gains(
    levels: list[tuple[int, int]], data: st.DataObject
) -> None:
    windows = np.concatenate([_tone(level_db, count) for count, level_db in levels])
    whole, end = loudness_gains(windows, INITIAL_LOUDNESS)
    loudness, gains = INITIAL_LOUDNESS, []
    for cut in data.draw(cuts(len(windows))):
        found, loudness = loudness_gains(windows[cut], loudness)
        gains.append(found)
    assert np.array_equal(np.concatenate(gains), whole)
    assert loudness == end
