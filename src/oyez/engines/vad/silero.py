"""Silero VAD v6 on ONNX Runtime, with the weights that ship in the faster-whisper wheel.

The model hears best at some levels and is deaf to plain speech at others, differently for every
voice and room. So it hears each stream twice, as it comes and at an even level, and the likelier
score counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from oyez.engines.vad.base import WINDOW_SAMPLES, Scores, Stretch, VoiceDetector, window_count
from oyez.engines.vad.loudness import UNHEARD, follow
from oyez.engines.vad.silero_graph import INPUT_SAMPLES, STATE_WIDTH, many_streams

_MODEL_FILE = "silero_vad_v6.onnx"
_CONTEXT_SAMPLES = INPUT_SAMPLES - WINDOW_SAMPLES
"""The model sees each window together with the samples just before it."""


class _State(NamedTuple):
    context: NDArray[np.float32]
    """[_CONTEXT_SAMPLES], as it came."""
    h: NDArray[np.float32]
    """Of the LSTM, [2, STATE_WIDTH]: as it came, at an even level; as is c."""
    c: NDArray[np.float32]
    loudness: float


_INITIAL_STATE = _State(
    context=np.zeros(_CONTEXT_SAMPLES, np.float32),
    h=np.zeros((2, STATE_WIDTH), np.float32),
    c=np.zeros((2, STATE_WIDTH), np.float32),
    loudness=UNHEARD,
)


class SileroDetector(VoiceDetector):
    """A VoiceDetector: some 23 µs of one core per window when streams share calls, else 33.

    Raises FileNotFoundError if the weights are not installed, ValueError if they are not v6.
    """

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        # a few windows are too little work to share between threads
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            many_streams(onnx.load(find_model())), options, providers=["CPUExecutionProvider"]
        )

    def initial_state(self) -> object:
        return _INITIAL_STATE

    def score(self, samples: NDArray[np.float32], state: object) -> Scores:
        return self.score_many([(samples, state)])[0]

    def score_many(self, stretches: Sequence[Stretch]) -> list[Scores]:
        scores: list[Scores] = list(stretches)  # right for those without a window
        for group in of_like_length([window_count(samples) for samples, _ in stretches]):
            found = self._run([stretches[index] for index in group])
            for index, each in zip(group, found, strict=True):
                scores[index] = each
        return scores

    def _run(self, stretches: Sequence[Stretch]) -> list[Scores]:
        """Score stretches of at least one window each in one run of the graph."""
        states = [_as_state(state) for _, state in stretches]
        lengths = [len(samples) // WINDOW_SAMPLES for samples, _ in stretches]
        windows, loudness = _lay_out(stretches, states, lengths)
        count, twice = len(stretches), lengths * 2
        probabilities, h, c = self._session.run(
            ["probabilities", "hn", "cn"],
            {
                "windows": windows,
                "places": _places(twice, list(accumulate(twice))),
                "lengths": np.array(twice, np.int32),
                "h": np.stack([state.h for state in states], 1).reshape(1, -1, STATE_WIDTH),
                "c": np.stack([state.c for state in states], 1).reshape(1, -1, STATE_WIDTH),
            },
        )
        likelier = np.maximum(probabilities[:, 0, :count, 0], probabilities[:, 0, count:, 0])
        # copies: a view would keep the whole call's arrays alive with each stream
        return [
            (
                likelier[:length, stream].copy(),
                _State(
                    stretches[stream][0][-_CONTEXT_SAMPLES:].copy(),
                    h[0, stream::count].copy(),
                    c[0, stream::count].copy(),
                    loudness[stream],
                ),
            )
            for stream, length in enumerate(lengths)
        ]


def of_like_length(lengths: Sequence[int]) -> list[list[int]]:
    """Indices of what may share a run: all streams of a run step as often as its longest, so
    that none should be twice as long as another. What is empty is in no group."""
    groups: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        if length:
            groups.setdefault((length - 1).bit_length(), []).append(index)
    return list(groups.values())


def _places(lengths: Sequence[int], ends: Sequence[int]) -> NDArray[np.int64]:
    """Which window each stream hears at each step, [steps, streams]; after its last, any."""
    steps = range(max(lengths))
    starts = [end - length for length, end in zip(lengths, ends, strict=True)]
    return np.array([[min(start + step, ends[-1] - 1) for start in starts] for step in steps])


def _lay_out(
    stretches: Sequence[Stretch], states: Sequence[_State], lengths: Sequence[int]
) -> tuple[NDArray[np.float32], list[float]]:
    """Windows of all streams as they came, then all at an even level, each with the samples just
    before it, [2 * n, INPUT_SAMPLES]; and the loudness of each stream afterwards."""
    count = sum(lengths)
    windows = np.empty((2 * count, INPUT_SAMPLES), np.float32)
    loudness = []
    end = 0
    for (samples, _), state, length in zip(stretches, states, lengths, strict=True):
        start, end = end, end + length
        own = samples.reshape(-1, WINDOW_SAMPLES)
        windows[start:end, _CONTEXT_SAMPLES:] = own
        windows[start, :_CONTEXT_SAMPLES] = state.context
        windows[start + 1 : end, :_CONTEXT_SAMPLES] = own[:-1, -_CONTEXT_SAMPLES:]
        gains, after = follow(own, state.loudness)
        windows[count + start : count + end] = windows[start:end] * gains[:, None]
        loudness.append(after)
    return windows, loudness


def _as_state(state: object) -> _State:
    assert isinstance(state, _State)
    return state


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
