from __future__ import annotations

import numpy as np
import pytest

from oyez.engines.whisper_onnx.encoder import MARGIN_POSITIONS, lay_out


@pytest.mark.parametrize("count", [0, 1600, 80_000, 470_000])
def test_every_position_of_the_window_is_counted_once(count: int) -> None:
    audio, layout = lay_out(count, 1500)
    assert np.exp(layout["bias"]).sum() == pytest.approx(1500, rel=1e-4)
    assert (np.diff(layout["positions"][0]) > 0).all()
    assert layout["positions"].max() < 1500
    assert layout["sources"].max() < audio + MARGIN_POSITIONS
    assert layout["pooling"].sum() == pytest.approx(1)
