"""The samples of a session by their index."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oyez.audio.pcm import SampleBuffer, Samples


def _ramp(start: int, end: int) -> Samples:
    return np.arange(start, end, dtype=np.float32)


def test_samples_are_found_by_their_index_in_the_session() -> None:
    buffer = SampleBuffer()
    buffer.append(_ramp(0, 10))
    buffer.append(_ramp(10, 30))
    assert (buffer.start, buffer.end) == (0, 30)
    assert buffer.slice(8, 12).tolist() == [8, 9, 10, 11]
    assert buffer.slice(8, 12).dtype == np.float32
    assert buffer.slice(30, 30).tolist() == []


def test_a_slice_is_a_copy() -> None:
    buffer = SampleBuffer()
    source = _ramp(0, 4)
    buffer.append(source)
    source[:] = -1
    buffer.slice(0, 4)[:] = -1
    assert buffer.slice(0, 4).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("start", "end"), [(4, 8), (6, 11), (8, 7), (-1, 6)])
def test_samples_that_are_not_held_raise_an_error_naming_those_that_are(
    start: int, end: int
) -> None:
    buffer = SampleBuffer()
    buffer.append(_ramp(0, 10))
    buffer.drop_before(5)
    with pytest.raises(IndexError, match="holds 5…10"):
        buffer.slice(start, end)


def test_dropping_backwards_or_past_the_end_is_harmless() -> None:
    buffer = SampleBuffer()
    buffer.append(_ramp(0, 10))
    buffer.drop_before(5)
    buffer.drop_before(2)
    assert (buffer.start, buffer.end) == (5, 10)
    buffer.drop_before(99)
    assert (buffer.start, buffer.end) == (10, 10)
    buffer.append(_ramp(10, 12))
    assert buffer.slice(10, 12).tolist() == [10, 11]


@given(st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 60_000)), min_size=1, max_size=30))
def test_it_always_holds_exactly_what_was_not_dropped(steps: list[tuple[int, int]]) -> None:
    buffer = SampleBuffer()
    start = end = 0
    for appended, kept in steps:
        buffer.append(_ramp(end, end + appended))
        end += appended
        start = max(start, end - kept)
        buffer.drop_before(end - kept)
        assert (buffer.start, buffer.end) == (start, end)
        assert np.array_equal(buffer.slice(start, end), _ramp(start, end))


def test_memory_stays_flat_while_the_session_goes_on() -> None:
    buffer = SampleBuffer()
    buffer.append(np.zeros(5_000_000, np.float32))
    for _ in range(2_000):
        buffer.append(np.zeros(1_600, np.float32))
        buffer.drop_before(buffer.end - 16_000)
        assert buffer.held_bytes <= 16 * 16_000 * 4


def test_a_stream_that_needs_its_last_moments_only_takes_little_more_memory() -> None:
    buffer = SampleBuffer()
    kept, packet = 22_000, 1_600
    for _ in range(200):
        buffer.append(np.zeros(packet, np.float32))
        buffer.drop_before(buffer.end - kept)
    assert buffer.held_bytes <= 1.5 * (kept + packet) * 4


def test_many_small_appends_move_each_sample_a_few_times_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moved = 0
    move = SampleBuffer._move

    def counted(buffer: SampleBuffer, needed: int) -> None:
        nonlocal moved
        moved += buffer.end - buffer.start
        move(buffer, needed)

    monkeypatch.setattr(SampleBuffer, "_move", counted)
    buffer = SampleBuffer()
    for _ in range(10_000):
        buffer.append(np.zeros(320, np.float32))
    assert 0 < moved < 4 * buffer.end
