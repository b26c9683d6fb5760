from __future__ import annotations

import numpy as np
import pytest

from oyez.engines.whisper_onnx.encoder_input import MASKED, lay_out


@pytest.mark.parametrize("count", [0, 1600, 80_000, 470_000])
def test_every_position_of_the_window_is_counted_once(count: int) -> None:
    layout = lay_out([count], 1500)
    assert np.exp(layout.bias).sum() == pytest.approx(1500, rel=1e-4)
    assert (np.diff(layout.positions[0]) > 0).all()
    assert layout.positions.max() < 1500
    assert layout.sources.max() < layout.computed_positions


def test_a_row_is_the_same_beside_a_longer_one() -> None:
    alone, beside = lay_out([16_000], 1500), lay_out([16_000, 64_000], 1500)
    size = alone.positions.shape[1]
    np.testing.assert_array_equal(alone.positions[0], beside.positions[0, :size])
    np.testing.assert_array_equal(alone.sources[0], beside.sources[0, :size])
    assert (beside.bias[0, 0, 0, size:] == MASKED).all()
    assert beside.pooling.sum(axis=1).ravel().tolist() == pytest.approx([1, 1])
