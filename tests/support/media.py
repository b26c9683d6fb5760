"""Files made on the spot: tones in whatever container and codec."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000


def tone(duration_s: float, *, rate: int = SAMPLE_RATE, level: float = 0.3) -> NDArray[np.float32]:
    """440 Hz, mono."""
    times = np.arange(round(duration_s * rate)) / rate
    return (level * np.sin(2 * np.pi * 440 * times)).astype(np.float32)


def encoded(
    samples: NDArray[np.float32],
    container: str,
    codec: str,
    *,
    rate: int = SAMPLE_RATE,
    layout: str = "mono",
    video: bool = False,
    begins_s: float = 0.0,
    options: dict[str, str] | None = None,
) -> bytes:
    """Mono `samples` of `rate` as a file. begins_s: its clock begins so late."""
    file = io.BytesIO()
    output: Any = av.open(file, "w", format=container, options=options or {})
    pictures = output.add_stream("mpeg4", rate=10) if video else None
    stream = output.add_stream(codec, rate=rate, layout=layout)
    stream.codec_context.open()
    if pictures:
        pictures.width = pictures.height = 64
        pictures.pix_fmt = "yuv420p"
        _draw(output, pictures, len(samples) / rate + begins_s)
    position = round(begins_s * stream.rate)
    for frame in _frames(samples, rate, stream) if len(samples) else ():
        frame.pts, position = position, position + frame.samples
        frame.time_base = Fraction(1, stream.rate)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))
    output.close()
    return file.getvalue()


def _frames(samples: NDArray[np.float32], rate: int, stream: Any) -> list[Any]:
    """As the codec wants them."""
    size = stream.codec_context.frame_size or 1024
    resampler = av.AudioResampler(stream.format, stream.layout, stream.rate, size)
    source = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
    source.sample_rate = rate
    return [*resampler.resample(source), *resampler.resample(None)]


def _draw(output: Any, pictures: Any, duration_s: float) -> None:
    for number in range(int(duration_s * 10) + 1):
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        frame.pts = number
        output.mux(pictures.encode(frame))
    output.mux(pictures.encode(None))
