"""Whisper's log-mel spectrogram, computed on only the audio there is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oyez.recognisers.base import SAMPLE_RATE, Samples

HOP_SAMPLES = 160
WINDOW_SAMPLES = 400

Frames = NDArray[np.float32]


def mel_filters(bands: int) -> NDArray[np.float32]:
    """Triangular filters [bands, WINDOW_SAMPLES // 2 + 1] on Slaney's mel scale, of equal area.

    Malcolm Slaney, *Auditory Toolbox* (1998): linear below 1 kHz, logarithmic above.
    """
    bins_hz = np.fft.rfftfreq(WINDOW_SAMPLES, 1 / SAMPLE_RATE)
    edges_hz = _mel_to_hz(np.linspace(0, _hz_to_mel(SAMPLE_RATE / 2), bands + 2))
    widths = np.diff(edges_hz)
    ramps = edges_hz[:, None] - bins_hz[None]
    rising = -ramps[:-2] / widths[:-1, None]
    falling = ramps[2:] / widths[1:, None]
    area = 2 / (edges_hz[2:] - edges_hz[:-2])
    filters = np.maximum(0, np.minimum(rising, falling)) * area[:, None]
    return filters.astype(np.float32)


class LogMel:
    """Features as Whisper computes them on audio that is padded with zeros to 30 s."""

    def __init__(self, bands: int) -> None:
        self._filters = mel_filters(bands).T.copy()
        self._window = np.hanning(WINDOW_SAMPLES + 1)[:-1].astype(np.float32)

    def __call__(self, samples: Samples, frames: int) -> Frames:
        """The first `frames` frames of `samples` followed by silence, [bands, frames].

        A frame is 10 ms. Equal to the same frames of Whisper's 30 s features: what is left
        out is silence, which the floor (eight decades below the loudest bin) maps to one value.
        """
        half = WINDOW_SAMPLES // 2
        head = np.pad(samples[: half + 1], (0, max(0, half + 1 - len(samples))))[1:][::-1]
        tail = max(0, (frames - 1) * HOP_SAMPLES + half - len(samples))
        padded = np.concatenate([head, samples, np.zeros(tail, np.float32)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)
        spectrum = np.fft.rfft(windows[::HOP_SAMPLES] * self._window, axis=1)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        log = np.log10(np.maximum(power @ self._filters, 1e-10))
        log = (np.maximum(log, log.max() - 8.0) + 4.0) / 4.0
        return np.ascontiguousarray(log[:frames].T)


def _hz_to_mel(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else 15 + float(np.log(hz / 1000)) * 27 / np.log(6.4)


def _mel_to_hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))
