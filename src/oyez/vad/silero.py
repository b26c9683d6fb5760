"""Silero VAD v6 on ONNX Runtime, with the weights that ship in the faster-whisper wheel."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from oyez.vad.base import WINDOW_SAMPLES

_MODEL_FILE = "silero_vad_v6.onnx"
_CONTEXT_SAMPLES = 64
"""The model sees each window together with the samples just before it."""
_LSTM_SHAPE = (1, 1, 128)


@dataclass(frozen=True, slots=True)
class _State:
    context: NDArray[np.float32]
    h: NDArray[np.float32]
    c: NDArray[np.float32]


_INITIAL_STATE = _State(
    context=np.zeros(_CONTEXT_SAMPLES, np.float32),
    h=np.zeros(_LSTM_SHAPE, np.float32),
    c=np.zeros(_LSTM_SHAPE, np.float32),
)


class SileroDetector:
    """A VoiceDetector: about 0.1 ms of one core per window.

    Raises FileNotFoundError if the weights are not installed.
    """

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        # one stream's window is too little work to share between threads
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(find_model()), options, providers=["CPUExecutionProvider"]
        )

    def initial_state(self) -> object:
        return _INITIAL_STATE

    def score(
        self, samples: NDArray[np.float32], state: object
    ) -> tuple[NDArray[np.float32], object]:
        assert isinstance(state, _State)
        if len(samples) % WINDOW_SAMPLES:
            raise ValueError(f"{len(samples)} samples are not whole windows of {WINDOW_SAMPLES}")
        if not len(samples):
            return np.zeros(0, np.float32), state
        stream = np.concatenate([state.context, samples])
        # the graph walks its LSTM along the first axis: all windows of a stream in one run
        windows = np.lib.stride_tricks.sliding_window_view(
            stream, _CONTEXT_SAMPLES + WINDOW_SAMPLES
        )[::WINDOW_SAMPLES]
        probabilities, h, c = self._session.run(
            ["speech_probs", "hn", "cn"],
            {"input": np.ascontiguousarray(windows), "h": state.h, "c": state.c},
        )
        return probabilities, _State(stream[-_CONTEXT_SAMPLES:].copy(), h, c)


def find_model() -> Path:
    """The weights' file. Raises FileNotFoundError if faster-whisper or its file is missing."""
    # the wheel is only looked up: importing it would load a whole speech engine
    spec = find_spec("faster_whisper")
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder) / "assets" / _MODEL_FILE
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"the Silero weights ({_MODEL_FILE}) are missing: install faster-whisper >= 1.2, "
        "or choose the voice detector 'energy'"
    )
